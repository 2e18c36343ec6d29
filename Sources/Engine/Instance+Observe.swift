import Aggregation

/// What an instance shows of one partition.
public struct PartitionLoad: Sendable {
  public enum Phase: String, Sendable, CaseIterable { case acquiring, rebuilding, running, fenced, stopped, draining }

  public var id: PartitionID
  public var phase = Phase.acquiring
  public var epoch = Epoch(0)
  /// The next offset to be folded; nil before the partition is taken over.
  public var next: Offset?
  /// Everything below is in the store.
  public var flushed = Offset(0)
  /// The end as the engine last reached it.
  public var end: Offset?
  public var watermark: EventTime?
  public var isPaused = false
  public var pendingBytes = 0
  public var unflushedJournalBytes = 0
  /// What a restart reads of the journal; nil: none is kept.
  public var journalBytes: Int?
  public var memory = StateMemory()
  /// One an aggregate.
  public var loads: [AggregateLoad] = []
  /// Kafka timestamp of the last record in the store, milliseconds since the epoch; nil: none flushed here yet.
  public var flushedRecordTime: Int64?
  public init(id: PartitionID) { self.id = id }
}

/// What an instance shows of itself.
public struct InstanceLoad: Sendable {
  /// Ascending.
  public var partitions: [PartitionLoad] = []
  /// Bytes that wait for the store or are on their way.
  public var pendingBytes = 0
  public var isPausedForBudget = false
  public var isJournalBlocked = false
  public init() {}
}

extension Instance {
  /// A picture of the instance. O(partitions); with `memory` also O(groups), otherwise bytes are those of the last time.
  public func observe(memory: Bool) -> InstanceLoad {
    var load = InstanceLoad()
    load.pendingBytes = pendingBytes
    load.isPausedForBudget = isPausedForBudget
    load.isJournalBlocked = isJournalBlocked
    load.partitions = tasks.values.sorted { $0.id < $1.id }.map { task in
      var part = PartitionLoad(id: task.id)
      part.phase = task.shownPhase
      part.epoch = task.epoch
      part.flushed = task.flushed
      part.end = task.endOffset
      part.isPaused = task.isPaused
      part.pendingBytes = task.pending?.bytes ?? 0
      part.unflushedJournalBytes = task.unflushedJournalBytes
      part.journalBytes = journalBytes(task)
      part.flushedRecordTime = task.flushedRecordTime
      if let state = task.state {
        if memory { task.memory = state.processor.memory }
        part.next = state.processor.nextOffset
        part.watermark = state.processor.watermark
        part.loads = state.processor.loads
        part.memory = task.memory
      }
      return part
    }
    return load
  }

  /// Times of the events that became visible since the last call.
  public func takeVisible() -> [FreshnessTally] {
    defer { visible = [] }
    return visible
  }

  /// Notes the times of a batch that was folded into `delta`.
  func note(_ part: Records, _ delta: Delta, _ task: PartitionTask) {
    task.recordTime = part.lastTimestamp ?? task.recordTime
    guard notesTimes, delta.to > delta.from else { return }
    let late = delta.watermark.map { $0.microseconds - plan.allowedLateness } ?? .min
    task.tally.add(batch, part, from: delta.from, lateBefore: late)
  }

  /// A flush with these times is in the store.
  func becameVisible(_ tallies: [PartitionID: FreshnessTally]) {
    if notesTimes { visible += tallies.values }
  }

  /// What goes along with a flush for operators to see. O(aggregates).
  func figures(_ task: PartitionTask) -> PartitionFigures {
    PartitionFigures(
      recordTime: task.recordTime, journalBytes: journalBytes(task), stateBytes: task.memory.bytes > 0 ? task.memory.bytes : nil,
      loads: task.state?.processor.loads ?? [])
  }

  private func journalBytes(_ task: PartitionTask) -> Int? { keepsJournal ? task.snapshotBytes + task.journalBytes : nil }
}

extension Records {
  /// The last timestamp that there is; milliseconds since the epoch. O(1) where all records have one.
  fileprivate var lastTimestamp: Int64? { (0..<count).reversed().lazy.map { timestamps[$0] }.first { $0 >= 0 } }
}

extension PartitionTask {
  var shownPhase: PartitionLoad.Phase {
    if drainBy != nil { return .draining }
    // Not fetched yet.
    if isActive, start != nil { return .acquiring }
    switch phase {
    case .acquiring: return .acquiring
    case .rebuilding: return .rebuilding
    case .running: return .running
    case .fenced: return .fenced
    case .stopped: return .stopped
    }
  }

  func takeTally() -> FreshnessTally {
    defer { tally = FreshnessTally() }
    return tally
  }
}
