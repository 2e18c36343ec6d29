import Aggregation
import Postgres

/// What a console and a monitoring system show of the books.
extension Books {
  /// Books to look at now and then over a connection of their own: nothing can be written by it, and a server that does
  /// not answer within seconds is given up.
  public static func watching(_ target: String, name: String = "tidemark console") throws(WarehouseError) -> Books {
    do throws(PostgresError) {
      let connection = try Connection(target, applicationName: name, connectTimeout: 3)
      connection.deadline = 5000
      try connection.script("SET default_transaction_read_only = on; SET statement_timeout = '4s'; SET timezone = 'UTC'")
      return Books(connection)
    } catch { throw WarehouseError(error, "PostgreSQL") }
  }

  /// False once the connection is lost.
  public var isUsable: Bool { connection.isUsable }

  /// One aggregate's table, all instances together.
  public struct Freshness: Sendable {
    public var topology: String
    /// The table's name in the schema `analytics`.
    public var table: String
    /// The aggregate's name in its topology.
    public var aggregate: String
    /// Windows that end before this are final; nil: nothing consumed yet.
    public var completeThrough: EventTime?
    /// The last flush, microseconds since the epoch.
    public var freshAsOf: Int64?
    /// Offsets between what is consumed and the ends that instances saw last.
    public var lag: Int64?
    /// Rows of the table, about: as PostgreSQL's statistics count them, or else the planner. A count would read the table. nil:
    /// neither knows yet.
    public var estimatedRows: Int64?
    /// The last flush that had rows for it, microseconds since the epoch; nil: none had, or it was before the books noted it.
    public var rowsChangedAt: Int64?
  }

  /// All aggregates of these topologies, or of all, by topology and table.
  public func freshness(topologies: [String]?) throws(WarehouseError) -> [Freshness] {
    try reading { () throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT a.topology, a.table_name, a.name, f.complete_through, f.fresh_as_of, f.lag,
               COALESCE(NULLIF(pg_stat_get_live_tuples(c.oid), 0), NULLIF(c.reltuples, -1)::bigint), f.rows_changed_at
          FROM tidemark.aggregate a
          LEFT JOIN analytics.freshness f ON f.aggregate = a.table_name
          LEFT JOIN pg_class c ON c.oid = to_regclass(format('analytics.%I', a.table_name))
         WHERE $1 OR a.topology = ANY ($2) ORDER BY 1, 2
        """, [.boolean(topologies == nil), .texts(topologies ?? [])])
      return (0..<rows.count).map { row in
        Freshness(
          topology: rows.text(row, 0)!, table: rows.text(row, 1)!, aggregate: rows.text(row, 2)!,
          completeThrough: rows.timestamp(row, 3).map(EventTime.init(microseconds:)), freshAsOf: rows.timestamp(row, 4),
          lag: rows.integer(row, 5), estimatedRows: rows.integer(row, 6), rowsChangedAt: rows.timestamp(row, 7))
      }
    }
  }

  public struct Alert: Sendable {
    public var topology: String
    public var topic: String
    /// Negative: it concerns no single partition.
    public var partition: Int32
    public var kind: String
    /// What it is about besides a partition: a view, an event type; empty: nothing.
    public var subject: String
    /// `warning` or `critical`; nil: an instance raised it, not a check.
    public var severity: String?
    public var message: String
    /// Microseconds since the epoch.
    public var raisedAt: Int64
    public var lastSeenAt: Int64
    public var seen: Int64
    public var resolvedAt: Int64?
  }

  /// Open alerts, and those resolved within a day; open ones first, then the newest first.
  public func alerts(limit: Int) throws(WarehouseError) -> [Alert] {
    try reading { () throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT topology, topic, partition, kind, message, raised_at, last_seen_at, seen, resolved_at, subject, severity FROM tidemark.alert
         WHERE resolved_at IS NULL OR resolved_at > now() - interval '1 day'
         ORDER BY resolved_at IS NOT NULL, COALESCE(resolved_at, raised_at) DESC LIMIT $1
        """, [.integer(Int64(limit))])
      return (0..<rows.count).map { row in
        Alert(
          topology: rows.text(row, 0)!, topic: rows.text(row, 1)!, partition: Int32(rows.integer(row, 2)!), kind: rows.text(row, 3)!,
          subject: rows.text(row, 9) ?? "", severity: rows.text(row, 10), message: rows.text(row, 4)!, raisedAt: rows.timestamp(row, 5)!,
          lastSeenAt: rows.timestamp(row, 6)!, seen: rows.integer(row, 7)!, resolvedAt: rows.timestamp(row, 8))
      }
    }
  }

  public struct Reconciliation: Sendable {
    public var topology: String
    /// Microseconds since the epoch.
    public var startedAt: Int64
    public var finishedAt: Int64?
    /// `running`, `equal`, `explained`, `different` or `failed`.
    public var outcome: String
    public var differences: Int64
    public var unexplained: Int64
    public var reason: String?
  }

  /// The newest reconciliation of each of these topologies; empty where none was ever installed.
  public func lastReconciliations(topologies: [String]) throws(WarehouseError) -> [Reconciliation] {
    try reading { () throws(PostgresError) in
      guard try connection.execute("SELECT to_regclass('tidemark.reconciliation_run') IS NOT NULL").boolean(0, 0) == true else { return [] }
      let rows = try connection.execute(
        """
        SELECT DISTINCT ON (topology) topology, started_at, finished_at, outcome, differences, unexplained, reason
          FROM tidemark.reconciliation_run WHERE topology = ANY ($1) ORDER BY topology, started_at DESC
        """, [.texts(topologies)])
      return (0..<rows.count).map { row in
        Reconciliation(
          topology: rows.text(row, 0)!, startedAt: rows.timestamp(row, 1)!, finishedAt: rows.timestamp(row, 2), outcome: rows.text(row, 3)!,
          differences: rows.integer(row, 4)!, unexplained: rows.integer(row, 5)!, reason: rows.text(row, 6))
      }
    }
  }
}
