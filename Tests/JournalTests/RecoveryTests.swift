import Aggregation
import Journal
import Testing

@testable import Simulation

/// What is given back, and to whom.
@Suite struct RecoveryTests {
  @Test func openedWithoutDroppedContinuesUnderTheNewEpoch() throws {
    let storage = SimulatedDisk()
    let entries = [
      opened(0, epoch: 3, at: 100), delta(0, epoch: 3, to: 110), flushed(0, epoch: 3, 110), delta(0, epoch: 3, to: 130),
      opened(0, epoch: 4, at: 130), delta(0, epoch: 4, to: 131),
    ]
    let journal = try openJournal(storage)
    try journal.append(entries, now: 0)
    let state = try #require(try journal.recover(partition(0)))
    #expect(state.epoch == Epoch(4))
    #expect(state.deltas.count == 3)
    try journal.close()
    let again = try openJournal(storage)
    #expect(try Model(entries).difference(again) == nil)
  }

  @Test func droppedForgetsAll() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 5), snapshot(0, flushed: 2), delta(0, to: 8), opened(1), delta(1, to: 3)], now: 0)
    try journal.append([dropped(0, epoch: 9)], now: 0)
    #expect(try journal.recover(partition(0)) == nil)
    #expect(journal.partitions == [partition(1)])
    #expect(SegmentTests.snapshots(storage) == [])
    try journal.append([opened(0, epoch: 9, at: 4)], now: 0)
    #expect(try journal.recover(partition(0)) == nil)
    try journal.append([delta(0, epoch: 9, to: 6)], now: 0)
    try journal.close()
    let again = try openJournal(storage)
    #expect(try again.recover(partition(0))?.deltas == [content(6, 40)])
    #expect(try again.recover(partition(2)) == nil)
  }

  @Test func openedElsewhereLeavesNoHole() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 5), snapshot(0, flushed: 5), delta(0, to: 8)], now: 0)
    try journal.append([opened(0, epoch: 2, at: 9), delta(0, epoch: 2, to: 12)], now: 0)
    #expect(journal.statistics.discontinued == 1)
    let state = try #require(try journal.recover(partition(0)))
    #expect(state.snapshot == nil)
    #expect(state.deltas == [content(12, 40)])
  }

  @Test func staleEntriesAreLeftOut() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0, epoch: 5), delta(0, epoch: 5, to: 4)], now: 0)
    try journal.append(
      [
        delta(0, epoch: 4, to: 6), delta(0, epoch: 5, to: 4), flushed(0, epoch: 4, 4), snapshot(0, epoch: 4, flushed: 4),
        delta(1, epoch: 5, to: 3),
      ], now: 0)
    #expect(journal.statistics.stale == 5)
    #expect(try journal.recover(partition(0))?.deltas == [content(4, 40)])
    #expect(journal.partitions == [partition(0)])
  }

  @Test func snapshotKeepsWhatPostgreSQLDoesNotHave() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 5), delta(0, to: 8), delta(0, to: 11)], now: 0)
    try journal.append([flushed(0, 5)], now: 0)
    #expect(try journal.recover(partition(0))?.deltas.count == 3)
    try journal.append([snapshot(0, flushed: 5)], now: 0)
    let state = try #require(try journal.recover(partition(0)))
    #expect(state.deltas == [content(8, 40), content(11, 40)])
    #expect(state.snapshot == content(5, 60))
  }

  @Test func aBrokenSnapshotCostsOnlyItsPartition() throws {
    let storage = SimulatedDisk()
    let writer = try openJournal(storage)
    let entries = [opened(0), delta(0, to: 5), snapshot(0, flushed: 5), delta(0, to: 6), opened(1), delta(1, to: 3)]
    try writer.append(entries, now: 0)
    try writer.close()
    let path = try #require(SegmentTests.snapshots(storage).first)
    for at in storage.contents(path).indices {
      let broken = storage.copy()
      broken.change(path) { $0[at] ^= 0x04 }
      let journal = try openJournal(broken)
      #expect(try journal.recover(partition(0)) == nil, "byte \(at)")
      let warnings = journal.takeWarnings()
      #expect(warnings.count == 1 && warnings[0].contains(path) && warnings[0].contains("product.events/0"))
      #expect(try journal.recover(partition(1)) != nil)
      // The partition begins anew, and the log knows.
      try journal.append([dropped(0), opened(0, epoch: 2, at: 6), delta(0, epoch: 2, to: 9)], now: 0)
      try journal.close()
      let again = try openJournal(broken)
      #expect(again.openingReport == [])
      #expect(try again.recover(partition(0))?.deltas == [content(9, 40)])
      #expect(SegmentTests.snapshots(broken) == [])
    }
    let missing = storage.copy()
    try missing.delete(path)
    let journal = try openJournal(missing)
    #expect(journal.openingReport == ["product.events/0: what the journal holds of it cannot be used: \(path) is missing"])
    #expect(journal.partitions == [partition(1)])
  }

  @Test func damageAfterOpeningIsRefused() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 5, bytes: 400)], now: 0)
    storage.change(segmentPath(1)) { $0[300] ^= 1 }
    let error = #expect(throws: JournalError.self) { try journal.recover(partition(0)) }
    #expect(error?.kind == .corrupt)
    #expect(error?.file == segmentPath(1))
  }

  @Test func anotherTopologysJournalIsRefused() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0)], now: 0)
    try journal.close()
    let fingerprint = try #require(refusal(storage, identity: JournalIdentity(fingerprint: "77aa", seed: 7)))
    #expect(fingerprint.kind == .foreign)
    #expect(fingerprint.message.contains("topology 3f9a, not 77aa") && fingerprint.message.contains("--data-dir"))
    let seed = try #require(refusal(storage, identity: JournalIdentity(fingerprint: "3f9a", seed: 8)))
    #expect(seed.kind == .foreign)
    #expect(seed.message.contains("hash seed 7, not 8"))
    try Journal.remove(directory, storage: storage)
    #expect(refusal(storage, identity: JournalIdentity(fingerprint: "77aa", seed: 7)) == nil)
  }

  @Test func lockIsExclusive() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    let error = try #require(refusal(storage))
    #expect(error.kind == .locked)
    #expect(error.message.contains("process 4711"))
    let removal = #expect(throws: JournalError.self) { try Journal.remove(directory, storage: storage) }
    #expect(removal?.kind == .locked)
    try journal.close()
    try journal.close()
    #expect(refusal(storage) == nil)
    #expect(throws: JournalError.self) { try journal.append([opened(0)], now: 0) }
  }
}
