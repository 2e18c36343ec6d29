import CRdKafka

/// Offsets and partition counts, from any thread; calls block up to their timeout.
public struct ClusterMetadata: Sendable {
  private let handle: RdKafkaHandle
  init(_ handle: RdKafkaHandle) { self.handle = handle }

  /// A connection of its own. A consumer's, since a producer that asks for a topic makes it.
  public init(_ settings: KafkaSettings) throws {
    handle = try RdKafkaHandle(
      RD_KAFKA_CONSUMER, settings, defaults: [("client.id", "tidemark-metadata"), ("allow.auto.create.topics", "false")], keepsErrors: true)
  }

  /// The first offset that Kafka still has and the one that the next message will get.
  public func watermarks(_ at: TopicPartition, timeout: Int32 = 5000) throws(KafkaError) -> (low: Int64, high: Int64) {
    try handle.watermarks(at, timeout: timeout)
  }

  /// nil: there is no such topic (yet).
  public func partitionCount(_ topic: String, timeout: Int32 = 5000) throws(KafkaError) -> Int? {
    try handle.partitionCount(topic, timeout: timeout)
  }

  /// Version of the librdkafka that runs.
  public static var libraryVersion: String { String(cString: rd_kafka_version_str()) }
}
