import CRdKafka

/// Consumed messages of one partition, in offset order, as contiguous columns. It owns the messages: they are
/// given back to librdkafka when it goes. No payload is copied.
public final class RecordSet: @unchecked Sendable {
  // Safety: filled before it is published, read by one thread at a time after; messages are destroyed once, in deinit.
  private var messages: [UnsafeMutablePointer<rd_kafka_message_t>?] = []
  public let at: TopicPartition
  public private(set) var count = 0
  public let payloads: UnsafeMutablePointer<UnsafePointer<UInt8>?>
  public let payloadLengths: UnsafeMutablePointer<UInt32>
  public let keys: UnsafeMutablePointer<UnsafePointer<UInt8>?>
  public let keyLengths: UnsafeMutablePointer<UInt32>
  public let offsets: UnsafeMutablePointer<Int64>
  /// Milliseconds; -1: none.
  public let timestamps: UnsafeMutablePointer<Int64>

  init(_ at: TopicPartition, capacity: Int) {
    self.at = at
    messages.reserveCapacity(capacity)
    payloads = .allocate(capacity: capacity)
    payloadLengths = .allocate(capacity: capacity)
    keys = .allocate(capacity: capacity)
    keyLengths = .allocate(capacity: capacity)
    offsets = .allocate(capacity: capacity)
    timestamps = .allocate(capacity: capacity)
  }

  func append(_ message: UnsafeMutablePointer<rd_kafka_message_t>) {
    let m = message.pointee
    messages.append(message)
    if let payload = m.payload {
      payloads[count] = UnsafePointer(payload.assumingMemoryBound(to: UInt8.self))
    } else {
      payloads[count] = nil
    }
    payloadLengths[count] = UInt32(m.len)
    keys[count] = m.key.map { UnsafePointer($0.assumingMemoryBound(to: UInt8.self)) }
    keyLengths[count] = UInt32(m.key_len)
    offsets[count] = m.offset
    var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
    let stamp = rd_kafka_message_timestamp(message, &type)
    timestamps[count] = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : stamp
    count += 1
  }

  deinit {
    for message in messages { rd_kafka_message_destroy(message) }
    payloads.deallocate(); payloadLengths.deallocate(); keys.deallocate(); keyLengths.deallocate()
    offsets.deallocate(); timestamps.deallocate()
  }
}
