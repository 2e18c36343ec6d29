import Aggregation
import Alerting
import Postgres
import Topologies

/// The facts that the checks judge by. Each is one or two short statements; what the checks have to remember is kept in
/// `tidemark.monitor_sample`.
extension MonitorStore {
  static let second: Int64 = 1_000_000
  static let hour: Int64 = 3_600 * second

  /// Reads all facts, and notes the samples that later passes need.
  /// - Parameters:
  ///   - now: microseconds since the epoch; nil: the database's clock.
  ///   - ends: asks Kafka where partitions end; what it leaves out is not known.
  ///   - isRemembered: whether samples are noted; without, nothing is written.
  /// - Complexity: some tens of milliseconds; the ledger is read for the last minutes only.
  public func facts(
    now: Int64? = nil, ends: ([PartitionID]) -> [PartitionID: Int64] = { _ in [:] }, isRemembered: Bool = true
  ) throws(WarehouseError) -> MonitorFacts {
    let now = if let now { now } else { try databaseClock() }
    var facts = MonitorFacts(now: now, topology: topology.name)
    let monitor = topology.monitor
    let (partitions, epochs) = try partitions()
    facts.partitions = partitions
    for (id, end) in ends(partitions.map(\.id)) {
      guard let i = facts.partitions.firstIndex(where: { $0.id == id }) else { continue }
      facts.partitions[i].endOffset = max(end, facts.partitions[i].endOffset ?? 0)
      facts.partitions[i].endIsCurrent = true
    }
    let lags = facts.partitions.compactMap(\.lag)
    if let check = monitor.lag {
      facts.lag = try samples("lag", "", since: now - check.growingFor.microseconds * 12 / 10, before: now)
      if !lags.isEmpty { facts.lag.append(.init(at: now, value: lags.reduce(0, +))) }
    }
    if let check = monitor.fenced { facts.takeovers = try takeovers(epochs, now, within: check.within.microseconds) }
    if let check = monitor.quarantine { facts.refused = try refused(now, within: check.within.microseconds) }
    if monitor.events != nil { facts.hours = .known(try eventHours(now)) }
    if monitor.refresh != nil { facts.refreshes = try refreshes() }
    if monitor.reconciliation != nil { facts.reconciliation = try reconciliation() }
    var statements: [Statement] = []
    if let check = monitor.queries { (facts.queries, statements) = try queries(now, within: check.within.microseconds) }
    let bytes = try databaseSize()
    if monitor.storage != nil {
      facts.storage = try samples("bytes", "", since: now - 8 * 24 * Self.hour, before: now)
      if let bytes { facts.storage.append(.init(at: now, value: bytes)) } else { facts.storage = [] }
    }
    facts.channels = try channelStates(now: now)
    if isRemembered { try remember(facts, epochs, statements, bytes) }
    return facts
  }

  /// Microseconds since the epoch.
  public func databaseClock() throws(WarehouseError) -> Int64 {
    try asking { connection throws(PostgresError) in try connection.execute("SELECT clock_timestamp()").timestamp(0, 0)! }
  }

  private func partitions() throws(WarehouseError) -> (facts: [MonitorFacts.Partition], epochs: [(id: PartitionID, epoch: Int64)]) {
    try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT p.topic, p.partition, p.next_offset, p.end_offset, p.owner, p.epoch, l.flushed_at, p.updated_at
          FROM tidemark.partition p
          LEFT JOIN LATERAL (SELECT l.flushed_at FROM tidemark.ledger l
                              WHERE l.topology = p.topology AND l.topic = p.topic AND l.partition = p.partition
                              ORDER BY l.from_offset DESC LIMIT 1) l ON true
         WHERE p.topology = $1 ORDER BY 1, 2
        """, [.text(topology.name)])
      var facts: [MonitorFacts.Partition] = []
      var epochs: [(PartitionID, Int64)] = []
      for row in 0..<rows.count {
        var fact = MonitorFacts.Partition(
          id: PartitionID(topic: rows.text(row, 0)!, partition: Int32(rows.integer(row, 1)!)), nextOffset: rows.integer(row, 2)!)
        fact.endOffset = rows.integer(row, 3)
        fact.owner = rows.text(row, 4)
        fact.flushedAt = rows.timestamp(row, 6)
        fact.takenAt = rows.timestamp(row, 7)
        facts.append(fact)
        epochs.append((fact.id, rows.integer(row, 5)!))
      }
      return (facts, epochs)
    }
  }

  // MARK: Samples

  func samples(_ kind: String, _ subject: String, since: Int64, before: Int64) throws(WarehouseError) -> [MonitorFacts.Sample] {
    try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT taken_at, value FROM tidemark.monitor_sample
         WHERE topology = $1 AND kind = $2 AND subject = $3 AND taken_at >= $4 AND taken_at < $5 ORDER BY 1
        """, [.text(topology.name), .text(kind), .text(subject), .timestamp(since), .timestamp(before)])
      return (0..<rows.count).map { .init(at: rows.timestamp($0, 0)!, value: rows.integer($0, 1)!) }
    }
  }

  /// The oldest sample of each subject within the window.
  func oldest(_ kind: String, since: Int64, before: Int64) throws(WarehouseError) -> [String: (at: Int64, value: Int64, more: Int64)] {
    try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT DISTINCT ON (subject) subject, taken_at, value, more FROM tidemark.monitor_sample
         WHERE topology = $1 AND kind = $2 AND taken_at >= $3 AND taken_at < $4 ORDER BY subject, taken_at
        """, [.text(topology.name), .text(kind), .timestamp(since), .timestamp(before)])
      var found: [String: (Int64, Int64, Int64)] = [:]
      for row in 0..<rows.count { found[rows.text(row, 0)!] = (rows.timestamp(row, 1)!, rows.integer(row, 2)!, rows.integer(row, 3)!) }
      return found
    }
  }

  private func remember(_ facts: MonitorFacts, _ epochs: [(id: PartitionID, epoch: Int64)], _ statements: [Statement], _ bytes: Int64?) throws(WarehouseError) {
    var rows: [(kind: String, subject: String, value: Int64, more: Int64)] = [("pass", "", 0, 0)]
    let lags = facts.partitions.compactMap(\.lag)
    if !lags.isEmpty { rows.append(("lag", "", lags.reduce(0, +), 0)) }
    rows += epochs.map { ("epoch", "\($0.id)", $0.epoch, 0) }
    rows += statements.map { ("statement", $0.subject, $0.calls, $0.microseconds) }
    let monitor = topology.monitor
    let windows = [monitor.lag?.growingFor, monitor.fenced?.within, monitor.queries?.within].compactMap { $0?.microseconds }
    let keep = (windows.max() ?? Self.hour) * 13 / 10
    try asking { connection throws(PostgresError) in
      try connection.execute(
        """
        INSERT INTO tidemark.monitor_sample (topology, taken_at, kind, subject, value, more)
        SELECT $1, $2, i.* FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[]) AS i ON CONFLICT DO NOTHING
        """,
        [
          .text(topology.name), .timestamp(facts.now), .texts(rows.map(\.kind)), .texts(rows.map(\.subject)), .integers(rows.map(\.value)),
          .integers(rows.map(\.more)),
        ])
      // The size of the database is a matter of days: one sample an hour.
      try connection.execute(
        """
        INSERT INTO tidemark.monitor_sample (topology, taken_at, kind, subject, value)
        SELECT $1, $2, 'bytes', '', $3
         WHERE $3 IS NOT NULL AND NOT EXISTS (SELECT FROM tidemark.monitor_sample
                            WHERE topology = $1 AND kind = 'bytes' AND taken_at > $2::timestamptz - interval '1 hour' AND taken_at <= $2)
        """, [.text(topology.name), .timestamp(facts.now), .integer(bytes)])
      try connection.execute(
        """
        DELETE FROM tidemark.monitor_sample
         WHERE topology = $1 AND (kind <> 'bytes' AND taken_at < $2 OR kind = 'bytes' AND taken_at < $3)
        """, [.text(topology.name), .timestamp(facts.now - keep), .timestamp(facts.now - 8 * 24 * Self.hour)])
    }
  }

  // MARK: The stream

  private func takeovers(_ epochs: [(id: PartitionID, epoch: Int64)], _ now: Int64, within: Int64) throws(WarehouseError) -> [MonitorFacts.Takeover] {
    let before = try oldest("epoch", since: now - within, before: now)
    return epochs.compactMap { id, epoch in before["\(id)"].map { MonitorFacts.Takeover(id: id, times: epoch - $0.value) } }.filter { $0.times > 0 }
  }

  private func refused(_ now: Int64, within: Int64) throws(WarehouseError) -> MonitorFacts.Refused {
    let window: [Parameter] = [.text(topology.name), .timestamp(now - within), .timestamp(now)]
    return try asking { connection throws(PostgresError) in
      var refused = MonitorFacts.Refused()
      let sums = try connection.execute(
        """
        SELECT COALESCE(sum(to_offset - from_offset - gap), 0)::bigint, COALESCE(sum(quarantined), 0)::bigint
          FROM tidemark.ledger WHERE topology = $1 AND flushed_at > $2 AND flushed_at <= $3
        """, window)
      refused.offsets = sums.integer(0, 0)!
      refused.quarantined = sums.integer(0, 1)!
      guard refused.quarantined > 0 else { return refused }
      // By offset, which is the key; ten thousand of them tell enough.
      let reasons = try connection.execute(
        """
        SELECT reason FROM (
          SELECT q.reason
            FROM (SELECT topic, partition, min(from_offset) AS beginning FROM tidemark.ledger
                   WHERE topology = $1 AND flushed_at > $2 AND flushed_at <= $3 AND quarantined > 0 GROUP BY 1, 2) l
            JOIN tidemark.quarantine q
              ON q.topology = $1 AND q.topic = l.topic AND q.partition = l.partition AND q."offset" >= l.beginning
           LIMIT 10000) r GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 5
        """, window)
      refused.reasons = (0..<reasons.count).map { reasons.text($0, 0)! }
      return refused
    }
  }
}
