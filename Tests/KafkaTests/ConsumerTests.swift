import Foundation
import Kafka
import Testing

/// Against librdkafka's mock cluster, over real sockets.
@Suite(.serialized) struct ConsumerTests {
  /// Polls until `done` or half a minute has gone.
  func poll(_ consumer: Consumer, _ body: (ConsumerEvent) throws -> Void, until done: () -> Bool) rethrows {
    let deadline = Date(timeIntervalSinceNow: 30)
    while !done(), Date() < deadline { for event in consumer.poll(timeout: 50) { try body(event) } }
    #expect(done(), "nothing came within 30 s")
  }

  func produce(_ broker: DevelopmentBroker, _ topic: String, _ count: Int) throws -> KafkaSettings {
    let settings = KafkaSettings(bootstrapServers: broker.bootstrapServers)
    try broker.createTopic(topic, partitions: 1)
    let producer = try Producer(settings, topic: topic)
    for i in 0..<count {
      let payload: [UInt8]? = i == 1 ? nil : i == 2 ? [] : Array("{\"n\":\(i)}".utf8)
      try producer.send(key: i == 3 ? nil : Array("k\(i)".utf8), payload: payload, timestamp: 1_700_000_000_000 + Int64(i), partition: 0)
    }
    try producer.flush()
    #expect(producer.delivered == count)
    #expect(producer.failed == 0)
    return settings
  }

  @Test(arguments: ["cooperative-sticky", "range"])
  func tombstonesEmptyPayloadsAndTheEndAreDelivered(strategy: String) throws {
    let broker = try DevelopmentBroker()
    var settings = try produce(broker, "events", 20)
    settings.properties.append(("partition.assignment.strategy", strategy))
    let consumer = try Consumer(settings, group: "g", topics: ["events"])
    defer { consumer.close() }
    var seen: [Int64] = []
    var end: Int64?
    var kinds: [String] = []
    try poll(consumer) { event in
      switch event {
      case .assigned(let partitions): try consumer.assign(partitions.map { ($0, 5 - 5) })
      case .records(let set):
        for i in 0..<set.count {
          seen.append(set.offsets[i])
          #expect(set.timestamps[i] == 1_700_000_000_000 + set.offsets[i])
          if set.payloads[i] == nil { kinds.append("tombstone at \(set.offsets[i])") } else if set.payloadLengths[i] == 0 { kinds.append("empty at \(set.offsets[i])") }
          if set.offsets[i] == 3 { #expect(set.keys[i] == nil) }
        }
      case .endOfPartition(_, let offset): end = offset
      default: break
      }
    } until: { end != nil }
    #expect(seen == Array(0..<20))
    #expect(end == 20)
    #expect(kinds == ["tombstone at 1", "empty at 2"])
  }

  /// Offsets come from PostgreSQL, which may take its time: the callback's answer comes many polls later.
  @Test func anAssignmentMayBeAnsweredLater() throws {
    let broker = try DevelopmentBroker()
    let settings = try produce(broker, "events", 10)
    let consumer = try Consumer(settings, group: "g", topics: ["events"])
    defer { consumer.close() }
    var waiting: [TopicPartition] = []
    poll(consumer) { if case .assigned(let partitions) = $0 { waiting = partitions } } until: { !waiting.isEmpty }
    let answerAt = Date(timeIntervalSinceNow: 2)
    var early = 0
    while Date() < answerAt { for event in consumer.poll(timeout: 50) { if case .records = event { early += 1 } } }
    #expect(early == 0)
    try consumer.assign(waiting.map { ($0, 4) })
    var seen: [Int64] = []
    poll(consumer) { event in
      if case .records(let set) = event { for i in 0..<set.count { seen.append(set.offsets[i]) } }
    } until: { seen.count >= 6 }
    #expect(seen == Array(4..<10))
  }

  @Test(arguments: ["cooperative-sticky", "range"])
  func anOffsetThatKafkaDoesNotHaveIsReportedAndNotJumpedOver(strategy: String) throws {
    let broker = try DevelopmentBroker()
    var settings = try produce(broker, "events", 10)
    settings.properties.append(("partition.assignment.strategy", strategy))
    let consumer = try Consumer(settings, group: "g", topics: ["events"])
    defer { consumer.close() }
    var reported: TopicPartition?
    var records = 0
    try poll(consumer) { event in
      switch event {
      case .assigned(let partitions): try consumer.assign(partitions.map { ($0, 5000) })
      case .offsetOutOfRange(let at, _): reported = at
      case .records: records += 1
      default: break
      }
    } until: { reported != nil }
    #expect(reported == TopicPartition(topic: "events", partition: 0))
    #expect(records == 0)
    // An operator has accepted the gap: fetching begins again where it can.
    try consumer.seek(TopicPartition(topic: "events", partition: 0), to: 7)
    var seen: [Int64] = []
    poll(consumer) { event in
      if case .records(let set) = event { for i in 0..<set.count { seen.append(set.offsets[i]) } }
    } until: { seen.count >= 3 }
    #expect(seen == [7, 8, 9])
  }

  @Test func anUnknownPropertyIsRefusedByName() {
    let settings = KafkaSettings(bootstrapServers: "127.0.0.1:1", properties: [("no.such.property", "secret")])
    #expect {
      _ = try Consumer(settings, group: "g", topics: ["t"])
    } throws: { error in
      let text = String(describing: error)
      return text.contains("no.such.property") && !text.contains("secret")
    }
    #expect(!settings.description.contains("secret"))
  }

  @Test func partitionsAndOffsetsAreRead() throws {
    let broker = try DevelopmentBroker()
    let settings = try produce(broker, "events", 10)
    let metadata = try ClusterMetadata(settings)
    #expect(try metadata.partitionCount("events") == 1)
    let marks = try metadata.watermarks(TopicPartition(topic: "events", partition: 0))
    #expect(marks == (0, 10))
  }

  private func consumer(_ broker: DevelopmentBroker) throws -> (Consumer, [TopicPartition]) {
    let consumer = try Consumer(try produce(broker, "events", 10), group: "g", topics: ["events"])
    var waiting: [TopicPartition] = []
    poll(consumer) { if case .assigned(let partitions) = $0 { waiting = partitions } } until: { !waiting.isEmpty }
    return (consumer, waiting)
  }

  private func records(_ consumer: Consumer, seconds: Double) -> Int {
    let end = Date(timeIntervalSinceNow: seconds)
    var count = 0
    while Date() < end { for event in consumer.poll(timeout: 50) { if case .records(let set) = event { count += set.count } } }
    return count
  }

  /// Whoever takes a partition over anew knows nothing of a pause before.
  @Test func aPauseEndsWithTheAssignment() throws {
    let broker = try DevelopmentBroker()
    let (consumer, waiting) = try consumer(broker)
    defer { consumer.close() }
    try consumer.assign(waiting.map { ($0, 0) })
    consumer.pause(waiting)
    consumer.unassign(waiting)
    _ = records(consumer, seconds: 0.5)
    try consumer.assign(waiting.map { ($0, 0) })
    #expect(records(consumer, seconds: 5) == 10)
  }
}
