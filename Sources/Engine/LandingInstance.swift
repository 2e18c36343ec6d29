import Aggregation

/// A landing instance as a state machine: events in, effects out. It reads no clock and waits for nothing.
///
///     partition:   stopped, until ─► acquiring ─► starting ─► landing ─┐ out of range, fenced, its batch given up
///                       ▲                                              │
///                       └──────────────────────────────────────────────┘
///
///     batch:       none ─► open ─► under way ─► none: committed, fenced, or the run has failed
///                                  │      ▲
///                  failed, unknown ▼      │ land again, or read the offset rows
///                                 waiting ┴─► none: given up, its time is over
///
/// One batch is in hand at a time, and nothing is added to it once it is under way: an attempt after an unknown COMMIT is
/// about the same rows, and a COMMIT without an answer is not repeated before the offset rows were read. A batch that is given
/// up is read again from Kafka, by whoever has its partitions next: their offset rows say from where on, whatever became of it.
public struct LandingInstance: Sendable {
  public let limits: LandingLimits
  var tasks: [PartitionID: Task] = [:]
  var batch: Batch?
  var effects: [LandingEffect] = []
  var starts: UInt64 = 0
  /// Until when the last batch is tried; nil: the instance is not to end.
  var endBy: Milliseconds?
  public internal(set) var isOver = false
  /// Acquisitions that failed since the last that did not.
  var acquireFailures = 0
  /// Whether the store did not do what it was asked for last.
  var isStoreAway = false
  var nextRetention: Milliseconds = .min
  var nextGoalLook: Milliseconds = .min

  /// What is in hand.
  struct Batch: Sendable {
    enum Stage: Sendable, Equatable { case open, underWay, waiting(until: Milliseconds, resolves: Bool) }
    var partitions: Set<PartitionID> = []
    var since: Milliseconds
    var stage = Stage.open
    /// To be landed before its time.
    var isDue = false
    var attempts = 0
    var trouble = ""
  }

  struct Task: Sendable {
    enum Phase: Sendable, Equatable { case stopped(until: Milliseconds), acquiring, starting(UInt64), landing }
    var phase: Phase
    var epoch = Epoch(0)
    var next = Offset(0)
    /// The partition's end in Kafka as last noted.
    var end: Offset?
    /// Given up once it has no part in a batch.
    var isLeaving = false
    /// Until when a batch with a part of it is tried; nil: for ever.
    var drainBy: Milliseconds?
    var isNew = true
    /// The offset that Kafka lacked, why, and when that was said.
    var lacked: (offset: Offset, reason: String, at: Milliseconds)?
  }

  public init(_ limits: LandingLimits) { self.limits = limits }

  // MARK: What the runtime asks

  /// Whether records and ends of partitions can be taken; else they have to wait.
  public var takesRecords: Bool { batch.map { $0.stage == .open } ?? true }

  /// Where reading of a partition goes on; nil: what comes of it is not wanted.
  public func reading(_ id: PartitionID) -> (epoch: Epoch, next: Offset, end: Offset?)? {
    guard takesRecords, !isOver, let task = tasks[id], task.phase == .landing, !task.isLeaving else { return nil }
    return (task.epoch, task.next, task.end)
  }

  public var partitionCount: Int { tasks.count }

  // MARK: Events

  /// Takes one event at time `now`; returns what is to be done, in order. - Complexity: O(partitions).
  public mutating func handle(_ event: LandingEvent, now: Milliseconds) -> [LandingEffect] {
    effects = []
    guard !isOver else { return [] }
    var isIdle = false
    switch event {
    case .assigned(let partitions): assigned(partitions, now)
    case .revoked(let partitions): revoked(partitions, now)
    case .lost(let partitions): lost(partitions)
    case .acquired(let rows): acquired(rows, now)
    case .acquireFailed(let partitions, let reason): acquireFailed(partitions, reason, now)
    case .acquireRefused(let reason): fail(reason)
    case .started(let id, let number): if tasks[id]?.phase == .starting(number) { tasks[id]?.phase = .landing }
    case .startFailed(let id, let number, let reason): startFailed(id, number, reason, now)
    case .read(let id, let to, let rows, let bytes): read(id, to, rows, bytes, now)
    case .reachedEnd(let id, let end): reachedEnd(id, end, now)
    case .offsetOutOfRange(let id, let reason, let first): outOfRange(id, reason, first, now)
    case .ended(let outcome): ended(outcome, now)
    case .caughtUp: if endBy == nil { end(now) }
    case .drain: if endBy == nil { end(now) }
    case .tick(let idle): isIdle = idle
    }
    guard !isOver else { return effects }
    advanceBatch(now, isIdle)
    acquireWhatIsDue(now)
    releaseWhatIsDone()
    lookAround(now)
    return effects
  }

  /// Everything is given back. What is in hand is landed; while that fails it is tried for a while, at once to begin with.
  private mutating func end(_ now: Milliseconds) {
    endBy = now + limits.drainTime
    for id in tasks.keys { tasks[id]?.isLeaving = true }
    if case .waiting(_, let resolves) = batch?.stage { batch?.stage = .waiting(until: now, resolves: resolves) }
  }

  mutating func fail(_ reason: String) {
    isOver = true
    effects.append(.fail(reason))
  }

  /// What is done now and then.
  private mutating func lookAround(_ now: Milliseconds) {
    if endBy != nil {
      guard tasks.isEmpty, batch == nil else { return }
      isOver = true
      effects.append(.drained)
      return
    }
    if let every = limits.retentionEvery, now >= nextRetention, takesRecords {
      nextRetention = now + every
      effects.append(.dropOldTables)
    }
    if limits.hasGoal, batch == nil, now >= nextGoalLook {
      nextGoalLook = now + 200
      effects.append(.lookForGoal)
    }
  }
}
