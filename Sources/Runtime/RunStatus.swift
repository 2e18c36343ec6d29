import Aggregation
import Engine

/// What an instance has done and how it stands: for progress lines, reports, metrics and the console.
public struct RunStatus: Sendable {
  /// How far a run is.
  ///
  ///     opening ─► joining ─► running ─► draining ─► ended
  public enum Phase: String, Sendable {
    /// Waiting for PostgreSQL and opening the journal.
    case opening
    /// In the group, before its first assignment.
    case joining
    case running, draining, ended
  }

  public var workers: [WorkerStatus]
  /// Nanoseconds that the store's threads waited and worked for flushes, most of it PostgreSQL's.
  public var flushNanoseconds: UInt64 = 0
  /// Monotonic nanoseconds: the first records came, the last flush was committed. 0: not yet.
  public var firstRecords: UInt64 = 0
  public var lastCommit: UInt64 = 0
  /// CPU seconds of the instance's own threads, by name; librdkafka's come on top.
  public var threadSeconds: [String: Double] = [:]

  public var phase = Phase.opening
  /// Ends of assigned partitions in Kafka, as librdkafka last heard of them.
  public var ends: [PartitionID: Int64] = [:]
  public var rebalances = Rebalances()
  /// Increments of rows that were committed, one an aggregate of the plan.
  public var rowIncrements: [Int64] = []
  /// Offsets that were committed.
  public var flushedOffsets: Int64 = 0
  public var flushDurations = Histogram(bounds: Histogram.latency)
  /// From an event's time, and from its Kafka record's, until it was visible in PostgreSQL.
  public var eventAges = Histogram(bounds: Histogram.latency)
  public var recordAges = Histogram(bounds: Histogram.latency)
  /// Milliseconds since the epoch: the last flush that was committed, by worker. Empty: none yet.
  public var lastFlushes: [Int: Int64] = [:]
  /// Why PostgreSQL does not do what a worker asks it for; empty: it does.
  public var storeTroubles: [Int: Trouble] = [:]
  /// Monotonic milliseconds at which threads last showed a sign of life; absent before they begin.
  public var signsOfLife: [String: Int64] = [:]

  public struct Trouble: Sendable, Equatable {
    /// Milliseconds since the epoch.
    public var since: Int64
    /// Words of PostgreSQL or libpq; no secrets.
    public var reason: String
    public init(since: Int64, reason: String) { self.since = since; self.reason = reason }
  }

  /// Partitions that the group gave, wanted back, and gave to others without asking; and how often.
  public struct Rebalances: Sendable, Equatable {
    public var assigned = 0, revoked = 0, lost = 0
    public var partitionsAssigned = 0, partitionsRevoked = 0, partitionsLost = 0
    public init() {}
  }

  public init(workers: Int) { self.workers = Array(repeating: WorkerStatus(), count: workers) }

  // Of all workers together.
  public var statistics: InstanceStatistics { workers.reduce(into: InstanceStatistics()) { $0.add($1.statistics) } }
  public var partitions: Int { workers.reduce(0) { $0 + $1.partitions } }
  public var journalNanoseconds: UInt64 { workers.reduce(0) { $0 + $1.journalNanoseconds } }
  public var journalBytes: Int { workers.reduce(0) { $0 + $1.journalBytes } }
  public var journalWritten: Int { workers.reduce(0) { $0 + $1.journalWritten } }
  public var journalSyncs: Int { workers.reduce(0) { $0 + $1.journalSyncs } }
  public var waitingForWorkers: Int { workers.reduce(0) { $0 + $1.waiting } }
  public var waitingForStores: Int { workers.reduce(0) { $0 + $1.waitingForStore } }
  public var lastFlush: Int64? { lastFlushes.values.max() }
  /// The one that has lasted longest.
  public var storeTrouble: Trouble? { storeTroubles.values.min { $0.since < $1.since } }

  /// How all partitions stand, ascending. About half a second old at most.
  public var load: InstanceLoad {
    workers.reduce(into: InstanceLoad()) { all, worker in
      all.partitions += worker.load.partitions
      all.pendingBytes += worker.load.pendingBytes
      all.isPausedForBudget = all.isPausedForBudget || worker.load.isPausedForBudget
      all.isJournalBlocked = all.isJournalBlocked || worker.load.isJournalBlocked
    }.sorted()
  }
}

/// What one worker of an instance has done, and how its partitions stand.
public struct WorkerStatus: Sendable {
  public var statistics = InstanceStatistics()
  public var partitions = 0
  /// CPU nanoseconds spent with the journal.
  public var journalNanoseconds: UInt64 = 0
  public var journalBytes = 0
  public var load = InstanceLoad()
  /// Bytes ever written to the journal, and its syncs.
  public var journalWritten = 0
  public var journalSyncs = 0
  /// Messages and sets of records that wait for the worker, requests that wait for its store.
  public var waiting = 0
  public var waitingForStore = 0
  public init() {}
}

extension InstanceLoad {
  fileprivate func sorted() -> InstanceLoad {
    var result = self
    result.partitions.sort { $0.id < $1.id }
    return result
  }
}

/// What one flush moved; holds no value of any row.
public struct FlushReport: Sendable {
  public struct Part: Sendable {
    public var partition: PartitionID
    public var from: Offset
    public var to: Offset
    public var watermark: EventTime?
  }
  public var topology: String
  public var instance: String
  /// Counts up from 1 for each worker of a run.
  public var id: UInt64
  /// Milliseconds since the epoch at which its COMMIT was answered.
  public var at: Int64
  /// Of the attempt that was committed.
  public var nanoseconds: UInt64
  public var parts: [Part]
  public var ledger: LedgerCounts
  /// Rows that were added to, one an aggregate of the plan.
  public var rows: [Int]

  init(_ request: FlushRequest, topology: String, instance: String, aggregates: Int, at: Int64, nanoseconds: UInt64) {
    self.topology = topology
    self.instance = instance
    self.at = at
    self.nanoseconds = nanoseconds
    id = request.id
    parts = request.parts.map { Part(partition: $0.partition, from: $0.delta.from, to: $0.delta.to, watermark: $0.delta.watermark) }
    ledger = request.parts.reduce(into: LedgerCounts()) { $0.add($1.delta.ledger) }
    rows = (0..<aggregates).map { a in request.parts.reduce(0) { $0 + $1.delta.aggregates[a].groups.count } }
  }
}
