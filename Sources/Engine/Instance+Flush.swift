import Aggregation
import Decoding

/// Consuming and flushing.
extension Instance {
  /// Folds one run of records of a partition, a batch at a time.
  func consume(_ id: PartitionID, _ records: Records) {
    guard let task = tasks[id], isFetched(task), task.drainBy == nil, let state = task.state else { return }
    var begin = 0
    while begin < records.count {
      let count = min(limits.batch, records.count - begin)
      let part = Records(
        count: count, payloads: records.payloads + begin, payloadLengths: records.payloadLengths + begin,
        keys: records.keys + begin, keyLengths: records.keyLengths + begin, offsets: records.offsets + begin,
        timestamps: records.timestamps + begin)
      begin += count
      let t0 = stopwatch?() ?? 0
      decoder.decode(part, into: &batch)
      let t1 = stopwatch?() ?? 0
      statistics.decodeNanoseconds += t1 - t0
      if case .rebuilding(let below, var mark) = task.phase {
        let reached = state.processor.rebuildIdentifiers(batch, part, below: below, mark: &mark)
        task.phase = reached ? .running : .rebuilding(below: below, mark: mark)
        guard reached else { continue }
        effects.append(.say(.info, "\(id): the deduplication horizon is rebuilt"))
        flushesSoon = true
      }
      var delta = state.processor.apply(batch, part)
      if mutation.contains(.gapBookedAsApplied) {
        delta.ledger.applied += delta.ledger.gap
        delta.ledger.gap = 0
      }
      let t2 = stopwatch?() ?? 0
      statistics.aggregateNanoseconds += t2 - t1
      statistics.events += delta.to.value - delta.from.value
      note(part, delta, task)
      take(delta, task)
      statistics.composeNanoseconds += (stopwatch?() ?? 0) - t2
    }
    state.processor.closeWindows()
    watchState(consumed: records.count)
  }

  private func take(_ delta: Delta, _ task: PartitionTask) {
    guard delta.to > delta.from else { return }
    let bytes = DeltaCodec.encode(delta, .all)
    task.journalBytes += bytes.count
    task.unflushedJournalBytes += bytes.count
    statistics.ledger.add(delta.ledger)
    task.pending?.append(delta)
    effects.append(.journal(.delta(task.id, task.epoch, to: delta.to, bytes)))
  }

  func reachedEnd(_ id: PartitionID, _ offset: Offset) {
    guard let task = tasks[id], isFetched(task), task.drainBy == nil, let state = task.state else { return }
    if case .rebuilding(let below, _) = task.phase {
      guard offset >= below else { return endsTooEarly(task, offset, below) }
      task.phase = .running
    }
    task.endOffset = offset
    if task.isCatchingUp {
      // Who reads its rows has waited for the takeover already.
      task.isCatchingUp = false
      flushDue = .min
    }
    guard task.phase == .running, offset > state.processor.nextOffset else { return }
    take(state.processor.skip(to: offset), task)
  }

  /// Kafka has less than PostgreSQL has consumed: the topic was made anew, or lost its end.
  private func endsTooEarly(_ task: PartitionTask, _ end: Offset, _ next: Offset) {
    task.phase = .stopped
    effects.append(
      .alert(task.id, task.epoch, kind: "topic_ends_early", stops: true,
        "\(task.id) is stopped: it ends at offset \(end.value) in Kafka, PostgreSQL has consumed up to \(next.value): was the topic made anew? "
          + "Give the topology a new name to begin anew, or restore the topic"))
    effects.append(.pause([task.id]))
  }

  func flushIfDue(_ now: Milliseconds) {
    if flushesSoon {
      flushesSoon = false
      flushDue = min(flushDue, now + limits.catchUpTime)
    }
    if var waiting = flight {
      guard let at = waiting.retryAt, now >= at else { return }
      waiting.retryAt = nil
      waiting.attempts += 1
      if mutation.contains(.retryChangesRequest) { takeAlong(&waiting.request) }
      flight = waiting
      statistics.retries += 1
      effects.append(waiting.retryResolves ? .resolve(waiting.request) : .flush(waiting.request))
      return
    }
    guard now >= flushDue || pendingBytes > limits.eagerFlushBytes else { return }
    let ready = tasks.values.filter { !($0.pending?.isEmpty ?? true) && $0.phase != .fenced }.sorted { $0.id < $1.id }
    guard !ready.isEmpty else { return }
    flushDue = now + limits.flushInterval
    flushCount += 1
    var parts: [FlushRequest.Part] = []
    var bytes = 0
    for task in ready {
      bytes += task.pending!.bytes
      var delta = task.pending!.take()
      if mutation.contains(.watermarkNotPersisted) { delta.watermark = nil }
      parts.append(
        FlushRequest.Part(
          partition: task.id, epoch: task.epoch, watermarkBefore: task.pendingWatermark, delta: delta, endOffset: task.endOffset, figures: figures(task)))
      task.pendingWatermark = delta.watermark
      task.takenJournalBytes = task.unflushedJournalBytes
    }
    let request = FlushRequest(id: flushCount, parts: parts)
    flight = Flight(request: request, bytes: bytes, tallies: Dictionary(uniqueKeysWithValues: ready.map { ($0.id, $0.takeTally()) }))
    effects.append(.flush(request))
    if mutation.contains(.acknowledgedBeforeCommit) {
      effects.append(.acknowledge(Dictionary(uniqueKeysWithValues: parts.map { ($0.partition, $0.delta.to) })))
    }
  }

  /// A planted bug.
  private func takeAlong(_ request: inout FlushRequest) {
    for p in request.parts.indices {
      guard let pending = tasks[request.parts[p].partition]?.pending else { continue }
      for a in plan.aggregates.indices { request.parts[p].delta.aggregates[a].groups += pending.delta.aggregates[a].groups }
    }
  }

  /// A planted bug: the events of a flush go with the next one.
  private func takeBack(_ request: FlushRequest) {
    for part in request.parts {
      guard let task = tasks[part.partition], task.epoch == part.epoch, var rest = task.pending else { continue }
      var pending = PendingDelta(at: part.delta.from, aggregateCount: plan.aggregates.count)
      pending.append(part.delta)
      pending.append(rest.take())
      task.pending = pending
      task.pendingWatermark = part.watermarkBefore
    }
  }

  func flushFinished(_ id: UInt64, _ outcome: FlushOutcome, _ now: Milliseconds) {
    guard var ended = flight, ended.request.id == id else { return }
    var outcome = outcome
    if case .unknown = outcome, !mutation.isEmpty {
      if mutation.contains(.unknownCommitIsCommitted) { outcome = .committed }
      if mutation.contains(.unknownCommitIsFailed) {
        flight = nil
        return takeBack(ended.request)
      }
    }
    switch outcome {
    case .committed:
      flight = nil
      statistics.flushes += 1
      becameVisible(ended.tallies)
      if ended.attempts > 0 { effects.append(.say(.info, "flush \(id) is in PostgreSQL after \(ended.attempts) more attempts")) }
      var offsets: [PartitionID: Offset] = [:]
      for part in ended.request.parts {
        offsets[part.partition] = part.delta.to
        guard let task = tasks[part.partition], task.epoch == part.epoch else { continue }
        task.flushedRecordTime = part.figures.recordTime ?? task.flushedRecordTime
        settled(task, part.delta.to)
      }
      effects.append(.acknowledge(offsets))
    case .failed(let reason):
      ended.retryAt = now + backoff(ended)
      ended.retryResolves = false
      flight = ended
      if ended.attempts == 0 || ended.attempts % 10 == 0 { effects.append(.say(.warning, "flush \(id) failed, trying again: \(reason)")) }
    case .unknown(let reason):
      let isNews = !ended.retryResolves || ended.attempts % 10 == 0
      ended.retryAt = now + backoff(ended)
      ended.retryResolves = true
      flight = ended
      if isNews { effects.append(.say(.warning, "the end of flush \(id) is unknown (\(reason)): reading the offset rows")) }
    case .fenced(let partitions):
      flight = nil
      fence(ended.request.parts.filter { partitions.contains($0.partition) })
      let left = ended.request.parts.filter { !partitions.contains($0.partition) }
      guard !left.isEmpty else { return }
      flushCount += 1
      let request = FlushRequest(id: flushCount, parts: left)
      flight = Flight(request: request, bytes: ended.bytes, tallies: ended.tallies.filter { !partitions.contains($0.key) })
      effects.append(.flush(request))
    case .fatal(let reason):
      effects.append(.fail("PostgreSQL refuses the flush: \(reason)"))
    }
  }

  /// 0.1 s at first, doubled with each attempt up to 5 s; PostgreSQL may be away for hours.
  private func backoff(_ flight: Flight) -> Milliseconds { backoff(100, flight.attempts) }

  private func fence(_ parts: [FlushRequest.Part]) {
    for part in parts {
      let id = part.partition
      statistics.fenced += 1
      // Taken over anew since: what is here now was read under the new epoch.
      guard let task = tasks[id], task.epoch == part.epoch else {
        effects.append(.say(.error, "fenced: \(id) was taken over meanwhile; what was left to flush of an earlier epoch is not written"))
        continue
      }
      if mutation.contains(.fencedGoesOn) { continue }
      task.phase = .fenced
      task.fences += 1
      task.drop()
      effects.append(.say(.error, "fenced: \(id) belongs to another instance now (epoch above \(task.epoch.value)); its state is dropped here"))
      effects.append(.journal(.dropped(id, task.epoch)))
      effects.append(.pause([id]))
    }
  }

  /// A flush of the partition is in the store up to `offset`.
  private func settled(_ task: PartitionTask, _ offset: Offset) {
    task.flushed = offset
    task.fences = 0
    task.unflushedJournalBytes -= task.takenJournalBytes
    task.takenJournalBytes = 0
    effects.append(.journal(.flushed(task.id, task.epoch, offset)))
    if task.journalBytes > max(limits.snapshotAfter, task.snapshotBytes * 2), task.phase == .running, let state = task.state {
      state.processor.compactMembers()
      let bytes = DeltaCodec.encode(state.processor.snapshot(), .all)
      task.snapshotBytes = bytes.count
      task.journalBytes = 0
      effects.append(.journal(.snapshot(task.id, task.epoch, flushed: offset, bytes)))
    }
    task.flushesSinceCompaction += 1
    if task.flushesSinceCompaction >= 16 {
      task.flushesSinceCompaction = 0
      effects.append(.compact(task.id, task.epoch))
    }
  }
}
