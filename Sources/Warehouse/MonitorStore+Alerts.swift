import Alerting
import Postgres
import Topologies

/// The book of alerts and what channels were told: `tidemark.alert`, `tidemark.alert_delivery`, `tidemark.alert_channel`.
extension MonitorStore {
  private static let columns = """
    a.id, a.kind, a.topic, a.partition, a.subject, COALESCE(a.severity, CASE WHEN a.kind IN ('horizon_incomplete') THEN 'warning' ELSE 'critical' END),
    a.message, a.raised_at, a.last_seen_at, a.resolved_at, a.is_by_check
    """

  private static func alert(_ rows: Rows, _ row: Int) -> StoredAlert {
    StoredAlert(
      id: rows.integer(row, 0)!,
      key: AlertKey(
        kind: rows.text(row, 1)!, topic: rows.text(row, 2)!, partition: Int32(truncatingIfNeeded: rows.integer(row, 3)!), subject: rows.text(row, 4)!),
      severity: AlertSeverity(rawValue: rows.text(row, 5)!) ?? .critical, message: rows.text(row, 6)!, raisedAt: rows.timestamp(row, 7)!,
      lastSeenAt: rows.timestamp(row, 8)!, resolvedAt: rows.timestamp(row, 9), isByCheck: rows.boolean(row, 10)!)
  }

  /// Open alerts of the topology, oldest first.
  public func open() throws(WarehouseError) -> [StoredAlert] {
    try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        "SELECT \(Self.columns) FROM tidemark.alert a WHERE a.topology = $1 AND a.resolved_at IS NULL ORDER BY a.raised_at, a.id", [.text(topology.name)])
      return (0..<rows.count).map { Self.alert(rows, $0) }
    }
  }

  /// Writes changes, all of them or none. Rows that somebody else has resolved meanwhile stay resolved.
  public func apply(_ changes: [AlertBook.Change], now: Int64) throws(WarehouseError) {
    guard !changes.isEmpty else { return }
    try asking { connection throws(PostgresError) in
      try connection.script("BEGIN")
      for change in changes {
        switch change {
        case .raise(let finding):
          let key = finding.key
          try connection.execute(
            """
            INSERT INTO tidemark.alert (topology, topic, partition, kind, subject, severity, message, raised_at, last_seen_at, is_by_check)
            VALUES ($1, $2, $3::bigint, $4, $5, $6, $7, $8, $8, true) ON CONFLICT DO NOTHING
            """,
            [
              .text(topology.name), .text(key.topic), .integer(Int64(key.partition)), .text(key.kind), .text(key.subject),
              .text(finding.severity.rawValue), .text(finding.message), .timestamp(now),
            ])
        case .see(let id, let finding):
          try connection.execute(
            """
            UPDATE tidemark.alert
               SET last_seen_at = GREATEST(last_seen_at, $2), seen = seen + 1, message = COALESCE($3, message), severity = COALESCE($4, severity)
             WHERE id = $1 AND resolved_at IS NULL
            """, [.integer(id), .timestamp(now), .text(finding?.message), .text(finding?.severity.rawValue)])
        case .resolve(let id):
          try connection.execute("UPDATE tidemark.alert SET resolved_at = $2 WHERE id = $1 AND resolved_at IS NULL", [.integer(id), .timestamp(now)])
        }
      }
      try connection.script("COMMIT")
    }
  }

  // MARK: Channels

  /// Alerts that a channel may be owed a word about: open ones, and resolved ones that it was told of and whose end it was not.
  public func undelivered(_ channel: String) throws(WarehouseError) -> [(alert: StoredAlert, delivery: Delivery)] {
    try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT \(Self.columns), d.told_at, COALESCE(d.told, 0), d.resolution_told_at
          FROM tidemark.alert a LEFT JOIN tidemark.alert_delivery d ON d.alert = a.id AND d.channel = $2
         WHERE a.topology = $1
           AND (a.resolved_at IS NULL OR a.id IN (SELECT alert FROM tidemark.alert_delivery WHERE channel = $2 AND resolution_told_at IS NULL))
         ORDER BY a.raised_at, a.id
        """, [.text(topology.name), .text(channel)])
      return (0..<rows.count).map { row in
        (Self.alert(rows, row), Delivery(toldAt: rows.timestamp(row, 11), told: Int(rows.integer(row, 12)!), resolutionToldAt: rows.timestamp(row, 13)))
      }
    }
  }

  public func record(_ delivery: Delivery, of alert: Int64, by channel: String) throws(WarehouseError) {
    try asking { connection throws(PostgresError) in
      _ = try connection.execute(
        """
        INSERT INTO tidemark.alert_delivery (alert, channel, told_at, told, resolution_told_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (alert, channel) DO UPDATE
          SET told_at = excluded.told_at, told = excluded.told, resolution_told_at = excluded.resolution_told_at
        """,
        [.integer(alert), .text(channel), .timestamp(delivery.toldAt), .integer(Int64(delivery.told)), .timestamp(delivery.resolutionToldAt)])
    }
  }

  /// How sending went the last times, by every channel that is still used: one that fails is tried again every 15 minutes.
  func channelStates(now: Int64) throws(WarehouseError) -> [MonitorFacts.ChannelState] {
    try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        "SELECT channel, failures, next_attempt_at, last_error FROM tidemark.alert_channel WHERE topology = $1 AND updated_at > $2 ORDER BY 1",
        [.text(topology.name), .timestamp(now - Self.hour)])
      return (0..<rows.count).map {
        .init(name: rows.text($0, 0)!, failures: Int(rows.integer($0, 1)!), nextAttemptAt: rows.timestamp($0, 2), lastError: rows.text($0, 3)!)
      }
    }
  }

  public func record(_ state: MonitorFacts.ChannelState, now: Int64) throws(WarehouseError) {
    try asking { connection throws(PostgresError) in
      _ = try connection.execute(
        """
        INSERT INTO tidemark.alert_channel (topology, channel, failures, next_attempt_at, last_error, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (topology, channel) DO UPDATE SET failures = excluded.failures, next_attempt_at = excluded.next_attempt_at,
          last_error = excluded.last_error, updated_at = excluded.updated_at
        """,
        [
          .text(topology.name), .text(state.name), .integer(Int64(state.failures)), .timestamp(state.nextAttemptAt), .text(state.lastError),
          .timestamp(now),
        ])
    }
  }
}
