import Postgres
import Topologies

/// Proves on a live database that everybody sees what the topology grants and nothing else: makes a login for every tier,
/// logs in as each, tries every operation on every relation, compares what is read with what should be, mounts the attacks
/// that are known, reads the catalogue for holes, and removes the logins again.
///
/// Needs a superuser, or a login with CREATEROLE that is in tidemark_owner, tidemark_writer, tidemark_granter and
/// tidemark_issuer. Writes nothing but audit entries of its own grants. Cost: reads each table some times.
public final class AccessVerification {
  let admin: Connection
  /// Opens a connection to the same database as another login.
  let connect: (Login) throws(PostgresError) -> Connection
  let topologies: [Topology]
  let accepted: Set<String>

  var report = Report()
  var rules: [Rule] = []
  var relations: [Relation] = []
  var subjects: [Subject] = []
  /// Two departments: subjects are granted the first, or in a second tier the second.
  var departments: [String] = []
  let mark = String(UInt32.random(in: 0x1000_0000...0xFFFF_FFFF), radix: 16)

  /// - Parameters:
  ///   - topologies: what the database is held against; empty: what the last migration left in it.
  ///   - accepted: logins, roles and functions that are known to read past policies.
  public init(
    _ admin: Connection, topologies: [Topology] = [], accepted: Set<String> = [], connect: @escaping (Login) throws(PostgresError) -> Connection
  ) {
    self.admin = admin
    self.topologies = topologies
    self.accepted = accepted
    self.connect = connect
  }

  public struct Report: Sendable {
    /// What one tier reads of one relation.
    public struct Line: Sendable {
      public var tier: String
      public var relation: String
      /// `every row`, `own department`, `totals`.
      public var rows: String
      /// Rows that the login saw, and that it should have seen.
      public var seen: Int64
      public var expected: Int64
      public var columns: [String]
    }
    public struct Attack: Sendable {
      public var name: String
      public var by: String
      /// nil: refused, or it gained nothing.
      public var leak: String?
    }
    public var lines: [Line] = []
    public var attacks: [Attack] = []
    public var findings: [AccessFinding] = []
    /// Operations tried on relations: refused, and allowed as they should be.
    public var refused = 0
    public var allowed = 0
    public var relations = 0

    public var leaks: Int { findings.filter { $0.severity == .leak }.count + attacks.filter { $0.leak != nil }.count }
  }

  /// A rule of the last migration.
  struct Rule {
    var table: String, tier: String, relation: String, rows: String
    var department: String?
    var columns: [String]
    var view: String?
  }

  struct Relation {
    var name: String
    var kind: String
    var isProtected: Bool
    var isPartition: Bool
  }

  /// A login that plays a person.
  final class Subject {
    let login: Login
    /// What messages call it: `manager`, `department_head and manager`.
    let title: String
    /// Tier and departments.
    let grants: [(tier: String, departments: [String])]
    var connection: Connection

    init(_ login: Login, _ title: String, _ grants: [(tier: String, departments: [String])], _ connection: Connection) {
      (self.login, self.title, self.grants, self.connection) = (login, title, grants, connection)
    }
  }

  /// Only what the catalogue shows.
  public func lint() throws(WarehouseError) -> [AccessFinding] {
    try AccessBooks(admin).asking { () throws(PostgresError) in
      try withFullNames { () throws(PostgresError) in try AccessLint(connection: admin, accepted: accepted).findings(topologies) }
    }
  }

  /// The known flaw in row-level security of a server's version, 150018 for 15.18; nil: none.
  public static func flaw(inVersion version: Int) -> String? { AccessLint.flaw(inVersion: version) }

  public func run(progress: (String) -> Void = { _ in }) throws(WarehouseError) -> Report {
    try AccessBooks(admin).asking { () throws(PostgresError) in
      admin.deadline = 600_000
      try requirePower()
      progress("reading the catalogue")
      try removeLogins(olderOnly: true)
      report.findings = try withFullNames { () throws(PostgresError) in
        try AccessLint(connection: admin, accepted: accepted).findings(topologies)
      }
      do throws(PostgresError) {
        try load()
        try makeSubjects()
        for subject in subjects {
          progress("as \(subject.title): \(relations.count) relations")
          try tryRelations(subject)
        }
        progress("attacks")
        try attack()
        try attackByTokens()
        try attackByRevocation()
      } catch {
        _ = try? removeLogins(olderOnly: false)
        // What the catalogue has shown is a result already; a database that is broken may well refuse the rest.
        guard report.leaks > 0, error.consequence == .refused || error.consequence == .data else { throw error }
        leak("verify", "PostgreSQL", "could not be asked further: \(error)")
        return
      }
      try removeLogins(olderOnly: false)
    }
    return report
  }

  /// The functions are compared by making them anew, as their owners, in a transaction that is rolled back.
  private func requirePower() throws(PostgresError) {
    guard admin.serverVersion >= 160_000 else { return }
    let missing = try admin.query(
      """
      SELECT string_agg(r.rolname, ', '), quote_ident(current_user) FROM pg_roles r
       WHERE r.rolname IN ('tidemark_access', 'tidemark_audit') AND NOT pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION')
      """)[0]
    guard let roles = missing[0], let login = missing[1] else { return }
    throw PostgresError(
      .refused, sqlState: "42501",
      message: "\(login) may not become \(roles) for the time of a comparison (PostgreSQL 16 and later); as a superuser: "
        + "GRANT \(roles) TO \(login) WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
  }

  /// Runs with a search path by which names are printed with their schemas.
  private func withFullNames<R>(_ body: () throws(PostgresError) -> R) throws(PostgresError) -> R {
    try admin.script("SET search_path = pg_catalog")
    defer { _ = try? admin.script("RESET search_path") }
    return try body()
  }

  func leak(_ kind: String, _ object: String, _ message: String) { report.findings.append(AccessFinding(.leak, kind, object, message)) }

  private func load() throws(PostgresError) {
    rules = try admin.query(
      "SELECT table_name, tier, relation, rows, department_column, array_to_string(columns, ','), view FROM tidemark.access_rule ORDER BY 1, 2"
    ).map { row in
      Rule(
        table: row[0] ?? "", tier: row[1] ?? "", relation: row[2] ?? "", rows: row[3] ?? "", department: row[4],
        columns: (row[5] ?? "").split(separator: ",").map(String.init), view: row[6])
    }
    relations = try admin.query(
      """
      SELECT format('%I.%I', n.nspname, c.relname), c.relkind, c.relnamespace IN \(AccessLint.protected) OR c.oid IN \(AccessLint.guarded), c.relispartition
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
         AND NOT starts_with(n.nspname, 'pg_temp') AND NOT starts_with(n.nspname, 'pg_toast')
       ORDER BY 1
      """
    ).map { Relation(name: $0[0] ?? "", kind: $0[1] ?? "", isProtected: $0[2] == "t", isPartition: $0[3] == "t") }
    report.relations = relations.count
  }
}
