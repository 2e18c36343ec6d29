import Aggregation
import Engine

/// The statements of a flush, as `Warehouse+Flush` has them.
extension SimulatedStore {
  /// Performs one statement of a flush in a session; `done` is called when it ends, maybe after a wait.
  func perform(_ statement: FlushStatement, _ request: FlushRequest, _ session: Session, _ done: @escaping (StatementResult) -> Void) {
    switch statement {
    case .begin:
      session.isInTransaction = true
      done(.done)
    case .moveOffsets: moveOffsets(request, session, done)
    case .addRows(let index, let isolating): addRows(index, request, session, isolating, done)
    case .writeBooks: writeBooks(request, session, done)
    case .commit:
      commit(session)
      done(.done)
    case .rollback:
      rollBack(session)
      done(.done)
    case .readOffsets: done(.standing(standing(request)))
    }
  }

  /// UPDATE tidemark.partition … WHERE next_offset = from AND epoch = mine: rows that match in the statement's snapshot are
  /// locked, in no order that anybody promises, and looked at again after each wait.
  private func moveOffsets(_ request: FlushRequest, _ session: Session, _ done: @escaping (StatementResult) -> Void) {
    let parts = Dictionary(uniqueKeysWithValues: request.parts.map { ($0.partition, $0) })
    let candidates = request.parts.filter(matches).map { RowLock.partition($0.partition) }
    var moved = 0
    lock(dice.shuffled(candidates), session) { [unowned self] lock in
      guard case .partition(let id) = lock, let part = parts[id], matches(part) else { return }
      moved += 1
      session.changes.append { [unowned self] in move(part, session) }
    } _: { failure in
      done(failure.map { .failed($0) } ?? .moved(moved))
    }
  }

  private func matches(_ part: FlushRequest.Part) -> Bool {
    guard let row = partitions[part.partition] else { return false }
    return (row.next == part.delta.from || world.mutant == .offsetUnchecked) && (row.epoch == part.epoch || world.mutant == .epochUnchecked)
  }

  private func move(_ part: FlushRequest.Part, _ session: Session) {
    let id = part.partition
    guard let row = partitions[id] else { return }
    world.trace { "store: \(id) moves from \(row.next.value) to \(part.delta.to.value) under epoch \(part.epoch.value), by \(session.name)" }
    if row.epoch != part.epoch { world.fail("a flush of \(id) under epoch \(part.epoch.value) was applied, the store is at \(row.epoch.value)") }
    if part.delta.to <= row.next { world.fail("next_offset of \(id) went from \(row.next.value) to \(part.delta.to.value)") }
    partitions[id]!.next = part.delta.to
    partitions[id]!.watermark = part.delta.watermark ?? row.watermark
    partitions[id]!.endOffset = part.endOffset ?? row.endOffset
    partitions[id]!.owner = session.name
    let (new, old) = (part.figures, row.figures)
    partitions[id]!.figures = PartitionFigures(
      recordTime: new.recordTime ?? old.recordTime, journalBytes: new.journalBytes, stateBytes: new.stateBytes ?? old.stateBytes,
      loads: new.loads.isEmpty ? old.loads : new.loads)
    partitions[id]!.changed.formUnion(world.plan.aggregates.indices.filter { !part.delta.aggregates[$0].groups.isEmpty })
  }

  /// SELECT … FROM tidemark.partition JOIN unnest(…)
  private func standing(_ request: FlushRequest) -> [PartitionID: OffsetRow] {
    var found: [PartitionID: OffsetRow] = [:]
    for part in request.parts { if let row = partitions[part.partition] { found[part.partition] = OffsetRow(next: row.next, epoch: row.epoch) } }
    return found
  }

  /// INSERT INTO analytics.… ON CONFLICT … DO UPDATE, sorted by key; `isolating`: what does not fit goes to
  /// tidemark.rejected_row, as `upsertIsolated` finds it.
  private func addRows(
    _ index: Int, _ request: FlushRequest, _ session: Session, _ isolating: Bool, _ done: @escaping (StatementResult) -> Void
  ) {
    var merged = MergedRow.merge(request.parts, aggregate: index)
    if !isolating, !merged.isEmpty, world.strikes(.rowRefused, 40, &dice) {
      session.misfit = .row(aggregate: index, dice.pick(merged).key)
      return done(.failed(StoreFailure(.data, "bigint out of range (SQLSTATE 22003)")))
    }
    var misfits: [MergedRow] = []
    if isolating, let misfit = session.misfit {
      misfits = merged.filter { .row(aggregate: index, $0.key) == misfit }
      merged.removeAll { .row(aggregate: index, $0.key) == misfit }
    }
    let isOutside = world.mutant == .rowsOutsideTransaction
    lock(merged.map { .row(aggregate: index, $0.key) }, session) { _ in
    } _: { [unowned self] failure in
      if let failure { return done(.failed(failure)) }
      let change = { [unowned self, merged, misfits] in
        rejected += misfits.map { (index, $0) }
        for row in merged {
          if var values = rows[index][row.key] {
            for v in values.indices { values[v].add(row.values[v]) }
            rows[index][row.key] = values
          } else {
            rows[index][row.key] = row.values
          }
        }
      }
      if isOutside { change() } else { session.changes.append(change) }
      done(.done)
    }
  }

  /// INSERT INTO tidemark.ledger, state_chunk, quarantine, late_count. What their constraints refuse is a difference found.
  private func writeBooks(_ request: FlushRequest, _ session: Session, _ done: @escaping (StatementResult) -> Void) {
    for part in request.parts {
      if let reason = refusal(part) {
        world.fail(reason)
        return done(.failed(StoreFailure(.data, reason)))
      }
    }
    var counts: [(Int, RowKey, Int64)] = []
    for index in world.plan.aggregates.indices {
      var sums: [RowKey: Int64] = [:]
      for part in request.parts { for late in part.delta.aggregates[index].late { sums[late.key, default: 0] += late.count } }
      counts += sums.sorted { $0.key.precedes($1.key) }.map { (index, $0.key, $0.value) }
    }
    lock(counts.map { .lateCount(aggregate: $0.0, $0.1) }, session) { _ in
    } _: { [unowned self] failure in
      if let failure { return done(.failed(failure)) }
      session.changes.append { [unowned self] in
        for part in request.parts { book(part) }
        for (index, key, count) in counts { late[index][key, default: 0] += count }
      }
      done(.done)
    }
  }

  /// CONSTRAINT every_offset_is_in_one_bucket, and the primary keys of ledger and state_chunk.
  private func refusal(_ part: FlushRequest.Part) -> String? {
    let (id, delta) = (part.partition, part.delta)
    if delta.ledger.total != delta.to.value - delta.from.value || delta.to <= delta.from {
      return "the ledger refuses \(id) \(delta.from.value) to \(delta.to.value): \(delta.ledger.total) offsets in buckets"
    }
    if ledger[id]?.contains(where: { $0.from == delta.from }) == true { return "the ledger has \(id) from \(delta.from.value) already" }
    return nil
  }

  private func book(_ part: FlushRequest.Part) {
    let (id, delta) = (part.partition, part.delta)
    let rows = ledger[id] ?? []
    let expected = rows.last?.to ?? Offset(firstOffsets[id] ?? 0)
    if delta.from != expected { world.fail("the ledger of \(id) goes from \(expected.value) to \(delta.from.value)") }
    ledger[id, default: []].append(
      LedgerRow(
        from: delta.from, to: delta.to, counts: delta.ledger, watermarkBefore: part.watermarkBefore,
        watermarkAfter: delta.watermark ?? part.watermarkBefore))
    omitted += Int64(delta.quarantineOmitted)
    for event in delta.quarantine where quarantine[id, default: [:]][event.offset.value] == nil {
      quarantine[id, default: [:]][event.offset.value] = event
    }
    guard let last = delta.aggregates.lazy.flatMap(\.groups).map(\.windowEnd).max() else { return }
    var state = delta
    for a in state.aggregates.indices { state.aggregates[a].late = [] }
    state.quarantine = []
    chunks[id, default: []].append(
      Chunk(from: delta.from, to: delta.to, level: 0, lastWindowEnd: last, bytes: DeltaCodec.encode(state, .state)))
  }
}
