/// Records that own their bytes: for tests, the simulator and everything that has no Kafka to hold them.
public final class RecordBuffer {
  private var storage: [UnsafeMutablePointer<UInt8>] = []
  private let payloads: UnsafeMutablePointer<UnsafePointer<UInt8>?>
  private let payloadLengths: UnsafeMutablePointer<UInt32>
  private let keys: UnsafeMutablePointer<UnsafePointer<UInt8>?>
  private let keyLengths: UnsafeMutablePointer<UInt32>
  private let offsets: UnsafeMutablePointer<Int64>
  private let timestamps: UnsafeMutablePointer<Int64>
  private let count: Int

  /// One message; nil key or payload as in Kafka.
  public struct Message: Sendable {
    public var offset: Int64
    public var timestamp: Int64
    public var key: [UInt8]?
    public var payload: [UInt8]?
    public init(offset: Int64, timestamp: Int64, key: [UInt8]?, payload: [UInt8]?) {
      self.offset = offset; self.timestamp = timestamp; self.key = key; self.payload = payload
    }
  }

  /// Copies the messages. O(bytes).
  public init(_ messages: some Collection<Message>) {
    count = messages.count
    let room = max(1, count)
    payloads = .allocate(capacity: room)
    payloadLengths = .allocate(capacity: room)
    keys = .allocate(capacity: room)
    keyLengths = .allocate(capacity: room)
    offsets = .allocate(capacity: room)
    timestamps = .allocate(capacity: room)
    for (i, message) in messages.enumerated() {
      (payloads + i).initialize(to: copy(message.payload))
      payloadLengths[i] = UInt32(message.payload?.count ?? 0)
      (keys + i).initialize(to: copy(message.key))
      keyLengths[i] = UInt32(message.key?.count ?? 0)
      offsets[i] = message.offset
      timestamps[i] = message.timestamp
    }
  }

  private func copy(_ bytes: [UInt8]?) -> UnsafePointer<UInt8>? {
    guard let bytes else { return nil }
    let pointer = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, bytes.count))
    for (i, b) in bytes.enumerated() { pointer[i] = b }
    storage.append(pointer)
    return UnsafePointer(pointer)
  }

  deinit {
    for pointer in storage { pointer.deallocate() }
    payloads.deallocate(); payloadLengths.deallocate(); keys.deallocate(); keyLengths.deallocate()
    offsets.deallocate(); timestamps.deallocate()
  }

  /// Calls `body` with the records; they are valid only there.
  public func withRecords<R>(_ body: (Records) throws -> R) rethrows -> R {
    try body(
      Records(
        count: count, payloads: payloads, payloadLengths: payloadLengths, keys: keys, keyLengths: keyLengths, offsets: offsets,
        timestamps: timestamps))
  }
}
