import Aggregation

/// Partitions come and go.
extension Instance {
  func assigned(_ partitions: [PartitionID]) {
    if isDraining || hasDrained { return }
    for id in partitions { tasks[id] = PartitionTask(id: id) }
    guard !partitions.isEmpty else { return }
    acquireRetry?.partitions.removeAll(where: partitions.contains)
    effects.append(.say(.info, "assigned \(list(partitions))"))
    acquire(partitions)
  }

  func acquire(_ partitions: [PartitionID]) {
    for id in partitions { acquisitions[id, default: 0] += 1 }
    effects.append(.acquire(partitions))
  }

  /// Notes the answer to an acquisition; false: a newer one is under way and will fence what this one gave.
  private func isNewest(_ id: PartitionID) -> Bool {
    let left = (acquisitions[id] ?? 1) - 1
    acquisitions[id] = left > 0 ? left : nil
    return left <= 0
  }

  func acquireFailed(_ partitions: [PartitionID], _ reason: String, _ now: Milliseconds) {
    let delay = min(max(200, (acquireRetry?.delay ?? lastAcquireDelay) * 2), 5000)
    let waiting = partitions.filter(isNewest).filter { tasks[$0]?.phase == .acquiring && tasks[$0]?.drainBy == nil }
    guard !waiting.isEmpty else { return }
    acquireRetry = (now + jitter(delay), (acquireRetry?.partitions ?? []) + waiting, delay)
    effects.append(.say(.warning, "cannot take over \(list(waiting)) yet: \(reason); trying again"))
  }

  /// Takes stopped and fenced partitions over anew when their time has come.
  func reacquire(_ now: Milliseconds) {
    var due: [PartitionID] = []
    for task in tasks.values.sorted(by: { $0.id < $1.id }) where (task.phase == .stopped || task.phase == .fenced) && task.drainBy == nil {
      if task.reacquireAt == nil { task.reacquireAt = now + jitter(patience(task)) }
      guard let at = task.reacquireAt, now >= at, !isInFlight(task.id), task.pending?.isEmpty ?? true else { continue }
      task.reacquireAt = nil
      task.phase = .acquiring
      task.isPaused = false
      task.drop()
      due.append(task.id)
    }
    if !due.isEmpty { acquire(due.sorted()) }
  }

  /// A zombie that wakes up while it takes partitions over fences their owner, who has to take them back before long.
  private func patience(_ task: PartitionTask) -> Milliseconds {
    task.phase == .fenced ? min(limits.reacquireAfter, limits.reacquireFencedAfter << Milliseconds(min(task.fences - 1, 8))) : limits.reacquireAfter
  }

  func isInFlight(_ id: PartitionID) -> Bool { flight?.request.parts.contains { $0.partition == id } ?? false }

  func refused(_ id: PartitionID, _ reason: String) {
    guard isNewest(id), let task = tasks[id] else { return }
    task.phase = .stopped
    effects.append(.say(.error, "\(id) stays stopped: \(reason)"))
  }

  /// Builds the state: the store's chunks, then what the local journal has beyond them if it may be used.
  func acquired(_ store: AcquiredPartition, _ local: LocalState?) {
    lastAcquireDelay = 0
    guard isNewest(store.partition), let task = tasks[store.partition], task.phase == .acquiring else { return }
    task.epoch = store.epoch
    // Wanted back meanwhile: it is given up as it is.
    guard task.drainBy == nil else { return }
    task.flushed = store.nextOffset
    task.snapshotBytes = 0
    task.journalBytes = 0
    do {
      var processor = PartitionProcessor(plan: plan, at: Offset(0), hash: hash)
      for chunk in store.chunks where !mutation.contains(.chunksNotLoaded) { processor.restore(try DeltaCodec.decode(chunk)) }
      processor.resume(at: store.nextOffset, watermark: store.watermark)
      var pending = PendingDelta(at: store.nextOffset, aggregateCount: plan.aggregates.count)
      var rebuildFrom = mutation.contains(.horizonNotRebuilt) ? nil : store.horizon
      if let local {
        switch try usable(local, store) {
        case .success(let deltas):
          if let snapshot = local.snapshot { processor.restore(try DeltaCodec.decode(snapshot)) }
          // What the journal has already counts towards the next snapshot: one that restarts often would never get any.
          task.snapshotBytes = local.snapshot?.count ?? 0
          task.journalBytes = local.deltas.reduce(0) { $0 + $1.count }
          for delta in deltas {
            processor.restore(delta)
            if delta.from >= store.nextOffset { pending.append(delta) }
          }
          processor.resume(at: pending.delta.to, watermark: store.watermark)
          let begins = local.snapshot == nil ? deltas.first?.from : Offset(0)
          if let horizon = rebuildFrom, let begins, begins <= horizon.offset { rebuildFrom = nil }
          effects.append(.say(.info, "\(task.id): the local journal continues at \(pending.delta.to.value), PostgreSQL at \(store.nextOffset.value)"))
          effects.append(.journal(.opened(task.id, store.epoch, pending.delta.to)))
        case .failure(let why):
          effects.append(.say(.warning, "\(task.id): the local journal is thrown away: \(why.reason)"))
          effects.append(.journal(.dropped(task.id, store.epoch)))
          effects.append(.journal(.opened(task.id, store.epoch, store.nextOffset)))
        }
      } else {
        effects.append(.journal(.dropped(task.id, store.epoch)))
        effects.append(.journal(.opened(task.id, store.epoch, store.nextOffset)))
      }
      let next = processor.nextOffset
      task.pendingWatermark = store.watermark
      task.pending = pending
      task.state = PartitionState(processor)
      task.isCatchingUp = true
      if let beginning = store.beginning, let horizon = rebuildFrom, horizon.offset < beginning, beginning <= next {
        incompleteHorizon(task.id, horizon.offset, known: beginning)
        rebuildFrom = DeduplicationHorizon(offset: beginning, watermark: horizon.watermark)
      }
      if let horizon = rebuildFrom, horizon.offset < next {
        task.phase = .rebuilding(below: next, mark: horizon.watermark)
        effects.append(.say(.info, "\(task.id): re-reading \(next.value - horizon.offset.value) offsets for the deduplication horizon"))
        start(task, horizon.offset)
      } else {
        task.phase = .running
        flushesSoon = true
        start(task, mutation.contains(.startsOneTooFar) ? Offset(next.value + 1) : next)
      }
    } catch {
      task.phase = .stopped
      effects.append(.alert(task.id, task.epoch, kind: "state_unreadable", stops: true, "state of \(task.id) cannot be read: \(error)"))
    }
  }

  // MARK: Starts

  /// Has the partition fetched from `offset` on. That resumes it: a pause that still holds is said once more.
  private func start(_ task: PartitionTask, _ offset: Offset, failures: Int = 0) {
    starts += 1
    task.start = PartitionTask.Start(number: starts, offset: offset, failures: failures)
    task.isPaused = false
    effects.append(.start(task.id, offset, number: starts))
  }

  /// Whether what comes of the partition was fetched from where its state stands.
  func isFetched(_ task: PartitionTask) -> Bool { task.isActive && (task.start == nil || mutation.contains(.takesWhatWasFetchedBefore)) }

  func started(_ id: PartitionID, _ number: UInt64) {
    guard let task = tasks[id], task.start?.number == number else { return }
    task.start = nil
  }

  func startFailed(_ id: PartitionID, _ number: UInt64, _ reason: String, _ now: Milliseconds) {
    guard let task = tasks[id], var start = task.start, start.number == number else { return }
    if start.failures % 10 == 0 { effects.append(.say(.warning, "\(reason); trying again")) }
    start.retryAt = now + backoff(200, start.failures)
    start.failures += 1
    task.start = start
  }

  func startAgain(_ now: Milliseconds) {
    let due = tasks.values.filter { $0.isActive && $0.drainBy == nil && $0.start?.retryAt.map { now >= $0 } ?? false }
    for task in due.sorted(by: { $0.id < $1.id }) { if let failed = task.start { start(task, failed.offset, failures: failed.failures) } }
  }

  struct Unusable: Error { var reason: String }

  /// A journal may be used if nobody had the partition since it was written, and it reaches what PostgreSQL has.
  private func usable(_ local: LocalState, _ store: AcquiredPartition) throws -> Result<[Delta], Unusable> {
    guard local.epoch == store.previousEpoch || mutation.contains(.journalOfAnyEpoch) else {
      return .failure(Unusable(reason: "it was written under epoch \(local.epoch.value), PostgreSQL had moved on to \(store.previousEpoch.value)"))
    }
    let deltas = try local.deltas.map { try DeltaCodec.decode($0) }
    for (a, b) in zip(deltas, deltas.dropFirst()) where a.to != b.from {
      return .failure(Unusable(reason: "it has a hole between \(a.to.value) and \(b.from.value)"))
    }
    guard let end = try deltas.last?.to ?? local.snapshot.map({ try DeltaCodec.decode($0).to }) else {
      return .failure(Unusable(reason: "it holds nothing"))
    }
    guard end >= store.nextOffset else {
      return .failure(Unusable(reason: "it ends at \(end.value), PostgreSQL is at \(store.nextOffset.value)"))
    }
    let boundary = deltas.first { $0.from >= store.nextOffset }?.from ?? end
    guard boundary == store.nextOffset else {
      return .failure(Unusable(reason: "no record of it begins at PostgreSQL's offset \(store.nextOffset.value)"))
    }
    return .success(deltas)
  }

  func revoked(_ partitions: [PartitionID], _ now: Milliseconds) {
    if !partitions.isEmpty, !isDraining { effects.append(.say(.info, "revoked \(list(partitions)): flushing before they go")) }
    giveUp(partitions, by: now + limits.drainTime)
    flushDue = min(flushDue, now)
  }

  /// What is given up for two reasons (an instance that ends is revoked its partitions, too) has the time of the shorter one.
  func giveUp(_ partitions: [PartitionID], by deadline: Milliseconds) {
    for id in partitions {
      guard let task = tasks[id] else { effects.append(.release(id, nil)); continue }
      task.drainBy = min(task.drainBy ?? deadline, deadline)
    }
  }

  func lost(_ partitions: [PartitionID]) {
    for id in partitions {
      if let task = tasks.removeValue(forKey: id), task.epoch.value > 0 { effects.append(.journal(.dropped(id, task.epoch))) }
      effects.append(.release(id, nil))
    }
    if !partitions.isEmpty { effects.append(.say(.warning, "lost \(list(partitions)): the group has given them away")) }
  }

  /// Gives up partitions whose last flush is in, or whose time has run out.
  func finishDrains(_ now: Milliseconds) {
    for task in tasks.values.sorted(by: { $0.id < $1.id }) {
      guard let deadline = task.drainBy else { continue }
      let isFlushed = (task.pending?.isEmpty ?? true) && !isInFlight(task.id)
      // An acquisition still under way would raise the epoch above the next owner's, and fence it.
      guard isFlushed && acquisitions[task.id] == nil || now >= deadline else { continue }
      if !isFlushed {
        effects.append(.say(.warning, "\(task.id) is given up with unflushed events: the next owner reads them again"))
      }
      tasks[task.id] = nil
      let epoch = task.epoch.value > 0 ? task.epoch : nil
      // Another instance has it next: what is here would only be thrown away. After a drain it may come back to us.
      if let epoch, !isDraining { effects.append(.journal(.dropped(task.id, epoch))) }
      effects.append(.release(task.id, epoch))
    }
    // A flush that is still under way now has had the drain's time; the next owner reads how it ended.
    if isDraining, tasks.isEmpty {
      isDraining = false
      hasDrained = true
      effects.append(.drained)
    }
  }

  func outOfRange(_ id: PartitionID, _ reason: String) {
    guard let task = tasks[id], isFetched(task) else { return }
    if case .rebuilding(let below, _) = task.phase {
      incompleteHorizon(id, nil, known: below)
      task.phase = .running
      return start(task, below)
    }
    let wanted = task.state?.processor.nextOffset.value ?? -1
    task.phase = .stopped
    effects.append(
      .alert(id, task.epoch, kind: "offset_out_of_range", stops: true,
        "\(id) is stopped: Kafka does not have offset \(wanted) (\(reason)). Accept the gap explicitly with `tidemark accept-gap`, or restore the topic"))
    effects.append(.pause([id]))
  }

  /// Copies of events below `known` would be counted once more: somebody must know.
  private func incompleteHorizon(_ id: PartitionID, _ wanted: Offset?, known: Offset) {
    effects.append(
      .alert(id, tasks[id]?.epoch ?? Epoch(0), kind: "horizon_incomplete", stops: false,
        "\(id): Kafka no longer holds the whole deduplication horizon\(wanted.map { ", which begins at offset \($0.value)" } ?? ""): "
          + "duplicates of events below offset \(known.value) are not recognised. Keep the topic for longer than `deduplicate: within`"))
  }

  func list(_ partitions: [PartitionID]) -> String {
    partitions.count <= 8 ? partitions.map(\.description).joined(separator: ", ") : "\(partitions.count) partitions"
  }
}
