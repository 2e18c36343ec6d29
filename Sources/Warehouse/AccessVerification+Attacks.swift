import Postgres

/// What somebody with psql, a login and time would try. Every attack ends with the same question: does the login see a row,
/// or learn a value, that it was not granted?
extension AccessVerification {
  func attack() throws(PostgresError) {
    for subject in subjects {
      // Where the door is open, no attack says anything.
      if let open = try gain(subject) {
        record("just asking", subject, open)
        continue
      }
      try bySettings(subject)
      try byRoles(subject)
      try byNewObjects(subject)
      try byStatements(subject)
      try byFunctions(subject)
      try byCopy(subject)
      try byDefinitions(subject)
      try byStatistics(subject)
      try bySideChannels(subject)
      // A fresh session: what the attacks left in this one ends with it.
      subject.connection = try open(subject.login)
    }
  }

  /// Records an attack; `leak` is nil where it gained nothing.
  func record(_ name: String, _ subject: Subject, _ leak: String?) {
    report.attacks.append(Report.Attack(name: name, by: subject.title, leak: leak))
  }

  /// Relations with rows by department that the subject reads, and whose rows of others it must never see.
  func partial(_ subject: Subject) -> [(relation: String, column: String, own: [String])] {
    rules.compactMap { rule in
      guard rule.rows == "own", let column = rule.department, subject.grants.contains(where: { $0.tier == rule.tier }) else { return nil }
      let mine = rules.filter { other in other.relation == rule.relation && subject.grants.contains { $0.tier == other.tier } }
      guard mine.allSatisfy({ $0.rows == "own" }) else { return nil }
      let own = subject.grants.filter { grant in mine.contains { $0.tier == grant.tier } }.flatMap(\.departments)
      return ("analytics.\(SQL.identifier(rule.relation))", SQL.identifier(column), own)
    }
  }

  /// Values of departments that a subject must not learn by way of a relation.
  func foreign(_ target: (relation: String, column: String, own: [String])) -> String {
    "\(target.column) <> ALL (ARRAY[\(target.own.map(SQL.literal).joined(separator: ", "))]::text[])"
  }

  /// nil: the subject sees what it saw before. Rows of others are looked for; so are relations that were closed.
  func gain(_ subject: Subject) throws(PostgresError) -> String? {
    let connection = subject.connection
    if connection.isInTransaction { try connection.script("ROLLBACK") }
    for target in partial(subject) {
      do throws(PostgresError) {
        let count = try connection.query("SELECT count(*) FROM \(target.relation) WHERE \(foreign(target))")[0][0]
        if count != "0" { return "\(count ?? "?") rows of others in \(target.relation)" }
      } catch { guard error.consequence == .refused else { throw error } }
    }
    let readable = Set(rules.filter { rule in subject.grants.contains { $0.tier == rule.tier } }.map { "analytics.\($0.relation)" })
    for relation in relations where relation.isProtected && relation.kind != "S" {
      let name = relation.name.replacing("\"", with: "")
      guard !readable.contains(name), name != "analytics.freshness" else { continue }
      if (try? connection.query("SELECT 1 FROM \(relation.name) LIMIT 1")) != nil { return "\(relation.name) can be read" }
    }
    return nil
  }

  /// Runs statements that may or may not be refused; the answer of each, or its error, as text.
  @discardableResult
  func perform(_ statements: [String], _ subject: Subject) throws(PostgresError) -> [String] {
    var answers: [String] = []
    for statement in statements {
      do throws(PostgresError) {
        answers.append(try subject.connection.query(statement).map { $0.map { $0 ?? "" }.joined(separator: "|") }.joined(separator: "\n"))
      } catch {
        guard error.consequence != .connectionLost else { throw error }
        answers.append("ERROR \(error.message) \(error.detail)")
        if subject.connection.isInTransaction { try subject.connection.script("ROLLBACK") }
      }
    }
    return answers
  }

  /// nil: every statement was refused.
  func refused(_ statements: [String], _ subject: Subject) throws(PostgresError) -> String? {
    for statement in statements {
      let answer = try perform(["BEGIN", statement, "ROLLBACK"], subject)[1]
      if !answer.hasPrefix("ERROR") { return "allowed: \(statement)" }
    }
    return nil
  }

  // MARK: Settings and roles

  private func bySettings(_ subject: Subject) throws(PostgresError) {
    let names = [
      "app.user_department", "app.current_department", "app.user", "tidemark.person", "tidemark.login", "tidemark.department", "tidemark.tier",
      "access.person", "access.token", "request.jwt.claims", "role.department",
    ]
    let logins = try admin.query("SELECT DISTINCT login FROM access.member WHERE login <> $1 LIMIT 5", [.text(subject.login.name)])
    var gained: String?
    for value in departments.reversed() + logins.compactMap({ $0[0] }) + ["ceo", "postgres", "%", ""] where gained == nil {
      try perform(names.map { "SELECT set_config('\($0)', \(SQL.literal(value)), false)" }, subject)
      gained = try gain(subject)
    }
    record("SET of any name", subject, gained)
    try perform(["SET row_security = off", "SET session_replication_role = replica", "SET search_path = pg_temp, access, analytics, tidemark"], subject)
    record("SET row_security, session_replication_role, search_path", subject, try gain(subject))
    try perform(["RESET row_security", "RESET search_path"], subject)
  }

  private func byRoles(_ subject: Subject) throws(PostgresError) {
    let others = try admin.query(
      "SELECT rolname FROM pg_roles WHERE NOT pg_has_role($1::name, oid, 'MEMBER') ORDER BY 1", [.text(subject.login.name)]
    ).compactMap { $0[0] }
    record("SET ROLE", subject, try refused(others.map { "SET ROLE \(SQL.identifier($0))" }, subject))
    record("SET SESSION AUTHORIZATION", subject, try refused(others.map { "SET SESSION AUTHORIZATION \(SQL.identifier($0))" }, subject))
    for grant in subject.grants { try perform(["SET ROLE \(SQL.identifier(grant.tier))", "RESET ROLE", "RESET SESSION AUTHORIZATION"], subject) }
    record("RESET ROLE, RESET SESSION AUTHORIZATION", subject, try gain(subject))
    var leak: String?
    for grant in subject.grants where leak == nil {
      try perform(["SET ROLE \(SQL.identifier(grant.tier))"], subject)
      leak = try gain(subject)
      try perform(["RESET ROLE"], subject)
    }
    record("SET ROLE to one's own tier", subject, leak)
    record("GRANT to oneself", subject, try refused(others.map { "GRANT \(SQL.identifier($0)) TO CURRENT_USER" }, subject))
  }

  // MARK: What a session can make

  /// Objects of the session's own schema that are named like those the functions use.
  private func byNewObjects(_ subject: Subject) throws(PostgresError) {
    let login = SQL.literal(subject.login.name)
    try perform(
      [
        """
        CREATE TEMPORARY TABLE member AS SELECT \(login)::text AS login, t AS tier, d AS department
          FROM unnest(ARRAY['ceo', 'manager', 'department_head']) t, unnest(ARRAY['x', NULL]) d
        """,
        """
        CREATE TEMPORARY TABLE assumed AS SELECT 'n'::text AS nonce, pg_current_xact_id() AS xid, 'ceo'::text AS person, \(login)::text AS gateway,
          now() + interval '1 day' AS expires_at
        """,
        "CREATE FUNCTION pg_temp.person() RETURNS text LANGUAGE sql AS 'SELECT ''ceo''::text'",
        "CREATE FUNCTION pg_temp.holds(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION pg_temp.pg_has_role(name, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION pg_temp.always(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.always)",
        "SET search_path = pg_temp, access, pg_catalog",
      ], subject)
    record("temporary tables, functions and operators of the same names", subject, try gain(subject))
    try perform(["RESET search_path", "DISCARD TEMP"], subject)
  }

  /// A function that costs nothing and keeps what it sees, in every place where a query can have one.
  private func byFunctions(_ subject: Subject) throws(PostgresError) {
    let targets = partial(subject)
    guard !targets.isEmpty else { return }
    try perform(
      [
        "CREATE TEMPORARY TABLE seen (value text)",
        "CREATE FUNCTION pg_temp.keep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN INSERT INTO pg_temp.seen VALUES ($1); RETURN true; END'",
        "CREATE FUNCTION pg_temp.keep2(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN INSERT INTO pg_temp.seen VALUES ($1); RETURN true; END'",
        // With estimators of its own, the planner asks it of the values in the statistics.
        """
        CREATE OPERATOR pg_temp.<<>> (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.keep2, RESTRICT = eqsel, JOIN = eqjoinsel)
        """,
        "CREATE OPERATOR pg_temp.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.keep2, RESTRICT = scalarltsel, JOIN = scalarltjoinsel)",
        "CREATE DOMAIN pg_temp.kept AS text CHECK (pg_temp.keep(VALUE))",
      ], subject)
    for (relation, column, own) in targets {
      try perform(
        [
          "SELECT count(*) FROM \(relation) WHERE pg_temp.keep(\(column))", "SELECT count(*) FROM \(relation) WHERE \(column) OPERATOR(pg_temp.<<>>) 'x'",
          "EXPLAIN SELECT count(*) FROM \(relation) WHERE \(column) OPERATOR(pg_temp.<<>>) 'x' AND \(column) OPERATOR(pg_temp.<<<) 'x'",
          "EXPLAIN SELECT count(*) FROM \(relation) a JOIN \(relation) b ON a.\(column) OPERATOR(pg_temp.<<>>) b.\(column)",
          "SELECT count(*) FROM \(relation) WHERE \(column)::pg_temp.kept IS NOT NULL",
          "SELECT count(*) FROM \(relation) WHERE CASE WHEN \(column) = 'x' THEN true ELSE pg_temp.keep(\(column)) END",
          "SELECT count(*) FROM \(relation) GROUP BY \(column) HAVING pg_temp.keep(\(column))",
          "SELECT count(*) FROM \(relation) a JOIN \(relation) b ON pg_temp.keep(b.\(column)) WHERE a.window_start = b.window_start",
          "SELECT \(column) FROM \(relation) ORDER BY pg_temp.keep(\(column)) LIMIT 1",
          "SELECT count(*) FROM \(relation) TABLESAMPLE SYSTEM (100) WHERE pg_temp.keep(\(column))",
        ], subject)
      let list = own.map(SQL.literal).joined(separator: ", ")
      let others = try perform(["SELECT string_agg(DISTINCT value, ', ') FROM pg_temp.seen WHERE value <> ALL (ARRAY[\(list)]::text[])"], subject)[0]
      record("a function or operator in WHERE that keeps what it sees", subject, others.isEmpty ? nil : "it saw rows of \(others)")
      try perform(["TRUNCATE pg_temp.seen"], subject)
      record("errors that name values", subject, try byErrors(relation, column, own, subject))
    }
    try perform(["DISCARD TEMP"], subject)
  }

  /// Casts and divisions fail at the first row of another department, if there is one to be seen.
  private func byErrors(_ relation: String, _ column: String, _ own: [String], _ subject: Subject) throws(PostgresError) -> String? {
    let others = "\(column) <> ALL (ARRAY[\(own.map(SQL.literal).joined(separator: ", "))]::text[])"
    for statement in [
      "SELECT count(*) FROM \(relation) WHERE CASE WHEN \(others) THEN (\(column) || ' is no number')::integer = 1 ELSE true END",
      "SELECT count(*) FROM \(relation) WHERE 1 / (CASE WHEN \(others) THEN 0 ELSE 1 END) = 1",
      "SELECT sum(CASE WHEN \(others) THEN (\(column) || ' is no number')::integer ELSE 1 END) FROM \(relation)",
      "SELECT count(*) FROM \(relation) WHERE \(others) AND \(column)::integer = 1",
    ] {
      let answer = try perform([statement], subject)[0]
      if answer.hasPrefix("ERROR") { return "a row of others was reached: \(answer)" }
    }
    return nil
  }

  // MARK: Other ways to read

  private func byStatements(_ subject: Subject) throws(PostgresError) {
    for (relation, column, own) in partial(subject) {
      let answers = try perform(
        [
          "SELECT DISTINCT \(column) FROM (TABLE \(relation)) t", "PREPARE verify_p AS SELECT DISTINCT \(column) FROM \(relation)",
          "EXECUTE verify_p", "DEALLOCATE verify_p",
          "SELECT DISTINCT (xpath('//\(column)/text()', query_to_xml('SELECT * FROM \(relation.replacing("'", with: "''"))', true, false, '')))[1]::text",
          "BEGIN", "DECLARE verify_c CURSOR FOR SELECT DISTINCT \(column) FROM \(relation)", "FETCH ALL FROM verify_c", "ROLLBACK",
        ], subject)
      let seen = Set([0, 2, 7].flatMap { answers[$0].split(separator: "\n").map(String.init) })
      let extra = seen.subtracting(own)
      record("TABLE, prepared statements, cursors", subject, extra.isEmpty ? nil : "saw \(extra.sorted().joined(separator: ", "))")
      let explained = try perform(["EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT * FROM \(relation)"], subject)[0]
      let names = try hiddenDepartments(relation, column, own)
      record("EXPLAIN ANALYZE", subject, names.first { explained.contains($0) }.map { "the plan names \($0)" })
    }
    let files = [
      "SELECT lo_import('/etc/passwd')", "SELECT lo_export(0, '/tmp/tidemark-verify')", "SELECT pg_read_file('PG_VERSION')", "SELECT pg_ls_dir('.')",
      "COPY pg_class TO '/tmp/tidemark-verify'", "COPY pg_class TO PROGRAM 'cat > /dev/null'", "CREATE EXTENSION dblink",
      "CREATE EXTENSION file_fdw", "SELECT pg_reload_conf()", "ALTER SYSTEM SET work_mem = '1MB'", "SELECT * FROM pg_authid",
      "SELECT * FROM pg_statistic", "SELECT * FROM pg_statistic_ext_data", "SELECT * FROM pg_hba_file_rules",
      "SELECT * FROM pg_subscription", "SELECT pg_create_physical_replication_slot('mine')", "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
      "CREATE FUNCTION pg_temp.tight(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'", "CREATE FOREIGN DATA WRAPPER mine",
      "ALTER DATABASE \(SQL.identifier(admin.database)) SET search_path = pg_temp", "CREATE LANGUAGE c", "LOAD 'auto_explain'",
      "SET log_statement = 'all'", "SET allow_system_table_mods = on", "SET session_preload_libraries = 'x'",
      "SELECT pg_terminate_backend(\(admin.backend))",
    ]
    record("files, programs, extensions, server settings", subject, try refused(files, subject))
    let dblink = try admin.query(
      "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'dblink'")
    if let schema = dblink.first?[0] {
      let target = "host=127.0.0.1 port=\(try admin.query("SHOW port")[0][0] ?? "5432") dbname=\(admin.database) user=\(admin.user)"
      record(
        "dblink as somebody else", subject,
        try refused(
          [
            "SELECT * FROM \(schema).dblink(\(SQL.literal(target)), 'SELECT 1') AS t(x integer)",
            "SELECT \(schema).dblink_connect_u(\(SQL.literal(target)))",
          ], subject))
    }
  }

  private func hiddenDepartments(_ relation: String, _ column: String, _ own: [String]) throws(PostgresError) -> [String] {
    guard let rule = rules.first(where: { "analytics.\(SQL.identifier($0.relation))" == relation }) else { return [] }
    return try asReader { () throws(PostgresError) in
      try admin.query("SELECT \(column) FROM analytics.\(SQL.identifier(rule.table)) WHERE length(\(column)) > 3 GROUP BY 1 LIMIT 50").compactMap { $0[0] }
    }.filter { name in !own.contains(name) && !own.contains { $0.contains(name) } && !["department", "event_type"].contains(name) }
  }

  private func byCopy(_ subject: Subject) throws(PostgresError) {
    for (relation, column, own) in partial(subject) {
      let table = "COPY \(relation) (\(column)) TO STDOUT"  // refused where the relation is a view
      for statement in [table, "COPY (SELECT \(column) FROM \(relation)) TO STDOUT", "COPY (SELECT DISTINCT \(column) FROM \(relation)) TO STDOUT"] {
        let lines: String
        do throws(PostgresError) { lines = try subject.connection.copyOut(statement) } catch {
          guard error.consequence == .refused else { throw error }
          lines = ""
        }
        let extra = Set(lines.split(separator: "\n").map(String.init)).subtracting(own)
        record("COPY TO", subject, extra.isEmpty ? nil : "saw \(extra.sorted().joined(separator: ", "))")
      }
    }
  }

  private func byDefinitions(_ subject: Subject) throws(PostgresError) {
    var statements = [
      "CREATE TABLE analytics.mine (a integer)", "CREATE VIEW analytics.mine AS SELECT 1", "CREATE SCHEMA mine",
      "CREATE FUNCTION analytics.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
      "CREATE FUNCTION access.person() RETURNS text LANGUAGE sql AS 'SELECT ''x''::text'", "DROP FUNCTION access.holds(text) CASCADE",
      "CREATE ROLE tidemark_verify_other LOGIN SUPERUSER", "ALTER ROLE CURRENT_USER BYPASSRLS", "ALTER ROLE CURRENT_USER SUPERUSER",
      "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION access.keep()", "SELECT access.grant_tier(session_user::text, 'ceo', '{}')",
      "SELECT access.revoke_tier('x', NULL, NULL)", "SELECT access.issue('x', session_user::text, 60)", "SELECT access.rotate_key()",
      "SELECT access.person()", "SELECT access.mac('x', 'x')", "SELECT access.note('x', 'x', 'x', 'x', 'x')", "SELECT access.random(8)",
      "SELECT access.enroll_gateway(session_user::text, '{ceo}')", "SELECT access.assume('x')",
      "ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_owner GRANT SELECT ON TABLES TO PUBLIC",
    ]
    for rule in rules where statements.count < 120 {
      let table = "analytics.\(SQL.identifier(rule.table))"
      statements += [
        "ALTER TABLE \(table) DISABLE ROW LEVEL SECURITY", "CREATE POLICY mine ON \(table) USING (true)", "DROP POLICY \(SQL.identifier(rule.tier)) ON \(table)",
        "CREATE TRIGGER mine AFTER INSERT ON \(table) EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE INDEX ON \(table) (window_start)", "CREATE TEMPORARY TABLE probe (w timestamptz REFERENCES \(table))",
        "CREATE STATISTICS ON window_start, updated_at FROM \(table)",
        "CREATE TABLE mine (LIKE \(table))", "CREATE TEMPORARY TABLE probe () INHERITS (\(table))", "SELECT * FROM \(table) FOR KEY SHARE",
        "CREATE PUBLICATION mine FOR TABLE \(table)",
        "COMMENT ON TABLE \(table) IS 'mine'", "CLUSTER \(table)", "REINDEX TABLE \(table)", "CREATE RULE mine AS ON INSERT TO \(table) DO ALSO NOTHING",
      ]
    }
    record("CREATE, ALTER, DROP, foreign keys, functions of access", subject, try refused(statements, subject))
    // A GRANT without the right to it is a warning, not an error.
    var granted: String?
    for relation in Set(rules.flatMap { [$0.table, $0.relation] }).sorted() {
      let name = "analytics.\(SQL.identifier(relation))"
      let answers = try perform(
        [
          "BEGIN", "GRANT SELECT ON \(name) TO PUBLIC",
          "SELECT count(*) FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.oid = to_regclass(\(SQL.literal(name))) AND a.grantee = 0",
          "ROLLBACK",
        ], subject)
      if !answers[1].hasPrefix("ERROR"), answers[2] != "0" { granted = "\(name) could be granted to PUBLIC" }
    }
    record("GRANT to others", subject, granted)
  }

  private func byStatistics(_ subject: Subject) throws(PostgresError) {
    let own = Set(rules.filter { rule in subject.grants.contains { $0.tier == rule.tier } && rule.rows == "all" }.map(\.relation))
    for view in ["pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"] {
      let rows = try perform(["SELECT DISTINCT tablename FROM \(view) WHERE schemaname IN ('analytics', 'raw', 'tidemark', 'access')"], subject)[0]
      let extra = Set(rows.hasPrefix("ERROR") ? [] : rows.split(separator: "\n").map(String.init)).subtracting(own)
      record(view, subject, extra.isEmpty ? nil : "statistics of \(extra.sorted().joined(separator: ", "))")
    }
  }
}
