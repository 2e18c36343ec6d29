import Aggregation

/// One assigned partition.
///
///     assigned ─► acquiring ─► rebuilding ─► running ─► draining ─► (released)
///                     │             │           │  ▲        ▲
///                     │             └───────────┘  │        │ revoked
///                     ├─► stopped (gap, operator)  └─ resumed
///                     └─► fenced  (another epoch)
///
/// A stopped or fenced partition that the group still assigns here is taken over anew after a while: an operator may have
/// accepted the gap, and a group that has given it to somebody else says so (lost) long before.
final class PartitionTask {
  enum Phase: Equatable {
    case acquiring
    /// Re-reading the topic below `below` for event ids; `mark` is the watermark there.
    case rebuilding(below: Offset, mark: EventTime?)
    case running
    case fenced
    case stopped
  }

  struct Start {
    var number: UInt64
    var offset: Offset
    var failures = 0
    /// The consumer would not: when it is asked again.
    var retryAt: Milliseconds?
  }

  let id: PartitionID
  var phase = Phase.acquiring
  var epoch = Epoch(0)
  var state: PartitionState?
  var pending: PendingDelta?
  /// Watermark where `pending` begins.
  var pendingWatermark: EventTime?
  var endOffset: Offset?
  /// Where fetching is to begin, until it does: what comes before that was fetched from somewhere else, and would look like a gap.
  var start: Start?
  /// Set when the group wants the partition back: the time by which it is given up in any case.
  var drainBy: Milliseconds?
  var isPaused = false
  /// Taken over, and its end not reached since.
  var isCatchingUp = false
  /// When a stopped or fenced partition is taken over anew.
  var reacquireAt: Milliseconds?
  /// How often it was fenced since its last flush.
  var fences = 0
  /// Everything below this is in the store.
  var flushed = Offset(0)
  /// Journal bytes since the last snapshot, and the size of that.
  var journalBytes = 0
  var snapshotBytes = 0
  /// Journal bytes of Deltas that are not in the store yet, and those of them that the flush under way has taken.
  var unflushedJournalBytes = 0
  var takenJournalBytes = 0
  var flushesSinceCompaction = 0
  /// Shown, and of no consequence: times of the events in `pending`, the Kafka timestamps of the last records consumed and in the
  /// store, bytes when last counted.
  var tally = FreshnessTally()
  var recordTime: Int64?
  var flushedRecordTime: Int64?
  var memory = StateMemory()

  init(id: PartitionID) { self.id = id }

  var isActive: Bool {
    switch phase {
    case .rebuilding, .running: true
    default: false
    }
  }

  func drop() {
    state = nil
    pending = nil
    tally = FreshnessTally()
    unflushedJournalBytes = 0
    takenJournalBytes = 0
  }
}

/// Holds a processor, so that having none is an ordinary optional.
final class PartitionState {
  var processor: PartitionProcessor
  init(_ processor: consuming PartitionProcessor) { self.processor = processor }
}
