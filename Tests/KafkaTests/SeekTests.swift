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
      var offsets: [Int64] = []
      ConsumerTests().poll(consumer) { if case .records(let set) = $0 { offsets.append(set.offsets[0]) } } until: { !offsets.isEmpty }
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
    // Nothing tells that the report is in the queue but polling it.
    Thread.sleep(forTimeInterval: 2)
    try consumer.seek(at, to: 4)
    let (offsets, ends, outOfRange) = take(consumer, seconds: 3)
    #expect(outOfRange == 0)
    #expect(Set(offsets) == Set(4..<10))
    #expect(ends.last == 10)
  }

  /// Of librdkafka's calls, the one that takes a partition out is the answer to a revocation as well.
  @Test func aPartitionThatIsPutInAnewDoesNotAnswerARevocation() throws {
    let broker = try DevelopmentBroker()
    let first = try consumer(broker, "cooperative-sticky", partitions: 4, each: 10)
    try first.assign((0..<4).map { (TopicPartition(topic: "events", partition: $0), offset: 5000) })
    var outOfRange = 0
    ConsumerTests().poll(first) { if case .offsetOutOfRange = $0 { outOfRange += 1 } } until: { outOfRange == 4 }
    let second = try Consumer(AssignmentTests().settings(broker, "cooperative-sticky"), group: "g", topics: ["events"])
    var revoked: [TopicPartition] = [], moved = 0, offsets: [Int64] = []
    func pollBoth(seconds: Double, until isDone: () -> Bool) throws {
      let end = Date(timeIntervalSinceNow: seconds)
      while Date() < end, !isDone() {
        for event in first.poll(timeout: 20) {
          if case .assigned = event { try first.assign([]) }
          if case .revoked(let partitions) = event { revoked = partitions }
          if case .records(let set) = event { for i in 0..<set.count { offsets.append(set.offsets[i]) } }
        }
        for case .assigned(let partitions) in second.poll(timeout: 20) {
          moved += partitions.count
          try second.assign([])
        }
      }
    }
    try pollBoth(seconds: 30) { !revoked.isEmpty }
    let kept = try #require((0..<4).map { TopicPartition(topic: "events", partition: $0) }.first { !revoked.contains($0) })
    #expect(throws: KafkaError.self) { try first.seek(kept, to: 4) }
    try pollBoth(seconds: 3) { moved > 0 }
    #expect(moved == 0)
    first.unassign(revoked)
    try pollBoth(seconds: 30) { moved > 0 }
    #expect(moved == revoked.count)
    try first.seek(kept, to: 4)
    try pollBoth(seconds: 30) { offsets.count >= 6 }
    #expect(offsets == Array(4..<10))
    second.close()
    first.close()
  }
}
