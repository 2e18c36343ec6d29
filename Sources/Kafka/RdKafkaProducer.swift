import CRdKafka
import Synchronization

/// An idempotent producer with compression; counts what was delivered and what was not.
public final class Producer {
  private let handle: RdKafkaHandle
  private let counts: Counts
  private let topic: String

  private final class Counts: Sendable {
    let delivered = Atomic<Int>(0)
    let failed = Atomic<Int>(0)
    let firstError = Mutex<String?>(nil)
  }

  /// `murmur2_random` as partitioner: keys go where the Java client sends them.
  public init(_ settings: KafkaSettings, topic: String) throws {
    self.topic = topic
    let counts = Counts()
    self.counts = counts
    let defaults = [
      ("client.id", "tidemark-producer"), ("enable.idempotence", "true"), ("compression.type", "lz4"), ("linger.ms", "20"),
      ("partitioner", "murmur2_random"), ("batch.num.messages", "10000"), ("queue.buffering.max.messages", "200000"),
      ("queue.buffering.max.kbytes", "131072"),
    ]
    handle = try RdKafkaHandle(RD_KAFKA_PRODUCER, settings, defaults: defaults) { conf in
      rd_kafka_conf_set_opaque(conf, Unmanaged.passUnretained(counts).toOpaque())
      rd_kafka_conf_set_dr_msg_cb(conf) { _, message, opaque in
        // Safety: the counts live as long as the producer, whose handle is destroyed first.
        let counts = Unmanaged<Counts>.fromOpaque(opaque!).takeUnretainedValue()
        guard let message else { return }
        if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
          counts.delivered.wrappingAdd(1, ordering: .relaxed)
        } else {
          counts.failed.wrappingAdd(1, ordering: .relaxed)
          let text = RdKafkaHandle.text(message.pointee.err)
          counts.firstError.withLock { if $0 == nil { $0 = text } }
        }
      }
    }
  }

  public var delivered: Int { counts.delivered.load(ordering: .relaxed) }
  public var failed: Int { counts.failed.load(ordering: .relaxed) }
  public var firstError: String? { counts.firstError.withLock { $0 } }

  /// Queues one message; waits for room while the queue is full. nil payload: a tombstone.
  /// - Parameters:
  ///   - timestamp: milliseconds; nil: now.
  ///   - partition: nil: by the key.
  public func send(key: [UInt8]?, payload: [UInt8]?, timestamp: Int64? = nil, partition: Int32? = nil) throws {
    while true {
      let code = withBytes(key) { key, keyLength in
        withBytes(payload) { payload, length in
          tm_produce(handle.raw, topic, partition ?? RD_KAFKA_PARTITION_UA, key, keyLength, payload, length, timestamp ?? 0)
        }
      }
      if code == RD_KAFKA_RESP_ERR_NO_ERROR { break }
      guard code == RD_KAFKA_RESP_ERR__QUEUE_FULL else {
        throw KafkaError(code: .other, message: "cannot send to \(topic): \(RdKafkaHandle.text(code))")
      }
      rd_kafka_poll(handle.raw, 100)
    }
    sinceServed += 1
    if sinceServed >= 1000 {
      sinceServed = 0
      rd_kafka_poll(handle.raw, 0)
    }
  }
  private var sinceServed = 0

  private func withBytes<R>(_ bytes: [UInt8]?, _ body: (UnsafeRawPointer?, Int) -> R) -> R {
    guard let bytes else { return body(nil, 0) }
    if bytes.isEmpty { return withUnsafeBytes(of: UInt8(0)) { body($0.baseAddress, 0) } }
    return bytes.withUnsafeBytes { body($0.baseAddress, $0.count) }
  }

  /// Waits until everything is delivered or has failed, up to `timeout` milliseconds.
  /// - Throws: when messages failed or are still on their way.
  public func flush(timeout: Int32 = 60_000) throws {
    let code = rd_kafka_flush(handle.raw, timeout)
    if let error = firstError { throw KafkaError(code: .other, message: "\(failed) messages were not delivered to \(topic): \(error)") }
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(code: .unreachable, message: "\(rd_kafka_outq_len(handle.raw)) messages are still not delivered to \(topic): \(RdKafkaHandle.text(code))")
    }
  }
}
