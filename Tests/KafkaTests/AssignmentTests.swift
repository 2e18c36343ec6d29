import Foundation
import Kafka
import Testing

/// The group's assignment is answered before it is known where each partition begins: nothing that is kept stands still for
/// it, and a member that waits for PostgreSQL does not keep the group waiting.
@Suite(.serialized) struct AssignmentTests {
  func settings(_ broker: DevelopmentBroker, _ strategy: String) -> KafkaSettings {
    KafkaSettings(
      bootstrapServers: broker.bootstrapServers,
      properties: [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "100"), ("partition.assignment.strategy", strategy)])
  }

  func fill(_ broker: DevelopmentBroker, partitions: Int32, each count: Int) throws {
    try broker.createTopic("events", partitions: partitions)
    let producer = try Producer(KafkaSettings(bootstrapServers: broker.bootstrapServers), topic: "events")
    for partition in 0..<partitions {
      for i in 0..<count { try producer.send(key: nil, payload: Array("\(i)".utf8), partition: partition) }
    }
    try producer.flush()
  }

  @Test(arguments: ["cooperative-sticky", "range"])
  func partitionsAreAddedOneByOneAfterTheAnswerAndNoneIsDeliveredTwice(strategy: String) throws {
    let broker = try DevelopmentBroker()
    try fill(broker, partitions: 4, each: 500)
    let consumer = try Consumer(settings(broker, strategy), group: "g", topics: ["events"])
    defer { consumer.close() }
    var offered: [TopicPartition] = []
    var seen: [TopicPartition: [Int64]] = [:]
    let end = Date(timeIntervalSinceNow: 60)
    func isWhole(_ at: TopicPartition) -> Bool { seen[at]?.count ?? 0 >= 490 }
    var added: [TopicPartition] = []
    while Date() < end, added.count < 4 || !added.allSatisfy(isWhole) {
      for event in consumer.poll(timeout: 20) {
        if case .assigned(let partitions) = event {
          offered += partitions
          try consumer.assign([])
        }
        if case .records(let set) = event { for i in 0..<set.count { seen[set.at, default: []].append(set.offsets[i]) } }
      }
      // The next one as soon as the one before has delivered something.
      if added.last.map({ seen[$0] != nil }) ?? true, let next = offered.first(where: { !added.contains($0) }) {
        #expect(seen[next] == nil)
        try consumer.assign([(next, offset: 10)])
        added.append(next)
      }
    }
    #expect(added.count == 4)
    for at in added { #expect(seen[at] == Array(10..<500), "\(at)") }
  }

  /// librdkafka refuses to give up what it was never told to fetch, and would wait for the answer for ever.
  @Test func whatWasNeverFetchedCanBeGivenUp() throws {
    let broker = try DevelopmentBroker()
    try fill(broker, partitions: 4, each: 10)
    let first = try Consumer(settings(broker, "cooperative-sticky"), group: "g", topics: ["events"])
    var owned: Set<TopicPartition> = []
    var end = Date(timeIntervalSinceNow: 30)
    while owned.count < 4, Date() < end {
      for case .assigned(let partitions) in first.poll(timeout: 50) {
        owned.formUnion(partitions)
        try first.assign([])
      }
    }
    #expect(owned.count == 4)
    // One of four is fetched when the group wants two of them back.
    let fetched = try #require(owned.min { $0.partition < $1.partition })
    try first.assign([(fetched, offset: 0)])
    let second = try Consumer(settings(broker, "cooperative-sticky"), group: "g", topics: ["events"])
    var others: Set<TopicPartition> = []
    end = Date(timeIntervalSinceNow: 30)
    while others.count < 2, Date() < end {
      for event in first.poll(timeout: 20) {
        if case .assigned = event { try first.assign([]) }
        if case .revoked(let partitions) = event {
          owned.subtract(partitions)
          first.unassign(partitions)
        }
      }
      for case .assigned(let partitions) in second.poll(timeout: 20) {
        others.formUnion(partitions)
        try second.assign([])
      }
    }
    #expect(others.count == 2)
    #expect(owned.count == 2 && owned.isDisjoint(with: others))
    second.close()
    first.close()
  }
}
