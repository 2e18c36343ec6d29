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
  /// Two migrations at once wait for each other on this advisory lock.
  private static let lock: Int64 = 0x7469_6465_6D61_726B

  /// Every statement of a migration, in order.
  public static func statements(_ topologies: [Topology]) -> [String] {
    Schema.roles + Schema.batchRoles + Access.roleStatements(tiers(topologies)) + ["SET LOCAL ROLE tidemark_owner"] + Schema.books + Schema.batchBooks
      + Schema.ledgerRollUp + topologies.flatMap { Schema.tables(of: $0) + Schema.batchGrants(of: $0) } + ["SET LOCAL ROLE tidemark_batch"]
      + Schema.batchTables(of: topologies) + ["SET LOCAL ROLE tidemark_owner"] + Schema.batchViews + Schema.alertBooks + access(topologies)
      + Schema.batchFarewell
  }

  private static func tiers(_ topologies: [Topology]) -> [String] { Set(topologies.flatMap(\.tierRoles)).sorted() }

  /// Access: begins with a SET ROLE, and ends as the login that migrates.
  private static func access(_ topologies: [Topology]) -> [String] {
    ["SET LOCAL ROLE tidemark_owner"] + Access.books + Access.tables + Access.identity + Access.people + Access.tokens
      + Access.execution(tiers(topologies)) + ["SET LOCAL ROLE tidemark_owner"] + topologies.flatMap { Access.statements(of: $0) }
      + Access.tidying + ["RESET ROLE", Access.forgetting] + Access.farewell
  }

  /// Runs the migration in one transaction: all of it or nothing. Safe to repeat, and while instances run.
  /// - Parameter seed: the keyed hash's seed for topologies that are new to the database.
  /// - Returns: what changed, in words.
  public static func run(_ topologies: [Topology], on connection: Connection, seed: () -> Int64) throws(WarehouseError) -> [String] {
    var report: [String] = []
    do {
      guard connection.serverVersion >= 150_000 else {
        throw WarehouseError(.refused, "PostgreSQL \(connection.serverVersion / 10_000) is too old: Tidemark needs 15 or later")
      }
      try connection.script("BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL client_min_messages = warning")
      try connection.execute("SELECT pg_advisory_xact_lock($1)", [.integer(lock)])
      let before = try tables(connection)
      for statement in Schema.roles + Schema.batchRoles + Access.roleStatements(tiers(topologies)) { try connection.execute(statement) }
      try connection.script("SET LOCAL ROLE tidemark_owner")
      for statement in Schema.books + Schema.batchBooks + Schema.ledgerRollUp { try connection.execute(statement) }
      for topology in topologies {
        for statement in Schema.tables(of: topology) + Schema.batchGrants(of: topology) { try connection.execute(statement) }
        try check(topology, connection)
        report.append(try register(topology, connection, seed))
      }
      try connection.script("SET LOCAL ROLE tidemark_batch")
      for statement in Schema.batchTables(of: topologies) { try connection.execute(statement) }
      try connection.script("SET LOCAL ROLE tidemark_owner")
      for statement in Schema.batchViews { try connection.execute(statement) }
      for statement in Schema.alertBooks { try connection.execute(statement) }
      for statement in access(topologies) + Schema.batchFarewell { try connection.execute(statement) }
      let after = try tables(connection)
      try connection.script("COMMIT")
      let new = after.subtracting(before).sorted()
      if !new.isEmpty { report.insert("created \(new.joined(separator: ", "))", at: 0) }
    } catch let error as PostgresError {
      if connection.isUsable { _ = try? connection.script("ROLLBACK") }
      throw WarehouseError(error, "migrate")
    } catch let error as WarehouseError {
      if connection.isUsable { _ = try? connection.script("ROLLBACK") }
      throw error
    } catch {
      throw WarehouseError(.refused, "migrate: \(error)")
    }
    return report
  }

  private static func tables(_ connection: Connection) throws -> Set<String> {
    Set(
      try connection.query("SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('tidemark', 'analytics', 'raw')")
        .compactMap { $0[0] })
  }

  /// A table that stood there before may have other columns: nothing is altered in silence.
  private static func check(_ topology: Topology, _ connection: Connection) throws {
    let plan = topology.plan()
    for aggregate in plan.aggregates {
      let table = AggregateTable(aggregate, in: plan)
      let found = try connection.query(
        """
        SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
         WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        """, [.text(table.qualifiedName)]
      ).map { "\($0[0] ?? "") \($0[1] ?? "")" }
      let wanted = table.columns.map { "\($0.name) \($0.type)" }
      guard Set(found) == Set(wanted) else {
        throw WarehouseError(
          .refused,
          "table \(table.qualifiedName) exists with other columns: it has (\(found.joined(separator: ", "))), topology \(topology.name) "
            + "needs (\(wanted.joined(separator: ", "))): rename the aggregate, or move the table away")
      }
    }
  }

  private static func register(_ topology: Topology, _ connection: Connection, _ seed: () -> Int64) throws -> String {
    let known = try connection.query("SELECT fingerprint FROM tidemark.topology WHERE name = $1 FOR UPDATE", [.text(topology.name)])
    let lateness: Parameter = .text("\(topology.allowedLateness.microseconds) microseconds")
    let within: Parameter = .text("\(topology.deduplicateWithin?.microseconds ?? 0) microseconds")
    var report = "topology \(topology.name) is up to date"
    if let fingerprint = known.first?[0] {
      if fingerprint != topology.fingerprint {
        let rows = try connection.execute("SELECT count(*) FROM tidemark.partition WHERE topology = $1", [.text(topology.name)])
        guard rows.integer(0, 0) == 0 else {
          throw WarehouseError(
            .refused,
            "topology \(topology.name) has consumed events already, and \(topology.file) now computes something else (fingerprint "
              + "\(topology.fingerprint), PostgreSQL has \(fingerprint)): give the changed topology and its aggregates new names, so that "
              + "it reads the topics from their beginning beside the old one")
        }
        try connection.execute(
          "UPDATE tidemark.topology SET fingerprint = $2, allowed_lateness = $3::text::interval, updated_at = now() WHERE name = $1",
          [.text(topology.name), .text(topology.fingerprint), lateness])
        try connection.execute("DELETE FROM tidemark.aggregate WHERE topology = $1", [.text(topology.name)])
        report = "topology \(topology.name) is changed"
      }
    } else {
      try connection.execute(
        "INSERT INTO tidemark.topology (name, fingerprint, hash_seed, allowed_lateness) VALUES ($1, $2, $3, $4::text::interval)",
        [.text(topology.name), .text(topology.fingerprint), .integer(seed()), lateness])
      report = "topology \(topology.name) is new"
    }
    try connection.execute(
      "UPDATE tidemark.topology SET deduplicate_within = $2::text::interval WHERE name = $1 AND deduplicate_within IS DISTINCT FROM $2::text::interval",
      [.text(topology.name), within])
    for aggregate in topology.aggregates {
      let rows = try connection.execute(
        """
        INSERT INTO tidemark.aggregate AS a (table_name, topology, name) VALUES ($1, $2, $3)
        ON CONFLICT (table_name) DO UPDATE SET name = excluded.name WHERE a.topology = excluded.topology
        RETURNING true
        """, [.text(aggregate.tableName), .text(topology.name), .text(aggregate.name)])
      if rows.count == 0 {
        throw WarehouseError(
          .refused,
          "\(topology.file):\(aggregate.line):\(aggregate.column): table analytics.\(aggregate.tableName) belongs to another topology: "
            + "rename the aggregate")
      }
    }
    return report
  }
}
