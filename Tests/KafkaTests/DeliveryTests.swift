import Foundation
import Kafka
import Testing

/// What librdkafka does on its own while messages flow must not cost one: it pauses and resumes the partitions that an
/// instance keeps whenever the group changes.
@Suite(.serialized) struct DeliveryTests {
  /// A topic of eight partitions that is written to all the time, so that messages arrive while a poll waits for more.
  final class Stream {
    let broker: DevelopmentBroker
    let settings: KafkaSettings
    private let producer: Producer
    private(set) var sent = 0

    init(_ properties: [(String, String)] = []) throws {
      broker = try DevelopmentBroker()
      try broker.createTopic("events", partitions: 8)
      settings = KafkaSettings(
        bootstrapServers: broker.bootstrapServers,
        properties: [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "100"), ("fetch.wait.max.ms", "5")] + properties)
      producer = try Producer(KafkaSettings(bootstrapServers: broker.bootstrapServers, properties: [("linger.ms", "1")]), topic: "events")
    }

    func send(_ count: Int) throws {
      for _ in 0..<count {
        try producer.send(key: nil, payload: Array("\(sent)".utf8), partition: Int32(sent % 8))
        sent += 1
      }
    }

    func flush() throws { try producer.flush() }
  }

  /// A member of the group that answers at once and notes every message that did not follow the one before it.
  final class Member {
    let consumer: Consumer
    private(set) var next: [TopicPartition: Int64] = [:]
    private(set) var jumps: [String] = []
    private(set) var count = 0
    private(set) var changes = 0

    /// The position of whoever takes a partition over is known to this process: it stands for PostgreSQL.
    static nonisolated(unsafe) var positions: [TopicPartition: Int64] = [:]
    // Safety: the tests of this suite run one after the other, each on one thread.

    init(_ stream: Stream) throws {
      consumer = try Consumer(stream.settings, group: "g", topics: ["events"])
    }

    func poll(_ timeout: Int32) throws {
      for event in consumer.poll(timeout: timeout) {
        switch event {
        case .assigned(let partitions):
          changes += 1
          for at in partitions { next[at] = Self.positions[at] ?? 0 }
          try consumer.assign(partitions.map { ($0, offset: Self.positions[$0] ?? 0) })
        case .revoked(let partitions):
          changes += 1
          consumer.unassign(partitions)
          for at in partitions { next[at] = nil }
        case .lost(let partitions): for at in partitions { next[at] = nil }
        case .records(let set):
          guard let expected = next[set.at] else { continue }
          for i in 0..<set.count where set.offsets[i] != expected + Int64(i) {
            jumps.append("\(set.at): offset \(set.offsets[i]) came after \(expected + Int64(i) - 1)")
            break
          }
          count += set.count
          next[set.at] = set.offsets[set.count - 1] + 1
          Self.positions[set.at] = next[set.at]
        default: break
        }
      }
    }
  }

  /// With an eager strategy nothing is kept over a rebalance, so nothing can be skipped.
  @Test func aCooperativeRebalanceSkipsNothing() throws {
    Member.positions = [:]
    let stream = try Stream()
    let first = try Member(stream)
    defer { first.consumer.close() }
    for _ in 0..<2 {
      let changes = first.changes
      let second = try Member(stream)
      var joined = Date(timeIntervalSinceNow: 20)
      // Until the second has received something, and for a while after.
      while second.count == 0, Date() < joined {
        try stream.send(40)
        try first.poll(100)
        try second.poll(5)
      }
      #expect(second.count > 0, "the second member got nothing in 20 s")
      second.consumer.close()
      joined = Date(timeIntervalSinceNow: 20)
      while first.next.count < 8, Date() < joined {
        try stream.send(40)
        try first.poll(100)
      }
      #expect(first.changes > changes)
      #expect(second.jumps == [])
    }
    try stream.flush()
    let end = Date(timeIntervalSinceNow: 20)
    func consumed() -> Int { Int(Member.positions.values.reduce(0, +)) }
    while consumed() < stream.sent, Date() < end { try first.poll(50) }
    #expect(first.jumps == [])
    #expect(consumed() == stream.sent)
  }

  /// librdkafka's own thread carries a pause out while the next poll has messages in hand.
  @Test func aPauseSkipsNothing() throws {
    Member.positions = [:]
    let stream = try Stream([("fetch.message.max.bytes", "4000")])
    try stream.send(8000)
    try stream.flush()
    let member = try Member(stream)
    defer { member.consumer.close() }
    let end = Date(timeIntervalSinceNow: 60)
    while member.next.count < 8, Date() < end { try member.poll(20) }
    let all = Array(member.next.keys)
    while member.count < stream.sent, Date() < end {
      member.consumer.pause(all)
      try member.poll(2)
      member.consumer.resume(all)
      try member.poll(2)
    }
    #expect(member.jumps == [])
    #expect(member.count == stream.sent)
  }
}
