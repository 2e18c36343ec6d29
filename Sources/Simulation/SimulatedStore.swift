import Aggregation
import Engine

/// PostgreSQL as far as Tidemark relies on it: tables, transactions that are applied whole at COMMIT or not at all, row
/// locks that are held until then, and sessions that outlive their client for a while. The isolation is READ COMMITTED:
/// a statement sees what was committed when it began, and a row that it waited for as it is after the wait.
///
/// The SQL itself cannot run here; each operation names the statement of `Warehouse` that it mirrors.
final class SimulatedStore {
  /// `tidemark.partition`
  struct PartitionRow: Equatable {
    var next: Offset
    var epoch: Epoch
    var owner: String?
    var watermark: EventTime?
    var endOffset: Offset?
    /// `record_time`, `journal_bytes`, `state_bytes`, `aggregates`.
    var figures = PartitionFigures()
    /// Aggregates in `changed_at`.
    var changed: Set<Int> = []
  }
  /// `tidemark.ledger`
  struct LedgerRow {
    var from: Offset
    var to: Offset
    var counts: LedgerCounts
    var watermarkBefore: EventTime?
    var watermarkAfter: EventTime?
  }
  /// `tidemark.state_chunk`
  struct Chunk {
    var from: Offset
    var to: Offset
    var level: Int
    var lastWindowEnd: EventTime
    var bytes: [UInt8]
  }
  struct Alert {
    var kind: String
    var message: String
    var isResolved = false
  }

  unowned let world: World
  var dice: Dice
  var partitions: [PartitionID: PartitionRow] = [:]
  /// Ascending by `from`.
  var ledger: [PartitionID: [LedgerRow]] = [:]
  /// Ascending by `to`.
  var chunks: [PartitionID: [Chunk]] = [:]
  /// By aggregate: `analytics.<aggregate>` and `tidemark.late_count`.
  var rows: [[RowKey: [MergedValue]]]
  var late: [[RowKey: Int64]]
  /// `tidemark.rejected_row`: what an operator would add by hand.
  var rejected: [(aggregate: Int, row: MergedRow)] = []
  var quarantine: [PartitionID: [Int64: QuarantinedEvent]] = [:]
  var omitted: Int64 = 0
  var alerts: [PartitionID: [Alert]] = [:]
  /// Where each partition's first row began.
  var firstOffsets: [PartitionID: Int64] = [:]
  var accepted: [PartitionID: [Range<Int64>]] = [:]

  var sessions: [Session] = []
  private var holders: [RowLock: Session] = [:]
  private var waiting: [RowLock: [Session]] = [:]
  /// No connection can be made until then.
  var isAwayUntil: Int64 = 0
  var isSlowUntil: Int64 = 0
  /// A right is missing until then.
  var refusesUntil: Int64 = 0

  init(_ world: World) {
    self.world = world
    dice = Dice(world.scenario.seed, 4)
    rows = world.plan.aggregates.map { _ in [:] }
    late = world.plan.aggregates.map { _ in [:] }
  }

  func next(_ id: PartitionID) -> Int64 { partitions[id]?.next.value ?? 0 }

  // MARK: Sessions

  enum RowLock: Hashable {
    case partition(PartitionID)
    case row(aggregate: Int, RowKey)
    case lateCount(aggregate: Int, RowKey)
  }

  /// A backend of the server.
  final class Session {
    let name: String
    /// Changes that COMMIT applies.
    var changes: [() -> Void] = []
    var isInTransaction = false
    /// SET lock_timeout = '10s', unless a transaction has said otherwise.
    static let usualLockTimeout: Int64 = 10_000
    var lockTimeout = Session.usualLockTimeout
    var isOver = false
    fileprivate var locks: [RowLock] = []
    fileprivate var waitsFor: RowLock?
    fileprivate var resume: ((StoreFailure?) -> Void)?
    /// Raised with every statement: an idle transaction is ended by its age.
    var statements = 0
    /// The row that does not fit its columns.
    var misfit: RowLock?
    init(_ name: String) { self.name = name }
  }

  /// COMMIT: everything at once, then the locks go.
  func commit(_ session: Session) {
    let changes = session.changes
    session.changes = []
    session.isInTransaction = false
    session.lockTimeout = Session.usualLockTimeout
    for change in changes { change() }
    unlock(session)
  }

  func rollBack(_ session: Session) {
    session.changes = []
    session.isInTransaction = false
    session.lockTimeout = Session.usualLockTimeout
    unlock(session)
  }

  /// Ends a session: its transaction is rolled back, a statement that waits fails.
  func end(_ session: Session) {
    guard !session.isOver else { return }
    session.isOver = true
    sessions.removeAll { $0 === session }
    let resume = session.resume
    stopWaiting(session)
    rollBack(session)
    resume?(StoreFailure(.connectionLost, "terminating connection"))
  }

  /// pg_ctl restart -m immediate.
  func restart(away: Int64) {
    world.trace { "store: restarts, away for \(away) ms" }
    isAwayUntil = world.now + away
    for session in sessions { end(session) }
  }

  // MARK: Locks

  /// Takes row locks one after another, waiting where another transaction has one; `taken` is called with each as it is had.
  func lock(_ locks: [RowLock], _ session: Session, _ taken: @escaping (RowLock) -> Void, _ done: @escaping (StoreFailure?) -> Void) {
    var left = locks[...]
    while let first = left.first {
      if let holder = holders[first], holder !== session { return wait(Array(left), session, taken, done) }
      hold(first, session)
      taken(first)
      left.removeFirst()
    }
    done(nil)
  }

  private func hold(_ lock: RowLock, _ session: Session) {
    if holders[lock] == nil {
      holders[lock] = session
      session.locks.append(lock)
    }
  }

  private func wait(_ left: [RowLock], _ session: Session, _ taken: @escaping (RowLock) -> Void, _ done: @escaping (StoreFailure?) -> Void) {
    let lock = left[0]
    if closesCircle(session, at: lock) {
      world.count(.deadlock)
      world.trace { "store: \(session.name) would wait in a circle" }
      return done(StoreFailure(.retry, "deadlock detected (SQLSTATE 40P01)"))
    }
    world.count(.lockWait)
    world.trace { "store: \(session.name) waits for a lock of \(self.holders[lock]?.name ?? "")" }
    session.waitsFor = lock
    waiting[lock, default: []].append(session)
    session.resume = { [unowned self] failure in
      if let failure { return done(failure) }
      self.lock(left, session, taken, done)
    }
    let statement = session.statements
    world.plan(after: session.lockTimeout) { [unowned self] in
      guard !session.isOver, session.statements == statement, session.waitsFor == lock, let resume = session.resume else { return }
      stopWaiting(session)
      resume(StoreFailure(.retry, "canceling statement due to lock timeout (SQLSTATE 55P03)"))
    }
  }

  private func closesCircle(_ session: Session, at lock: RowLock) -> Bool {
    var holder = holders[lock]
    while let current = holder {
      if current === session { return true }
      holder = current.waitsFor.flatMap { holders[$0] }
    }
    return false
  }

  private func stopWaiting(_ session: Session) {
    if let lock = session.waitsFor { waiting[lock]?.removeAll { $0 === session } }
    session.waitsFor = nil
    session.resume = nil
  }

  private func unlock(_ session: Session) {
    let locks = session.locks
    session.locks = []
    for lock in locks {
      holders[lock] = nil
      guard let first = waiting[lock]?.first else { continue }
      waiting[lock]!.removeFirst()
      if waiting[lock]!.isEmpty { waiting[lock] = nil }
      guard let resume = first.resume else { continue }
      first.waitsFor = nil
      first.resume = nil
      hold(lock, first)
      world.plan(after: 0) { resume(first.isOver ? StoreFailure(.connectionLost, "terminating connection") : nil) }
    }
  }

  // MARK: The operator

  /// `tidemark accept-gap`, mirrors `Books.acceptGap`; nil: not behind, or the row is locked at the moment.
  func acceptGap(_ id: PartitionID, to offset: Offset) -> Int64? {
    guard holders[.partition(id)] == nil, let row = partitions[id], row.next < offset else { return nil }
    partitions[id]!.next = offset
    partitions[id]!.epoch = Epoch(row.epoch.value + 1)
    partitions[id]!.owner = nil
    var counts = LedgerCounts()
    counts.gap = offset.value - row.next.value
    ledger[id, default: []].append(
      LedgerRow(from: row.next, to: offset, counts: counts, watermarkBefore: row.watermark, watermarkAfter: row.watermark))
    for i in alerts[id, default: []].indices { alerts[id]![i].isResolved = true }
    accepted[id, default: []].append(row.next.value..<offset.value)
    return row.next.value
  }
}
