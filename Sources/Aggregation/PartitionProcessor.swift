/// One partition's state: folds batches of events into Deltas, deterministically.
///
/// What an event does depends on the partition's log below it and on nothing else (invariant 3): no clock, no arrival
/// time, no batch boundary. The verdict on an event is given in this order: gap before it, tombstone, quarantined
/// (not decodable), far future, late, duplicate, filtered, applied.
public struct PartitionProcessor: ~Copyable {
  public let plan: Plan
  /// The next offset to read.
  public internal(set) var nextOffset: Offset
  /// Greatest accepted event time.
  public internal(set) var watermark: EventTime?

  var aggregates: UnsafeMutablePointer<AggregateState>
  let aggregateCount: Int
  /// One dictionary for the partition key, the only field that `distinct` counts exactly.
  var members = MemberDictionary()
  var identifiers: IdentifierTable
  let distinctField: Int?
  /// Members that were in use when the dictionary was last looked through.
  var compactedCount = 0
  private let hash: TextHash

  // Scratch, reused.
  private var accepted: [UInt32] = []
  private var selected: [UInt32] = []
  private var slots: [UInt32] = []
  private var memberIDs: [UInt32] = []
  private var matched: [Bool] = []

  /// An empty partition that starts at `offset`. `hash` is the decoder's keyed hash.
  public init(plan: Plan, at offset: Offset, hash: @escaping TextHash) {
    self.plan = plan
    self.hash = hash
    nextOffset = offset
    aggregateCount = plan.aggregates.count
    aggregates = .allocate(capacity: max(1, aggregateCount))
    for (a, aggregate) in plan.aggregates.enumerated() {
      (aggregates + a).initialize(to: AggregateState(plan: aggregate, hash: hash))
    }
    identifiers = IdentifierTable(horizon: (plan.deduplicateWithin ?? 0) / 1_000_000)
    distinctField = plan.aggregates.lazy.flatMap(\.measures).compactMap { measure -> Int? in
      if case .distinct(let field) = measure.kind { return field }
      return nil
    }.first
  }

  deinit {
    aggregates.deinitialize(count: aggregateCount)
    aggregates.deallocate()
  }

  /// Folds the events of `batch` from the next offset on; earlier ones are skipped. `records` are those that
  /// the batch was decoded from. Cost: see Benchmarks; allocations per touched group, none per event.
  public mutating func apply(_ batch: borrowing EventBatch, _ records: Records) -> Delta {
    var delta = Delta(from: nextOffset, to: nextOffset, aggregateCount: aggregateCount)
    judge(batch, records, into: &delta)
    fold(batch, into: &delta)
    delta.to = nextOffset
    delta.watermark = watermark
    return delta
  }

  /// Accounts for offsets up to `offset` that hold no message (end of partition after transaction markers, a gap
  /// that an operator accepted).
  public mutating func skip(to offset: Offset) -> Delta {
    var delta = Delta(from: nextOffset, to: max(offset, nextOffset), aggregateCount: aggregateCount)
    delta.ledger.gap = delta.to.value - delta.from.value
    nextOffset = delta.to
    delta.watermark = watermark
    return delta
  }

  /// Forgets windows that no event can reach any more. Call between batches.
  public mutating func closeWindows() {
    guard let watermark else { return }
    let bound = EventTime(microseconds: watermark.microseconds - plan.allowedLateness)
    for a in 0..<aggregateCount { aggregates[a].close(before: bound) }
  }

  // MARK: Verdicts

  private mutating func judge(_ batch: borrowing EventBatch, _ records: Records, into delta: inout Delta) {
    accepted.removeAll(keepingCapacity: true)
    accepted.reserveCapacity(batch.count)
    let deduplicates = plan.deduplicateWithin != nil
    let lateness = plan.allowedLateness
    var quarantineBytes = 0
    var next = nextOffset.value
    var ledger = LedgerCounts()
    var mark = watermark?.microseconds ?? Int64.min
    if deduplicates {
      delta.identifiers.reserveCapacity(batch.count)
      var sink: UInt64 = 0
      for i in 0..<batch.count { sink &+= identifiers.touch(batch.identifiers[i]) }
      consume(sink)
    }
    for i in 0..<batch.count {
      let offset = records.offsets[i]
      if offset < next { continue }
      ledger.gap += offset - next
      next = offset + 1
      let status = batch.status[i]
      if status != EventBatch.decoded {
        if status == EventBatch.tombstone {
          ledger.filtered += 1
          ledger.tombstones += 1
        } else {
          ledger.quarantined += 1
          quarantine(i, QuarantineReason(rawValue: status) ?? .invalidJSON, batch, records, &delta, &quarantineBytes)
        }
        continue
      }
      let time = batch.times[i]
      if let stamp = EventTime(recordTimestamp: records.timestamps[i]), time - plan.maxFutureSkew > stamp.microseconds {
        ledger.quarantined += 1
        quarantine(i, .farFuture, batch, records, &delta, &quarantineBytes)
        continue
      }
      if mark != .min, time < mark - lateness {
        ledger.late += 1
        quarantine(i, .late, batch, records, &delta, &quarantineBytes)
        countLate(i, batch, &delta)
        continue
      }
      if time > mark { mark = time }
      ledger.misrouted += Int64(batch.misrouted[i])
      if deduplicates {
        let second = mark / 1_000_000
        let id = batch.identifiers[i]
        let duplicate = identifiers.note(id, now: second)
        delta.identifiers.append(SeenIdentifier(hash: id, seconds: UInt32(truncatingIfNeeded: second)))
        if duplicate {
          ledger.duplicate += 1
          continue
        }
      }
      accepted.append(UInt32(i))
    }
    nextOffset = Offset(next)
    watermark = mark == .min ? nil : EventTime(microseconds: mark)
    delta.ledger = ledger
  }

  private func quarantine(
    _ i: Int, _ reason: QuarantineReason, _ batch: borrowing EventBatch, _ records: Records, _ delta: inout Delta,
    _ bytes: inout Int
  ) {
    let length = Int(records.payloadLengths[i])
    let kept = min(length, Limits.quarantinePayload)
    let keyLength = min(Int(records.keyLengths[i]), Limits.quarantinePayload)
    guard delta.quarantine.count < Limits.quarantineEvents, bytes + kept + keyLength <= Limits.quarantineBytes else {
      delta.quarantineOmitted += 1
      return
    }
    bytes += kept + keyLength
    let failed = batch.failedField[i]
    let field =
      switch (reason, failed) {
      case (.late, _), (.farFuture, _), (_, EventBatch.timeField): plan.timePath.joined(separator: ".")
      case (_, EventBatch.idField): (plan.idPath ?? []).joined(separator: ".")
      case (_, EventBatch.noField): ""
      default: Int(failed) < plan.fields.count ? plan.fields[Int(failed)].name : ""
      }
    let readable = reason == .late || reason == .farFuture
    delta.quarantine.append(
      QuarantinedEvent(
        offset: Offset(records.offsets[i]), reason: reason, field: field, timestamp: records.timestamps[i],
        eventTime: readable ? EventTime(microseconds: batch.times[i]) : nil,
        payload: Array(UnsafeBufferPointer(start: records.payloads[i], count: records.payloads[i] == nil ? 0 : kept)),
        payloadBytes: length, key: Array(UnsafeBufferPointer(start: records.keys[i], count: records.keys[i] == nil ? 0 : keyLength))))
  }

  private mutating func countLate(_ i: Int, _ batch: borrowing EventBatch, _ delta: inout Delta) {
    for a in 0..<aggregateCount where passes(a, i, batch) {
      let start = aggregates[a].plan.window.window(at: EventTime(microseconds: batch.times[i])).start
      delta.aggregates[a].late.append(
        LateIncrement(key: RowKey(windowStart: start, fields: Self.keyTexts(plan.aggregates[a].by, i, batch)), count: 1))
    }
  }

  // MARK: Folding

  private func passes(_ a: Int, _ i: Int, _ batch: borrowing EventBatch) -> Bool {
    for (t, term) in plan.aggregates[a].filter.enumerated() {
      let column = batch.fields[term.field]
      var found = false
      if column.present[i] != 0 {
        let h = column.hashes[i]
        for value in aggregates[a].filterHashes[t] where value == h { found = true }
      }
      if found == term.negated { return false }
    }
    return true
  }

  private mutating func fold(_ batch: borrowing EventBatch, into delta: inout Delta) {
    if accepted.isEmpty { return }
    matched.removeAll(keepingCapacity: true)
    matched.append(contentsOf: repeatElement(false, count: batch.count))
    if let field = distinctField { lookUpMembers(batch.fields[field], batch.count) }
    var everyEventMatched = false
    for a in 0..<aggregateCount {
      selected.removeAll(keepingCapacity: true)
      if plan.aggregates[a].filter.isEmpty {
        selected.append(contentsOf: accepted)
        everyEventMatched = true
      } else {
        for i in accepted where passes(a, Int(i), batch) {
          selected.append(i)
          matched[Int(i)] = true
        }
      }
      if selected.isEmpty { continue }
      assignSlots(a, batch)
      for m in plan.aggregates[a].measures.indices { measure(a, m, batch) }
      delta.aggregates[a].groups = aggregates[a].takeIncrements()
    }
    var earliest = Int64.max
    var latest = Int64.min
    var applied: Int64 = 0
    for i in accepted where everyEventMatched || matched[Int(i)] {
      applied += 1
      earliest = min(earliest, batch.times[Int(i)])
      latest = max(latest, batch.times[Int(i)])
    }
    delta.ledger.applied = applied
    delta.ledger.filtered += Int64(accepted.count) - applied
    if applied > 0 {
      delta.ledger.earliest = EventTime(microseconds: earliest)
      delta.ledger.latest = EventTime(microseconds: latest)
    }
  }

  private mutating func lookUpMembers(_ column: FieldColumn, _ count: Int) {
    memberIDs.removeAll(keepingCapacity: true)
    memberIDs.append(contentsOf: repeatElement(0, count: count))
    var sink: UInt64 = 0
    for i in accepted { sink &+= members.touch(column.hashes[Int(i)]) }
    consume(sink)
    for i in accepted where column.present[Int(i)] != 0 { memberIDs[Int(i)] = members.id(of: column.hashes[Int(i)]) }
  }

  private mutating func assignSlots(_ a: Int, _ batch: borrowing EventBatch) {
    slots.removeAll(keepingCapacity: true)
    slots.reserveCapacity(selected.count)
    let by = plan.aggregates[a].by
    for i in selected {
      let at = Int(i)
      let window = aggregates[a].window(at: EventTime(microseconds: batch.times[at]))
      var key: UInt64 = 0
      for f in by { key = combine(key, batch.fields[f].hashes[at]) }
      let slot: Int
      if let found = aggregates[a].find(AggregateState.rowHash(window.start, key)) {
        slot = found
      } else {
        // The closure cannot hold the borrowed batch: a new row is rare, its texts are read first.
        let texts = Self.keyTexts(by, at, batch)
        slot = aggregates[a].add(window: window, keyHash: key) { texts }
      }
      aggregates[a].touch(slot)
      aggregates[a].counts[slot] += 1
      slots.append(UInt32(slot))
    }
  }

  private mutating func measure(_ a: Int, _ m: Int, _ batch: borrowing EventBatch) {
    switch plan.aggregates[a].measures[m].kind {
    case .count: break
    case .sum(let f), .average(let f):
      let column = batch.fields[f]
      for k in 0..<selected.count where column.present[Int(selected[k])] != 0 {
        let slot = Int(slots[k])
        aggregates[a].lanes[m].sums[slot] += Int128(column.values[Int(selected[k])])
        aggregates[a].lanes[m].present[slot] += 1
      }
    case .minimum(let f):
      let column = batch.fields[f]
      for k in 0..<selected.count where column.present[Int(selected[k])] != 0 {
        let slot = Int(slots[k])
        aggregates[a].lanes[m].extremes[slot] = min(aggregates[a].lanes[m].extremes[slot], column.values[Int(selected[k])])
        aggregates[a].lanes[m].present[slot] = 1
      }
    case .maximum(let f):
      let column = batch.fields[f]
      for k in 0..<selected.count where column.present[Int(selected[k])] != 0 {
        let slot = Int(slots[k])
        aggregates[a].lanes[m].extremes[slot] = max(aggregates[a].lanes[m].extremes[slot], column.values[Int(selected[k])])
        aggregates[a].lanes[m].present[slot] = 1
      }
    case .distinct(let f):
      let column = batch.fields[f]
      for k in 0..<selected.count where column.present[Int(selected[k])] != 0 {
        let slot = slots[k]
        if aggregates[a].lanes[m].members[Int(slot)].insert(memberIDs[Int(selected[k])]) {
          aggregates[a].lanes[m].newSlots.append(slot)
          aggregates[a].lanes[m].newHashes.append(column.hashes[Int(selected[k])])
        }
      }
    }
  }

  static func keyTexts(_ by: [Int], _ i: Int, _ batch: borrowing EventBatch) -> [String] {
    var texts: [String] = []
    texts.reserveCapacity(by.count)
    for f in by {
      texts.append(
        String(
          decoding: UnsafeBufferPointer(start: batch.fields[f].texts[i], count: Int(batch.fields[f].lengths[i])), as: UTF8.self))
    }
    return texts
  }
}

/// Keeps the compiler from removing loads that only warm the cache.
@inline(never) @_optimize(none) private func consume(_: UInt64) {}
