import Aggregation
import LocalServers
import Postgres
import Testing
import Topologies
import Warehouse

/// One server for all tests of this module. Roles belong to the server, so these tests run one after another.
let accessServer = Result { try EphemeralPostgres() }

/// Everything about access, against a real server.
@Suite(.serialized) struct AccessTests {}

/// A migrated database with rows of six departments on ten days, of which seven are complete, and logins of its own.
struct AccessFixture {
  static let yaml = """
    topology: product-events
    source: { topics: [events], format: json, partition_key: user_id }
    event:
      id: id
      time: at
      fields:
        user_id: string
        event_type: string
        department: { type: string, default: unassigned }
        amount: { type: integer, optional: true }
    time: { allowed_lateness: 48h, zone: UTC }
    aggregates:
      daily_metrics:
        window: { tumbling: 1 day }
        by: [department, event_type]
        measures: { event_count: count, unique_users: distinct user_id, revenue: sum amount }
        access: { by: department, barrier: true }
      daily_active_users:
        window: { tumbling: 1 day }
        measures: { dau: distinct user_id }
        access: { tiers: [ceo, board, department_head, manager, all_hands] }
      per_minute:
        window: { tumbling: 1 minute }
        by: [event_type]
        measures: { event_count: count }
    """
  static let access = "access: { by: department, barrier: true }"
  /// Heads of departments read the table itself.
  static let direct = yaml.replacing(access, with: "access: { by: department }")
  /// What a department head reads otherwise.
  static let own = "analytics.daily_metrics_department_head"
  static let departments = ["sales", "support", "legal", "o'brien \"x\", {a}", "", "__overflow__"]

  let name: String
  let topology: Topology
  /// Whether a login that is no superuser migrates: then policies have no operator of their own, and look departments up.
  let isWithoutOperator: Bool
  let sql: Connection
  var books: AccessBooks { AccessBooks(sql) }

  init(_ name: String, yaml: String = AccessFixture.yaml, before: String = "", isWithoutOperator: Bool = false) throws {
    self.name = name
    self.isWithoutOperator = isWithoutOperator
    let here = try accessServer.get()
    try Connection(here.target, applicationName: "tests").script("CREATE DATABASE \(SQL.identifier(name))")
    sql = try Connection(here.target(database: name, user: "postgres"), applicationName: "tests")
    topology = try Topology.parse(yaml: yaml, file: "access.yaml")
    if !before.isEmpty { try sql.script(before) }
    try migrate()
    if yaml.contains("daily_metrics:") { try fill() }
  }

  /// SQL: since PostgreSQL 16 CREATEROLE gives only roles that the login has made, or was given for that.
  /// - Parameter roles: which of Tidemark's, as SQL over `rolname`.
  static func givingRoles(to login: String, roles: String = "true") -> String {
    """
    DO $$ DECLARE v_role name; BEGIN
      IF current_setting('server_version_num')::integer < 160000 THEN RETURN; END IF;
      FOR v_role IN SELECT rolname FROM pg_roles WHERE (\(roles)) AND (starts_with(rolname, 'tidemark_') AND NOT starts_with(rolname, 'tidemark_verify_')
                     OR shobj_description(oid, 'pg_authid') = 'Tidemark tier') LOOP
        EXECUTE format('GRANT %I TO \(login) WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', v_role);
      END LOOP;
    END $$
    """
  }

  /// SQL: whether a login may become a role.
  static func mayBecome(_ login: String, _ role: String) -> String {
    "SELECT pg_has_role('\(login)', '\(role)', CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END)"
  }

  @discardableResult
  func migrate(_ yaml: String? = nil) throws -> [String] {
    let topologies = [try yaml.map { try Topology.parse(yaml: $0, file: "access.yaml") } ?? topology]
    guard isWithoutOperator else { return try Migration.run(topologies, on: sql) { 4711 } }
    let deployer = SQL.identifier(login("deployer"))
    try sql.script(
      """
      DO $$ BEGIN CREATE ROLE \(deployer) LOGIN CREATEROLE; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
      \(AccessFixture.givingRoles(to: deployer)); GRANT CREATE ON DATABASE \(SQL.identifier(name)) TO \(deployer); SET SESSION AUTHORIZATION \(deployer)
      """)
    defer { _ = try? sql.script("RESET SESSION AUTHORIZATION") }
    return try Migration.run(topologies, on: sql) { 4711 }
  }

  /// 2 event types × 6 departments × 10 days; each row has 10 events, 5 users and 100 of revenue, legal 999,999.
  private func fill() throws {
    let list = Self.departments.map { "(\(SQL.literal($0)))" }.joined(separator: ", ")
    try sql.script(
      """
      INSERT INTO analytics.daily_metrics (window_start, department, event_type, event_count, unique_users, revenue)
      SELECT d, x.name, e.name, 10, 5, CASE x.name WHEN 'legal' THEN 999999 ELSE 100 END
        FROM generate_series('2026-01-01Z'::timestamptz, '2026-01-10Z', '1 day') d, (VALUES \(list)) x(name), (VALUES ('a'), ('b')) e(name);
      INSERT INTO analytics.daily_active_users (window_start, dau) SELECT d, 77 FROM generate_series('2026-01-01Z'::timestamptz, '2026-01-10Z', '1 day') d;
      INSERT INTO analytics.per_minute (window_start, event_type, event_count) VALUES ('2026-01-01Z', 'a', 1);
      INSERT INTO tidemark.partition (topology, topic, partition, next_offset, epoch, watermark, end_offset)
      VALUES ('product-events', 'events', 0, 10, 1, '2026-01-10 05:00Z', 20);
      INSERT INTO tidemark.quarantine (topology, topic, partition, "offset", reason, field, payload, payload_bytes)
      VALUES ('product-events', 'events', 0, 3, 'invalid_json', '', 'secret payload', 14);
      ANALYZE analytics.daily_metrics, analytics.daily_active_users
      """)
  }

  /// A new login of that name in this database, with grants.
  func person(_ login: String, _ grants: (tier: String, departments: [String])...) throws -> Connection {
    let role = "\(login)_\(name)"
    try sql.script("CREATE ROLE \(SQL.identifier(role)) LOGIN")
    for grant in grants { #expect(try books.grant(role, tier: grant.tier, departments: grant.departments)) }
    return try connect(role)
  }

  func connect(_ role: String) throws -> Connection {
    try Connection(try accessServer.get().target(database: name, user: role), applicationName: "tests")
  }

  func login(_ login: String) -> String { "\(login)_\(name)" }

  /// A gateway login for some tiers.
  func gateway(_ login: String = "api", tiers: [String] = ["ceo", "department_head", "manager", "board", "all_hands"]) throws -> Connection {
    try books.login(Login(name: self.login(login), password: "a password of it"), isGateway: true)
    try books.enroll(self.login(login), tiers: tiers)
    return try connect(self.login(login))
  }

  func verification(_ topologies: [Topology] = [], accepted: Set<String> = []) -> AccessVerification {
    AccessVerification(sql, topologies: topologies, accepted: accepted) { login throws(PostgresError) in
      let target: String
      do { target = try accessServer.get().target(database: name, user: "postgres") } catch { throw PostgresError(.unreachable, message: "\(error)") }
      return try Connection(target, applicationName: "tests", login: login)
    }
  }
}

extension Connection {
  /// One value as text, or the SQLSTATE of the refusal.
  func value(_ sql: String, _ parameters: [Parameter] = []) -> String {
    do throws(PostgresError) { return try query(sql, parameters).first?.first.flatMap { $0 } ?? "NULL" } catch { return error.sqlState }
  }

  /// Department names that are seen in a relation, sorted.
  func departments(_ relation: String = AccessFixture.own) -> String {
    value("SELECT COALESCE(string_agg(DISTINCT '<' || department || '>', ' ' ORDER BY '<' || department || '>'), 'none') FROM \(relation)")
  }
}
