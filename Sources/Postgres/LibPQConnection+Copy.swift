import CLibPQ

/// COPY into a table.
extension Connection {
  /// `PGCOPY`, a signature that survives no translation of line ends, then flags and no extension.
  private static let header: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0x00] + [UInt8](repeating: 0, count: 8)
  private static let trailer: [UInt8] = [0xFF, 0xFF]
  /// Bytes that are handed to libpq at a time: it copies them into its own buffer.
  private static let piece = 256 << 10

  /// Runs `COPY … FROM STDIN (FORMAT binary)` with these rows; all of them or none.
  /// - Returns: how many rows there are now more.
  public func copy(_ sql: String, _ rows: CopyBuffer) throws(PostgresError) -> Int {
    guard isUsable else { throw PostgresError(.connectionLost, message: "the connection is closed") }
    let end = Self.now() + Int64(deadline)
    guard PQsendQuery(raw, sql) == 1 else { throw lost() }
    try drain(until: end)
    guard let begun = try next(until: end) else { throw lost() }
    guard PQresultStatus(begun) == PGRES_COPY_IN else {
      defer { PQclear(begun) }
      let failure = Self.error(of: begun)
      while let more = try next(until: end) { PQclear(more) }
      throw failure
    }
    PQclear(begun)
    try put(Self.header[...], until: end)
    var at = 0
    while at < rows.bytes.count {
      let upper = min(at + Self.piece, rows.bytes.count)
      try put(rows.bytes[at..<upper], until: end)
      at = upper
    }
    try put(Self.trailer[...], until: end)
    while true {
      let ended = PQputCopyEnd(raw, nil)
      if ended == 1 { break }
      guard ended == 0, wait(until: end, writing: true) else { throw lost() }
    }
    try drain(until: end)
    return try outcome(until: end)
  }

  private func outcome(until end: Int64) throws(PostgresError) -> Int {
    var count = 0
    var failure: PostgresError?
    while let result = try next(until: end) {
      if PQresultStatus(result) == PGRES_COMMAND_OK {
        count = Int(String(cString: PQcmdTuples(result))) ?? 0
      } else if failure == nil {
        failure = Self.error(of: result)
      }
      PQclear(result)
    }
    if var failure {
      if !isUsable { failure.consequence = .connectionLost }
      throw failure
    }
    return count
  }

  private func put(_ bytes: ArraySlice<UInt8>, until end: Int64) throws(PostgresError) {
    while true {
      let taken = bytes.withUnsafeBytes { buffer in
        PQputCopyData(raw, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(buffer.count))
      }
      if taken == 1 { break }
      guard taken == 0, wait(until: end, writing: true) else { throw lost() }
    }
    try drain(until: end)
  }

  /// Sends what libpq holds; reads meanwhile, so that a server that complains never waits for us while we wait for it.
  private func drain(until end: Int64) throws(PostgresError) {
    while true {
      let left = PQflush(raw)
      if left == 0 { return }
      guard left == 1, wait(until: end, writing: true), PQconsumeInput(raw) == 1 else { throw lost() }
    }
  }

  private func next(until end: Int64) throws(PostgresError) -> OpaquePointer? {
    while PQisBusy(raw) == 1 { guard wait(until: end, writing: false), PQconsumeInput(raw) == 1 else { throw lost() } }
    return PQgetResult(raw)
  }
}
