import Aggregation
import Journal
import Testing

@testable import Simulation

/// The disk holds about what is needed, and no more.
@Suite struct SegmentTests {
  static func segments(_ storage: SimulatedDisk) -> [String] { storage.paths.filter { $0.hasSuffix(".log") } }
  static func snapshots(_ storage: SimulatedDisk) -> [String] { storage.paths.filter { $0.hasSuffix(".snapshot") } }

  @Test func segmentsAreRemoved() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, segmentBytes: 2000)
    var model = Model()
    func append(_ entries: [JournalEntry]) throws {
      try journal.append(entries, now: 0)
      for entry in entries { model.take(entry) }
    }
    try append([opened(0)])
    for n in 1...40 { try append([delta(0, to: Int64(n), bytes: 200)]) }
    #expect(Self.segments(storage).count >= 6)
    #expect(Self.segments(storage).first == segmentPath(1))
    try append([flushed(0, 39), snapshot(0, flushed: 39)])
    #expect(Self.segments(storage).count <= 2)
    #expect(Self.snapshots(storage).count == 1)
    #expect(journal.statistics.segmentsRemoved >= 5)
    #expect(journal.bytesOnDisk == storage.used)
    try append([delta(0, to: 41), flushed(0, 41), snapshot(0, flushed: 41)])
    #expect(Self.snapshots(storage).count == 1)
    #expect(try model.difference(journal) == nil)
    try journal.close()
    let again = try openJournal(storage)
    #expect(again.bytesOnDisk == storage.used)
    #expect(try model.difference(again) == nil)
  }

  @Test func openedOutlivesItsSegment() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, segmentBytes: 1000)
    var entries = [opened(0), opened(1, epoch: 8, at: 77), opened(2), delta(2, to: 4), snapshot(2, flushed: 4)]
    for n in 1...30 { entries += [delta(0, to: Int64(n), bytes: 200), snapshot(0, flushed: Int64(n))] }
    for entry in entries { try journal.append([entry], now: 0) }
    #expect(Self.segments(storage).first != segmentPath(1))
    try journal.close()
    let again = try openJournal(storage)
    #expect(try Model(entries).difference(again) == nil)
    #expect(again.partitions == [partition(0), partition(1), partition(2)])
    let more = [delta(1, epoch: 8, to: 80)]
    try again.append(more, now: 0)
    #expect(try Model(entries + more).difference(again) == nil)
  }

  /// A partition with a record now and then would hold on to every segment.
  @Test func aQuietPartitionDoesNotHoldOldSegments() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, segmentBytes: 2000)
    var model = Model()
    func append(_ entry: JournalEntry) throws {
      try journal.append([entry], now: 0)
      model.take(entry)
    }
    try append(opened(0))
    try append(opened(1))
    var largest = 0
    for n in 1...300 {
      try append(delta(0, to: Int64(n), bytes: 500))
      if n % 10 == 0 { try append(delta(1, to: Int64(n), bytes: 10)) }
      if n % 20 == 0 { try append(snapshot(0, flushed: Int64(n))) }
      largest = max(largest, storage.used)
    }
    #expect(journal.statistics.carriedBytes > 0)
    #expect(journal.statistics.carriedBytes < journal.statistics.bytes / 2)
    // Twenty Deltas of 500 bytes at most are needed, and 30 small ones.
    #expect(largest < 2 * (20 * 600 + 30 * 100) + 5 * 2000, "\(largest) bytes on the disk")
    #expect(try model.difference(journal) == nil)
    try journal.close()
    let again = try openJournal(storage, segmentBytes: 2000)
    #expect(try model.difference(again) == nil)
  }

  @Test func aLargeAppendGetsASegmentOfItsOwnSize() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, segmentBytes: 500)
    let entries = [opened(0), delta(0, to: 1, bytes: 30), delta(0, to: 2, bytes: 5000), delta(0, to: 3, bytes: 10)]
    for entry in entries { try journal.append([entry], now: 0) }
    #expect(Self.segments(storage).count == 3)
    try journal.close()
    let again = try openJournal(storage)
    #expect(try Model(entries).difference(again) == nil)
  }

  @Test func oneWriteForEachAppend() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, sync: .never)
    try journal.append([opened(0)], now: 0)
    let before = storage.writes
    try journal.append((1...20).map { delta(0, to: $0) }, now: 0)
    #expect(storage.writes == before + 1)
    #expect(journal.statistics.records == 22)
    #expect(journal.statistics.bytes + headerSize == storage.contents(segmentPath(1)).lastIndex { $0 != 0 }! + 1)
  }

  @Test func syncsWhenThePolicySays() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, sync: .interval(milliseconds: 100), segmentBytes: 1 << 20)
    try journal.append([opened(0)], now: 1000)
    let start = storage.syncs
    try journal.append([delta(0, to: 1)], now: 1050)
    try journal.tick(now: 1099)
    #expect(storage.syncs == start)
    try journal.tick(now: 1100)
    #expect(storage.syncs == start + 1)
    try journal.tick(now: 5000)
    #expect(storage.syncs == start + 1)
    try journal.append([delta(0, to: 2)], now: 5000)
    try journal.append([delta(0, to: 3)], now: 5100)
    #expect(storage.syncs == start + 2)
    try journal.append([delta(0, to: 4)], now: 5101)
    try journal.sync()
    #expect(storage.syncs == start + 3)
    #expect(journal.statistics.syncs == 3)

    let lazy = SimulatedDisk()
    let never = try openJournal(lazy, sync: .never, segmentBytes: 1 << 20)
    try never.append([opened(0)], now: 0)
    let segment = lazy.syncs
    for n in 1...50 { try never.append([delta(0, to: Int64(n))], now: Int64(n) * 1000) }
    #expect(lazy.syncs == segment)
  }
}
