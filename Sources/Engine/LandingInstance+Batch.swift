import Aggregation

/// What is in hand, from its first record to the moment at which its end is known, or it is given up.
extension LandingInstance {
  private static let firstWait: Milliseconds = 100
  private static let longestWait: Milliseconds = 5000
  /// While somebody waits for the end of it.
  private static let longestWaitOfDrain: Milliseconds = 1000

  mutating func read(_ id: PartitionID, _ to: Offset, _ rows: Int, _ bytes: Int, _ now: Milliseconds) {
    guard let task = note(id, now) else { return }
    tasks[id]?.next = to
    if let lacked = task.lacked {
      tasks[id]?.lacked = nil
      effects.append(.say(.info, "\(id) goes on at offset \(task.next.value); Kafka lacked \(lacked.offset.value)"))
    }
    if rows >= limits.batchRows || bytes >= limits.batchBytes { batch?.isDue = true }
  }

  mutating func reachedEnd(_ id: PartitionID, _ end: Offset, _ now: Milliseconds) {
    guard let task = note(id, now) else { return }
    tasks[id]?.end = end
    tasks[id]?.next = max(task.next, end)
  }

  /// Adds a partition to what is in hand; nil: it was not to be read.
  private mutating func note(_ id: PartitionID, _ now: Milliseconds) -> Task? {
    guard let task = tasks[id], reading(id) != nil else { return nil }
    if batch == nil { batch = Batch(since: now) }
    batch?.partitions.insert(id)
    return task
  }

  /// Lands what is in hand when its time has come, tries again, or gives it up.
  mutating func advanceBatch(_ now: Milliseconds, _ isIdle: Bool) {
    guard let batch else { return }
    switch batch.stage {
    case .underWay: break
    case .open:
      let isWanted = batch.partitions.contains { tasks[$0]?.isLeaving ?? true }
      guard batch.isDue || isIdle || isWanted || endBy != nil || now - batch.since >= limits.interval else { return }
      self.batch?.stage = .underWay
      effects.append(.land)
    case .waiting(let until, let resolves):
      if let deadline, now >= deadline { return giveUp(now, isUnknown: resolves) }
      guard now >= until else { return }
      self.batch?.stage = .underWay
      effects.append(resolves ? .resolve : .land)
    }
  }

  /// Until when what is in hand is tried: somebody waits for it.
  private var deadline: Milliseconds? {
    let revoked = batch?.partitions.compactMap { tasks[$0]?.drainBy }.min()
    return [revoked, endBy].compactMap { $0 }.min()
  }

  mutating func ended(_ outcome: LandingOutcome, _ now: Milliseconds) {
    guard let ended = batch, ended.stage == .underWay else { return }
    switch outcome {
    case .committed:
      isStoreAway = false
      nextGoalLook = now
      if ended.attempts > 0 { effects.append(.say(.info, "the batch is in PostgreSQL after \(ended.attempts) more attempts")) }
      effects += [.acknowledge, .discard]
      batch = nil
    case .fenced(let fenced):
      isStoreAway = false
      effects.append(.say(.warning, "fenced: \(fenced.map(\.description).joined(separator: ", ")) stand elsewhere or belong to another instance now"))
      // Nothing of the batch was written: the others are read again from where they stand.
      discard(now, fenced: fenced)
    case .failed(let reason): wait(now, resolves: false, reason)
    case .unknown(let reason): wait(now, resolves: true, reason)
    case .fatal(let reason):
      effects.append(.discard)
      batch = nil
      fail("landing: \(reason)")
    }
  }

  /// Waits twice as long each time. Said at first, every tenth time, and when it is something else than before.
  private mutating func wait(_ now: Milliseconds, resolves: Bool, _ reason: String) {
    guard var waiting = batch else { return }
    isStoreAway = true
    let longest = deadline == nil ? Self.longestWait : Self.longestWaitOfDrain
    let delay = min(Self.firstWait << Milliseconds(min(waiting.attempts, 6)), longest)
    if waiting.attempts % 10 == 0 || waiting.trouble != reason {
      effects.append(
        .say(.warning,
          resolves ? "COMMIT got no answer, looking at the offset rows: \(reason)" : "a batch was not landed, trying again: \(reason)"))
    }
    waiting.attempts += 1
    waiting.trouble = reason
    waiting.stage = .waiting(until: now + delay, resolves: resolves)
    batch = waiting
  }

  private mutating func giveUp(_ now: Milliseconds, isUnknown: Bool) {
    let how =
      isUnknown
      ? "whether the last batch is in PostgreSQL is not known; who reads on looks at the offset rows"
      : "the last batch is not landed; it will be read again from Kafka"
    effects.append(.say(.warning, "PostgreSQL does not take what is in hand (\(batch?.trouble ?? "")): \(how)"))
    discard(now)
  }

  /// Nothing is in hand any more; partitions that stay are taken over anew, and read on from where they stand: fenced ones after
  /// a while, the others at once.
  private mutating func discard(_ now: Milliseconds, fenced: [PartitionID] = []) {
    effects.append(.discard)
    let left = (batch?.partitions ?? []).filter { tasks[$0]?.isLeaving == false }.sorted()
    for id in left { tasks[id]?.phase = .stopped(until: fenced.contains(id) ? now + limits.reacquireAfter : now) }
    if !left.isEmpty { effects.append(.pause(left)) }
    batch = nil
  }
}
