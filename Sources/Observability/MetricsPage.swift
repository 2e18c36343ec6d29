import Aggregation
import Engine
import Runtime
import Warehouse

/// What `/metrics` says, made from snapshots. O(partitions + aggregates); no lock is held while it is made.
struct MetricsPage {
  let instance: ObservedInstance
  let books: BooksWatch.State
  let health: Health
  let service: ServiceCounts
  let now: Int64

  /// What the HTTP service counts of itself.
  struct ServiceCounts: Sendable, Equatable {
    struct Request: Hashable { var path: String; var code: Int }
    var requests: [Request: Int64] = [:]
    var eventClients = 0
    var droppedClients: Int64 = 0
  }

  private typealias Pair = (topology: ObservedInstance.Topology, status: RunStatus)

  func render() -> String {
    let all = instance.topologies.map { ($0, $0.status()) }
    var out = PrometheusText()
    for metric in Metric.all {
      out.begin(metric)
      switch metric {
      case .build: out.add(1, [("version", instance.version), ("instance", instance.name)])
      case .alive: out.add(health.isAlive ? 1 : 0)
      case .ready: out.add(health.isReady ? 1 : 0)
      case .requests:
        for (request, count) in service.requests.sorted(by: { ($0.key.path, $0.key.code) < ($1.key.path, $1.key.code) }) {
          out.add(count, [("path", request.path), ("code", "\(request.code)")])
        }
      case .eventClients: out.add(service.eventClients)
      case .dropped: out.add(service.droppedClients)
      case .openAlerts, .reconciled, .unexplained, .completeThrough: add(metric, to: &out)
      case .cpu, .resident, .files, .started: add(metric, instance.process(), to: &out)
      default: for (topology, status) in all { add(metric, (topology, status), to: &out) }
      }
    }
    return out.text
  }

  private func add(_ metric: Metric, _ load: ProcessLoad, to out: inout PrometheusText) {
    switch metric {
    case .cpu: out.add(load.cpuSeconds)
    case .resident: out.add(load.residentBytes)
    case .files: out.add(load.openFiles)
    default: out.add(load.startTime)
    }
  }

  /// From the books: absent while they cannot be read.
  private func add(_ metric: Metric, to out: inout PrometheusText) {
    guard let snapshot = books.snapshot, books.trouble == nil else { return }
    switch metric {
    case .openAlerts:
      var counts: [String: Int] = [:]
      for alert in snapshot.alerts where alert.resolvedAt == nil { counts[alert.kind, default: 0] += 1 }
      for (kind, count) in counts.sorted(by: { $0.key < $1.key }) { out.add(count, [("kind", kind)]) }
    case .reconciled:
      for run in snapshot.reconciliations { if let at = run.finishedAt { out.add(Double(at) / 1e6, [("topology", run.topology)]) } }
    case .unexplained: for run in snapshot.reconciliations { out.add(run.unexplained, [("topology", run.topology)]) }
    default:
      for row in snapshot.freshness {
        if let at = row.completeThrough { out.add(Double(at.microseconds) / 1e6, [("topology", row.topology), ("aggregate", row.aggregate)]) }
      }
    }
  }

  private func add(_ metric: Metric, _ pair: Pair, to out: inout PrometheusText) {
    let name = pair.topology.name
    let status = pair.status
    let statistics = status.statistics
    func one(_ value: Double) { out.add(value, [("topology", name)]) }
    func each(_ label: String, _ values: [(String, Double)]) { for (key, value) in values { out.add(value, [("topology", name), (label, key)]) } }
    func histogram(_ h: Histogram) { out.add(h.counts, bounds: h.bounds, sum: h.sum, [("topology", name)]) }
    switch metric {
    case .postgresUp: one(status.storeTrouble == nil && status.phase != .opening ? 1 : 0)
    case .phase:
      each("phase", ["opening", "joining", "running", "draining", "ended"].map { ($0, status.phase.rawValue == $0 ? 1 : 0) })
    case .events: each("bucket", statistics.ledger.buckets.map { ($0.name, Double($0.count)) })
    case .tombstones: one(Double(statistics.ledger.tombstones))
    case .misrouted: one(Double(statistics.ledger.misrouted))
    case .flushedOffsets: one(Double(status.flushedOffsets))
    case .rows: each("aggregate", zip(pair.topology.aggregates, padded(status.rowIncrements, pair.topology)).map { ($0.name, Double($1)) })
    case .eventAge: histogram(status.eventAges)
    case .recordAge: histogram(status.recordAges)
    case .flushes: one(Double(statistics.flushes))
    case .retries: one(Double(statistics.retries))
    case .flushTime: histogram(status.flushDurations)
    case .lastFlush: if let at = status.lastFlush { one(Double(at) / 1000) }
    case .fenced: one(Double(statistics.fenced))
    case .waiting: each("thread", [("store", Double(status.waitingForStores)), ("worker", Double(status.waitingForWorkers))])
    case .paused: each("reason", [("budget", status.load.isPausedForBudget ? 1 : 0), ("disk", status.load.isJournalBlocked ? 1 : 0)])
    case .rebalances:
      let r = status.rebalances
      each("kind", [("assigned", Double(r.assigned)), ("lost", Double(r.lost)), ("revoked", Double(r.revoked))])
    case .moved:
      let r = status.rebalances
      each("kind", [("assigned", Double(r.partitionsAssigned)), ("lost", Double(r.partitionsLost)), ("revoked", Double(r.partitionsRevoked))])
    case .journalDisk: one(Double(status.journalBytes))
    case .journalUnflushed: one(Double(status.load.partitions.reduce(0) { $0 + $1.unflushedJournalBytes }))
    case .journalWritten: one(Double(status.journalWritten))
    case .journalSyncs: one(Double(status.journalSyncs))
    case .stage:
      let s = statistics
      each("stage", [
        ("decode", Double(s.decodeNanoseconds) / 1e9), ("aggregate", Double(s.aggregateNanoseconds) / 1e9),
        ("compose", Double(s.composeNanoseconds) / 1e9), ("journal", Double(status.journalNanoseconds) / 1e9),
        ("flush", Double(status.flushNanoseconds) / 1e9),
      ])
    case .memory: each("part", status.load.memoryParts.map { ($0.name, Double($0.bytes)) })
    case .groups: each("aggregate", loads(pair).map { ($0.0, Double($0.1.groups)) })
    case .overflowed: each("aggregate", loads(pair).map { ($0.0, Double($0.1.overflowed)) })
    default: addPartitions(metric, pair, to: &out)
    }
  }

  private func addPartitions(_ metric: Metric, _ pair: Pair, to out: inout PrometheusText) {
    let (topology, status) = pair
    if metric == .partitions {
      for phase in PartitionLoad.Phase.allCases {
        out.add(status.load.partitions.count { $0.phase == phase }, [("topology", topology.name), ("phase", phase.rawValue)])
      }
      return
    }
    for (part, lag) in zip(status.load.partitions, status.lags(now: now)) {
      let value: Double? =
        switch metric {
        case .lagEvents: lag.events.map(Double.init)
        case .lagSeconds: lag.seconds
        case .nextOffset: part.epoch.value > 0 ? Double(part.flushed.value) : nil
        case .endOffset: status.end(of: part).map(Double.init)
        case .watermark: part.watermark.map { Double($0.microseconds) / 1e6 }
        default: preconditionFailure("\(metric.name) has no samples")
        }
      if let value { out.add(value, [("topology", topology.name), ("topic", part.id.topic), ("partition", "\(part.id.partition)")]) }
    }
  }

  private func padded(_ counts: [Int64], _ topology: ObservedInstance.Topology) -> [Int64] {
    counts.isEmpty ? Array(repeating: 0, count: topology.aggregates.count) : counts
  }

  private func loads(_ pair: Pair) -> [(String, AggregateLoad)] {
    Array(zip(pair.topology.aggregates.map(\.name), pair.status.load.aggregateLoads(pair.topology.aggregates.count)))
  }
}

extension LedgerCounts {
  /// The six buckets, by their names in the ledger's table.
  var buckets: [(name: String, count: Int64)] {
    [("applied", applied), ("filtered", filtered), ("duplicate", duplicate), ("late", late), ("quarantined", quarantined), ("gap", gap)]
  }
}

extension InstanceLoad {
  /// Bytes by what they hold.
  var memoryParts: [(name: String, bytes: Int)] {
    [
      ("pending", pendingBytes), ("groups", partitions.reduce(0) { $0 + $1.memory.groups }),
      ("members", partitions.reduce(0) { $0 + $1.memory.members }), ("identifiers", partitions.reduce(0) { $0 + $1.memory.identifiers }),
    ]
  }

  /// All partitions together, one an aggregate.
  func aggregateLoads(_ count: Int) -> [AggregateLoad] {
    (0..<count).map { a in
      partitions.reduce(into: AggregateLoad(groups: 0, overflowed: 0)) {
        guard a < $1.loads.count else { return }
        $0.groups += $1.loads[a].groups
        $0.overflowed += $1.loads[a].overflowed
      }
    }
  }
}
