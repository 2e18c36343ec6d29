import Postgres

/// Views, materialized views, grants, functions and triggers.
extension AccessLint {
  /// Views over what is guarded read it with their owner's rights unless they say otherwise.
  func views() throws(PostgresError) -> [AccessFinding] {
    let found = try connection.query(
      """
      SELECT v.oid::regclass, v.relname, o.rolname, COALESCE(v.reloptions::text, ''), pg_get_viewdef(v.oid), r.view, v.relnamespace = 'analytics'::regnamespace,
             EXISTS (SELECT FROM aclexplode(v.relacl) a WHERE a.grantee <> v.relowner), o.rolsuper OR o.rolbypassrls, r.policy_role
        FROM pg_class v JOIN pg_roles o ON o.oid = v.relowner
        LEFT JOIN tidemark.access_rule r ON v.relnamespace = 'analytics'::regnamespace AND r.relation = v.relname AND r.view IS NOT NULL
       WHERE v.relkind = 'v' AND v.oid <> to_regclass('analytics.freshness') AND EXISTS (
         SELECT FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
           JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid AND t.oid <> v.oid
          WHERE w.ev_class = v.oid AND (t.relnamespace IN \(Self.protected) OR t.oid IN \(Self.guarded)))
      """)
    var findings: [AccessFinding] = []
    for row in found {
      let (view, owner, options) = (row[0] ?? "", row[2] ?? "", row[3] ?? "")
      func add(_ message: String) { findings.append(AccessFinding(.leak, "view", view, message)) }
      let invoker = options.contains("security_invoker=true") || options.contains("security_invoker=on") || options.contains("security_invoker=1")
      guard let wanted = row[5] else {
        if !invoker, row[7] == "t" { add("reads with the rights of \(owner), not of who asks: ALTER VIEW \(view) SET (security_invoker = true)") }
        continue
      }
      if owner != row[9] { add("belongs to \(owner), not to \(row[9] ?? ""): DROP VIEW \(view) and run `tidemark migrate`") }
      if !options.contains("security_barrier=true") {
        add("is no security barrier: conditions of a query see rows before they are filtered; run `tidemark migrate`")
      }
      let printed = try rolledBack { () throws(PostgresError) in
        try connection.script("CREATE TEMPORARY VIEW tidemark_lint AS \(wanted)")
        return try connection.query("SELECT pg_get_viewdef('pg_temp.tidemark_lint'::regclass)")[0][0]
      }
      if printed != row[4] { add("selects something else than the topology grants: DROP VIEW \(view) and run `tidemark migrate`") }
    }
    return findings
  }

  /// Policies cannot guard materialized views.
  func materializedViews() throws(PostgresError) -> [AccessFinding] {
    let found = try connection.query(
      """
      SELECT DISTINCT c.oid::regclass::text, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE r.rolname END
        FROM pg_class c CROSS JOIN LATERAL (
          SELECT (aclexplode(c.relacl)).grantee UNION SELECT (aclexplode(t.attacl)).grantee FROM pg_attribute t WHERE t.attrelid = c.oid) a
        LEFT JOIN pg_roles r ON r.oid = a.grantee
       WHERE c.relkind = 'm' AND a.grantee <> c.relowner AND (r.oid IS NULL OR NOT \(Access.isWorker))
         AND (c.relnamespace IN \(Self.protected) OR EXISTS (
           SELECT FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
             JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid AND t.oid <> c.oid
            WHERE w.ev_class = c.oid AND (t.relnamespace IN \(Self.protected) OR t.oid IN \(Self.guarded))))
      """)
    return leak("materialized view", found) { "can be read by \($0[1]), and no policy guards it: REVOKE ALL ON \($0[0]) FROM \($0[1])" }
  }

  /// Privileges on relations that are not those of the rules. Column privileges stand as `SELECT(column)`.
  func grants() throws(PostgresError) -> [AccessFinding] {
    let found = try connection.query(
      """
      WITH granted AS (
        SELECT c.oid, c.relname, c.relnamespace, c.relkind, a.grantee, a.privilege_type AS privilege, NULL::name AS col
          FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
        UNION ALL
        SELECT c.oid, c.relname, c.relnamespace, c.relkind, a.grantee, a.privilege_type, t.attname
          FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE a.grantee <> c.relowner)
      SELECT g.oid::regclass, COALESCE(r.rolname, 'PUBLIC'), g.privilege || COALESCE('(' || g.col || ')', '')
        FROM granted g LEFT JOIN pg_roles r ON r.oid = g.grantee
       WHERE g.relkind IN ('r', 'p', 'v', 'f', 'S') AND (g.relnamespace IN \(Self.protected) OR g.oid IN \(Self.guarded))
         AND (r.oid IS NULL OR NOT \(Access.isWorker))
         AND NOT (g.relnamespace = 'analytics'::regnamespace AND g.privilege = 'SELECT' AND (
           EXISTS (SELECT FROM tidemark.access_rule w WHERE w.relation = g.relname AND w.tier = r.rolname AND g.col IS NULL)
           OR EXISTS (SELECT FROM tidemark.access_rule w WHERE w.table_name = g.relname AND w.policy_role = r.rolname AND w.view IS NOT NULL
                       AND g.col = ANY (w.columns))
           OR (g.relname = 'freshness' AND (r.rolname = 'tidemark_reader' OR EXISTS (
                 SELECT FROM tidemark.tier t WHERE r.rolname = t.name OR (t.complete_days AND r.rolname = 'tidemark_view_' || t.name))))))
         AND NOT (g.relnamespace = 'access'::regnamespace AND g.relname IN ('member', 'audit') AND r.rolname = 'tidemark_granter'
                  AND g.privilege = 'SELECT')
       ORDER BY 1, 2, 3
      """)
    return leak("grant", found) { "\($0[1]) has \($0[2]), which the topology does not grant: REVOKE ALL ON \($0[0]) FROM \($0[1])" }
  }

  func schemas() throws(PostgresError) -> [AccessFinding] {
    let found = try connection.query(
      """
      SELECT n.nspname, COALESCE(r.rolname, 'PUBLIC'), a.privilege_type
        FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
       WHERE n.oid IN \(Self.protected) AND a.grantee <> n.nspowner AND (r.oid IS NULL OR NOT \(Access.isWorker))
         AND NOT (a.privilege_type = 'USAGE' AND n.nspname IN ('analytics', 'access') AND (
           r.rolname IN ('tidemark_reader', 'tidemark_gateway', 'tidemark_issuer', 'tidemark_granter')
           OR EXISTS (SELECT FROM tidemark.tier t WHERE r.rolname IN (t.name, 'tidemark_view_' || t.name))))
      """)
    let strangers = try connection.query(
      """
      SELECT n.nspname, o.rolname FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
       WHERE n.nspname IN ('tidemark', 'raw', 'analytics', 'access')
         AND o.rolname <> CASE n.nspname WHEN 'access' THEN 'tidemark_access' ELSE 'tidemark_owner' END
      """)
    return leak("schema", found) { "\($0[1]) has \($0[2]) on it: REVOKE ALL ON SCHEMA \($0[0]) FROM \($0[1])" }
      + leak("schema", strangers) { "belongs to \($0[1]), who can drop and replace what is in it" }
  }

  /// Privileges that relations will have which nobody has made yet.
  func defaultPrivileges() throws(PostgresError) -> [AccessFinding] {
    let found = try connection.query(
      """
      SELECT DISTINCT o.rolname, COALESCE(r.rolname, 'PUBLIC'), COALESCE(n.nspname, 'every schema')
        FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole CROSS JOIN LATERAL aclexplode(d.defaclacl) a
        LEFT JOIN pg_roles r ON r.oid = a.grantee LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
       WHERE d.defaclobjtype IN ('r', 'S', 'n') AND a.grantee <> d.defaclrole AND (r.oid IS NULL OR NOT \(Access.isWorker))
         AND (n.oid IN \(Self.protected) OR starts_with(o.rolname, 'tidemark_') OR (n.oid IS NULL AND (o.rolsuper OR o.rolcreaterole)))
      """)
    return leak("default privileges", found) {
      "what \($0[0]) makes in \($0[2]) will be open to \($0[1]): ALTER DEFAULT PRIVILEGES FOR ROLE \($0[0]) … REVOKE ALL ON TABLES FROM \($0[1])"
    }
  }

  // MARK: Functions

  func functions() throws(PostgresError) -> [AccessFinding] {
    let loose = try connection.query(
      """
      SELECT p.oid::regprocedure, o.rolname FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT starts_with(n.nspname, 'pg_temp')
         AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE starts_with(s, 'search_path='))
      """)
    let strong = try connection.query(
      """
      SELECT p.oid::regprocedure, o.rolname, string_agg(DISTINCT COALESCE(r.rolname, 'PUBLIC'), ', ')
        FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner JOIN pg_namespace n ON n.oid = p.pronamespace
        CROSS JOIN LATERAL aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
       WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'access') AND a.grantee <> p.proowner
         AND (o.rolsuper OR o.rolbypassrls OR starts_with(o.rolname, 'tidemark_')) AND (r.oid IS NULL OR NOT \(Access.isWorker))
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
       GROUP BY 1, 2
      """)
    return leak("function", loose) { "is SECURITY DEFINER (as \($0[1])) without a fixed search_path: ALTER FUNCTION \($0[0]) SET search_path = pg_catalog, pg_temp" }
      + leak("function", strong.filter { !accepted.contains(($0[0] ?? "").split(separator: "(").first.map(String.init) ?? "") }) {
        "runs as \($0[1]), past every policy, and may be called by \($0[2]): revoke that, or accept it with --accept \($0[0].split(separator: "(")[0])"
      } + (try ownFunctions())
  }

  private static let ownFunctionsQuery = """
    SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), o.rolname,
           (SELECT string_agg(COALESCE(r.rolname, 'PUBLIC'), ' ' ORDER BY r.rolname)
              FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a LEFT JOIN pg_roles r ON r.oid = a.grantee)
      FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
     WHERE p.pronamespace = 'access'::regnamespace
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    """

  /// The functions of `access` as they are, and as a migration would make them.
  private func ownFunctions() throws(PostgresError) -> [AccessFinding] {
    let before = try connection.query(Self.ownFunctionsQuery)
    let after = try rolledBack { () throws(PostgresError) -> [[String?]] in
      let tiers = try connection.query("SELECT name FROM tidemark.tier ORDER BY 1").compactMap { $0[0] }
      let tables = Access.tables.filter { $0.contains("FUNCTION") || $0.hasPrefix("SET LOCAL ROLE") }
      let expected = tables + Access.identity + Access.people + Access.tokens
      // A login that is no superuser borrows the roles until the rollback.
      for role in ["tidemark_access", "tidemark_audit"] {
        if try connection.query("SELECT \(Schema.mayBecome(role))")[0][0] == "f" {
          try connection.script("GRANT \(role) TO CURRENT_USER")
        }
      }
      // Functions of other owners stay what they are, and are found below.
      for row in before where row[2] != "tidemark_access" && row[2] != "tidemark_audit" { try connection.script("DROP FUNCTION \(row[0] ?? "") CASCADE") }
      try connection.script("SET LOCAL ROLE tidemark_access; GRANT CREATE ON SCHEMA access TO tidemark_audit")
      for statement in expected + ["SET LOCAL ROLE tidemark_access"] + Access.execution(tiers) { try connection.execute(statement) }
      try connection.script("RESET ROLE")
      return try connection.query(Self.ownFunctionsQuery)
    }
    return before.compactMap { row in
      let name = row[0] ?? ""
      guard let wanted = after.first(where: { $0[0] == name }), wanted[2] == row[2] || !Self.isOwn(name) else {
        // Policies rest on Tidemark's own, which cannot be dropped.
        let owner = after.first { $0[0] == name }?[2] ?? "tidemark_access"
        let mend = Self.isOwn(name) ? "ALTER FUNCTION \(name) OWNER TO \(owner)" : "DROP FUNCTION \(name)"
        return AccessFinding(.leak, "function", name, "belongs to \(row[2] ?? ""), not to Tidemark: \(mend), then run `tidemark migrate`")
      }
      if wanted[1] != row[1] { return AccessFinding(.leak, "function", row[0] ?? "", "is not what Tidemark made it: run `tidemark migrate`") }
      if wanted[3] != row[3] {
        return AccessFinding(.leak, "function", row[0] ?? "", "may be called by \(row[3] ?? ""), not just by \(wanted[3] ?? ""): run `tidemark migrate`")
      }
      return Self.isOwn(row[0] ?? "") ? nil : AccessFinding(.leak, "function", row[0] ?? "", "is not of Tidemark: DROP FUNCTION \(row[0] ?? "")")
    }
  }

  private static func isOwn(_ signature: String) -> Bool {
    [
      "person()", "holds(text)", "own(text)", "equals(text,character varying)", "departments(text)", "scope(text)", "whoami()",
      "grant_tier(text,text,text[])", "revoke_tier(text,text,text[])",
      "relations_of(text)", "enroll_gateway(text,text[])", "mac(text,bytea)", "random(integer)", "rotate_key()", "issue(text,text,integer)", "assume(text)",
      "note(text,text,text,text,text)", "record()", "keep()",
    ].contains { signature == "access.\($0)" }
  }

  /// Triggers and rules that could carry rows out of the tables, and the audit's own.
  func triggers() throws(PostgresError) -> [AccessFinding] {
    let foreign = try connection.query(
      """
      SELECT t.tgrelid::regclass, t.tgname FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN \(Self.guarded)
      UNION ALL
      SELECT w.ev_class::regclass, w.rulename FROM pg_rewrite w WHERE w.ev_class IN \(Self.guarded)
      """)
    let audit = try connection.query(
      """
      SELECT w.tbl || ' ' || w.name FROM (VALUES ('access.audit', 'tidemark_keep'), ('access.member', 'tidemark_record'),
                                                   ('access.member', 'tidemark_record_all')) w(tbl, name)
       WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass(w.tbl) AND t.tgname = w.name AND t.tgenabled = 'A')
      """)
    return leak("trigger", foreign) { "\($0[1]) runs with every flush and is not of Tidemark: it could carry rows away" }
      + leak("audit", audit) { _ in "the trigger that keeps the audit is missing or disabled: run `tidemark migrate`" }
  }
}
