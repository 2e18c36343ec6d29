import Aggregation
import Decoding
import Engine
import Testing

/// What goes along with a flush for operators to see.
@Suite struct FiguresTests {
  let id = PartitionID(topic: "t", partition: 0)

  private func instance(local: LocalState? = nil, next: Int64 = 0, snapshotAfter: Int? = nil) -> Instance {
    var limits = InstanceLimits()
    if let snapshotAfter { limits.snapshotAfter = snapshotAfter }
    let instance = Instance(plan: InstanceTests.plan, seed: 1, limits: limits, dice: 1)
    _ = instance.handle(.assigned([id]), now: 0)
    let partition = AcquiredPartition(
      partition: id, epoch: Epoch(2), previousEpoch: Epoch(1), nextOffset: Offset(next), watermark: nil, chunks: [], horizon: nil)
    _ = instance.take(.acquired(partition, local: local), now: 0)
    return instance
  }

  private func feed(_ instance: Instance, _ stamps: [Int64], from: Int64, now: Milliseconds) -> [Effect] {
    let messages = stamps.enumerated().map { n, stamp in
      RecordBuffer.Message(
        offset: from + Int64(n), timestamp: stamp, key: Array("u".utf8), payload: Array("{\"at\":1700000000,\"user\":\"u\(from + Int64(n))\"}".utf8))
    }
    return RecordBuffer(messages).withRecords { instance.handle(.records(id, $0), now: now) }
  }

  private func flush(in effects: [Effect]) throws -> FlushRequest {
    try #require(effects.lazy.compactMap { if case .flush(let request) = $0 { request } else { nil } }.first)
  }

  private func journaled(_ effects: [Effect]) -> Int {
    effects.reduce(0) { if case .journal(.delta(_, _, to: _, let bytes)) = $1 { $0 + bytes.count } else { $0 } }
  }

  @Test func aFlushTellsOfTheLastRecordTheJournalAndTheGroups() throws {
    let instance = instance()
    // Nobody looks at ages of events here: the last record is noted all the same. One without a timestamp says nothing.
    let effects = feed(instance, [5000, 9000, 7000, -1], from: 0, now: 10)
    let first = try flush(in: effects)
    #expect(first.parts[0].figures.recordTime == 7000)
    #expect(first.parts[0].figures.journalBytes == journaled(effects) && journaled(effects) > 0)
    #expect(first.parts[0].figures.loads == [AggregateLoad(groups: 1, overflowed: 0)])
    #expect(first.parts[0].figures.stateBytes == nil, "not counted yet")
    #expect(instance.observe(memory: true).partitions[0].flushedRecordTime == nil)
    _ = instance.handle(.flushFinished(first.id, .committed), now: 20)
    #expect(instance.observe(memory: true).partitions[0].flushedRecordTime == 7000)
    let second = try flush(in: feed(instance, [-1], from: 4, now: 5000))
    #expect(second.parts[0].figures.recordTime == 7000 && (second.parts[0].figures.stateBytes ?? 0) > 0)
  }

  @Test func withoutAJournalThereAreNoBytesOfIt() throws {
    let instance = instance()
    instance.keepsJournal = false
    #expect(try flush(in: feed(instance, [5000], from: 0, now: 10)).parts[0].figures.journalBytes == nil)
    #expect(instance.observe(memory: false).partitions[0].journalBytes == nil)
  }

  /// An instance that restarts before it has written enough for a snapshot would never write one, and its journal grow with every
  /// restart.
  @Test func whatAJournalHeldBeforeARestartCountsTowardsItsSnapshot() throws {
    func deltas(_ effects: [Effect]) -> [[UInt8]] {
      effects.compactMap { if case .journal(.delta(_, _, to: _, let bytes)) = $0 { bytes } else { nil } }
    }
    func snapshots(_ effects: [Effect]) -> Int { effects.count { if case .journal(.snapshot) = $0 { true } else { false } } }
    let before = instance()
    let effects = feed(before, Array(repeating: 5000, count: 500), from: 0, now: 10)
    let size = journaled(effects)
    #expect(before.observe(memory: false).partitions[0].journalBytes == size)

    let after = instance(local: LocalState(epoch: Epoch(1), snapshot: nil, deltas: deltas(effects)), next: 500, snapshotAfter: size)
    #expect(after.observe(memory: false).partitions[0].journalBytes == size)
    let request = try flush(in: feed(after, [6000], from: 500, now: 20))
    #expect(snapshots(after.handle(.flushFinished(request.id, .committed), now: 30)) == 1)
    // Its snapshot alone is what a restart reads now.
    let shown = try #require(after.observe(memory: false).partitions[0].journalBytes)
    #expect(shown > 0 && shown < 2 * size)
  }
}
