import Aggregation
import Decoding

/// Tunables of an instance; the relations between them are checked when it is made.
public struct InstanceLimits: Sendable {
  /// Milliseconds between flushes.
  public var flushInterval: Milliseconds = 1000
  /// Milliseconds between the moment from which a partition that was taken over consumes what is new, and its first flush: its
  /// readers have waited already. Time for what has piled up to be read.
  public var catchUpTime: Milliseconds { min(150, flushInterval / 4) }
  /// Pending bytes at which partitions pause; they go on at half of it.
  public var pendingBytes = 256 << 20
  /// Unflushed journal bytes at which partitions pause.
  public var journalBytes = 2 << 30
  /// Bytes of groups, members and event ids at which the largest partition is held.
  public var stateBytes = Int.max
  /// Pending bytes that make a flush due before its time.
  public var eagerFlushBytes = 32 << 20
  /// Longest wait for a last flush when partitions are revoked.
  public var drainTime: Milliseconds = 8000
  /// The same when all is given up, because the instance ends.
  public var endTime: Milliseconds = 6000
  /// Journal bytes of a partition before the first snapshot, and their multiple of the last one after.
  public var snapshotAfter = 64 << 20
  /// Records decoded at a time.
  public var batch = 4096
  /// How long a stopped partition that is still assigned waits until it is taken over anew.
  public var reacquireAfter: Milliseconds = 30_000
  /// The same for a fenced one, doubled each time that it is fenced again without a flush in between, up to `reacquireAfter`.
  /// More than a heartbeat (3 s where librdkafka's own default is in force): a zombie must hear that it has lost the partition before it takes it from its owner.
  public var reacquireFencedAfter: Milliseconds = 5000
  public init() {}

  /// The budgets of one of `count` instances that share them.
  public func share(of count: Int) -> InstanceLimits {
    var share = self
    share.pendingBytes /= count
    share.journalBytes /= count
    if stateBytes < .max { share.stateBytes /= count }
    share.eagerFlushBytes /= count
    return share
  }
}

/// An instance as a state machine: events in, effects out. It performs no input or output, reads no clock and starts no
/// thread; the runtime performs the effects for real, a simulator performs them in a world of its own.
///
/// At most one flush is under way. Its request does not change until its end is known, so that a retry after an
/// unknown COMMIT writes what the first attempt would have written.
public final class Instance {
  public let plan: Plan
  public let limits: InstanceLimits
  let decoder: Decoder
  let hash: TextHash
  var batch: EventBatch
  var tasks: [PartitionID: PartitionTask] = [:]

  var flight: Flight?
  var flushCount: UInt64 = 0
  var flushDue: Milliseconds = 0
  /// A partition has just begun to consume what is new.
  var flushesSoon = false
  var isDraining = false
  var hasDrained = false
  var isJournalBlocked = false
  var isPausedForBudget = false
  /// Partitions that wait because all state together is too large.
  var heldForState: Set<PartitionID> = []
  /// Bytes of all state when it was measured last, and when a partition was held last; events since it was measured, and when to look again while something is held.
  var stateBytes = 0
  var bytesWhenHeld = 0
  var consumedSinceMeasured = 0
  var nextStateLook: Milliseconds = 0
  var acquireRetry: (at: Milliseconds, partitions: [PartitionID], delay: Milliseconds)?
  /// Acquisitions that the store has been asked for and has not answered; it answers in the order of asking.
  var acquisitions: [PartitionID: Int] = [:]
  /// How many starts there were: the number of the last one.
  var starts: UInt64 = 0
  var effects: [Effect] = []
  var dice: UInt64
  public internal(set) var statistics = InstanceStatistics()
  /// Whether times of events are noted for `takeVisible`, which then has to be called.
  public var notesTimes = false
  /// Whether what goes to the journal is kept; only shown.
  public var keepsJournal = true
  var visible: [FreshnessTally] = []
  /// Nanoseconds of CPU of the thread, for stage times; nil: stages are not timed.
  let stopwatch: (() -> UInt64)?
  /// Planted bugs: none but in the simulator.
  package var mutation: Mutation = []

  /// A flush under way or waiting to be tried again.
  struct Flight {
    var request: FlushRequest
    var bytes: Int
    /// nil while the store works on it.
    var retryAt: Milliseconds?
    var retryResolves = false
    var attempts = 0
    /// Times of its events, by partition: they are shown once it is in the store.
    var tallies: [PartitionID: FreshnessTally] = [:]
  }

  /// - Parameters:
  ///   - seed: the topology's hash seed.
  ///   - dice: seed of the jitter between retries.
  public init(plan: Plan, seed: UInt64, limits: InstanceLimits, dice: UInt64, stopwatch: (() -> UInt64)? = nil) {
    precondition(limits.eagerFlushBytes <= limits.pendingBytes / 2, "an early flush must come before the pause")
    self.plan = plan
    self.limits = limits
    self.dice = dice
    self.stopwatch = stopwatch
    decoder = Decoder(plan: plan, seed: seed)
    hash = Decoder.hash(seed: seed)
    batch = EventBatch(capacity: limits.batch, fieldCount: plan.fields.count)
  }

  /// Takes one event at time `now`; returns what is to be done, in order.
  public func handle(_ event: InstanceEvent, now: Milliseconds) -> [Effect] {
    effects = []
    switch event {
    case .assigned(let partitions): assigned(partitions)
    case .acquired(let partition, let local): acquired(partition, local)
    case .acquireFailed(let partitions, let reason): acquireFailed(partitions, reason, now)
    case .acquireRefused(let partition, let reason): refused(partition, reason)
    case .started(let partition, let number): started(partition, number)
    case .startFailed(let partition, let number, let reason): startFailed(partition, number, reason, now)
    case .revoked(let partitions): revoked(partitions, now)
    case .lost(let partitions): lost(partitions)
    case .records(let partition, let records): consume(partition, records)
    case .endOfPartition(let partition, let offset): reachedEnd(partition, offset)
    case .offsetOutOfRange(let partition, let reason): outOfRange(partition, reason)
    case .flushFinished(let id, let outcome): flushFinished(id, outcome, now)
    case .journalBlocked(let reason): journalBlocked(reason)
    case .journalReady:
      isJournalBlocked = false
      effects.append(.say(.info, "the journal takes records again"))
    case .drain:
      isDraining = true
      giveUp(Array(tasks.keys).sorted(), by: now + limits.endTime)
      flushDue = min(flushDue, now)
    case .tick: tick(now)
    }
    flushIfDue(now)
    finishDrains(now)
    balance()
    return effects
  }

  /// Whether everything consumed is in the store.
  public var isIdle: Bool { flight == nil && tasks.values.allSatisfy { $0.pending?.isEmpty ?? true } }

  /// Partitions that are assigned, whatever their phase.
  public var partitionCount: Int { tasks.count }

  /// The next offset that a partition reads; nil: it has no state here.
  package func nextOffset(of id: PartitionID) -> Offset? { tasks[id]?.state?.processor.nextOffset }

  package var pendingBytes: Int { tasks.values.reduce(flight?.bytes ?? 0) { $0 + ($1.pending?.bytes ?? 0) } }

  // MARK: Budget

  /// Pauses what must wait and resumes what may go on: past a budget partitions pause, nothing is dropped.
  private func balance() {
    let pending = pendingBytes
    let journal = tasks.values.reduce(0) { $0 + $1.unflushedJournalBytes }
    if !isPausedForBudget, pending > limits.pendingBytes || journal > limits.journalBytes {
      isPausedForBudget = true
      effects.append(
        .say(.warning,
          "paused: \(pending >> 20) MiB of memory (budget \(limits.pendingBytes >> 20)) and \(journal >> 20) MiB of journal (budget "
            + "\(limits.journalBytes >> 20)) wait for PostgreSQL; Kafka keeps the rest"))
    } else if isPausedForBudget, pending < limits.pendingBytes / 2, journal < limits.journalBytes / 2 {
      isPausedForBudget = false
      effects.append(.say(.info, "resumed: \(pending >> 20) MiB wait for PostgreSQL"))
    }
    let hold = (isPausedForBudget && !mutation.contains(.pauseForgotten)) || isJournalBlocked
    func waits(_ task: PartitionTask) -> Bool { hold || heldForState.contains(task.id) }
    let change = tasks.values.filter { $0.isActive && $0.isPaused != waits($0) }.sorted { $0.id < $1.id }
    guard !change.isEmpty else { return }
    for task in change { task.isPaused = waits(task) }
    let paused = change.filter(\.isPaused).map(\.id), resumed = change.filter { !$0.isPaused }.map(\.id)
    if !paused.isEmpty { effects.append(.pause(paused)) }
    if !resumed.isEmpty { effects.append(.resume(resumed)) }
  }

  private func journalBlocked(_ reason: String) {
    if !isJournalBlocked { effects.append(.say(.error, "paused: the journal takes no records: \(reason)")) }
    isJournalBlocked = true
  }

  func tick(_ now: Milliseconds) {
    reacquire(now)
    startAgain(now)
    watchHeldState(now)
    if let retry = acquireRetry, now >= retry.at {
      acquireRetry = nil
      let waiting = retry.partitions.filter { tasks[$0]?.phase == .acquiring }
      if !waiting.isEmpty { acquire(waiting) }
      lastAcquireDelay = retry.delay
    }
  }
  var lastAcquireDelay: Milliseconds = 0

  /// The delay before another attempt: `first`, doubled with each attempt up to 5 s, with its jitter.
  func backoff(_ first: Milliseconds, _ attempts: Int) -> Milliseconds { jitter(min(first << Milliseconds(min(attempts, 6)), 5000)) }

  /// A delay of `base` to twice that: retries of many instances do not march in step.
  func jitter(_ base: Milliseconds) -> Milliseconds {
    dice = dice &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return base + Milliseconds((dice >> 33) % UInt64(max(1, base)))
  }
}

/// Counters since the start, and nanoseconds of work by stage.
public struct InstanceStatistics: Sendable {
  public var events: Int64 = 0
  public var ledger = LedgerCounts()
  public var flushes: Int64 = 0
  public var retries: Int64 = 0
  public var fenced: Int64 = 0
  public var decodeNanoseconds: UInt64 = 0
  public var aggregateNanoseconds: UInt64 = 0
  public var composeNanoseconds: UInt64 = 0
  public init() {}

  public mutating func add(_ other: InstanceStatistics) {
    events += other.events
    ledger.add(other.ledger)
    flushes += other.flushes
    retries += other.retries
    fenced += other.fenced
    decodeNanoseconds += other.decodeNanoseconds
    aggregateNanoseconds += other.aggregateNanoseconds
    composeNanoseconds += other.composeNanoseconds
  }
}
