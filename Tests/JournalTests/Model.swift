import Aggregation
import Testing

@testable import Journal
@testable import Simulation

/// What a journal must hold after some entries: the contract in its simplest form.
struct Model: Equatable {
  struct Partition: Equatable {
    var epoch: Epoch
    var flushed: Offset
    var end: Offset
    var snapshot: [UInt8]?
    var deltas: [Piece] = []
  }
  struct Piece: Equatable {
    var to: Offset
    var bytes: [UInt8]
  }
  var partitions: [PartitionID: Partition] = [:]

  mutating func take(_ entry: JournalEntry) {
    switch entry {
    case .opened(let id, let epoch, let offset):
      if partitions[id]?.end == offset {
        partitions[id]!.epoch = epoch
      } else {
        partitions[id] = Partition(epoch: epoch, flushed: offset, end: offset)
      }
    case .delta(let id, let epoch, let to, let bytes):
      guard let held = partitions[id], held.epoch == epoch, held.end < to else { return }
      partitions[id]!.deltas.append(Piece(to: to, bytes: bytes))
      partitions[id]!.end = to
    case .flushed: return
    case .dropped(let id, _): partitions[id] = nil
    case .snapshot(let id, let epoch, let flushed, let bytes):
      guard let held = partitions[id], held.epoch == epoch else { return }
      partitions[id]!.snapshot = bytes
      partitions[id]!.deltas = held.deltas.filter { $0.to > flushed }
    }
  }

  init(_ entries: some Sequence<JournalEntry> = []) { for entry in entries { take(entry) } }

  /// nil if `journal` holds just this, otherwise the first difference.
  func difference(_ journal: Journal) throws -> String? {
    let ids = partitions.keys.sorted()
    if journal.partitions != ids { return "partitions \(journal.partitions), not \(ids)" }
    for id in ids {
      let held = partitions[id]!
      // Not to be seen from outside while nothing is held, but it decides what may come next.
      let indexed = journal.index.partitions[id]!
      if indexed.epoch != held.epoch || indexed.end != held.end { return "\(id) stands at another epoch or offset" }
      let state = try journal.recover(id)
      if held.snapshot == nil, held.deltas.isEmpty {
        if state != nil { return "\(id) should hold nothing" }
        continue
      }
      guard let state else { return "\(id) holds nothing" }
      if state.epoch != held.epoch { return "\(id) is of epoch \(state.epoch.value), not \(held.epoch.value)" }
      if state.snapshot != held.snapshot { return "\(id) has another snapshot" }
      if state.deltas != held.deltas.map(\.bytes) {
        return "\(id) has \(state.deltas.count) Deltas, not these \(held.deltas.count)"
      }
    }
    return nil
  }
}

let directory = "/journal"
let identity = JournalIdentity(fingerprint: "3f9a", seed: 7)

/// Bytes of a segment's header with this identity.
let headerSize = 42

func partition(_ n: Int32) -> PartitionID { PartitionID(topic: "product.events", partition: n) }

/// Bytes that tell their place: no two Deltas of a test are alike.
func content(_ n: Int, _ count: Int) -> [UInt8] {
  var dice = Dice(UInt64(n))
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: dice.next()) }
}

func delta(_ n: Int32, epoch: Int64 = 1, to: Int64, bytes: Int = 40) -> JournalEntry {
  .delta(partition(n), Epoch(epoch), to: Offset(to), content(Int(n) * 1_000_000 + Int(to), bytes))
}
func opened(_ n: Int32, epoch: Int64 = 1, at: Int64 = 0) -> JournalEntry { .opened(partition(n), Epoch(epoch), Offset(at)) }
func flushed(_ n: Int32, epoch: Int64 = 1, _ at: Int64) -> JournalEntry { .flushed(partition(n), Epoch(epoch), Offset(at)) }
func dropped(_ n: Int32, epoch: Int64 = 1) -> JournalEntry { .dropped(partition(n), Epoch(epoch)) }
func snapshot(_ n: Int32, epoch: Int64 = 1, flushed: Int64, bytes: Int = 60) -> JournalEntry {
  .snapshot(partition(n), Epoch(epoch), flushed: Offset(flushed), content(Int(n) * 7_000_000 + Int(flushed), bytes))
}

func openJournal(
  _ storage: SimulatedDisk, sync: SyncPolicy = .always, segmentBytes: Int = 4096, identity: JournalIdentity = identity
) throws(JournalError) -> Journal {
  try Journal(
    directory: directory, identity: identity, options: JournalOptions(segmentBytes: segmentBytes, sync: sync), storage: storage)
}

/// Path of the segment that begins with record `first`.
func segmentPath(_ first: Int) -> String {
  let text = String(first)
  return directory + "/" + String(repeating: "0", count: 20 - text.count) + text + ".log"
}

/// Opens, expecting an error.
func refusal(_ storage: SimulatedDisk, identity: JournalIdentity = identity) -> JournalError? {
  do {
    _ = try openJournal(storage, identity: identity)
    return nil
  } catch {
    return error
  }
}
