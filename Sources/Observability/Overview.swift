import Aggregation
import Engine
import Runtime
import Warehouse

/// What the console shows, as JSON: an instance's own numbers, and from PostgreSQL those of all. Times are milliseconds
/// since the epoch. What is not known is absent.
struct Overview: Encodable {
  struct State: Encodable {
    var alive: Bool
    var ready: Bool
    var reasons: [String]
  }
  struct Postgres: Encodable {
    /// Absent: nobody has asked it yet.
    var reachable: Bool?
    var since: Int64?
    var reason: String?
    /// When the numbers of all instances were read.
    var booksAt: Int64?
  }
  struct Aggregate: Encodable {
    var name: String, table: String, window: String
    var groups: Int
    var overflowed: Int64
    var rows: Int64?
    var completeThrough: Int64?
    var freshAsOf: Int64?
    /// The last flush, of any instance, that had rows for it.
    var rowsChangedAt: Int64?
    var rowsPerFlush: Double?
  }
  struct Topology: Encodable {
    var name: String
    var topics: [String]
    var phase: String
    /// Seconds.
    var allowedLateness: Int64
    var flushInterval: Double
    var freshnessTarget: Double
    var events: Int64
    var flushes: Int64, retries: Int64, fenced: Int64
    var lastFlush: Int64?
    /// Of this instance since it began.
    var buckets: [String: Int64]
    /// Of the whole ledger.
    var ledger: [String: Int64]?
    var pausedBy: [String]
    var storeTrouble: String?
    var storeTroubleSince: Int64?
    var flushSeconds: [String: Double]
    var eventAge: [String: Double]
    var journalBytes: Int, journalUnflushed: Int
    var memory: [String: Int]
    var rebalances: [String: Int]
    var now: HistoryPoint?
    var history: [HistoryPoint]?
    var aggregates: [Aggregate]
    var partitions: [StatusRow]
  }
  struct Alert: Encodable {
    var topology: String, topic: String, kind: String, message: String
    var partition: Int32?
    var raisedAt: Int64, lastSeenAt: Int64, seen: Int64
    var resolvedAt: Int64?
  }
  struct Reconciliation: Encodable {
    var topology: String, outcome: String
    var startedAt: Int64
    var finishedAt: Int64?
    var differences: Int64, unexplained: Int64
    var reason: String?
  }

  var at: Int64
  var version: String
  var instance: String
  /// Seconds.
  var uptime: Double
  var residentBytes: Int
  var state: State
  var postgres: Postgres
  var topologies: [Topology]
  /// Absent while PostgreSQL was never read.
  var alerts: [Alert]?
  var reconciliations: [Reconciliation]?

  init(_ instance: ObservedInstance, books: BooksWatch.State, health: Health, history: History, withHistory: Bool) {
    let now = instance.clock()
    let process = instance.process()
    at = now
    version = instance.version
    self.instance = instance.name
    uptime = Double(now) / 1000 - process.startTime
    residentBytes = process.residentBytes
    state = State(alive: health.isAlive, ready: health.isReady, reasons: health.stuck + health.obstacles)
    let all = instance.topologies.map { ($0, $0.status()) }
    let trouble = all.compactMap(\.1.storeTrouble).min { $0.since < $1.since } ?? books.trouble
    postgres = Postgres(
      reachable: trouble != nil ? false : (books.answeredAt != nil || all.contains { $0.1.lastFlush != nil } ? true : nil), since: trouble?.since,
      reason: trouble?.reason, booksAt: books.snapshot?.at)
    let rows = StatusRow.rows(instance, books, now: now)
    topologies = all.map { topology, status in
      Topology(
        topology, status, rows: rows.filter { $0.topology == topology.name }, books: books.snapshot, now: history.last(topology.name),
        history: withHistory ? history.points(topology.name) : nil)
    }
    alerts = books.snapshot?.alerts.map {
      Alert(
        topology: $0.topology, topic: $0.topic, kind: $0.kind, message: $0.message, partition: $0.partition < 0 ? nil : $0.partition,
        raisedAt: $0.raisedAt / 1000, lastSeenAt: $0.lastSeenAt / 1000, seen: $0.seen, resolvedAt: $0.resolvedAt.map { $0 / 1000 })
    }
    reconciliations = books.snapshot?.reconciliations.map {
      Reconciliation(
        topology: $0.topology, outcome: $0.outcome, startedAt: $0.startedAt / 1000, finishedAt: $0.finishedAt.map { $0 / 1000 },
        differences: $0.differences, unexplained: $0.unexplained, reason: $0.reason)
    }
  }
}

extension Overview.Topology {
  init(
    _ topology: ObservedInstance.Topology, _ status: RunStatus, rows: [StatusRow], books: BooksSnapshot?, now: HistoryPoint?,
    history: [HistoryPoint]?
  ) {
    name = topology.name
    topics = topology.topics
    phase = status.phase.rawValue
    allowedLateness = topology.allowedLateness / 1_000_000
    flushInterval = Double(topology.flushInterval) / 1000
    freshnessTarget = topology.freshnessTarget
    events = status.statistics.events
    (flushes, retries, fenced) = (status.statistics.flushes, status.statistics.retries, status.statistics.fenced)
    lastFlush = status.lastFlush
    buckets = Dictionary(uniqueKeysWithValues: status.statistics.ledger.buckets.map { ($0.name, $0.count) })
    let known = books?.partitions.filter { $0.topology == topology.name } ?? []
    let total = known.reduce(into: LedgerCounts()) { $0.add($1.ledger) }
    ledger = books == nil ? nil : Dictionary(uniqueKeysWithValues: total.buckets.map { ($0.name, $0.count) })
    pausedBy = (status.load.isPausedForBudget ? ["budget"] : []) + (status.load.isJournalBlocked ? ["disk"] : [])
    storeTrouble = status.storeTrouble?.reason
    storeTroubleSince = status.storeTrouble?.since
    func quantiles(_ histogram: Histogram) -> [String: Double] {
      var result: [String: Double] = [:]
      for (name, share) in [("p50", 0.5), ("p99", 0.99)] { result[name] = histogram.quantile(share) }
      return result
    }
    flushSeconds = quantiles(status.flushDurations)
    eventAge = quantiles(status.eventAges)
    journalBytes = status.journalBytes
    journalUnflushed = status.load.partitions.reduce(0) { $0 + $1.unflushedJournalBytes }
    memory = Dictionary(uniqueKeysWithValues: status.load.memoryParts.map { ($0.name, $0.bytes) })
    rebalances = ["assigned": status.rebalances.assigned, "revoked": status.rebalances.revoked, "lost": status.rebalances.lost]
    self.now = now
    self.history = history
    let loads = status.load.aggregateLoads(topology.aggregates.count)
    aggregates = topology.aggregates.enumerated().map { index, aggregate in
      let row = books?.freshness.first { $0.table == aggregate.table }
      let added = index < status.rowIncrements.count && status.statistics.flushes > 0
      return Overview.Aggregate(
        name: aggregate.name, table: aggregate.table, window: aggregate.window, groups: loads[index].groups, overflowed: loads[index].overflowed,
        rows: row?.estimatedRows, completeThrough: row?.completeThrough.map { $0.microseconds / 1000 }, freshAsOf: row?.freshAsOf.map { $0 / 1000 },
        rowsChangedAt: row?.rowsChangedAt.map { $0 / 1000 },
        rowsPerFlush: added ? Double(status.rowIncrements[index]) / Double(status.statistics.flushes) : nil)
    }
    partitions = rows
  }
}

/// What one flush moved, as `/events` says it. Holds no value of any row.
struct FlushMessage: Encodable {
  struct Part: Encodable {
    var topic: String
    var partition: Int32
    var from: Int64, to: Int64
    var watermark: Int64?
  }
  var topology: String, instance: String
  var flush: UInt64
  var at: Int64
  var seconds: Double
  var offsets: Int64
  var buckets: [String: Int64]
  /// Rows added to, by aggregate.
  var rows: [String: Int]
  var partitions: [Part]

  init(_ report: FlushReport, aggregates: [String]) {
    topology = report.topology
    instance = report.instance
    flush = report.id
    at = report.at
    seconds = Double(report.nanoseconds) / 1e9
    offsets = report.ledger.total
    buckets = Dictionary(uniqueKeysWithValues: report.ledger.buckets.filter { $0.count != 0 }.map { ($0.name, $0.count) })
    rows = Dictionary(zip(aggregates, report.rows)) { a, _ in a }
    partitions = report.parts.map {
      Part(
        topic: $0.partition.topic, partition: $0.partition.partition, from: $0.from.value, to: $0.to.value,
        watermark: $0.watermark.map { $0.microseconds / 1000 })
    }
  }
}
