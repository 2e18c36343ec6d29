import Aggregation
import Postgres
import Topologies

/// Why a migration, or an instance, cannot go on with what PostgreSQL holds.
public struct WarehouseError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Code: Sendable, Equatable {
    /// PostgreSQL cannot be reached.
    case unreachable
    /// Worth trying again.
    case retry
    /// An operator has to act: the message says how.
    case refused
  }
  public var code: Code
  public var message: String
  public var description: String { message }
  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }
  init(_ error: PostgresError, _ what: String) {
    switch error.consequence {
    case .unreachable, .connectionLost: code = .unreachable
    case .retry: code = .retry
    case .data, .refused: code = .refused
    }
    message = "\(what): \(error)"
  }
}

/// Brings a database to what some topologies need.
public enum Migration {
  /// Every statement of a migration, in order, for one transaction. They are all there is to it: psql comes to the same.
  /// - Parameter seed: SQL of the keyed hash's seed, for topologies that are new to the database.
  public static func statements(_ topologies: [Topology], seed: String = Schema.randomSeed) -> [String] {
    opening + Schema.schemas + Schema.batchRoles + Access.roleStatements(tiers(topologies)) + ["SET LOCAL ROLE tidemark_owner"] + Schema.books
      + Schema.batchBooks + Schema.ledgerRollUp
      + topologies.flatMap { Schema.tables(of: $0) + Schema.batchGrants(of: $0) + Schema.registration(of: $0, seed: seed) }
      + ["SET LOCAL ROLE tidemark_batch"] + Schema.batchTables(of: topologies) + ["SET LOCAL ROLE tidemark_owner"] + Schema.batchViews
      + Schema.alertBooks + access(topologies) + Schema.batchFarewell
  }

  /// Up to the migration's turn: two at once wait for each other.
  private static let opening = settings + Schema.roles + Schema.migrationTurn

  private static let settings = [
    "SET LOCAL lock_timeout = '30s'", "SET LOCAL client_min_messages = warning", "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL standard_conforming_strings = on",
    """
    DO $$ BEGIN
      IF current_setting('server_version_num')::integer < 150000 THEN
        RAISE EXCEPTION USING ERRCODE = '\(Schema.refusal)', MESSAGE = 'PostgreSQL ' || current_setting('server_version') || ' is too old: Tidemark needs 15 or later';
      END IF;
    END $$
    """,
  ]

  private static func tiers(_ topologies: [Topology]) -> [String] { Set(topologies.flatMap(\.tierRoles)).sorted() }

  /// Access: begins with a SET ROLE, and ends as the login that migrates.
  private static func access(_ topologies: [Topology]) -> [String] {
    ["SET LOCAL ROLE tidemark_owner"] + Access.books + Access.tables + Access.identity + Access.people + Access.tokens
      + ["RESET ROLE", Access.operatorStatement, "SET LOCAL ROLE tidemark_access"] + Access.execution(tiers(topologies))
      + ["SET LOCAL ROLE tidemark_owner"] + topologies.flatMap { Access.statements(of: $0) }
      + Access.tidying + ["RESET ROLE", Access.forgetting] + Access.farewell
  }

  /// Runs the migration in one transaction: all of it or nothing. Safe to repeat, and while instances run.
  /// - Parameter seed: the keyed hash's seed for topologies that are new to the database; nil: the database makes one up.
  /// - Returns: what changed, in words.
  public static func run(_ topologies: [Topology], on connection: Connection, seed: (() -> Int64)? = nil) throws(WarehouseError) -> [String] {
    do throws(PostgresError) {
      try connection.script("BEGIN")
      var before: (tables: Set<String>, fingerprints: [String: String]) = ([], [:])
      for (index, statement) in statements(topologies, seed: seed.map { "\($0())" } ?? Schema.randomSeed).enumerated() {
        try connection.execute(statement)
        // It is this one's turn: what there is now is what this migration finds.
        if index == opening.count - 1 { before = (try tables(connection), try fingerprints(connection)) }
      }
      let new = try tables(connection).subtracting(before.tables).sorted()
      try connection.script("COMMIT")
      return (new.isEmpty ? [] : ["created \(new.joined(separator: ", "))"])
        + topologies.map { topology in
          switch before.fingerprints[topology.name] {
          case nil: "topology \(topology.name) is new"
          case topology.fingerprint: "topology \(topology.name) is up to date"
          default: "topology \(topology.name) is changed"
          }
        } + (try remarks(topologies, connection))
    } catch {
      if connection.isUsable { _ = try? connection.script("ROLLBACK") }
      throw error.sqlState == Schema.refusal ? WarehouseError(.refused, error.message) : WarehouseError(error, "migrate")
    }
  }

  /// What works, and would work better.
  private static func remarks(_ topologies: [Topology], _ connection: Connection) throws(PostgresError) -> [String] {
    let isByDepartment = topologies.contains { AccessRule.all(of: $0).contains { $0.departmentColumn != nil } }
    guard isByDepartment, try connection.query("SELECT \(Access.hasOperator)")[0][0] == "f" else { return [] }
    return ["policies look the department of each row up, which costs queries up to a third: a superuser's `tidemark migrate` makes them an index's work"]
  }

  private static func tables(_ connection: Connection) throws(PostgresError) -> Set<String> {
    Set(
      try connection.query("SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('tidemark', 'analytics', 'raw')")
        .compactMap { $0[0] })
  }

  private static func fingerprints(_ connection: Connection) throws(PostgresError) -> [String: String] {
    guard try connection.query("SELECT to_regclass('tidemark.topology')")[0][0] != nil else { return [:] }
    let rows = try connection.query("SELECT name, fingerprint FROM tidemark.topology")
    return Dictionary(uniqueKeysWithValues: rows.map { ($0[0] ?? "", $0[1] ?? "") })
  }
}
