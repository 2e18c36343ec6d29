import CRdKafka

/// What librdkafka alone needs to take a topic in: the floor that everything else is measured against.
public enum Baseline {
  /// Takes every message of a topic, from its beginning to the ends that it has now, and destroys it unread.
  /// Same properties as `Consumer`, batch queue, no group.
  /// - Returns: messages and payload bytes.
  public static func consume(_ settings: KafkaSettings, topic: String, mostMessages: Int = 10_000) throws -> (messages: Int, bytes: Int) {
    let handle = try RdKafkaHandle(
      RD_KAFKA_CONSUMER, settings, defaults: Consumer.defaults,
      forced: [("group.id", "tidemark-baseline"), ("enable.auto.commit", "false"), ("enable.partition.eof", "true")], ifKnown: Consumer.pace)
    guard let count = try handle.partitionCount(topic, timeout: 10_000) else {
      throw KafkaError(code: .noSuchTopic, message: "there is no topic \(topic)")
    }
    rd_kafka_poll_set_consumer(handle.raw)
    let queue = rd_kafka_queue_get_consumer(handle.raw)
    defer { rd_kafka_queue_destroy(queue) }
    let all = (0..<Int32(count)).map { (TopicPartition(topic: topic, partition: $0), Int64(RD_KAFKA_OFFSET_BEGINNING)) }
    let code = withPartitionList(all) { rd_kafka_assign(handle.raw, $0) }
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code: .other, message: "assignment: \(RdKafkaHandle.text(code))") }
    var buffer: [UnsafeMutablePointer<rd_kafka_message_t>?] = Array(repeating: nil, count: mostMessages)
    var ended = Set<Int32>()
    var messages = 0
    var bytes = 0
    while ended.count < count {
      let taken = rd_kafka_consume_batch_queue(queue, 1000, &buffer, mostMessages)
      for i in 0..<max(0, taken) {
        guard let message = buffer[i] else { continue }
        switch message.pointee.err {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
          messages += 1
          bytes += message.pointee.len
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: ended.insert(message.pointee.partition)
        default: break
        }
        rd_kafka_message_destroy(message)
      }
    }
    rd_kafka_consumer_close(handle.raw)
    return (messages, bytes)
  }
}
