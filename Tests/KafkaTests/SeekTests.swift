import Foundation
import Kafka
import Testing

/// What a consumer delivers after it was told to go elsewhere.
@Suite(.serialized) struct SeekTests {
  let at = TopicPartition(topic: "events", partition: 0)

  private func consumer(_ broker: DevelopmentBroker, _ strategy: String, partitions: Int32 = 1, each count: Int) throws -> Consumer {
    let tests = AssignmentTests()
    try tests.fill(broker, partitions: partitions, each: count)
    let consumer = try Consumer(tests.settings(broker, strategy), group: "g", topics: ["events"], mostMessages: 100)
    var isAssigned = false
    try ConsumerTests().poll(consumer) { event in
      guard case .assigned = event else { return }
      isAssigned = true
      try consumer.assign([])
    } until: { isAssigned }
    return consumer
  }

  /// What comes within a while: offsets, ends, and how often an offset was out of range.
  private func take(_ consumer: Consumer, seconds: Double) -> (offsets: [Int64], ends: [Int64], outOfRange: Int) {
    let end = Date(timeIntervalSinceNow: seconds)
    var (offsets, ends, outOfRange): ([Int64], [Int64], Int) = ([], [], 0)
    while Date() < end {
      for event in consumer.poll(timeout: 50) {
        switch event {
        case .records(let set): for i in 0..<set.count { offsets.append(set.offsets[i]) }
        case .endOfPartition(_, let offset): ends.append(offset)
        case .offsetOutOfRange: outOfRange += 1
        default: break
        }
      }
    }
    return (offsets, ends, outOfRange)
  }

  /// Thousands of records, and the end behind them, wait in librdkafka's queue.
  @Test(arguments: ["cooperative-sticky", "range"])
  func nothingOfWhatWasFetchedBeforeIsDeliveredAfterASeek(strategy: String) throws {
    let broker = try DevelopmentBroker()
    let consumer = try consumer(broker, strategy, each: 3000)
    defer { consumer.close() }
    try consumer.assign([(at, offset: 1000)])
    for paused in [false, true] {
      Thread.sleep(forTimeInterval: 1)
      _ = consumer.poll(timeout: 100)
      if paused { consumer.pause([at]) }
      try consumer.seek(at, to: 500)
      consumer.resume([at])
      let first = consumer.poll(timeout: 2000).compactMap { event -> Int64? in if case .records(let set) = event { set.offsets[0] } else { nil } }
      #expect(first == [500])
    }
    let rest = take(consumer, seconds: 3)
    #expect(rest.offsets.last == 2999)
    #expect(rest.ends == [3000])
  }

  /// The report waited behind other things while the partition was sent elsewhere.
  @Test(arguments: ["cooperative-sticky", "range"])
  func anOffsetThatWasOutOfRangeBeforeASeekIsNotReportedAfterIt(strategy: String) throws {
    let broker = try DevelopmentBroker()
    let consumer = try consumer(broker, strategy, each: 10)
    defer { consumer.close() }
    try consumer.assign([(at, offset: 5000)])
    Thread.sleep(forTimeInterval: 2)
    try consumer.seek(at, to: 4)
    let (offsets, ends, outOfRange) = take(consumer, seconds: 3)
    #expect(outOfRange == 0)
    #expect(Set(offsets) == Set(4..<10))
    #expect(ends.last == 10)
  }
}
