import Postgres
import Topologies

/// The materialized views that the stream is checked against, and their refreshes.
public struct NightlyViews {
  private let session: BatchSession

  public init(_ session: BatchSession) { self.session = session }

  public struct View: Sendable, Equatable {
    public var name: String
    public var topology: String
    /// `day` or `hour`.
    public var every: String
  }

  /// How one refresh went.
  public struct Refresh: Sendable, Equatable {
    public var view: String
    public var isDone: Bool
    public var rows: Int64?
    /// Seconds.
    public var seconds: Double
    public var sqlState: String?
    public var reason: String?

    /// Whether trying again may help: a lock, a full disk, a cancelled statement.
    public var isWorthRetrying: Bool {
      guard let sqlState else { return true }
      return PostgresError.consequence(ofSQLState: sqlState) != .refused || sqlState.hasPrefix("53")
    }
  }

  /// All views, or those of one topology, by name.
  public func all(topology: String?) throws(WarehouseError) -> [View] {
    try session.run { connection throws(PostgresError) in
      let rows = try connection.execute(
        "SELECT view_name, topology, every FROM tidemark.nightly_view WHERE $1::text IS NULL OR topology = $1 ORDER BY 1", [.text(topology)])
      return (0..<rows.count).map { View(name: rows.text($0, 0)!, topology: rows.text($0, 1)!, every: rows.text($0, 2)!) }
    }
  }

  /// Refreshes a view and waits for it; what goes wrong is recorded, and the view keeps its old rows.
  /// - Parameter lockWait: as PostgreSQL's `lock_timeout` is written: `5min`.
  public func refresh(_ view: String, lockWait: String) throws(WarehouseError) -> Refresh {
    try session.run { connection throws(PostgresError) in
      let patience = connection.deadline
      connection.deadline = .max
      defer { connection.deadline = patience }
      try connection.script("SET statement_timeout = 0; SET work_mem = '256MB'")
      _ = try connection.query("CALL tidemark.refresh_view(\(SQL.literal(view)), \(SQL.literal(lockWait)))")
      try connection.script("SET statement_timeout = '60s'; RESET work_mem")
      let rows = try connection.query(
        """
        SELECT outcome, row_count, extract(epoch FROM finished_at - started_at)::float8, sql_state, reason FROM tidemark.refresh
         WHERE view_name = $1 AND id = COALESCE(NULLIF(current_setting('tidemark.refreshed', true), '')::bigint, id) ORDER BY id DESC LIMIT 1
        """, [.text(view)])[0]
      return Refresh(
        view: view, isDone: rows[0] == "done", rows: rows[1].flatMap { Int64($0) }, seconds: rows[2].flatMap { Double($0) } ?? 0, sqlState: rows[3],
        reason: rows[4])
    }
  }
}
