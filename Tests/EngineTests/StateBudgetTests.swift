import Aggregation
import Decoding
import Engine
import Testing

/// State that outgrows its budget holds the partition that it is of, says so, and drops nothing.
@Suite struct StateBudgetTests {
  let greedy = PartitionID(topic: "t", partition: 0)
  let modest = PartitionID(topic: "t", partition: 1)

  static let plan = Plan(
    topology: "test", fingerprint: "f", topics: ["t"], idPath: nil, timePath: ["at"], timeFormat: .epochSeconds,
    fields: [FieldPlan(name: "user", path: ["user"], kind: .string, presence: .required)], partitionKey: 0,
    aggregates: [
      AggregatePlan(
        name: "a", window: .tumbling(length: 60_000_000), by: [0], filter: [], measures: [MeasurePlan(name: "n", kind: .count)], groupLimit: 10_000_000)
    ], allowedLateness: 3_600_000_000, deduplicateWithin: nil, maxFutureSkew: 300_000_000)

  private func instance(budget: Int, _ partitions: [PartitionID]) -> Instance {
    var limits = InstanceLimits()
    limits.stateBytes = budget
    let instance = Instance(plan: Self.plan, seed: 1, limits: limits, dice: 1)
    _ = instance.handle(.assigned(partitions), now: 0)
    for id in partitions {
      _ = instance.take(
        .acquired(
          AcquiredPartition(partition: id, epoch: Epoch(1), previousEpoch: Epoch(0), nextOffset: Offset(0), watermark: nil, chunks: [], horizon: nil),
          local: nil), now: 0)
    }
    return instance
  }

  /// A group for every event, or one for all of them.
  private func feed(_ instance: Instance, _ id: PartitionID, _ offsets: Range<Int64>, now: Milliseconds, distinct: Bool) -> [Effect] {
    let messages = offsets.map {
      RecordBuffer.Message(
        offset: $0, timestamp: 1_700_000_000_000, key: nil, payload: Array("{\"at\":1700000000,\"user\":\"\(distinct ? "user number \($0) of many" : "u")\"}".utf8))
    }
    return RecordBuffer(messages).withRecords { instance.handle(.records(id, $0), now: now) }
  }

  private func paused(_ effects: [Effect]) -> [PartitionID] { effects.flatMap { if case .pause(let ids) = $0 { ids } else { [PartitionID]() } } }
  private func resumed(_ effects: [Effect]) -> [PartitionID] { effects.flatMap { if case .resume(let ids) = $0 { ids } else { [PartitionID]() } } }
  private func alerts(_ effects: [Effect]) -> [(id: PartitionID, text: String)] {
    effects.compactMap { if case .alert(let id, _, "state_over_budget", true, let text) = $0 { (id, text) } else { nil } }
  }

  @Test func theGreedyPartitionIsHeldAndTheOthersGoOn() {
    let instance = instance(budget: 16 << 20, [greedy, modest])
    var effects: [Effect] = []
    var end: Int64 = 0
    while paused(effects).isEmpty, end < 200_000 {
      effects = feed(instance, modest, end..<end + 4000, now: end, distinct: false)
      effects += feed(instance, greedy, end..<end + 4000, now: end, distinct: true)
      end += 4000
    }
    #expect(paused(effects) == [greedy] && alerts(effects).map(\.id) == [greedy])
    #expect(alerts(effects)[0].text.contains("(budget 16)"))
    // About 200 bytes a group: it was held in time.
    #expect((40_000...120_000).contains(end), "\(end)")
    // The modest one goes on for as long as it likes.
    for begin in stride(from: end, to: end + 40_000, by: 4000) {
      let effects = feed(instance, modest, begin..<begin + 4000, now: begin, distinct: false)
      #expect(paused(effects).isEmpty && resumed(effects).isEmpty && alerts(effects).isEmpty)
    }
  }

  @Test func whenThereIsRoomAgainItGoesOn() throws {
    let instance = instance(budget: 16 << 20, [greedy, modest])
    // Both are greedy; the larger one is held first, the other one at the next step.
    var (held, end): ([PartitionID], Int64) = ([], 0)
    var flush: FlushRequest?
    while held.count < 2, end < 200_000 {
      for id in [greedy, modest] where !held.contains(id) {
        let effects = feed(instance, id, end..<end + 4000, now: 0, distinct: true)
        held += paused(effects)
        for case .flush(let request) in effects { flush = request }
      }
      end += 4000
    }
    #expect(Set(held) == [greedy, modest])
    // One of them goes to another instance: the other one is let go at the next look.
    let request = try #require(flush)
    _ = instance.handle(.flushFinished(request.id, .committed), now: 1)
    _ = instance.handle(.lost([greedy]), now: 2)
    let effects = instance.handle(.tick, now: 10_000)
    #expect(resumed(effects) == [modest])
  }

  @Test func withoutABudgetNothingIsHeld() {
    let instance = instance(budget: .max, [greedy])
    for begin in stride(from: Int64(0), to: 40_000, by: 4000) { #expect(paused(feed(instance, greedy, begin..<begin + 4000, now: 0, distinct: true)).isEmpty) }
  }
}
