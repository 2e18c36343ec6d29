import Postgres

/// Logins and roles that read past policies.
extension AccessLint {
  /// SQL: whether membership `a` of pg_auth_members gives anything. Since PostgreSQL 16 who has made a role is a member that may only
  /// give it; of a login with CREATEROLE that is known by that.
  private static let isHeld = """
    (COALESCE((to_jsonb(a) ->> 'inherit_option')::boolean OR (to_jsonb(a) ->> 'set_option')::boolean, true)
      OR NOT EXISTS (SELECT FROM pg_roles c WHERE c.oid = a.member AND c.rolcreaterole))
    """

  /// Persons and gateways: whom the policies are for.
  private static let governed = """
    (EXISTS (SELECT FROM access.member m WHERE m.login = r.rolname)
      OR EXISTS (SELECT FROM pg_auth_members a JOIN pg_roles t ON t.oid = a.roleid
                  WHERE a.member = r.oid AND \(isHeld) AND (t.rolname = 'tidemark_gateway' OR EXISTS (SELECT FROM tidemark.tier k WHERE k.name = t.rolname))))
    """

  /// Superusers, BYPASSRLS, REPLICATION, CREATEROLE. The superuser that made the server, and the login that asks, are notes.
  func roles() throws(PostgresError) -> [AccessFinding] {
    let found = try connection.query(
      """
      SELECT r.rolname, concat_ws(', ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
               CASE WHEN r.rolreplication THEN 'REPLICATION' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END),
             r.oid = 10 OR r.rolname = session_user, r.rolsuper OR r.rolbypassrls, \(Self.governed)
        FROM pg_roles r
       WHERE (r.rolsuper OR r.rolbypassrls OR r.rolreplication OR r.rolcreaterole) AND NOT starts_with(r.rolname, 'pg_')
         AND (r.rolcanlogin OR EXISTS (SELECT FROM pg_auth_members a WHERE a.roleid = r.oid))
      """)
    let tiers = try connection.query(
      """
      SELECT r.rolname FROM pg_roles r
       WHERE (starts_with(r.rolname, 'tidemark_view_') OR r.rolname IN ('tidemark_owner', 'tidemark_batch', 'tidemark_access', 'tidemark_audit', 'tidemark_gateway')
              OR EXISTS (SELECT FROM tidemark.tier t WHERE t.name = r.rolname))
         AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole)
      """)
    return found.compactMap { row in
      let (name, powers) = (row[0] ?? "", row[1] ?? "")
      let bypasses = row[3] == "t", isGoverned = row[4] == "t"
      if row[2] == "t" || accepted.contains(name) {
        return bypasses && !isGoverned ? AccessFinding(.note, "login", name, "has \(powers): no policy holds it") : nil
      }
      guard bypasses || isGoverned else { return AccessFinding(.note, "login", name, "has \(powers)") }
      return AccessFinding(.leak, "login", name, "has \(powers): no policy holds it; ALTER ROLE it, or accept it with --accept \(name)")
    } + leak("role", tiers) { "must be a role that nobody logs in as, without powers of its own: ALTER ROLE \($0[0]) NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE" }
  }

  /// Who is, directly or through others, in a role that reads everything; and tiers that are in anything at all.
  func memberships() throws(PostgresError) -> [AccessFinding] {
    let readers = try connection.query(
      """
      WITH RECURSIVE inside(member, root) AS (
        SELECT a.member, a.roleid FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid
         WHERE \(Self.isHeld) AND (starts_with(r.rolname, 'tidemark_view_') OR \(Access.isWorker) OR r.rolname IN ('pg_read_all_data',
           'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
        UNION SELECT a.member, i.root FROM pg_auth_members a JOIN inside i ON i.member = a.roleid AND i.member <> 'tidemark_owner'::regrole
         WHERE \(Self.isHeld))
      SELECT DISTINCT r.rolname, g.rolname, r.rolsuper, \(Self.governed), 
             starts_with(g.rolname, 'tidemark_') AND NOT starts_with(g.rolname, 'tidemark_view_') AND g.rolname NOT IN ('tidemark_access', 'tidemark_audit')
        FROM inside i JOIN pg_roles r ON r.oid = i.member JOIN pg_roles g ON g.oid = i.root
       WHERE NOT starts_with(r.rolname, 'pg_') AND NOT r.rolsuper AND NOT \(Access.isWorker)
      """)
    let tiers = try connection.query(
      """
      SELECT m.rolname, g.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid
       WHERE EXISTS (SELECT FROM tidemark.tier t WHERE t.name = m.rolname)
         OR (NOT m.rolcanlogin AND m.rolname <> 'tidemark_access' AND EXISTS (SELECT FROM tidemark.tier t WHERE t.name = g.rolname))
      """)
    let both = try connection.query(
      """
      SELECT r.rolname FROM pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper
         AND \(Schema.mayBecome("tidemark_gateway", who: "r.oid")) AND \(Schema.mayBecome("tidemark_issuer", who: "r.oid"))
      """)
    return readers.compactMap { row in
      let (name, group) = (row[0] ?? "", row[1] ?? "")
      if accepted.contains(name) || (row[4] == "t" && row[3] != "t") {
        return AccessFinding(.note, "member", name, "is in \(group): it reads every row")
      }
      return AccessFinding(.leak, "member", name, "is in \(group), which is for no login: REVOKE \(group) FROM \(SQL.identifier(name))")
    } + leak("member", both) { "shows the tokens that it issues itself, so it is whoever it likes: REVOKE tidemark_issuer FROM \(SQL.identifier($0[0]))" }
      + leak("member", tiers) { "is in \($0[1]): tiers are for logins, and in nothing themselves; REVOKE \($0[1]) FROM \($0[0])" }
  }

  /// Members who are not what the rules think they are.
  func people() throws(PostgresError) -> [AccessFinding] {
    let idle = try connection.query(
      """
      SELECT r.rolname, t.name FROM tidemark.tier t JOIN pg_roles g ON g.rolname = t.name JOIN pg_auth_members a ON a.roleid = g.oid
        JOIN pg_roles r ON r.oid = a.member
       WHERE r.rolcanlogin AND \(Self.isHeld) AND NOT pg_has_role(r.oid, 'tidemark_gateway', 'MEMBER')
         AND NOT EXISTS (SELECT FROM access.member m WHERE m.login = r.rolname AND m.tier = t.name)
      """)
    let gateways = try connection.query(
      """
      SELECT r.rolname FROM pg_roles r JOIN access.member m ON m.login = r.rolname
       WHERE NOT r.rolsuper AND pg_has_role(r.oid, 'tidemark_gateway', 'MEMBER') GROUP BY 1
      """)
    return idle.map { AccessFinding(.note, "person", $0[0] ?? "", "is in the role \($0[1] ?? "") without a grant in this database: sees nothing of it here") }
      + gateways.map { AccessFinding(.note, "person", $0[0] ?? "", "is a gateway, and granted to by its own name: that shows it nothing") }
  }
}
