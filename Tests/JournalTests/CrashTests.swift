import Aggregation
import Journal
import Testing

@testable import Simulation

/// Processes die and the power goes, at any step.
@Suite struct CrashTests {
  /// Both ways to come back from a crash, several throws of the dice for the second.
  static func aftermaths(_ storage: SimulatedDisk, _ dice: inout Dice) -> [SimulatedDisk] {
    [storage.restarted()] + (0..<4).map { _ in storage.restarted(&dice) }
  }

  /// Every step of a snapshot: the file aside, its sync, its new name, the record, the old file's end.
  @Test func crashBetweenSnapshotAndRename() throws {
    let before = [opened(0), delta(0, to: 5), snapshot(0, flushed: 5, bytes: 30), delta(0, to: 9), delta(0, to: 12)]
    let last = [snapshot(0, flushed: 9, bytes: 80)]
    var dice = Dice(1)
    var sawOld = 0
    var sawNew = 0
    var steps = 0
    while true {
      let storage = SimulatedDisk()
      let journal = try openJournal(storage, segmentBytes: 300)
      for entry in before { try journal.append([entry], now: 0) }
      storage.stepsToCrash = steps
      try? journal.append(last, now: 0)
      guard storage.isDead else { break }
      for disk in Self.aftermaths(storage, &dice) {
        let reopened = try openJournal(disk, segmentBytes: 300)
        let isOld = try Model(before).difference(reopened) == nil
        let isNew = try Model(before + last).difference(reopened) == nil
        #expect(isOld != isNew, "step \(steps)")
        sawOld += isOld ? 1 : 0
        sawNew += isNew ? 1 : 0
        #expect(SegmentTests.snapshots(disk).count == 1)
        #expect(!disk.paths.contains { $0.hasSuffix(".tmp") })
      }
      steps += 1
    }
    #expect(sawOld > 0 && sawNew > 0)
  }

  private func attempt(_ body: () throws(JournalError) -> Void) -> JournalError? {
    do throws(JournalError) {
      try body()
      return nil
    } catch {
      return error
    }
  }

  /// An instance's life in short: random entries, crashes, full disks, restarts. After each restart, the journal holds what
  /// some prefix of the entries gives, one that has everything that was synced.
  @Test(arguments: 0..<150) func holdsAPrefixAfterEveryCrash(seed: Int) throws {
    var dice = Dice(UInt64(seed) &* 7919)
    let policies: [SyncPolicy] = [.always, .interval(milliseconds: 5), .never]
    let policy = policies[seed % 3]
    let segmentBytes = [300, 700, 2500][dice.below(3)]
    var storage = SimulatedDisk()
    storage.preallocates = dice.below(4) > 0
    var life = Life()
    for _ in 0..<6 {
      let journal = try openJournal(storage, sync: policy, segmentBytes: segmentBytes)
      try life.settle(journal)
      if dice.flip() { storage.stepsToCrash = dice.below(6000) }
      var now: Int64 = 0
      for _ in 0..<(10 + dice.below(60)) {
        now += Int64(dice.below(4))
        let entries = life.next(&dice)
        if dice.below(12) == 0 { storage.capacity = storage.used + dice.below(400) }
        var problem = attempt { () throws(JournalError) in try journal.append(entries, now: now) }
        if problem?.kind == .full, !storage.isDead {
          #expect(try life.model.difference(journal) == nil, "after a full disk")
          storage.capacity = nil
          problem = attempt { () throws(JournalError) in try journal.append(entries, now: now) }
        }
        if let problem {
          #expect(storage.isDead, "\(problem)")
          life.mayHaveTaken(entries)
          break
        }
        life.took(entries, isDurable: policy == .always)
        if dice.below(20) == 0, attempt({ () throws(JournalError) in try journal.sync() }) == nil { life.synced() }
      }
      if storage.isDead {
        let isPowerFailure = dice.flip()
        storage = isPowerFailure ? storage.restarted(&dice) : storage.restarted()
        storage.capacity = nil
        if !isPowerFailure { life.processDied() }
      } else if dice.flip() {
        #expect(try life.model.difference(journal) == nil)
        try journal.close()
        life.synced()
        storage = storage.restarted(&dice)
      } else {
        storage = storage.restarted(&dice)
      }
    }
    try life.settle(openJournal(storage, segmentBytes: segmentBytes))
  }
}

/// The entries that a journal was given, and how many of them it has to have.
struct Life {
  /// Models after each entry, the first one before all.
  private var states: [Model] = [Model()]
  private var durable = 0
  private var written = 0
  var model: Model { states.last! }

  mutating func took(_ entries: [JournalEntry], isDurable: Bool) {
    mayHaveTaken(entries)
    written = states.count - 1
    if isDurable { synced() }
  }
  mutating func mayHaveTaken(_ entries: [JournalEntry]) {
    for entry in entries {
      var next = model
      next.take(entry)
      states.append(next)
    }
  }
  mutating func synced() { durable = written }
  /// What was written is in the kernel's memory.
  mutating func processDied() { durable = written }

  /// Finds out which prefix the journal has; it is the past from now on. Returns its length.
  @discardableResult mutating func settle(_ journal: Journal) throws -> Int {
    #expect(journal.openingReport.allSatisfy { $0.contains(": cut ") || $0.contains(": removed ") }, "\(journal.openingReport)")
    for count in stride(from: states.count - 1, through: durable, by: -1) where try states[count].difference(journal) == nil {
      #expect(journal.takeWarnings() == [])
      states = [states[count]]
      durable = 0
      written = 0
      return count
    }
    let difference = try states[durable].difference(journal)
    Issue.record("no prefix from \(durable) to \(states.count - 1) is what the journal holds; the first: \(difference ?? "")")
    throw Lost()
  }
  struct Lost: Error {}

  /// A few entries that an engine could write now.
  func next(_ dice: inout Dice) -> [JournalEntry] {
    var now = model
    var entries: [JournalEntry] = []
    for _ in 0...dice.below(4) {
      let id = partition(Int32(dice.below(3)))
      let entry: JournalEntry
      if let held = now.partitions[id] {
        switch dice.below(20) {
        case 0: entry = .dropped(id, held.epoch)
        case 1: entry = .opened(id, Epoch(held.epoch.value + 1), held.end)
        case 2, 3:
          let flushed = held.deltas.isEmpty ? held.end : dice.pick(held.deltas).to
          entry = .snapshot(id, held.epoch, flushed: flushed, content(dice.below(1 << 30), dice.below(400)))
        case 4, 5: entry = .flushed(id, held.epoch, held.end)
        default:
          let size = dice.below(10) == 0 ? dice.below(1500) : dice.below(80)
          entry = .delta(
            id, held.epoch, to: Offset(held.end.value + 1 + Int64(dice.below(9))), content(dice.below(1 << 30), size))
        }
      } else {
        entry = .opened(id, Epoch(1 + Int64(dice.below(50))), Offset(Int64(dice.below(1000))))
      }
      now.take(entry)
      entries.append(entry)
    }
    return entries
  }
}
