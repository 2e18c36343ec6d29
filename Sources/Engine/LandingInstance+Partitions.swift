import Aggregation

/// Partitions come, stop, and go.
extension LandingInstance {
  private static let firstAcquireWait: Milliseconds = 200
  private static let longestAcquireWait: Milliseconds = 5000

  mutating func assigned(_ partitions: [PartitionID], _ now: Milliseconds) {
    effects.append(.heard(partitions))
    guard endBy == nil else { return }
    for id in partitions { tasks[id] = Task(phase: .stopped(until: now)) }
  }

  mutating func revoked(_ partitions: [PartitionID], _ now: Milliseconds) {
    for id in partitions {
      guard tasks[id] != nil else {
        effects.append(.release(id))
        continue
      }
      tasks[id]?.isLeaving = true
      tasks[id]?.drainBy = now + limits.revokeTime
    }
  }

  /// Somebody else lands them from where PostgreSQL stands. What is in hand is landed at once: perhaps it is not fenced yet.
  mutating func lost(_ partitions: [PartitionID]) {
    for id in partitions {
      tasks[id] = nil
      effects.append(.release(id))
    }
  }

  /// Takes over whose time has come; a batch with a part of it would be fenced.
  mutating func acquireWhatIsDue(_ now: Milliseconds) {
    guard endBy == nil else { return }
    let due = tasks.filter { id, task in
      guard case .stopped(let until) = task.phase else { return false }
      return now >= until && !task.isLeaving && batch?.partitions.contains(id) != true
    }.keys.sorted()
    guard !due.isEmpty else { return }
    for id in due { tasks[id]?.phase = .acquiring }
    effects.append(.acquire(due))
  }

  mutating func acquired(_ rows: [PartitionID: OffsetRow], _ now: Milliseconds) {
    isStoreAway = false
    acquireFailures = 0
    var new: [PartitionID] = []
    for (id, row) in rows.sorted(by: { $0.key < $1.key }) {
      guard var task = tasks[id], task.phase == .acquiring else { continue }
      starts += 1
      if task.isNew { new.append(id) }
      task.isNew = false
      task.epoch = row.epoch
      task.next = row.next
      task.end = nil
      // What was fetched before this is still on its way, and would look like a hole.
      task.phase = .starting(starts)
      tasks[id] = task
      effects.append(.start(id, row.next, number: starts))
    }
    if !new.isEmpty { effects.append(.say(.info, "landing \(list(new))")) }
  }

  mutating func acquireFailed(_ partitions: [PartitionID], _ reason: String, _ now: Milliseconds) {
    isStoreAway = true
    let delay = min(Self.firstAcquireWait << Milliseconds(min(acquireFailures, 6)), Self.longestAcquireWait)
    let waiting = partitions.filter { tasks[$0]?.phase == .acquiring }
    for id in waiting { tasks[id]?.phase = .stopped(until: now + delay) }
    if !waiting.isEmpty, acquireFailures % 10 == 0 {
      effects.append(.say(.warning, "cannot take over \(list(waiting)) yet: \(reason); trying again"))
    }
    acquireFailures += 1
  }

  mutating func startFailed(_ id: PartitionID, _ number: UInt64, _ reason: String, _ now: Milliseconds) {
    guard tasks[id]?.phase == .starting(number) else { return }
    effects.append(.say(.warning, reason))
    tasks[id]?.phase = .stopped(until: now + limits.reacquireAfter)
  }

  /// It is taken over anew again and again: an operator may have accepted the gap meanwhile. What is known already is not said.
  mutating func outOfRange(_ id: PartitionID, _ reason: String, _ first: Offset?, _ now: Milliseconds) {
    guard reading(id) != nil, let task = tasks[id] else { return }
    let text =
      "\(id): Kafka no longer has offset \(task.next.value) that landing is to go on at (\(reason))\(first.map { ", the first is \($0.value)" } ?? ""): "
      + "the partition is stopped; `tidemark accept-gap --landing` lets it go on past the gap"
    if batch?.partitions.contains(id) == true { batch?.isDue = true }
    tasks[id]?.phase = .stopped(until: now + limits.reacquireAfter)
    let isKnown = task.lacked.map { $0.offset == task.next && $0.reason == reason && now - $0.at < limits.remindAfter } ?? false
    if !isKnown {
      tasks[id]?.lacked = (task.next, reason, now)
      effects.append(.say(.error, text))
    }
    effects += [.pause([id]), .alert(id, kind: "landing_offset_out_of_range", text)]
    // The goal cannot be reached any more.
    if limits.hasGoal { fail(text) }
  }

  /// Gives up what has no part in a batch any more. A store that does not answer is not told: it finds another owner's name later.
  mutating func releaseWhatIsDone() {
    let done = tasks.filter { $0.value.isLeaving && batch?.partitions.contains($0.key) != true }
    guard !done.isEmpty else { return }
    let held = done.filter { $0.value.epoch.value > 0 }.mapValues(\.epoch)
    if !held.isEmpty, !isStoreAway { effects.append(.giveBack(held)) }
    for id in done.keys.sorted() {
      tasks[id] = nil
      effects.append(.release(id))
    }
  }

  private func list(_ partitions: [PartitionID]) -> String {
    partitions.count <= 8 ? partitions.map(\.description).joined(separator: ", ") : "\(partitions.count) partitions"
  }
}
