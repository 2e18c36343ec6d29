import CRdKafka

/// Properties that a consumer has unless somebody says otherwise.
extension Consumer {
  /// 64 MiB of messages wait at most: enough to hide a fetch's round trip, little enough to bound memory.
  static let defaults = [
    ("client.id", "tidemark"), ("queued.min.messages", "100000"), ("queued.max.messages.kbytes", "65536"), ("allow.auto.create.topics", "false"),
    ("topic.metadata.refresh.interval.ms", "10000"), ("statistics.interval.ms", "5000"),
  ]

  /// How long fetching pauses when the queue is full: 1 s by default, which throttles a fast consumer. Versions before
  /// 2.2 have no property of its own for it and use the one for errors.
  static let pace = [("fetch.error.backoff.ms", "50"), ("fetch.queue.backoff.ms", "10")]

  /// How a member of the group is told apart from a dead one.
  ///
  /// A member hears of a change at its next heartbeat only, and a cooperative change needs two rounds of all members: with
  /// librdkafka's 3 s between heartbeats a partition that moves stands still for up to 3 s; two small requests a second are
  /// cheap. The partitions of a member that was killed stand still until its session ends: 6 s is the least that Kafka's
  /// brokers allow (`group.min.session.timeout.ms`). Heartbeats come from a thread of librdkafka's own, whatever the others
  /// wait for, and taking a living member for dead costs a handover, not an event. A static member is there to
  /// come back: it keeps librdkafka's 45 s.
  ///
  /// With `group.protocol=consumer` (KIP-848) the brokers decide all of it, and librdkafka refuses these properties.
  static func membership(_ settings: KafkaSettings, isStatic: Bool) -> [(String, String)] {
    if settings.properties.last(where: { $0.name == "group.protocol" })?.value.lowercased() == "consumer" { return [] }
    return [("partition.assignment.strategy", "cooperative-sticky"), ("heartbeat.interval.ms", "500"), ("session.timeout.ms", isStatic ? "45000" : "6000")]
  }

  /// Two seconds. librdkafka before 2.1 waits a thousandth of what it is told.
  static let seekTimeout: Int32 = rd_kafka_version() < 0x0201_00ff ? 2_000_000 : 2000
}
