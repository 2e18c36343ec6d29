import CRdKafka

/// Owns one `rd_kafka_t`; destroyed with the last reference.
final class RdKafkaHandle: @unchecked Sendable {
  // Safety: `rd_kafka_t` is thread-safe and the pointer never changes.
  let raw: OpaquePointer
  private let keepsErrors: Bool

  /// Applies properties in order. An unknown name or a bad value is refused with librdkafka's words.
  /// Of `ifKnown`, names that this version of librdkafka does not have are passed over.
  /// `keepsErrors`: for a handle that nobody polls; why brokers cannot be reached is kept, to be said with the first failure.
  /// `prepare` may set callbacks before the handle is made.
  init(
    _ type: rd_kafka_type_t, _ settings: KafkaSettings, defaults: [(String, String)], forced: [(String, String)] = [],
    ifKnown: [(String, String)] = [], keepsErrors: Bool = false, prepare: (OpaquePointer) -> Void = { _ in }
  ) throws(KafkaError) {
    self.keepsErrors = keepsErrors
    var error = [CChar](repeating: 0, count: 512)
    let conf = rd_kafka_conf_new()!
    for (name, value) in ifKnown { _ = rd_kafka_conf_set(conf, name, value, nil, 0) }
    let all = [("bootstrap.servers", settings.bootstrapServers)] + defaults + settings.properties.map { ($0.name, $0.value) } + forced
    for (name, value) in all {
      guard rd_kafka_conf_set(conf, name, value, &error, error.count) == RD_KAFKA_CONF_OK else {
        rd_kafka_conf_destroy(conf)
        throw KafkaError(code: .configuration, message: "Kafka property \(name): \(Self.text(error))")
      }
    }
    // What matters comes as events; librdkafka's own log goes to standard error only where somebody asks for it.
    if !settings.properties.contains(where: { $0.name == "debug" }) { rd_kafka_conf_set_log_cb(conf, nil) }
    if keepsErrors { rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR) }
    prepare(conf)
    guard let raw = rd_kafka_new(type, conf, &error, error.count) else {
      rd_kafka_conf_destroy(conf)
      throw KafkaError(code: .configuration, message: "Kafka client: \(Self.text(error))")
    }
    self.raw = raw
  }

  deinit { rd_kafka_destroy(raw) }

  static func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  static func text(_ code: rd_kafka_resp_err_t) -> String { String(cString: rd_kafka_err2str(code)) }

  /// Low and high watermark offsets; blocks up to `timeout` milliseconds.
  func watermarks(_ at: TopicPartition, timeout: Int32) throws(KafkaError) -> (low: Int64, high: Int64) {
    var low: Int64 = 0
    var high: Int64 = 0
    let code = rd_kafka_query_watermark_offsets(raw, at.topic, at.partition, &low, &high, timeout)
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(code: .unreachable, message: "offsets of \(at): \(Self.text(code))")
    }
    return (low, high)
  }

  /// What librdkafka said last of its connections (`SSL handshake failed …`, `SASL authentication error …`); nil: nothing. Takes what it kept.
  private func newestError() -> String? {
    guard keepsErrors else { return nil }
    let queue = rd_kafka_queue_get_main(raw)
    defer { rd_kafka_queue_destroy(queue) }
    var newest: String?
    while let event = rd_kafka_queue_poll(queue, 0) {
      defer { rd_kafka_event_destroy(event) }
      // That all are down says nothing beyond why each of them is.
      guard rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR, rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN else { continue }
      newest = String(cString: rd_kafka_event_error_string(event))
    }
    return newest
  }

  /// Number of partitions of a topic; nil: there is no such topic. Blocks up to `timeout` milliseconds.
  func partitionCount(_ topic: String, timeout: Int32) throws(KafkaError) -> Int? {
    let handle = rd_kafka_topic_new(raw, topic, nil)
    defer { if let handle { rd_kafka_topic_destroy(handle) } }
    var metadata: UnsafePointer<rd_kafka_metadata>?
    let code = rd_kafka_metadata(raw, 0, handle, &metadata, timeout)
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
      throw KafkaError(code: .unreachable, message: "no broker of those named answers: \(newestError() ?? Self.text(code))")
    }
    defer { rd_kafka_metadata_destroy(metadata) }
    guard metadata.pointee.topic_cnt == 1, metadata.pointee.topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
    let count = Int(metadata.pointee.topics[0].partition_cnt)
    return count == 0 ? nil : count
  }
}

/// Owns a list of partitions with offsets.
func withPartitionList<R>(_ items: [(TopicPartition, Int64)], _ body: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> R) -> R {
  let list = rd_kafka_topic_partition_list_new(Int32(items.count))!
  defer { rd_kafka_topic_partition_list_destroy(list) }
  for (at, offset) in items { rd_kafka_topic_partition_list_add(list, at.topic, at.partition)!.pointee.offset = offset }
  return body(list)
}
