import Aggregation

/// Where a record lies.
struct Location: Equatable, Sendable {
  /// First LSN of its segment.
  var segment: LogSequenceNumber
  var position: Int
  var length: Int
}

/// A Delta in the log.
struct HeldDelta: Equatable, Sendable {
  var from: Offset
  var to: Offset
  var location: Location
}

/// What the log holds of a partition.
///
/// Its Deltas are a chain: the first begins at or below `base`, each begins where the one before ends, the last ends at `end`.
struct HeldPartition: Equatable, Sendable {
  var epoch: Epoch
  /// Deltas up to here are not needed: there were none, or the snapshot holds them and PostgreSQL has them.
  var base: Offset
  var end: Offset
  var flushed: Offset
  var snapshot: SnapshotReference?
  /// Ascending.
  var deltas: [HeldDelta] = []

  /// Nothing that a recovery could give back.
  var isEmpty: Bool { snapshot == nil && deltas.isEmpty }

  /// - Complexity: O(log Deltas).
  func firstDelta(endingAtOrAfter offset: Offset) -> Int {
    var low = 0
    var high = deltas.count
    while low < high {
      let middle = (low + high) / 2
      if deltas[middle].to < offset { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// nil: a chain without a hole; otherwise where the hole is.
  var hole: String? {
    var reached = base
    for delta in deltas {
      if delta.from > reached { return "offsets \(reached.value) to \(delta.from.value) are missing" }
      reached = delta.to
    }
    return end > reached ? "offsets \(reached.value) to \(end.value) are missing" : nil
  }
}

/// What the log's records amount to: the same fold while appending and while opening.
struct LogIndex: Equatable, Sendable {
  struct Live: Equatable, Sendable {
    var records = 0
    var bytes = 0
  }
  private(set) var partitions: [PartitionID: HeldPartition] = [:]
  /// Deltas still needed, per segment that has any.
  private(set) var live: [LogSequenceNumber: Live] = [:]
  /// Snapshots that nothing refers to any more and whose files can go.
  private(set) var superseded: [SnapshotReference] = []

  var liveBytes: Int { live.values.reduce(0) { $0 + $1.bytes } }

  /// The record that makes this index, except for the Deltas.
  var roster: LogRecord {
    .roster(
      partitions.sorted { $0.key < $1.key }.map { id, held in
        RosterLine(
          partition: id, epoch: held.epoch, base: held.base, end: held.end, flushed: held.flushed, snapshot: held.snapshot)
      })
  }

  /// Takes a record; false: it does not follow from those before, which no journal writes.
  ///
  /// - Complexity: O(1) amortised; O(Deltas of the partition) for what frees or carries some.
  mutating func apply(_ record: LogRecord, at location: Location) -> Bool {
    switch record {
    case .roster(let lines):
      // All but the first roster only repeat what the records before it say.
      guard partitions.isEmpty else { return true }
      for line in lines {
        partitions[line.partition] = HeldPartition(
          epoch: line.epoch, base: line.base, end: line.end, flushed: line.flushed, snapshot: line.snapshot)
      }
    case .opened(let id, let epoch, let offset):
      if let end = partitions[id]?.end {
        guard end == offset else { return false }
        partitions[id]!.epoch = epoch
      } else {
        partitions[id] = HeldPartition(epoch: epoch, base: offset, end: offset, flushed: offset)
      }
    case .delta(let id, let from, let to):
      // No copy of the partition is held here: with one, each append would copy its array.
      guard partitions[id]?.end == from, from < to else { return false }
      partitions[id]!.end = to
      guard to > partitions[id]!.base else { return true }
      partitions[id]!.deltas.append(HeldDelta(from: from, to: to, location: location))
      count(location, 1)
    case .carried(let id, let from, let to):
      return carry(HeldDelta(from: from, to: to, location: location), of: id)
    case .flushed(let id, let offset):
      guard let flushed = partitions[id]?.flushed else { return false }
      partitions[id]!.flushed = max(flushed, offset)
    case .dropped(let id):
      forget(id)
    case .snapshot(let id, let reference):
      guard var held = partitions.removeValue(forKey: id) else { return false }
      if let old = held.snapshot { superseded.append(old) }
      held.snapshot = reference
      held.base = max(held.base, reference.flushed)
      held.flushed = max(held.flushed, reference.flushed)
      let freed = held.deltas.prefix { $0.to <= held.base }
      for delta in freed { count(delta.location, -1) }
      held.deltas.removeFirst(freed.count)
      partitions[id] = held
    }
    return true
  }

  /// Forgets all of a partition.
  mutating func forget(_ id: PartitionID) {
    guard let held = partitions.removeValue(forKey: id) else { return }
    for delta in held.deltas { count(delta.location, -1) }
    if let snapshot = held.snapshot { superseded.append(snapshot) }
  }

  /// Hands over the snapshots that can go.
  mutating func takeSuperseded() -> [SnapshotReference] {
    defer { superseded = [] }
    return superseded
  }

  /// Puts a copied Delta in the place of the one it was copied from, or where that one was.
  private mutating func carry(_ delta: HeldDelta, of id: PartitionID) -> Bool {
    guard var held = partitions.removeValue(forKey: id) else { return false }
    defer { partitions[id] = held }
    guard delta.from < delta.to, delta.to > held.base, delta.to <= held.end else { return false }
    let place = held.firstDelta(endingAtOrAfter: delta.to)
    if place < held.deltas.count, held.deltas[place].to == delta.to {
      count(held.deltas[place].location, -1)
      held.deltas[place] = delta
    } else {
      held.deltas.insert(delta, at: place)
    }
    count(delta.location, 1)
    return true
  }

  private mutating func count(_ location: Location, _ change: Int) {
    var sum = live[location.segment] ?? Live()
    sum.records += change
    sum.bytes += change * location.length
    live[location.segment] = sum.records == 0 ? nil : sum
  }
}
