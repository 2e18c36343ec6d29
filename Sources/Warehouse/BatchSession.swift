import Aggregation
import Postgres
import Topologies

/// A connection of the batch side: made when it is needed, as the role `tidemark_batch`, dropped when it gave no answer.
public final class BatchSession {
  private let target: String
  private let name: String
  private var current: Connection?

  private static let settings = """
    SET search_path = pg_catalog; SET timezone = 'UTC'; SET statement_timeout = '60s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning
    """

  public init(target: String, name: String) {
    self.target = target
    self.name = name
  }

  public func connection() throws(PostgresError) -> Connection {
    if let current, current.isUsable { return current }
    let made = try Connection(target, applicationName: name)
    try made.script(Self.settings)
    do { try made.script("SET ROLE tidemark_batch") } catch {
      guard error.consequence == .refused || error.consequence == .data else { throw error }
      let way =
        error.sqlState == "42501" ? "as a superuser or the login that migrates: GRANT tidemark_batch TO \(SQL.identifier(made.user))" : "run `tidemark migrate` first"
      throw PostgresError(.refused, sqlState: error.sqlState, message: "\(error.message); \(way)")
    }
    current = made
    return made
  }

  /// Ends what a failure left open; a connection that gave no answer is dropped.
  public func abandon(after error: PostgresError) {
    guard let connection = current else { return }
    if error.consequence == .connectionLost || !connection.isUsable {
      current = nil
    } else if connection.isInTransaction {
      do { try connection.script("ROLLBACK") } catch { current = nil }
    }
  }

  public func disconnect() { current = nil }

  /// Runs statements; a failure rolls back what they left open.
  @discardableResult
  public func run<R>(_ body: (Connection) throws(PostgresError) -> R) throws(WarehouseError) -> R {
    do throws(PostgresError) { return try body(try connection()) } catch {
      abandon(after: error)
      // Or columns and functions of this version.
      if ["42P01", "3F000", "42703", "42883"].contains(error.sqlState) {
        throw WarehouseError(.refused, "PostgreSQL lacks tables of Tidemark (\(error.message)): run `tidemark migrate --topology FILE` first")
      }
      throw WarehouseError(error, "PostgreSQL")
    }
  }

  public func run(_ body: (Connection) throws(WarehouseError) -> Void) throws(WarehouseError) {
    let connection = try run { connection throws(PostgresError) in connection }
    try body(connection)
  }
}

/// Checks that PostgreSQL knows the topology as it is.
/// - Throws: `refused`, with what to do.
func checkFingerprint(_ plan: Plan, _ connection: Connection) throws(WarehouseError) {
  let rows: Rows
  do throws(PostgresError) { rows = try connection.execute("SELECT fingerprint FROM tidemark.topology WHERE name = $1", [.text(plan.topology)]) } catch {
    throw WarehouseError(error, "PostgreSQL")
  }
  guard rows.count == 1, let fingerprint = rows.text(0, 0) else {
    throw WarehouseError(.refused, "PostgreSQL does not know topology \(plan.topology): run `tidemark migrate --topology FILE` first")
  }
  guard fingerprint == plan.fingerprint else {
    throw WarehouseError(
      .refused,
      "topology \(plan.topology) is another one in PostgreSQL (fingerprint \(fingerprint), the file has \(plan.fingerprint)): run "
        + "`tidemark migrate --topology FILE`, which says what can be done")
  }
}

/// Raises an alert, or counts one that is open once more. Alerts of the batch side that concern no partition have the
/// number -1.
public func raiseAlert(_ topology: String, topic: String, partition: Int32, kind: String, _ message: String, _ connection: Connection)
  throws(PostgresError)
{
  let key: [Parameter] = [.text(topology), .text(topic), .integer(Int64(partition)), .text(kind), .text(message)]
  let open = try connection.execute(
    """
    UPDATE tidemark.alert SET last_seen_at = now(), seen = seen + 1, message = $5
     WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND kind = $4 AND resolved_at IS NULL
    """, key)
  if open.affected == 0 {
    try connection.execute("INSERT INTO tidemark.alert (topology, topic, partition, kind, message) VALUES ($1, $2, $3::bigint, $4, $5)", key)
  }
}

/// Ends an alert whose cause is gone.
public func resolveAlert(_ topology: String, topic: String, partition: Int32, kind: String, _ connection: Connection) throws(PostgresError) {
  try connection.execute(
    """
    UPDATE tidemark.alert SET resolved_at = now()
     WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND kind = $4 AND resolved_at IS NULL
    """, [.text(topology), .text(topic), .integer(Int64(partition)), .text(kind)])
}
