/// State from Deltas, and a Delta from state.
extension PartitionProcessor {
  /// Folds a Delta that another run of this partition produced: a state chunk, a journal record or a snapshot.
  /// Only what decides later verdicts is taken: watermark, groups, members, ids. Cost: O(size of the Delta).
  public mutating func restore(_ delta: Delta) {
    nextOffset = max(nextOffset, delta.to)
    raiseWatermark(delta.watermark)
    for a in 0..<min(aggregateCount, delta.aggregates.count) {
      for group in delta.aggregates[a].groups {
        let window = Window(start: group.key.windowStart, end: group.windowEnd)
        let row = AggregateState.rowHash(window.start, group.keyHash)
        let slot = aggregates[a].find(row) ?? aggregates[a].add(window: window, keyHash: group.keyHash) { group.key.fields }
        for (m, measure) in group.measures.enumerated() {
          guard case .distinct(let hashes) = measure else { continue }
          for h in hashes { _ = aggregates[a].lanes[m].members[slot].insert(members.id(of: h)) }
        }
      }
    }
    for seen in delta.identifiers { _ = identifiers.note(seen.hash, now: Int64(seen.seconds)) }
  }

  /// Sets where the partition stands, after restoring chunks that may end earlier.
  public mutating func resume(at offset: Offset, watermark: EventTime?) {
    nextOffset = offset
    raiseWatermark(watermark)
  }

  /// Re-reads events below `end` for their ids alone, with the watermark that the log had there; true once `end` is reached.
  /// `mark` is the watermark of the re-reading and moves with it.
  public mutating func rebuildIdentifiers(_ batch: borrowing EventBatch, _ records: Records, below end: Offset, mark: inout EventTime?) -> Bool {
    var now = mark?.microseconds ?? Int64.min
    var reached = false
    for i in 0..<batch.count {
      if records.offsets[i] >= end.value { reached = true; break }
      guard batch.status[i] == EventBatch.decoded else { continue }
      let time = batch.times[i]
      if let stamp = EventTime(recordTimestamp: records.timestamps[i]), time - plan.maxFutureSkew > stamp.microseconds { continue }
      if now != .min, time < now - plan.allowedLateness { continue }
      now = max(now, time)
      _ = identifiers.note(batch.identifiers[i], now: now / 1_000_000)
    }
    mark = now == .min ? nil : EventTime(microseconds: now)
    return reached || (batch.count > 0 && records.offsets[batch.count - 1] + 1 >= end.value)
  }

  /// The whole state as one Delta `[nextOffset, nextOffset)`: what `restore` needs. Cost: O(state).
  public func snapshot() -> Delta {
    var delta = Delta(from: nextOffset, to: nextOffset, aggregateCount: aggregateCount)
    delta.watermark = watermark
    let bound = watermark.map { $0.microseconds - plan.allowedLateness } ?? Int64.min
    for a in 0..<aggregateCount {
      delta.aggregates[a].groups.reserveCapacity(aggregates[a].slotCount)
      // Windows that no event can reach any more are left out, whether they have been forgotten yet or not.
      for slot in 0..<aggregates[a].slotCount where aggregates[a].windows[slot].end.microseconds > bound {
        var measures: [MeasureIncrement] = []
        for (m, measure) in plan.aggregates[a].measures.enumerated() {
          switch measure.kind {
          case .count: measures.append(.count(0))
          case .sum, .average: measures.append(.sum(0, present: 0))
          case .minimum: measures.append(.minimum(nil))
          case .maximum: measures.append(.maximum(nil))
          case .distinct:
            let bitmap = aggregates[a].members(lane: m, slot: slot)
            var hashes: [UInt64] = []
            hashes.reserveCapacity(bitmap.count)
            bitmap.forEach { hashes.append(members.hashes[Int($0)]) }
            measures.append(.distinct(hashes))
          }
        }
        delta.aggregates[a].groups.append(
          GroupIncrement(
            key: RowKey(windowStart: aggregates[a].windows[slot].start, fields: aggregates[a].keys[slot]),
            windowEnd: aggregates[a].windows[slot].end, keyHash: aggregates[a].keyHashes[slot], measures: measures))
      }
    }
    if plan.deduplicateWithin != nil, let watermark { delta.identifiers = identifiers.live(now: watermark.microseconds / 1_000_000) }
    return delta
  }

  /// Bytes of state held, about. O(groups).
  public var stateBytes: Int {
    var sum = members.bytes + identifiers.bytes
    for a in 0..<aggregateCount { sum += aggregates[a].bytes }
    return sum
  }

  /// Groups held, over all aggregates. O(aggregates).
  public var groupCount: Int {
    var sum = 0
    for a in 0..<aggregateCount { sum += aggregates[a].slotCount }
    return sum
  }

  /// Drops members that no open window holds, when they are most of the dictionary. O(members + state) when it does.
  public mutating func compactMembers() {
    guard members.count > 65_536, members.count > compactedCount * 2 else { return }
    var live = [Bool](repeating: false, count: members.count)
    for a in 0..<aggregateCount {
      for (m, measure) in plan.aggregates[a].measures.enumerated() {
        guard case .distinct = measure.kind else { continue }
        for slot in 0..<aggregates[a].slotCount { aggregates[a].members(lane: m, slot: slot).forEach { live[Int($0)] = true } }
      }
    }
    let kept = live.reduce(0) { $0 + ($1 ? 1 : 0) }
    compactedCount = max(kept, 32_768)
    guard kept * 2 < members.count else { return }
    var newID = [UInt32](repeating: 0, count: members.count)
    var rebuilt = MemberDictionary(minimumCapacity: kept)
    for id in 0..<members.count where live[id] { newID[id] = rebuilt.id(of: members.hashes[id]) }
    members = rebuilt
    for a in 0..<aggregateCount {
      for (m, measure) in plan.aggregates[a].measures.enumerated() {
        guard case .distinct = measure.kind else { continue }
        aggregates[a].renumber(lane: m, newID)
      }
    }
  }

  private mutating func raiseWatermark(_ other: EventTime?) {
    guard let other else { return }
    watermark = watermark.map { max($0, other) } ?? other
  }
}
