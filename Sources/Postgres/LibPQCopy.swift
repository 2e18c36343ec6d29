import CLibPQ

extension Connection {
  /// Runs `COPY … TO STDOUT` and returns what comes, as text. O(size) of memory.
  public func copyOut(_ sql: String) throws(PostgresError) -> String {
    var bytes: [UInt8] = []
    _ = try run({ raw in PQsendQuery(raw, sql) }, copied: { bytes.append(contentsOf: $0) })
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Takes a COPY's data until its end; libpq repeats the COPY's result for ever if nobody does.
  func drainCopy(until end: Int64, _ copied: (UnsafeRawBufferPointer) -> Void) throws(PostgresError) {
    while true {
      var buffer: UnsafeMutablePointer<CChar>?
      let length = PQgetCopyData(raw, &buffer, 1)
      switch length {
      case 0: guard wait(until: end, writing: false), PQconsumeInput(raw) == 1 else { throw lost() }
      case -1: return
      case -2: throw lost()
      default:
        if let buffer {
          copied(UnsafeRawBufferPointer(start: buffer, count: Int(length)))
          PQfreemem(buffer)
        }
      }
    }
  }
}
