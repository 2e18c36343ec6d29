import Aggregation
import Journal
import Testing

@testable import Simulation

/// A full disk costs time, never records.
@Suite struct DiskFullTests {
  /// What a small instance appends, a call at a time.
  static let batches: [[JournalEntry]] = [
    [opened(0), opened(1)], [delta(0, to: 3), delta(1, to: 7, bytes: 200)], [delta(0, to: 9, bytes: 300)],
    [flushed(0, 3), snapshot(0, flushed: 3, bytes: 250)],
    [delta(1, to: 8), delta(1, to: 9)], [flushed(1, 9), snapshot(1, flushed: 9)],
    [delta(0, to: 15, bytes: 500)],
  ]

  @Test(arguments: [true, false]) func diskFullLosesNothing(preallocates: Bool) throws {
    for capacity in stride(from: 0, to: 3000, by: 1) {
      let storage = SimulatedDisk()
      storage.preallocates = preallocates
      storage.capacity = capacity
      let journal = try openJournal(storage, segmentBytes: 512)
      var refusals = 0
      for (n, batch) in Self.batches.enumerated() {
        do {
          try journal.append(batch, now: 0)
        } catch {
          #expect(error.kind == .full)
          refusals += 1
          let before = Model(Self.batches[..<n].joined())
          #expect(try before.difference(journal) == nil, "capacity \(capacity), batch \(n)")
          let elsewhere = try openJournal(storage.copy(), segmentBytes: 512)
          #expect(try before.difference(elsewhere) == nil, "capacity \(capacity), batch \(n), after a restart")
          #expect(elsewhere.openingReport == [])
          storage.capacity = nil
          try journal.append(batch, now: 0)
        }
      }
      #expect(refusals <= 1)
      if capacity < 600 { #expect(refusals == 1) }
      try journal.close()
      let again = try openJournal(storage)
      #expect(try Model(Self.batches.joined()).difference(again) == nil, "capacity \(capacity)")
    }
  }

  @Test func aFullDiskLeavesNoFilesBehind() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 1)], now: 0)
    let before = storage.paths
    storage.capacity = storage.used + 40
    #expect(throws: JournalError.self) { try journal.append([snapshot(0, flushed: 1)], now: 0) }
    #expect(storage.paths == before)
    #expect(journal.bytesOnDisk == storage.used)
  }

  @Test func aFailedSyncStopsTheJournal() throws {
    let storage = SimulatedDisk()
    let journal = try openJournal(storage)
    try journal.append([opened(0), delta(0, to: 1)], now: 0)
    storage.syncFails = true
    let first = #expect(throws: JournalError.self) { try journal.append([delta(0, to: 2)], now: 0) }
    #expect(first?.kind == .failed)
    #expect(first?.message == "sync \(segmentPath(1)): input/output error (errno 5)")
    // A later sync that succeeds says nothing about what the failed one has lost.
    storage.syncFails = false
    let second = #expect(throws: JournalError.self) { try journal.append([delta(0, to: 3)], now: 0) }
    #expect(second?.kind == .failed)
    #expect(second?.message.contains("stopped at an earlier error") == true)
  }
}
