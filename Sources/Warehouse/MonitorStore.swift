import Aggregation
import Alerting
import Postgres
import Topologies

/// PostgreSQL as the checks of one topology see it: facts, the book of alerts, what channels were told, and the locks that
/// make one pass run at a time and one instance do it. One thread uses it; it has a connection of its own.
public final class MonitorStore {
  let topology: Topology
  private let target: String
  private let name: String
  private var current: Connection?
  /// Whether the current connection holds the lock of the elected.
  private var isElected = false
  /// Whether the current connection holds the lock of the pass: it is not replaced then.
  private var isInPass = false

  /// - Parameter name: shown in `pg_stat_activity`.
  public init(target: String, topology: Topology, name: String) {
    self.target = target
    self.topology = topology
    self.name = name
  }

  /// A session whose client is stopped would keep its locks: the server ends it when it is idle for longer than a pass may take.
  private static let session = """
    SET search_path = pg_catalog; SET timezone = 'UTC'; SET statement_timeout = '30s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s'; SET idle_session_timeout = '5min'; SET client_min_messages = warning
    """

  func connection() throws(PostgresError) -> Connection {
    if let current, current.isUsable, !current.isInTransaction { return current }
    disconnect()
    if isInPass { throw PostgresError(.connectionLost, message: "the connection, and with it the lock of the pass, was lost") }
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

  /// Closes the connection, and with it gives back every lock.
  public func disconnect() {
    current = nil
    isElected = false
  }

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

  /// Becomes, or is still, the one that checks this topology every minute; others get false. The lock is the session's: it ends
  /// with the connection, however that comes about, and another one is elected.
  public func elect() throws(WarehouseError) -> Bool {
    if isElected, current?.isUsable == true {
      // A connection that the server has closed shows it only when it is used.
      if (try? asking { connection throws(PostgresError) in try connection.execute("SELECT 1") }) != nil { return true }
    }
    let taken = try asking { connection throws(PostgresError) in
      try connection.execute("SELECT pg_try_advisory_lock(hashtextextended('tidemark alerts elected ' || $1, 0))", [.text(topology.name)]).boolean(0, 0)!
    }
    isElected = taken
    return taken
  }

  /// Runs `body` while no other pass over this topology runs; nil: another one did not end within ten seconds.
  public func exclusively<R>(_ body: () throws -> R) throws -> R? {
    guard try take() else { return nil }
    let result = Result { try body() }
    giveBack()
    return try result.get()
  }

  private func take() throws(WarehouseError) -> Bool {
    do throws(WarehouseError) {
      try asking { connection throws(PostgresError) in
        _ = try connection.execute("SELECT pg_advisory_lock(hashtextextended('tidemark alerts pass ' || $1, 0))", [.text(topology.name)])
      }
    } catch {
      if error.code == .retry { return false }
      throw error
    }
    isInPass = true
    return true
  }

  /// A connection that is lost has given it back.
  private func giveBack() {
    isInPass = false
    guard let current, current.isUsable else { return }
    do {
      try current.execute("SELECT pg_advisory_unlock(hashtextextended('tidemark alerts pass ' || $1, 0))", [.text(topology.name)])
    } catch { disconnect() }
  }
}
