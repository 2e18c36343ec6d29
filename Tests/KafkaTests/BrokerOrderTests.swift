import Foundation
import Kafka
import Testing

/// Faults on demand: how they are written, and that the broker has them.
@Suite(.serialized) struct BrokerOrderTests {
  @Test(arguments: [
    ("error FETCH 6 5", BrokerOrder.fail(.fetch, error: 6, count: 5)), ("drop heartbeat 2", .drop(.heartbeat, count: 2)),
    ("clear SYNCGROUP", .clear(.syncGroup)), ("  down 1 ", .down(1)), ("up 3", .up(3)), ("rtt 1 200", .roundTrip(1, milliseconds: 200)),
    ("leader t 3 2", .leader(TopicPartition(topic: "t", partition: 3), 2)), ("coordinator g 2", .coordinator(group: "g", 2)),
  ])
  func anOrderIsALineOfWords(line: String, order: BrokerOrder) throws {
    #expect(try BrokerOrder(line) == order)
    #expect(try BrokerOrder(order.description) == order)
  }

  @Test(arguments: [
    ("", "expected error, drop"), ("explode 1", "expected error, drop"), ("error FETCH 6", "a count is missing"),
    ("error FETSCH 6 1", "FETSCH is not a kind of request: PRODUCE, FETCH"), ("down one", "one is not a broker, which is 1 to 1000"),
    ("rtt 1 -5", "-5 is not milliseconds"), ("up 1 2", "2 is too much"), ("drop FETCH 10001", "which is 1 to 10000"),
  ])
  func whatIsWrongIsNamed(line: String, words: String) {
    #expect { try BrokerOrder(line) } throws: { "\($0)".contains(words) }
  }

  @Test func aBrokerThatIsDownDoesNotAnswerUntilItIsUp() throws {
    let broker = try DevelopmentBroker()
    try broker.createTopic("t", partitions: 3)
    let metadata = try ClusterMetadata(KafkaSettings(bootstrapServers: broker.bootstrapServers))
    #expect(try metadata.partitionCount("t") == 3)
    try broker.carryOut(.down(1))
    #expect(throws: KafkaError.self) { try metadata.partitionCount("t", timeout: 500) }
    try broker.carryOut(.up(1))
    #expect(try metadata.partitionCount("t", timeout: 10_000) == 3)
    #expect { try broker.carryOut(.down(7)) } throws: { "\($0)".hasPrefix("down 7: ") }
  }

  @Test func answersComeLateByTheRoundTrip() throws {
    let broker = try DevelopmentBroker()
    try broker.createTopic("t", partitions: 1)
    let metadata = try ClusterMetadata(KafkaSettings(bootstrapServers: broker.bootstrapServers))
    _ = try metadata.partitionCount("t")
    try broker.carryOut(.roundTrip(1, milliseconds: 700))
    let begin = ContinuousClock.now
    #expect(try metadata.partitionCount("t") == 1)
    #expect(ContinuousClock.now - begin >= .milliseconds(650))
  }

  /// A refused request fails as Kafka's own would; one that is cut is sent again, and the answer is right.
  @Test func requestsFailAsOftenAsOrdered() throws {
    let broker = try DevelopmentBroker()
    try broker.createTopic("t", partitions: 1)
    let metadata = try ClusterMetadata(KafkaSettings(bootstrapServers: broker.bootstrapServers))
    let at = TopicPartition(topic: "t", partition: 0)
    #expect(try metadata.watermarks(at).high == 0)
    try broker.carryOut(.fail(.listOffsets, error: 3, count: 100))
    #expect(throws: KafkaError.self) { try metadata.watermarks(at, timeout: 1000) }
    try broker.carryOut(.clear(.listOffsets))
    #expect(try metadata.watermarks(at).high == 0)
    try broker.carryOut(.drop(.listOffsets, count: 1))
    #expect(try metadata.watermarks(at, timeout: 10_000).high == 0)
  }
}
