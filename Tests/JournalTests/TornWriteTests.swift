import Aggregation
import Journal
import Testing

@testable import Simulation

/// A tail that was not written whole is cut; damage before it is refused.
@Suite struct TornWriteTests {
  /// Entries that are appended one by one, and the disk after each.
  static let entries: [JournalEntry] = [
    opened(0), delta(0, to: 10), opened(1), delta(1, to: 5, bytes: 700), delta(0, to: 25, bytes: 20), flushed(0, 10),
    snapshot(0, flushed: 10), delta(0, to: 30), dropped(1), opened(1, epoch: 2, at: 5), delta(1, epoch: 2, to: 9, bytes: 3),
  ]

  /// A journal of one segment, and where the log ended after each number of entries.
  static func written() throws -> (storage: SimulatedDisk, ends: [Int]) {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    var ends: [Int] = []
    for entry in entries {
      try journal.append([entry], now: 0)
      ends.append(headerSize + journal.statistics.bytes)
    }
    return (storage.copy(), ends)
  }

  @Test(arguments: [true, false]) func opensOnTornWriteAtEveryByte(isFilledWithZeros: Bool) throws {
    let (storage, ends) = try Self.written()
    let bytes = storage.contents(segmentPath(1))
    for cut in 0..<ends.last! {
      let torn = storage.copy()
      torn.change(segmentPath(1)) {
        $0.removeLast($0.count - cut)
        if isFilledWithZeros { $0 += [UInt8](repeating: 0, count: bytes.count - cut) }
      }
      // A record may lose zeros to zeros.
      let wholeEntries = ends.filter { $0 <= cut || isFilledWithZeros && bytes[cut..<$0].allSatisfy { $0 == 0 } }.count
      let journal = try openJournal(torn)
      #expect(try Model(Self.entries.prefix(wholeEntries)).difference(journal) == nil, "cut at byte \(cut)")
      // And it goes on where it was cut.
      let rest = Self.entries.dropFirst(wholeEntries)
      try journal.append(Array(rest), now: 0)
      try journal.close()
      let again = try openJournal(torn)
      #expect(try Model(Self.entries).difference(again) == nil, "went on after the cut at byte \(cut)")
      #expect(again.openingReport == [])
    }
  }

  @Test func saysWhatItCut() throws {
    let (storage, ends) = try Self.written()
    let begin = ends[ends.count - 2]
    storage.change(segmentPath(1)) { $0[ends.last! - 1] ^= 0xFF }
    let journal = try openJournal(storage)
    #expect(
      journal.openingReport == [
        "\(segmentPath(1)), byte \(begin): cut \(ends.last! - begin) bytes of a record that was not written whole"
      ])
  }

  @Test func refusesFlippedByteAtEveryByteBeforeTheTail() throws {
    let (storage, ends) = try Self.written()
    let tail = ends[ends.count - 2]
    for at in 0..<ends.last! {
      for mask: UInt8 in [0x01, 0xFF] {
        let flipped = storage.copy()
        flipped.change(segmentPath(1)) { $0[at] ^= mask }
        guard at < tail else {
          let journal = try openJournal(flipped)
          #expect(journal.openingReport.count == 1, "the last record is damaged at byte \(at)")
          #expect(try Model(Self.entries.dropLast()).difference(journal) == nil)
          continue
        }
        let error = try #require(refusal(flipped), "byte \(at)")
        #expect(error.kind == .corrupt)
        #expect(error.file == segmentPath(1))
        // The first entry's append begins with the roster.
        #expect(at < ends[0] ? error.byte! <= at : error.byte == ends.last { $0 <= at }, "byte \(at), said \(error)")
      }
    }
  }

  @Test func refusesFlippedByteAtEveryByteOfAnOlderSegment() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, segmentBytes: 600)
    try journal.append([opened(0)], now: 0)
    for n in 1...20 { try journal.append([delta(0, to: Int64(n))], now: 0) }
    try journal.close()
    let older = storage.paths.filter { $0.hasSuffix(".log") }.dropLast()
    #expect(older.count >= 3)
    for path in older {
      for at in storage.contents(path).indices {
        let flipped = storage.copy()
        flipped.change(path) { $0[at] ^= 0x40 }
        let error = try #require(refusal(flipped), "\(path), byte \(at)")
        #expect(error.kind == .corrupt)
        #expect(error.file == path)
        #expect(try #require(error.byte) <= at)
      }
      let cut = storage.copy()
      cut.change(path) { $0.removeLast() }
      #expect(refusal(cut)?.kind == .corrupt)
    }
    // The first one's absence cannot be seen in the files' names, but in the partition's chain.
    let headless = storage.copy()
    try headless.delete(older.first!)
    let reopened = try openJournal(headless)
    #expect(reopened.openingReport.count == 1)
    #expect(reopened.openingReport.first?.contains("offsets 0 to ") == true)
    #expect(try reopened.recover(partition(0)) == nil)
    let gap = storage.copy()
    try gap.delete(older[1])
    #expect(refusal(gap)?.kind == .corrupt)
  }

  /// One append of several records is one write: nobody knows that it was durable, but damage is no tear.
  @Test func refusesFlippedByteWithinTheLastAppend() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 1, bytes: 300), delta(0, to: 2, bytes: 300)], now: 0)
    for at in 150..<400 {
      let flipped = storage.copy()
      flipped.change(segmentPath(1)) { $0[at] ^= 0x10 }
      #expect(refusal(flipped)?.kind == .corrupt, "byte \(at)")
    }
  }

  @Test func cutsWhatAPowerFailureWroteOutOfOrder() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage, sync: .never)
    try journal.append([opened(0), delta(0, to: 1)], now: 0)
    try journal.sync()
    for n in 2...4 { try journal.append([delta(0, to: Int64(n), bytes: 600)], now: 0) }
    let bytes = storage.contents(segmentPath(1))
    for sector in 1..<4 {
      let torn = storage.copy()
      torn.change(segmentPath(1)) { for i in sector * 512..<(sector + 1) * 512 { $0[i] = 0 } }
      #expect(torn.contents(segmentPath(1)) != bytes)
      let reopened = try openJournal(torn)
      #expect(reopened.openingReport.count == 1)
      let held = try #require(try reopened.recover(partition(0)))
      #expect((1...3).contains(held.deltas.count))
      #expect(held.deltas.first == content(1, 40))
    }
  }

  /// The same hole in records that were synced is damage.
  @Test func refusesAHoleInSyncedRecords() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 1)], now: 0)
    for n in 2...4 { try journal.append([delta(0, to: Int64(n), bytes: 600)], now: 0) }
    storage.change(segmentPath(1)) { for i in 512..<1024 { $0[i] = 0 } }
    try journal.close()
    let error = try #require(refusal(storage))
    #expect(error.kind == .corrupt)
    #expect(error.description.hasPrefix("\(segmentPath(1)), byte "))
  }
}
