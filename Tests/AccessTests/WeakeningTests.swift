import Postgres
import Testing
import Topologies
import Warehouse

extension AccessTests {
  /// The database weakened by hand: each way is found, and what was found is mended by a migration or an UNDO.
  @Suite struct Weakenings {
    struct Weakening: Sendable, CustomTestStringConvertible {
      var name: String
      /// `$name` is the database's name: roles belong to the server.
      var sql: String
      /// The kind and a word of the finding.
      var kind: String
      var words: String
      var undo = ""
      /// Whether `migrate` puts it right.
      var isMended = true
      /// Whether it is of a database in which no superuser migrated.
      var isWithoutOperator = false
      var testDescription: String { name }
    }

    static let all: [Weakening] = [
      Weakening(name: "row-level security disabled", sql: "ALTER TABLE analytics.daily_metrics DISABLE ROW LEVEL SECURITY", kind: "table", words: "no row-level security"),
      Weakening(name: "not forced", sql: "ALTER TABLE analytics.daily_metrics NO FORCE ROW LEVEL SECURITY", kind: "table", words: "not forced"),
      Weakening(
        name: "a policy for PUBLIC", sql: "CREATE POLICY everybody ON analytics.daily_metrics USING (true)", kind: "policy", words: "open to PUBLIC"),
      Weakening(
        name: "a policy's condition", sql: "ALTER POLICY tidemark_view_department_head ON analytics.daily_metrics USING (true)", kind: "policy", words: "shows rows where true"),
      Weakening(name: "the policy that is asked first", sql: "DROP POLICY tidemark_scope_department_head ON analytics.daily_metrics", kind: "policy", words: "asked after conditions", isWithoutOperator: true),
      Weakening(
        name: "the policy that is asked first, of a view's owner", sql: "ALTER POLICY tidemark_scope_manager ON analytics.daily_metrics USING (true)", kind: "policy",
        words: "asked after conditions", isWithoutOperator: true),
      Weakening(name: "the operator restored from a dump", sql: "ALTER FUNCTION access.equals(text, varchar) COST 1", kind: "operator", words: "are asked before policies"),
      Weakening(
        name: "the operator replaced", sql: "CREATE OR REPLACE FUNCTION access.equals(text, varchar) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT LEAKPROOF AS 'textne'",
        kind: "operator", words: "another function"),
      Weakening(
        name: "the operator's function of another owner", sql: "ALTER FUNCTION access.equals(text, varchar) OWNER TO postgres", kind: "function",
        words: "OWNER TO tidemark_access"),
      Weakening(
        name: "the policies' function of another owner", sql: "ALTER FUNCTION access.own(text) OWNER TO postgres", kind: "function",
        words: "OWNER TO tidemark_access", undo: "ALTER FUNCTION access.own(text) OWNER TO tidemark_access", isMended: false),
      Weakening(name: "the operator class dropped", sql: "DROP OPERATOR CLASS access.department_ops USING btree CASCADE", kind: "operator", words: "no operator class"),
      Weakening(
        name: "the operator's function opened", sql: "GRANT EXECUTE ON FUNCTION access.equals(text, varchar) TO PUBLIC", kind: "function", words: "may be called by"),
      Weakening(
        name: "statistics of a measure", sql: "ALTER TABLE analytics.daily_metrics ALTER COLUMN unique_users SET STATISTICS 50", kind: "statistics", words: "kept of unique_users"),
      Weakening(
        name: "old statistics of a measure",
        sql: """
          ALTER TABLE analytics.daily_metrics ALTER COLUMN unique_users SET STATISTICS 50; ANALYZE analytics.daily_metrics;
          ALTER TABLE analytics.daily_metrics ALTER COLUMN unique_users SET STATISTICS 0
          """, kind: "statistics", words: "old statistics of unique_users"),
      Weakening(
        name: "a policy by a setting",
        sql: "CREATE POLICY app ON analytics.daily_metrics TO tidemark_view_department_head USING (department = current_setting('app.user_department', true))",
        kind: "policy", words: "not of the topology"),
      Weakening(name: "a table granted to a tier", sql: "GRANT SELECT ON analytics.daily_metrics TO manager", kind: "grant", words: "manager has SELECT"),
      Weakening(name: "a column granted", sql: "GRANT SELECT (revenue) ON analytics.daily_metrics TO board", kind: "grant", words: "SELECT(revenue)"),
      Weakening(name: "a hidden column given to a view's owner", sql: "GRANT SELECT (revenue) ON analytics.daily_metrics TO tidemark_view_manager", kind: "grant", words: "SELECT(revenue)"),
      Weakening(name: "writing granted", sql: "GRANT INSERT ON analytics.daily_metrics TO department_head", kind: "grant", words: "INSERT"),
      Weakening(
        name: "a partition granted",
        sql: """
          CREATE TABLE analytics.daily_metrics_2020 () INHERITS (analytics.daily_metrics);
          INSERT INTO analytics.daily_metrics_2020 (window_start, department, event_type, event_count, unique_users) VALUES ('2020-01-01Z', 'legal', 'a', 1, 1);
          GRANT SELECT ON analytics.daily_metrics_2020 TO ceo
          """, kind: "grant", words: "ceo has SELECT", undo: "DROP TABLE analytics.daily_metrics_2020", isMended: false),
      Weakening(name: "the books granted", sql: "GRANT USAGE ON SCHEMA tidemark TO manager; GRANT SELECT ON tidemark.quarantine TO manager", kind: "grant", words: "manager has SELECT",
        undo: "REVOKE ALL ON SCHEMA tidemark FROM manager; REVOKE ALL ON tidemark.quarantine FROM manager", isMended: false),
      Weakening(name: "the key granted", sql: "GRANT SELECT ON access.key TO tidemark_gateway", kind: "grant", words: "tidemark_gateway has SELECT", undo: "REVOKE ALL ON access.key FROM tidemark_gateway", isMended: false),
      Weakening(name: "the books' schema opened", sql: "GRANT USAGE ON SCHEMA raw TO PUBLIC", kind: "schema", words: "PUBLIC has USAGE", undo: "", isMended: true),
      Weakening(name: "making things in analytics", sql: "GRANT CREATE ON SCHEMA analytics TO ceo", kind: "schema", words: "ceo has CREATE", undo: "REVOKE CREATE ON SCHEMA analytics FROM ceo", isMended: false),
      Weakening(
        name: "a view with its owner's rights", sql: "CREATE VIEW public.handy AS SELECT * FROM analytics.daily_metrics; GRANT SELECT ON public.handy TO PUBLIC",
        kind: "view", words: "security_invoker", undo: "DROP VIEW public.handy", isMended: false),
      Weakening(
        name: "security_invoker dropped",
        sql: """
          CREATE VIEW public.own WITH (security_invoker) AS SELECT * FROM analytics.daily_metrics; GRANT SELECT ON public.own TO department_head;
          ALTER VIEW public.own RESET (security_invoker)
          """, kind: "view", words: "security_invoker", undo: "DROP VIEW public.own", isMended: false),
      Weakening(
        name: "a view of own rows without its barrier", sql: "ALTER VIEW analytics.daily_metrics_department_head SET (security_barrier = false)", kind: "view",
        words: "security barrier"),
      Weakening(name: "a tier's view without its barrier", sql: "ALTER VIEW analytics.daily_metrics_board RESET (security_barrier)", kind: "view", words: "security barrier"),
      Weakening(name: "a tier's view that reads with the asker's rights", sql: "ALTER VIEW analytics.daily_metrics_manager OWNER TO tidemark_owner", kind: "view", words: "belongs to tidemark_owner"),
      Weakening(
        name: "a tier's view replaced", sql: "CREATE OR REPLACE VIEW analytics.daily_metrics_board WITH (security_barrier) AS SELECT window_start, event_count, revenue, updated_at FROM analytics.daily_metrics",
        kind: "view", words: "selects something else"),
      Weakening(
        name: "a materialized view granted", sql: "CREATE MATERIALIZED VIEW analytics.nightly AS SELECT * FROM analytics.daily_metrics; GRANT SELECT ON analytics.nightly TO manager",
        kind: "materialized view", words: "manager", undo: "DROP MATERIALIZED VIEW analytics.nightly", isMended: false),
      Weakening(
        name: "a table without policies beside the others", sql: "CREATE TABLE analytics.copied AS SELECT * FROM analytics.daily_metrics; GRANT SELECT ON analytics.copied TO tidemark_reader",
        kind: "table", words: "no row-level security", undo: "DROP TABLE analytics.copied", isMended: false),
      Weakening(
        name: "a definer function without a search path",
        sql: "CREATE FUNCTION public.sum_all() RETURNS numeric LANGUAGE sql SECURITY DEFINER AS 'SELECT sum(revenue) FROM analytics.daily_metrics'",
        kind: "function", words: "fixed search_path", undo: "DROP FUNCTION public.sum_all()", isMended: false),
      Weakening(
        name: "a superuser's definer function",
        sql: "CREATE FUNCTION public.sum_all() RETURNS numeric LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT sum(revenue) FROM analytics.daily_metrics'",
        kind: "function", words: "past every policy", undo: "DROP FUNCTION public.sum_all()", isMended: false),
      Weakening(
        name: "the policies' function replaced",
        sql: "CREATE OR REPLACE FUNCTION access.holds(tier text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN true; END'",
        kind: "function", words: "not what Tidemark made it"),
      Weakening(name: "the policies' function without its path", sql: "ALTER FUNCTION access.person() RESET search_path", kind: "function", words: "search_path"),
      Weakening(name: "issuing opened", sql: "GRANT EXECUTE ON FUNCTION access.issue(text, text, integer) TO PUBLIC", kind: "function", words: "may be called by"),
      Weakening(
        name: "the roll-up replaced",
        sql: """
          SET ROLE tidemark_owner;
          CREATE OR REPLACE FUNCTION tidemark.roll_up_ledger(p_topology text, p_topic text, p_partition integer, p_position bigint, p_most integer,
            OUT rows_before bigint, OUT rows_after bigint, OUT next_position bigint, OUT held text) LANGUAGE sql SECURITY DEFINER
            SET search_path = pg_catalog, pg_temp AS 'DELETE FROM tidemark.ledger; SELECT 0::bigint, 0::bigint, 0::bigint, NULL::text';
          RESET ROLE
          """, kind: "books", words: "not what Tidemark made it"),
      Weakening(
        name: "the roll-up given to instances", sql: "GRANT EXECUTE ON FUNCTION tidemark.roll_up_ledger(text, text, integer, bigint, integer) TO tidemark_writer",
        kind: "books", words: "may be called by", undo: "REVOKE ALL ON FUNCTION tidemark.roll_up_ledger(text, text, integer, bigint, integer) FROM tidemark_writer",
        isMended: false),
      Weakening(
        name: "the ledger given to instances", sql: "GRANT UPDATE ON tidemark.ledger TO tidemark_writer", kind: "books", words: "tidemark_writer has UPDATE",
        undo: "REVOKE UPDATE ON tidemark.ledger FROM tidemark_writer", isMended: false),
      Weakening(
        name: "the landing's roll-up replaced",
        sql: """
          SET ROLE tidemark_owner;
          CREATE OR REPLACE FUNCTION tidemark.roll_up_landing_ledger(p_topology text, p_topic text, p_partition integer, p_position bigint, p_most integer,
            OUT rows_before bigint, OUT rows_after bigint, OUT next_position bigint, OUT held text) LANGUAGE sql SECURITY DEFINER
            SET search_path = pg_catalog, pg_temp AS 'DELETE FROM tidemark.landing_ledger; SELECT 0::bigint, 0::bigint, 0::bigint, NULL::text';
          RESET ROLE
          """, kind: "books", words: "not what Tidemark made it"),
      Weakening(
        name: "the landing's roll-up given to all", sql: "GRANT EXECUTE ON FUNCTION tidemark.roll_up_landing_ledger(text, text, integer, bigint, integer) TO PUBLIC",
        kind: "books", words: "may be called by"),
      Weakening(
        name: "the landing's ledger given to who lands", sql: "GRANT UPDATE ON tidemark.landing_ledger TO tidemark_batch", kind: "books",
        words: "tidemark_batch has UPDATE", undo: "REVOKE UPDATE ON tidemark.landing_ledger FROM tidemark_batch", isMended: false),
      Weakening(
        name: "a trigger on the landing's ledger",
        sql: "CREATE TRIGGER mend BEFORE INSERT ON tidemark.landing_ledger FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", kind: "books",
        words: "runs with every flush or batch", undo: "DROP TRIGGER mend ON tidemark.landing_ledger", isMended: false),
      Weakening(
        name: "a function that rewrites the books",
        sql: "CREATE FUNCTION tidemark.mend() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'DELETE FROM tidemark.ledger'; ALTER FUNCTION tidemark.mend() OWNER TO tidemark_owner",
        kind: "books", words: "not of Tidemark", undo: "DROP FUNCTION tidemark.mend()", isMended: false),
      Weakening(
        name: "default privileges", sql: "ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_owner IN SCHEMA analytics GRANT SELECT ON TABLES TO PUBLIC",
        kind: "default privileges", words: "will be open to PUBLIC", undo: "ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_owner IN SCHEMA analytics REVOKE SELECT ON TABLES FROM PUBLIC", isMended: false),
      Weakening(name: "a login that bypasses", sql: "CREATE ROLE bypass_$name LOGIN BYPASSRLS", kind: "login", words: "BYPASSRLS", undo: "DROP ROLE bypass_$name", isMended: false),
      Weakening(name: "another superuser", sql: "CREATE ROLE super_$name LOGIN SUPERUSER", kind: "login", words: "SUPERUSER", undo: "DROP ROLE super_$name", isMended: false),
      Weakening(name: "a login that reads all data", sql: "CREATE ROLE all_$name LOGIN IN ROLE pg_read_all_data", kind: "member", words: "pg_read_all_data", undo: "DROP ROLE all_$name", isMended: false),
      Weakening(name: "a tier in a worker's role", sql: "GRANT tidemark_writer TO manager", kind: "member", words: "tidemark_writer", undo: "REVOKE tidemark_writer FROM manager", isMended: false),
      Weakening(name: "a tier in a tier", sql: "GRANT ceo TO department_head", kind: "member", words: "is in ceo", undo: "REVOKE ceo FROM department_head", isMended: false),
      Weakening(name: "a login in a view's owner", sql: "CREATE ROLE sneak_$name LOGIN IN ROLE tidemark_view_board", kind: "member", words: "tidemark_view_board", undo: "DROP ROLE sneak_$name", isMended: false),
      Weakening(
        name: "a gateway that issues its own tokens", sql: "CREATE ROLE both_$name LOGIN IN ROLE tidemark_gateway, tidemark_issuer", kind: "member",
        words: "issues itself", undo: "DROP ROLE both_$name", isMended: false),
      Weakening(name: "a tier that can log in", sql: "ALTER ROLE board LOGIN", kind: "role", words: "NOLOGIN", undo: "ALTER ROLE board NOLOGIN", isMended: false),
      Weakening(name: "a table that belongs to somebody", sql: "CREATE ROLE own_$name LOGIN; ALTER TABLE analytics.daily_metrics OWNER TO own_$name", kind: "table", words: "belongs to own_",
        undo: "ALTER TABLE analytics.daily_metrics OWNER TO tidemark_owner; DROP ROLE own_$name", isMended: false),
      Weakening(
        name: "a trigger that carries rows away",
        sql: "CREATE TRIGGER away AFTER INSERT ON analytics.daily_metrics EXECUTE FUNCTION suppress_redundant_updates_trigger()", kind: "trigger", words: "carry rows away",
        undo: "DROP TRIGGER away ON analytics.daily_metrics", isMended: false),
      Weakening(name: "the key's table opened", sql: "ALTER TABLE access.key DISABLE ROW LEVEL SECURITY", kind: "table", words: "no more"),
      Weakening(name: "members shown", sql: "CREATE POLICY p ON access.member USING (true)", kind: "table", words: "another policy"),
      Weakening(name: "the audit silenced", sql: "ALTER TABLE access.member DISABLE TRIGGER ALL", kind: "audit", words: "missing or disabled"),
      Weakening(name: "the audit editable", sql: "DROP TRIGGER tidemark_keep ON access.audit", kind: "audit", words: "missing or disabled"),
      Weakening(
        name: "a rule changed by hand", sql: "UPDATE tidemark.access_rule SET condition = 'true' WHERE tier = 'department_head'; ALTER POLICY tidemark_view_department_head ON analytics.daily_metrics USING (true)",
        kind: "rule", words: "is another one in access.yaml"),
    ]

    @Test(arguments: all) func isFound(_ weakening: Weakening) throws {
      let fixture = try (weakening.isWithoutOperator ? Self.sharedWithoutOperator : Self.shared).get()
      let lint = { try fixture.verification([fixture.topology]).lint().filter { $0.severity == .leak } }
      #expect(try lint() == [])
      try fixture.sql.script(weakening.sql.replacing("$name", with: fixture.name))
      let found = try lint()
      #expect(found.contains { $0.kind == weakening.kind && $0.message.contains(weakening.words) }, "\(found)")
      if weakening.isMended {
        try fixture.migrate()
      } else {
        try fixture.sql.script(weakening.undo.replacing("$name", with: fixture.name))
      }
      #expect(try lint() == [], "after \(weakening.isMended ? "migrate" : "the undoing")")
    }
    // Safety: tests of this module run one after another.
    nonisolated(unsafe) static let shared = Result { try AccessFixture("weakened") }
    nonisolated(unsafe) static let sharedWithoutOperator = Result { try AccessFixture("weakened_lookup", isWithoutOperator: true) }

    /// The same holes, found without the catalogue: by a login that walks through them.
    @Test(arguments: [
      ("ALTER TABLE analytics.daily_metrics DISABLE ROW LEVEL SECURITY", "department_head sees 120 rows that are not just the 20 granted"),
      ("ALTER POLICY tidemark_view_department_head ON analytics.daily_metrics USING (true)", "department_head sees 120 rows"),
      ("ALTER POLICY tidemark_view_department_head ON analytics.daily_metrics USING (department <> 'sales')", "department_head sees 100 rows"),
      ("GRANT SELECT ON analytics.daily_metrics TO manager", "manager may SELECT from it"),
      ("GRANT DELETE ON analytics.daily_metrics TO ceo", "ceo may DELETE"),
      ("GRANT SELECT ON access.key TO PUBLIC", "may SELECT from it"),
      ("CREATE VIEW analytics.handy AS SELECT * FROM analytics.daily_metrics; GRANT SELECT ON analytics.handy TO all_hands", "all_hands may SELECT from it"),
      ("CREATE OR REPLACE VIEW analytics.daily_metrics_board AS SELECT window_start, event_count, revenue, updated_at FROM analytics.daily_metrics", "board sees 120 rows"),
      ("CREATE OR REPLACE VIEW analytics.daily_metrics_manager AS SELECT *, 1 AS more FROM (SELECT window_start, department, event_type, event_count, unique_users, updated_at FROM analytics.daily_metrics) t", "manager sees the columns"),
    ])
    func isWalkedThrough(_ sql: String, _ words: String) throws {
      let fixture = try AccessFixture("walk\(abs(sql.utf8.reduce(5381) { ($0 &* 33) ^ Int($1) } % 1_000_000))")
      try fixture.sql.script(sql)
      let report = try fixture.verification().run()
      #expect(report.findings.contains { $0.kind == "matrix" && $0.message.contains(words) }, "\(report.findings)")
      #expect(report.leaks > 0)
    }

    /// The same where there is no operator: one policy of the two opens nothing of others.
    @Test(arguments: [
      ("ALTER POLICY tidemark_view_department_head ON analytics.daily_metrics USING (department <> 'legal')", "department_head sees 0 rows that are not just the 20"),
      ("DROP POLICY tidemark_scope_department_head ON analytics.daily_metrics; ALTER POLICY tidemark_view_department_head ON analytics.daily_metrics USING (true)", "department_head sees 120 rows"),
    ])
    func isWalkedThroughWithoutOperator(_ sql: String, _ words: String) throws {
      let fixture = try AccessFixture("look\(words.utf8.count)", isWithoutOperator: true)
      try fixture.sql.script(sql)
      let report = try fixture.verification().run()
      #expect(report.findings.contains { $0.kind == "matrix" && $0.message.contains(words) }, "\(report.findings)")
    }

    /// The pattern that many copy: a policy that believes a setting. It shows nothing, until somebody says SET.
    @Test func aPolicyThatBelievesASettingIsWalkedThrough() throws {
      let fixture = try AccessFixture("believes")
      try fixture.sql.script(
        "CREATE POLICY app ON analytics.daily_metrics TO tidemark_view_department_head USING (department = current_setting('app.user_department', true))")
      let report = try fixture.verification().run()
      #expect(report.findings.allSatisfy { $0.kind != "matrix" })
      let gained = report.attacks.filter { $0.leak != nil }
      #expect(gained.contains { $0.name == "SET of any name" && $0.by == "department_head" && $0.leak?.contains("rows of others") == true }, "\(gained)")
    }

    /// A condition of a query that PostgreSQL asks before a policy gives every count of others away, bit by bit.
    @Test(arguments: [false, true]) func aPolicyThatIsAskedLastIsWalkedThrough(isWithoutOperator: Bool) throws {
      let fixture = try AccessFixture(isWithoutOperator ? "asked_last_lookup" : "asked_last", isWithoutOperator: isWithoutOperator)
      let ada = try fixture.person("ada", ("department_head", ["sales"]))
      func isExecuted(_ condition: String) throws -> Bool {
        try ada.query("EXPLAIN (ANALYZE, COSTS OFF) SELECT 1 FROM \(AccessFixture.own) WHERE department = 'legal' AND \(condition)")
          .allSatisfy { $0[0]?.contains("never executed") == false }
      }
      try ada.script("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off")
      #expect(try isExecuted("event_count >= 10") == isExecuted("event_count >= 11"))
      try fixture.sql.script(
        isWithoutOperator ? "DROP POLICY tidemark_scope_department_head ON analytics.daily_metrics" : "ALTER FUNCTION access.equals(text, varchar) COST 1")
      #expect(try isExecuted("event_count >= 10") && !isExecuted("event_count >= 11"), "legal has 10, and she finds it out")
      // Only a superuser's migration can forget them again.
      let isEstimated = !isWithoutOperator
      if isEstimated { try fixture.sql.script("ALTER TABLE analytics.daily_metrics ALTER event_count SET STATISTICS 100; ANALYZE analytics.daily_metrics") }
      let gained = Set(try fixture.verification().run().attacks.filter { $0.leak != nil && $0.by == "department_head" }.map(\.name))
      #expect(
        gained == Set(["EXPLAIN ANALYZE of a condition", "counters after a condition", "a condition that does something"])
          .union(isEstimated ? ["estimates of a condition"] : []))
      try fixture.migrate()
      #expect(try fixture.verification().run().leaks == 0)
    }

    /// Whether a measure is NULL costs nothing to ask: only a policy that costs nothing either goes before it.
    @Test func aPolicyThatCostsNextToNothingIsWalkedThrough() throws {
      let fixture = try AccessFixture("next_to_nothing")
      try fixture.sql.script("ALTER FUNCTION access.equals(text, varchar) COST 0.000001")
      let gained = try fixture.verification().run().attacks.filter { $0.leak != nil && $0.by == "department_head" }
      #expect(Set(gained.map(\.name)) == ["EXPLAIN ANALYZE of a condition", "counters after a condition", "a condition that does something"])
      #expect(gained.allSatisfy { $0.leak?.contains("revenue IS") == true }, "\(gained)")
    }

    /// In a branch of a UNION ALL PostgreSQL asks a table's policy after conditions that cost as little: only a view that is a barrier
    /// goes before them. Of a count of others every bit is found out so.
    @Test(arguments: [false, true]) func aViewThatIsNoBarrierIsWalkedThrough(isWithoutOperator: Bool) throws {
      let fixture = try AccessFixture(isWithoutOperator ? "no_barrier_lookup" : "no_barrier", isWithoutOperator: isWithoutOperator)
      let ada = try fixture.person("ada", ("department_head", ["sales"]))
      func notExecuted(_ least: Int) throws -> Int {
        try ada.query(
          """
          EXPLAIN (ANALYZE, COSTS OFF) SELECT 1 FROM (TABLE \(AccessFixture.own) UNION ALL TABLE \(AccessFixture.own)) u
           WHERE event_count >= ANY ('{\(least)}'::bigint[]) AND ('{"sales": 1}'::jsonb)[department] IS NULL
          """
        ).count { $0[0]?.contains("never executed") == true }
      }
      try ada.script("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; SET cpu_operator_cost = '0x1p-1074'")
      #expect(try notExecuted(10) == notExecuted(11))
      try fixture.sql.script("ALTER VIEW \(AccessFixture.own) SET (security_barrier = false)")
      #expect(try notExecuted(10) < notExecuted(11), "others have 10, and she finds it out")
      let gained = try fixture.verification().run().attacks.filter { $0.leak != nil && $0.by == "department_head" }
      #expect(Set(gained.map(\.name)) == ["EXPLAIN ANALYZE of a condition", "counters after a condition", "a condition that does something"])
      for column in ["event_count", "unique_users", "revenue IS", "updated_at"] { #expect(gained.contains { $0.leak?.contains(column) == true }, "\(column)") }
      try fixture.migrate()
      #expect(try fixture.verification().run().leaks == 0)
    }

    /// A condition that costs less than the view's own is asked before it, and finds out what an open day holds.
    @Test func aViewThatShowsOpenDaysToConditionsIsWalkedThrough() throws {
      let fixture = try AccessFixture("open_days")
      let bob = try fixture.person("bob", ("board", []))
      try fixture.sql.script("UPDATE analytics.daily_active_users SET dau = 4242 WHERE window_start = '2026-01-10Z'")
      func isExecuted(_ least: Int) throws -> Bool {
        try bob.query("EXPLAIN (ANALYZE, COSTS OFF) SELECT 1 FROM analytics.daily_active_users_board WHERE dau >= ANY ('{\(least)}'::bigint[])")
          .allSatisfy { $0[0]?.contains("never executed") == false }
      }
      let off = "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off"
      try bob.script(off)
      #expect(try isExecuted(4242) == isExecuted(4243))
      try fixture.sql.script(
        """
        CREATE OR REPLACE VIEW analytics.daily_active_users_board WITH (security_barrier) AS SELECT window_start, dau, updated_at
          FROM analytics.daily_active_users WHERE window_start <= (SELECT f.complete_through - interval '1 day' FROM analytics.freshness f WHERE f.aggregate = 'daily_active_users')
        """)
      #expect(try isExecuted(4242) && !isExecuted(4243), "the open day has 4,242, and he finds it out")
      let report = try fixture.verification().run()
      #expect(report.attacks.contains { $0.by == "board" && $0.name == "a condition that does something" && $0.leak?.contains("dau >=") == true }, "\(report.attacks.filter { $0.leak != nil })")
      try fixture.migrate()
      #expect(try fixture.verification().run().leaks == 0)
    }

    /// A superuser's migration makes the operator, and what policies were before goes; where it was spoilt, a login that is no
    /// superuser goes back to looking departments up.
    @Test func policiesGetTheOperatorAndLoseIt() throws {
      let fixture = try AccessFixture("gets", isWithoutOperator: true)
      let policies = "SELECT string_agg(polname, ' ' ORDER BY polname) FROM pg_policy WHERE polrelid = 'analytics.daily_metrics'::regclass AND starts_with(polname, 'tidemark_scope')"
      let indexes = "SELECT string_agg(pg_get_indexdef(indexrelid), '; ') FROM pg_index WHERE indrelid = 'analytics.daily_metrics'::regclass AND NOT indisprimary"
      #expect(fixture.sql.value(policies) == "tidemark_scope_department_head tidemark_scope_manager")
      #expect(fixture.sql.value(indexes).contains("(department, window_start)"))
      let ada = try fixture.person("ada", ("department_head", ["sales"]))
      func lint() throws -> [AccessFinding] { try fixture.verification([fixture.topology]).lint().filter { $0.severity == .leak } }
      #expect(try lint() == [])
      #expect(ada.departments() == "<sales>")
      _ = try Migration.run([fixture.topology], on: fixture.sql) { 1 }
      #expect(fixture.sql.value(policies) == "NULL")
      #expect(fixture.sql.value(indexes).contains("(department access.department_ops, window_start)") && !fixture.sql.value(indexes).contains(";"))
      #expect(try lint() == [])
      #expect(ada.departments() == "<sales>")
      try fixture.migrate()
      #expect(fixture.sql.value(policies) == "NULL", "the operator stays good")
      try fixture.sql.script("ALTER FUNCTION access.equals(text, varchar) COST 1")
      try fixture.migrate()
      #expect(fixture.sql.value(policies) == "tidemark_scope_department_head tidemark_scope_manager")
      #expect(try lint() == [])
      #expect(ada.departments() == "<sales>")
    }

    /// A database in which a query of a tier fails is reported, not given up.
    @Test func aBrokenFunctionIsReported() throws {
      let fixture = try AccessFixture("broken")
      try fixture.sql.script("ALTER FUNCTION access.own(text) SECURITY INVOKER")
      let report = try fixture.verification().run()
      #expect(report.findings.contains { $0.kind == "function" && $0.object == "access.own(text)" })
      #expect(fixture.sql.value("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'tidemark_verify_')") == "0")
    }

    @Test(arguments: [false, true]) func aSoundDatabasePassesAndTheLoginsAreGone(isWithoutOperator: Bool) throws {
      let fixture = try AccessFixture(isWithoutOperator ? "sound_lookup" : "sound", isWithoutOperator: isWithoutOperator)
      _ = try fixture.person("ada", ("department_head", ["sales"]))
      _ = try fixture.gateway()
      let report = try fixture.verification([fixture.topology]).run()
      #expect(report.leaks == 0, "\(report.findings.filter { $0.severity == .leak }) \(report.attacks.filter { $0.leak != nil })")
      #expect(report.refused > 1000 && report.attacks.count > 240)
      let seen = Set(report.lines.filter { !$0.columns.isEmpty }.map { "\($0.tier) \($0.relation) \($0.seen) of \($0.expected)" })
      #expect(seen.isSuperset(of: [
        "ceo analytics.daily_metrics 120 of 120", "department_head \(AccessFixture.own) 20 of 20", "manager analytics.daily_metrics_manager 20 of 20",
        "board analytics.daily_metrics_board 7 of 7", "all_hands analytics.daily_active_users_all_hands 10 of 10",
      ]))
      #expect(fixture.sql.value("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'tidemark_verify_')") == "0")
      #expect(fixture.sql.value("SELECT count(*) FROM access.member WHERE starts_with(login, 'tidemark_verify_')") == "0")
    }

    /// Three tiers with departments of their own, one of complete days; two that see every row.
    @Test(arguments: [false, true]) func tiersOfACompanysOwnPassAndStayAsTheyAre(isWithoutOperator: Bool) throws {
      let yaml = AccessFixture.yaml.replacing(
        AccessFixture.access, with: "access: { by: department, tiers: [ceo, auditor, department_head, lead, partner, manager, board] }"
      ).replacing("time: {", with: "tiers: { auditor: { rows: all }, lead: { rows: own }, partner: { rows: own, complete_days: true } }\ntime: {")
      let fixture = try AccessFixture(isWithoutOperator ? "own_tiers_lookup" : "own_tiers", yaml: yaml, isWithoutOperator: isWithoutOperator)
      let policies = "SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_policy"
      let before = fixture.sql.value(policies)
      try fixture.migrate()
      #expect(fixture.sql.value(policies) == before, "what stands there is recognised")
      let report = try fixture.verification([fixture.topology]).run()
      #expect(report.leaks == 0, "\(report.findings.filter { $0.severity == .leak }) \(report.attacks.filter { $0.leak != nil })")
      #expect(report.attacks.contains { $0.by == "department_head and lead" && $0.name == "a condition that does something" })
    }

    @Test func aServerWithAKnownFlawIsFound() {
      for (version, isFlawed) in [(150_013, true), (150_014, false), (150_018, false), (160_009, true), (160_010, false), (170_005, true), (170_006, false), (180_000, false), (140_018, true)] {
        #expect((AccessVerification.flaw(inVersion: version) != nil) == isFlawed, "\(version)")
      }
    }
  }
}
