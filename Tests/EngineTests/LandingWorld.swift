import Aggregation
import Engine

/// PostgreSQL as landing sees it: offset rows, landed offsets, transactions whose COMMIT got no answer and that go on in
/// the server until somebody waits for their locks.
struct LandingTables {
  struct Transaction {
    var parts: [LandingPart]
    var willCommit: Bool
  }
  var rows: [PartitionID: OffsetRow] = [:]
  /// How often each offset was landed.
  var landed: [PartitionID: [Int]] = [:]
  var isAway = false
  var abandoned: [Transaction] = []
  var unknownCommits = 0

  /// Reading waits for nobody.
  func standing(_ ids: [PartitionID]) -> [PartitionID: (next: Offset, epoch: Epoch)] {
    Dictionary(uniqueKeysWithValues: ids.compactMap { id in rows[id].map { (id, ($0.next, $0.epoch)) } })
  }

  /// Whoever writes these rows waits for the transactions that hold them.
  mutating func settle(_ ids: [PartitionID]) {
    for transaction in abandoned where transaction.parts.contains(where: { ids.contains($0.partition) }) && transaction.willCommit { commit(transaction.parts) }
    abandoned.removeAll { $0.parts.contains { ids.contains($0.partition) } }
  }

  mutating func commit(_ parts: [LandingPart]) {
    for part in parts {
      rows[part.partition]!.next = part.to
      for offset in part.from.value..<part.to.value { landed[part.partition]![Int(offset)] += 1 }
    }
  }

  func matches(_ part: LandingPart) -> Bool { rows[part.partition] == OffsetRow(next: part.from, epoch: part.epoch) }

  mutating func acquire(_ ids: [PartitionID]) -> [PartitionID: OffsetRow] {
    settle(ids)
    for id in ids { rows[id]!.epoch = Epoch(rows[id]!.epoch.value + 1) }
    return rows.filter { ids.contains($0.key) }
  }
}

/// One landing process: its lander, its polling thread, and what waits between them. The lander decides by
/// `LandingInstance` and `LandingProcedure`, the other by `Rebalance`: what runs for real.
struct LandingMember {
  enum Message {
    case records(PartitionID, Range<Int64>), end(PartitionID, Int64), event(LandingEvent)

    var isInOrderOfRecords: Bool {
      switch self {
      case .records, .end, .event(.started), .event(.startFailed): true
      case .event: false
      }
    }
  }

  struct Refused: Error {}

  var landing: LandingInstance
  var rebalance = Rebalance()
  var inbox: [Message] = []
  var commands: [ConsumerCommand] = []
  var batch: [PartitionID: LandingPart] = [:]
  /// Next offset that is fetched of each assigned partition, and whether it is paused.
  var positions: [PartitionID: (next: Int64, isPaused: Bool)] = [:]
  var owned: Set<PartitionID> = []
  var isRevoking = false
  var hasDrained = false
  /// Faults that must not be.
  var faults: [String] = []

  init(_ limits: LandingLimits) { landing = LandingInstance(limits) }

  // MARK: Lander

  mutating func lander(_ tables: inout LandingTables, _ dice: inout Dice, now: Milliseconds) {
    let takes = landing.takesRecords || landing.isOver
    guard let at = inbox.firstIndex(where: { takes || !$0.isInOrderOfRecords }) else { return handle(.tick(isIdle: true), &tables, &dice, now) }
    switch inbox.remove(at: at) {
    case .event(let event): handle(event, &tables, &dice, now)
    case .end(let id, let end):
      guard let (epoch, next, known) = landing.reading(id), known != Offset(end) else { break }
      if next.value < end { faults.append("\(id): the end at \(end) was noted at \(next.value)") }
      var part = batch[id] ?? LandingPart(id, epoch: epoch, at: next)
      part.endOffset = Offset(end)
      batch[id] = part
      handle(.reachedEnd(id, Offset(end)), &tables, &dice, now)
    case .records(let id, let offsets):
      guard let (epoch, next, _) = landing.reading(id), offsets.upperBound > next.value else { break }
      if offsets.lowerBound > next.value { faults.append("\(id): \(offsets) was read at \(next.value)") }
      var part = batch[id] ?? LandingPart(id, epoch: epoch, at: next)
      part.to = Offset(offsets.upperBound)
      batch[id] = part
      handle(.read(id, to: part.to, rows: batch.values.reduce(0) { $0 + Int($1.to.value - $1.from.value) }, bytes: 0), &tables, &dice, now)
    }
    handle(.tick(isIdle: false), &tables, &dice, now)
  }

  mutating func handle(_ event: LandingEvent, _ tables: inout LandingTables, _ dice: inout Dice, _ now: Milliseconds) {
    var events = [event]
    while !events.isEmpty {
      for effect in landing.handle(events.removeFirst(), now: now) { if let answer = perform(effect, &tables, &dice) { events.append(answer) } }
    }
  }

  private mutating func perform(_ effect: LandingEffect, _ tables: inout LandingTables, _ dice: inout Dice) -> LandingEvent? {
    switch effect {
    case .heard(let ids): commands.append(.heard(ids))
    case .start(let id, let offset, let number): commands.append(.start(id, offset, number: number))
    case .pause(let ids): commands.append(.pause(ids))
    case .release(let id): commands.append(.release(id))
    case .drained: hasDrained = true
    case .fail(let text): faults.append(text)
    case .acquire(let ids): return tables.isAway ? .acquireFailed(ids, "away") : .acquired(tables.acquire(ids))
    case .land: return .ended(run(LandingProcedure(batch.keys.sorted().map { batch[$0]! }, staged: false), &tables, &dice))
    case .resolve: return .ended(run(LandingProcedure(resolving: batch.keys.sorted().map { batch[$0]! }), &tables, &dice))
    case .discard: batch = [:]
    case .acknowledge, .giveBack, .say, .alert, .lookForGoal, .dropOldTables: break
    }
    return nil
  }

  private mutating func run(_ made: LandingProcedure, _ tables: inout LandingTables, _ dice: inout Dice) -> LandingOutcome {
    let parts = batch.keys.sorted().map { batch[$0]! }
    var procedure = made
    var step = procedure.begin()
    while true {
      guard case .perform(let statement) = step else { break }
      if tables.isAway || dice.one(in: 60), statement != .commit {
        step = procedure.next(after: .failed(StoreFailure(.connectionLost, "away"), isMissingPartition: false))
        continue
      }
      var result = LandingProcedure.Result.done
      switch statement {
      case .moveOffsets:
        tables.settle(parts.map(\.partition))
        result = .moved(parts.count(where: tables.matches))
      case .readOffsets: result = .standing(tables.standing(parts.map(\.partition)))
      case .commit where dice.one(in: 4):
        // It goes on in the server, and nobody knows how.
        tables.unknownCommits += 1
        tables.abandoned.append(.init(parts: parts, willCommit: dice.one(in: 2)))
        if dice.one(in: 2) { tables.settle(parts.map(\.partition)) }
        result = .failed(StoreFailure(.connectionLost, "no answer"), isMissingPartition: false)
      case .commit: tables.commit(parts)
      case .begin, .copyRows, .writeBooks, .rollback: break
      }
      step = procedure.next(after: result)
    }
    guard case .ended(let outcome) = step else { return .failed("") }
    return outcome
  }

  // MARK: Polling thread

  /// Carries out what the lander asked for, then fetches. Returns what was unassigned.
  mutating func poll(_ length: Int64, _ dice: inout Dice) -> [PartitionID] {
    var unassigned: [PartitionID] = []
    for command in commands {
      var (asked, refuses) = (rebalance, false)
      if case .start = command { refuses = dice.one(in: 20) }
      let isLate = refuses && dice.one(in: 2)
      let carried = asked.carryOut(command) { call in
        // A seek that nobody waits for any more is carried out all the same.
        if case .seek = call, isLate { _ = carryOut(call) }
        guard !refuses, let ids = carryOut(call) else { throw Refused() }
        unassigned += ids
      }
      rebalance = asked
      switch carried {
      case .started(let id, let number): inbox.append(.event(.started(id, number: number)))
      case .startFailed(let id, let number, let reason): inbox.append(.event(.startFailed(id, number: number, reason)))
      case .done, .refused, .ended: break
      }
    }
    commands = []
    for id in positions.keys.sorted() where inbox.count < 8 {
      guard let (next, isPaused) = positions[id], !isPaused, dice.one(in: 2) else { continue }
      let to = min(length, next + dice.number(1, 40))
      if to > next { inbox.append(.records(id, next..<to)) }
      if to == length { inbox.append(.end(id, length)) }
      positions[id]?.next = to
    }
    return unassigned
  }

  /// What it unassigned; nil: it would not.
  private mutating func carryOut(_ call: ConsumerCall) -> [PartitionID]? {
    switch call {
    case .assign(let ids): for (id, offset) in ids where owned.contains(id) { positions[id] = (offset, false) }
    case .unassign(let ids):
      for id in ids { positions[id] = nil }
      isRevoking = false
      return ids
    case .pause(let ids): for id in ids { positions[id]?.isPaused = true }
    case .resume(let ids): for id in ids { positions[id]?.isPaused = false }
    case .seek(let id, let offset):
      guard positions[id] != nil else { return nil }
      positions[id]?.next = offset
    case .acknowledge: break
    }
    return []
  }

  mutating func assigned(_ ids: [PartitionID]) {
    owned.formUnion(ids)
    for call in rebalance.calls(for: rebalance.assigned(ids)) { _ = carryOut(call) }
    inbox.append(.event(.assigned(ids)))
  }

  /// What it unassigned at once.
  mutating func revoked(_ ids: [PartitionID]) -> [PartitionID] {
    isRevoking = true
    var unassigned: [PartitionID] = []
    for call in rebalance.calls(for: rebalance.revoked(ids)) { unassigned += carryOut(call) ?? [] }
    inbox.append(.event(.revoked(ids)))
    return unassigned
  }

  mutating func lost(_ ids: [PartitionID]) {
    owned.subtract(ids)
    for id in ids { positions[id] = nil }
    rebalance.lost(ids)
    isRevoking = false
    inbox.append(.event(.lost(ids)))
  }
}

/// Randomness by a seed.
struct Dice {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
  mutating func number(_ low: Int64, _ high: Int64) -> Int64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return low + Int64(state % UInt64(high - low + 1))
  }
  mutating func one(in count: Int64) -> Bool { number(1, count) == 1 }
}
