import Postgres
import Topologies

/// Reads the catalogue for holes: everything that the generated policies, views, grants and functions are not, or that
/// passes by them. Relations are found in the catalogue, so that one that somebody adds is looked at as well.
///
/// Cost: some catalogue queries; one transaction that is rolled back.
struct AccessLint {
  let connection: Connection
  /// Logins and roles whose power an operator has accepted.
  let accepted: Set<String>

  /// Schemas that hold what people may see only by a grant of the topology.
  static let protected = """
    (SELECT n.oid FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
      WHERE n.nspname IN ('tidemark', 'raw', 'analytics', 'access') OR starts_with(o.rolname, 'tidemark_'))
    """

  /// - Parameter topologies: what the rules in the database are held against; empty: they are believed.
  func findings(_ topologies: [Topology]) throws(PostgresError) -> [AccessFinding] {
    try version() + rules(topologies) + tables() + policies() + views() + materializedViews() + grants() + schemas() + defaultPrivileges()
      + functions() + books() + triggers() + roles() + memberships() + people()
  }

  func leak(_ kind: String, _ rows: [[String?]], _ message: ([String]) -> String) -> [AccessFinding] {
    rows.map { row in
      let texts = row.map { $0 ?? "" }
      return AccessFinding(.leak, kind, texts[0], message(texts))
    }
  }

  // MARK: The server

  /// Minor versions with which a known flaw in row-level security was mended (CVE-2025-8713: statistics of hidden rows).
  static let mended = [13: 22, 14: 19, 15: 14, 16: 10, 17: 6]

  /// - Parameter version: as libpq gives it, 150018 for 15.18.
  static func flaw(inVersion version: Int) -> String? {
    let (major, minor) = (version / 10_000, version % 10_000)
    guard let first = mended[major], minor < first else { return nil }
    return "PostgreSQL \(major).\(minor) shows statistics of rows that policies hide (CVE-2025-8713): upgrade to \(major).\(first) or later"
  }

  private func version() -> [AccessFinding] {
    Self.flaw(inVersion: connection.serverVersion).map { [AccessFinding(.leak, "server", "PostgreSQL", $0)] } ?? []
  }

  /// Rules in the database that are not the topology's: somebody changed them, or migrate was not run.
  private func rules(_ topologies: [Topology]) throws(PostgresError) -> [AccessFinding] {
    let known = try connection.query("SELECT table_name, tier, relation, condition, view, columns::text, scope FROM tidemark.access_rule")
    var findings: [AccessFinding] = []
    // Policies may rest on the operator where it is; where one topology was migrated before it was, they need not.
    let operators = try connection.query("SELECT \(Access.hasOperator)")[0][0] == "t"
    for topology in topologies {
      let wanted = AccessRule.all(of: topology)
      let tables = Set(topology.aggregates.map(\.tableName))
      for rule in wanted {
        let found = known.first { $0[0] == rule.table && $0[1] == rule.tier }
        let columns = "{\(rule.columns.joined(separator: ","))}"
        let isHeld =
          found?[3] == rule.condition && found?[6] == rule.scope || operators && found?[3] == rule.conditionByOperator && found?[6] == nil
        if found == nil || found?[2] != rule.relation || !isHeld || found?[4] != rule.view || found?[5] != columns {
          findings.append(
            AccessFinding(.leak, "rule", "\(rule.table) for \(rule.tier)", "is another one in \(topology.file): run `tidemark migrate`"))
        }
      }
      for row in known where tables.contains(row[0] ?? "") && !wanted.contains(where: { $0.table == row[0] && $0.tier == row[1] }) {
        findings.append(
          AccessFinding(
            .leak, "rule", "\(row[0] ?? "") for \(row[1] ?? "")", "is not granted by \(topology.file) any more: run `tidemark migrate`"))
      }
    }
    return findings
  }

  // MARK: Tables

  /// Tables of analytics, and their partitions wherever they are.
  static let guarded = """
    (WITH RECURSIVE tree(relid) AS (
       SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p', 'f')
       UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree t ON t.relid = i.inhparent)
     SELECT relid FROM tree)
    """

  private func tables() throws(PostgresError) -> [AccessFinding] {
    // A table of somebody's own is nobody's business while nobody else may read it.
    let bare = try connection.query(
      """
      SELECT c.oid::regclass, c.relrowsecurity FROM pg_class c
       WHERE c.oid IN \(Self.guarded) AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
         AND (c.relname IN (SELECT table_name FROM tidemark.aggregate) OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
           OR EXISTS (SELECT FROM aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
                       WHERE a.grantee <> c.relowner AND (r.oid IS NULL OR NOT \(Access.isWorker))))
      """)
    let owned = try connection.query(
      """
      SELECT c.oid::regclass, r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
       WHERE c.oid IN \(Self.guarded) AND r.rolname <> 'tidemark_owner'
      """)
    let books = try connection.query(
      """
      SELECT c.oid::regclass, c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c
       WHERE c.relnamespace = 'access'::regnamespace AND c.relkind = 'r'
         AND (NOT (c.relrowsecurity AND c.relforcerowsecurity) OR EXISTS (
           SELECT FROM pg_policy p WHERE p.polrelid = c.oid
              AND NOT (p.polname = 'tidemark_granter' AND p.polcmd = 'r' AND p.polroles = ARRAY['tidemark_granter'::regrole::oid]
                       AND c.relname IN ('member', 'audit'))
              AND p.polroles <> ARRAY[c.relowner]))
      """)
    return leak("table", books) { row in
      "is closed by row-level security no more (\(row[1] == "t" ? "it has another policy" : "not enabled and forced")): run `tidemark migrate`"
    }
      + leak("table", bare) { row in
      row[1] == "t"
        ? "row-level security is not forced: its owner reads past it; ALTER TABLE \(row[0]) FORCE ROW LEVEL SECURITY"
        : "has no row-level security: whoever may SELECT reads every row; run `tidemark migrate`"
    } + leak("table", owned) { row in
      "belongs to \(row[1]), who can switch row-level security off: ALTER TABLE \(row[0]) OWNER TO tidemark_owner"
    }
  }

  /// Policies that are not just those of the rules, besides those of roles by which Tidemark works. Conditions compare as
  /// PostgreSQL prints them: the wanted one is put on a temporary table of the same columns for that.
  private func policies() throws(PostgresError) -> [AccessFinding] {
    let wanted = try connection.query("SELECT table_name, policy_role, condition, scope FROM tidemark.access_rule")
    let found = try connection.query(
      """
      SELECT c.oid::regclass, p.polname, p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid), root.relname, root.oid::regclass,
             CASE WHEN p.polroles = '{0}' THEN 'PUBLIC'
               ELSE (SELECT string_agg(r.rolname, ', ' ORDER BY r.rolname) FROM pg_roles r WHERE r.oid = ANY (p.polroles)) END
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        CROSS JOIN LATERAL (
          WITH RECURSIVE up(relid) AS (SELECT c.oid UNION SELECT i.inhparent FROM pg_inherits i JOIN up u ON u.relid = i.inhrelid)
          SELECT k.oid, k.relname FROM up JOIN pg_class k ON k.oid = up.relid
           WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = k.oid)) root
       WHERE c.oid IN \(Self.guarded) AND \(Access.isForOthers)
      """)
    var printed: [String: String?] = [:]
    var findings: [AccessFinding] = []
    for row in found {
      let (table, name, roles, condition) = (row[0] ?? "", row[1] ?? "", row[7] ?? "", row[4])
      guard row[3] == "t" else { continue }  // a restrictive policy only takes away
      let rule = wanted.first { $0[0] == row[5] && $0[1] == name }
      if roles == "PUBLIC" {
        findings.append(AccessFinding(.leak, "policy", "\(name) on \(table)", "is open to PUBLIC: DROP POLICY \(SQL.identifier(name)) ON \(table)"))
      } else if let rule, roles == name, row[2] == "r" {
        let key = "\(row[6] ?? "") \(rule[2] ?? "")"
        if printed[key] == nil { printed[key] = try canonical(rule[2] ?? "", on: row[6] ?? "") }
        if printed[key] != condition {
          findings.append(
            AccessFinding(.leak, "policy", "\(name) on \(table)", "shows rows where \(condition ?? "anything"), not where \(rule[2] ?? ""): run `tidemark migrate`"))
        }
      } else {
        findings.append(
          AccessFinding(.leak, "policy", "\(name) on \(table)", "is not of the topology; it shows rows to \(roles): run `tidemark migrate`"))
      }
    }
    return try findings + scopes(wanted, found) + operators(wanted) + directReaders() + statistics()
  }

  func canonical(_ condition: String, on table: String) throws(PostgresError) -> String? {
    try rolledBack { () throws(PostgresError) in
      try connection.script("CREATE TEMPORARY TABLE tidemark_lint (LIKE \(table)); CREATE POLICY p ON pg_temp.tidemark_lint USING (\(condition))")
      return try connection.query("SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = 'pg_temp.tidemark_lint'::regclass")[0][0]
    }
  }

  func rolledBack<R>(_ body: () throws(PostgresError) -> R) throws(PostgresError) -> R {
    try connection.script("BEGIN; SET LOCAL client_min_messages = warning")
    do throws(PostgresError) {
      let result = try body()
      try connection.script("ROLLBACK")
      return result
    } catch {
      if connection.isUsable { _ = try? connection.script("ROLLBACK") }
      throw error
    }
  }
}
