import CRdKafka

/// Topics, made on demand.
public enum Admin {
  /// Makes a topic; one that exists is left as it is. Blocks up to `timeout` milliseconds.
  public static func createTopic(_ settings: KafkaSettings, _ topic: String, partitions: Int32, timeout: Int32 = 10_000) throws {
    // A consumer's handle: a producer that asks for a topic makes it, with as many partitions as the broker likes.
    let handle = try RdKafkaHandle(RD_KAFKA_CONSUMER, settings, defaults: [("client.id", "tidemark-admin"), ("allow.auto.create.topics", "false")], keepsErrors: true)
    if try handle.partitionCount(topic, timeout: timeout) != nil { return }
    var words = [CChar](repeating: 0, count: 512)
    guard let new = rd_kafka_NewTopic_new(topic, partitions, -1, &words, words.count) ?? rd_kafka_NewTopic_new(topic, partitions, 1, &words, words.count)
    else { throw KafkaError(code: .configuration, message: "topic \(topic): \(RdKafkaHandle.text(words))") }
    defer { rd_kafka_NewTopic_destroy(new) }
    let queue = rd_kafka_queue_new(handle.raw)
    defer { rd_kafka_queue_destroy(queue) }
    var topics: [OpaquePointer?] = [new]
    rd_kafka_CreateTopics(handle.raw, &topics, 1, nil, queue)
    guard let event = rd_kafka_queue_poll(queue, timeout) else {
      throw KafkaError(code: .unreachable, message: "topic \(topic) was not made within \(timeout) ms")
    }
    defer { rd_kafka_event_destroy(event) }
    var count = 0
    guard let result = rd_kafka_event_CreateTopics_result(event), let answers = rd_kafka_CreateTopics_result_topics(result, &count), count == 1
    else { throw KafkaError(code: .other, message: "topic \(topic): \(String(cString: rd_kafka_event_error_string(event)))") }
    let code = rd_kafka_topic_result_error(answers[0])
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS else {
      throw KafkaError(code: .other, message: "topic \(topic): \(RdKafkaHandle.text(code))")
    }
  }
}
