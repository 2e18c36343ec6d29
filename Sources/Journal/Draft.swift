import Aggregation

/// Decides what becomes of entries: which records they are, and which of them the log has left behind.
struct Draft {
  /// Partitions that entries of this draft have touched; nil: dropped.
  private var touched: [PartitionID: (epoch: Epoch, end: Offset)?] = [:]
  private(set) var outgoing: [Outgoing] = []
  /// Snapshots still to be written, and the place of each one's record in `outgoing`.
  private(set) var snapshots: [(place: Int, partition: PartitionID, flushed: Offset, state: [UInt8])] = []
  let firstSnapshot: UInt64
  private(set) var stale = 0
  private(set) var discontinued = 0

  init(firstSnapshot: UInt64) { self.firstSnapshot = firstSnapshot }

  private func held(_ id: PartitionID, _ index: LogIndex) -> (epoch: Epoch, end: Offset)? {
    if let known = touched[id] { return known }
    return index.partitions[id].map { ($0.epoch, $0.end) }
  }

  /// Takes the next entry, given what the log holds. The index is not kept: a second reference to it would make
  /// its next change copy it.
  mutating func take(_ entry: JournalEntry, over index: LogIndex) {
    switch entry {
    case .opened(let id, let epoch, let offset):
      if let held = held(id, index), held.end != offset {
        discontinued += 1
        outgoing.append(Outgoing(.dropped(id)))
      }
      touched.updateValue((epoch, offset), forKey: id)
      outgoing.append(Outgoing(.opened(id, epoch, offset)))
    case .delta(let id, let epoch, let to, let bytes):
      guard let held = held(id, index), held.epoch == epoch, held.end < to else { return stale += 1 }
      touched.updateValue((epoch, to), forKey: id)
      outgoing.append(Outgoing(.delta(id, from: held.end, to: to), payload: bytes))
    case .flushed(let id, let epoch, let offset):
      guard let held = held(id, index), held.epoch == epoch else { return stale += 1 }
      outgoing.append(Outgoing(.flushed(id, offset)))
    case .dropped(let id, _):
      // Whatever the epoch: to forget is always safe.
      guard held(id, index) != nil else { return }
      touched.updateValue(nil, forKey: id)
      outgoing.append(Outgoing(.dropped(id)))
    case .snapshot(let id, let epoch, let flushed, let state):
      guard let held = held(id, index), held.epoch == epoch else { return stale += 1 }
      let reference = SnapshotReference(id: 0, flushed: flushed, bytes: 0, checksum: 0)
      snapshots.append((outgoing.count, id, flushed, state))
      outgoing.append(Outgoing(.snapshot(id, reference)))
    }
  }
}
