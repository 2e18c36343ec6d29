import Aggregation
import Alerting
import Postgres
import Topologies

/// PostgreSQL as the checks of one topology see it: facts, the book of alerts, what channels were told, and the turns by
/// which one pass runs at a time and one instance does it. One thread uses it; it has a connection of its own.
public final class MonitorStore {
  let topology: Topology
  private let target: String
  private let name: String
  private var current: Connection?
  /// Whether the current connection has the turn of the pass: it is not replaced then.
  private var isInPass = false

  /// - Parameter name: shown in `pg_stat_activity`.
  public init(target: String, topology: Topology, name: String) {
    self.target = target
    self.topology = topology
    self.name = name
  }

  /// A session whose client is stopped would keep its turns: the server ends it when it is idle for longer than a pass may take.
  private static let session = """
    SET search_path = pg_catalog; SET timezone = 'UTC'; SET statement_timeout = '30s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s'; SET idle_session_timeout = '5min'; SET client_min_messages = warning
    """

  func connection() throws(PostgresError) -> Connection {
    if let current, current.isUsable, !current.isInTransaction { return current }
    disconnect()
    if isInPass { throw PostgresError(.connectionLost, message: "the connection, and with it the turn of the pass, was lost") }
    let made = try Connection(target, applicationName: name)
    made.deadline = 40_000
    try made.script(Self.session)
    do { try made.script("SET ROLE tidemark_writer") } catch {
      guard error.consequence == .refused || error.consequence == .data else { throw error }
      let way =
        error.sqlState == "42501"
        ? "as a superuser or the login that migrates: GRANT tidemark_writer TO \(SQL.identifier(made.user))" : "run `tidemark migrate` first"
      throw PostgresError(.refused, sqlState: error.sqlState, message: "\(error.message); \(way)")
    }
    current = made
    return made
  }

  /// Closes the connection, and with it gives back every turn.
  public func disconnect() { current = nil }

  /// Runs statements; after a failure the transaction is over, and so is a connection that gave no answer.
  func asking<R>(_ body: (Connection) throws(PostgresError) -> R) throws(WarehouseError) -> R {
    do throws(PostgresError) { return try body(try connection()) } catch {
      if let current {
        if error.consequence == .connectionLost || !current.isUsable {
          disconnect()
        } else if current.isInTransaction {
          do { try current.script("ROLLBACK") } catch { disconnect() }
        }
      }
      if ["42P01", "3F000", "42703"].contains(error.sqlState) {
        throw WarehouseError(.refused, "PostgreSQL lacks what alerts need (\(error.message)): run `tidemark migrate --topology FILE` first")
      }
      throw WarehouseError(error, "PostgreSQL")
    }
  }

  // MARK: Who does it

  /// Becomes, or is still, the one that checks this topology every minute; others get false. The turn ends with the session,
  /// however that comes about, and after five minutes in which it was not taken again.
  public func elect() throws(WarehouseError) -> Bool {
    // A connection that the server has closed shows it only when it is used.
    if current != nil, let taken = try? asking({ connection throws(PostgresError) in try take("elected", connection) }) { return taken }
    return try asking { connection throws(PostgresError) in try take("elected", connection) }
  }

  /// Runs `body` while no other pass over this topology runs; nil: another one did not end within ten seconds.
  public func exclusively<R>(_ body: () throws -> R) throws -> R? {
    guard try begin() else { return nil }
    let result = Result { try body() }
    end()
    return try result.get()
  }

  private func begin() throws(WarehouseError) -> Bool {
    for attempt in 0..<40 {
      let isTaken = try asking { connection throws(PostgresError) in
        if attempt > 0 { try connection.execute("SELECT pg_sleep(0.25)") }
        return try take("pass", connection)
      }
      guard isTaken else { continue }
      isInPass = true
      return true
    }
    return false
  }

  /// A connection that is lost has given it back.
  private func end() {
    isInPass = false
    guard let current, current.isUsable else { return }
    do {
      try current.execute(
        "DELETE FROM tidemark.monitor_turn WHERE topology = $1 AND name = 'pass' AND pid = pg_backend_pid()", [.text(topology.name)])
    } catch { disconnect() }
  }

  /// Takes a turn that nobody has, or that this session has already: whoever has it is a session that lives, of this start of the server.
  private func take(_ name: String, _ connection: Connection) throws(PostgresError) -> Bool {
    try connection.execute(
      """
      INSERT INTO tidemark.monitor_turn AS t (topology, name, pid, server_started, until)
      VALUES ($1, $2, pg_backend_pid(), pg_postmaster_start_time(), clock_timestamp() + interval '5 minutes')
      ON CONFLICT (topology, name) DO UPDATE SET pid = excluded.pid, server_started = excluded.server_started, until = excluded.until
       WHERE t.pid = excluded.pid OR t.until < clock_timestamp() OR t.server_started <> excluded.server_started
          OR NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = t.pid)
      RETURNING true
      """, [.text(topology.name), .text(name)]
    ).count == 1
  }
}
