import Aggregation
import Engine

/// Taking over, giving back, compacting, as `Warehouse` and `Warehouse+Chunks` do it.
extension SimulatedStore {
  /// The statements of `Warehouse.acquire` for one partition, under the lock of its row: INSERT … ON CONFLICT DO UPDATE SET
  /// epoch = p.epoch + 1, SELECT bytes FROM state_chunk, and the horizon from the ledger.
  func acquire(_ id: PartitionID, first: Offset?, _ session: Session, _ done: @escaping (Result<AcquiredPartition, StoreFailure>) -> Void) {
    session.isInTransaction = true
    // SET LOCAL lock_timeout = '1s'
    session.lockTimeout = 1000
    lock([.partition(id)], session) { _ in
    } _: { [unowned self] failure in
      if let failure { return done(.failure(failure)) }
      let row = partitions[id]
      let next = row?.next ?? first ?? Offset(0)
      let epoch = Epoch((row?.epoch.value ?? 0) + 1)
      let name = session.name
      session.changes.append { [unowned self] in
        if partitions[id] == nil {
          partitions[id] = PartitionRow(next: next, epoch: epoch, owner: name, watermark: nil, endOffset: nil)
          firstOffsets[id] = next.value
        } else {
          partitions[id]!.epoch = epoch
          partitions[id]!.owner = name
        }
        world.trace { "store: \(name) has \(id) from \(next.value) under epoch \(epoch.value)" }
      }
      let bound = row?.watermark.map { EventTime(microseconds: $0.microseconds - world.plan.allowedLateness) }
      let live = (chunks[id] ?? []).filter { chunk in bound.map { chunk.lastWindowEnd > $0 } ?? true }
      done(
        .success(
          AcquiredPartition(
            partition: id, epoch: epoch, previousEpoch: Epoch(epoch.value - 1), nextOffset: next, watermark: row?.watermark,
            chunks: live.map(\.bytes), horizon: horizon(id, row?.watermark))))
    }
  }

  /// Mirrors `Warehouse.horizon`.
  private func horizon(_ id: PartitionID, _ watermark: EventTime?) -> DeduplicationHorizon? {
    guard let within = world.plan.deduplicateWithin, let watermark else { return nil }
    let bound = EventTime(microseconds: (watermark.seconds - within / 1_000_000) * 1_000_000)
    let rows = ledger[id] ?? []
    if let old = rows.last(where: { row in row.watermarkAfter.map { $0 < bound } ?? false }) {
      return DeduplicationHorizon(offset: old.to, watermark: old.watermarkAfter)
    }
    return rows.first.map { DeduplicationHorizon(offset: $0.from, watermark: $0.watermarkBefore) }
  }

  /// The first offset of a partition that a takeover could still ask Kafka for; nil: it was never taken over.
  func neededFrom(_ id: PartitionID) -> Int64? {
    guard let row = partitions[id] else { return nil }
    guard world.plan.deduplicateWithin != nil else { return row.next.value }
    return horizon(id, row.watermark)?.offset.value
  }

  /// UPDATE tidemark.partition SET owner = NULL … AND epoch = mine
  func release(_ id: PartitionID, _ epoch: Epoch, _ session: Session, _ done: @escaping (StoreFailure?) -> Void) {
    guard partitions[id]?.epoch == epoch else { return done(nil) }
    lock([.partition(id)], session) { _ in
    } _: { [unowned self] failure in
      if failure == nil, partitions[id]?.epoch == epoch { partitions[id]!.owner = nil }
      if failure == nil { commit(session) }
      done(failure)
    }
  }

  /// Mirrors `Warehouse.compact` up to its COMMIT: SELECT … FOR UPDATE, DELETE of what is final, merges level by level.
  func compact(_ id: PartitionID, _ epoch: Epoch, _ session: Session, _ done: @escaping (StoreFailure?) -> Void) {
    session.isInTransaction = true
    guard partitions[id]?.epoch == epoch else { return done(nil) }
    lock([.partition(id)], session) { _ in
    } _: { [unowned self] failure in
      if let failure { return done(failure) }
      guard let row = partitions[id], row.epoch == epoch else { return done(nil) }
      let bound = row.watermark.map { EventTime(microseconds: $0.microseconds - world.plan.allowedLateness) }
      var kept = chunks[id] ?? []
      if let bound { kept.removeAll { $0.lastWindowEnd <= bound } }
      for level in 0..<8 { if !merge(&kept, level, bound, id) { break } }
      if world.mutant == .compactionForgets, kept.count > 1 { kept.removeFirst() }
      let result = kept
      session.changes.append { [unowned self] in chunks[id] = result }
      done(nil)
    }
  }

  private func merge(_ chunks: inout [Chunk], _ level: Int, _ bound: EventTime?, _ id: PartitionID) -> Bool {
    let merged = chunks.filter { $0.level == level }.sorted { $0.to < $1.to }
    guard merged.count >= world.scenario.fanIn else { return false }
    chunks.removeAll { $0.level == level }
    let composed: [UInt8]?
    do { composed = try DeltaCodec.compose(merged.map(\.bytes), dropping: bound) } catch {
      world.fail("a state chunk of \(id) cannot be read: \(error)")
      return false
    }
    guard let composed else { return false }
    if chunks.contains(where: { $0.to == merged.last!.to }) { world.fail("two chunks of \(id) end at \(merged.last!.to.value)") }
    chunks.append(
      Chunk(from: merged[0].from, to: merged.last!.to, level: level + 1, lastWindowEnd: merged.map(\.lastWindowEnd).max()!, bytes: composed))
    chunks.sort { $0.to < $1.to }
    return true
  }

  /// UPDATE tidemark.alert …, else INSERT, where the epoch is the partition's.
  func alert(_ id: PartitionID, _ epoch: Epoch, _ kind: String, _ message: String) {
    guard partitions[id]?.epoch == epoch else { return }
    world.trace { "store: alert \(kind) of \(id)" }
    if let open = alerts[id]?.firstIndex(where: { $0.kind == kind && !$0.isResolved }) {
      alerts[id]![open].message = message
    } else {
      alerts[id, default: []].append(Alert(kind: kind, message: message))
    }
  }
}
