import LocalServers
import Postgres
import Testing
import Topologies
import Warehouse

extension AccessTests {
  /// What a migration makes, keeps and takes away.
  @Suite struct Migrations {
    @Test func runsAgainWithoutChange() throws {
      let fixture = try AccessFixture("again")
      let catalogue = """
        SELECT string_agg(x, E'\\n' ORDER BY x) FROM (
          SELECT format('%s %s %s %s', polrelid::regclass, polname, oid, pg_get_expr(polqual, polrelid)) AS x FROM pg_policy
          UNION ALL SELECT format('%s %s %s', oid::regclass, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(relacl) a), relowner) FROM pg_class WHERE relnamespace = 'analytics'::regnamespace
          UNION ALL SELECT format('%s %s', oid::regprocedure, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(proacl) a)) FROM pg_proc WHERE pronamespace = 'access'::regnamespace
          UNION ALL SELECT id || ' ' || secret::text FROM access.key UNION ALL SELECT to_jsonb(r)::text FROM tidemark.access_rule r) t
        """
      let before = fixture.sql.value(catalogue)
      try fixture.migrate()
      #expect(fixture.sql.value(catalogue) == before)
      #expect(before.contains("daily_metrics tidemark_view_department_head"))
      #expect(fixture.sql.value("SELECT count(*) FROM pg_indexes WHERE tablename = 'daily_metrics'") == "2")
    }

    @Test func whatTheTopologyNoLongerGrantsGoes() throws {
      let fixture = try AccessFixture("less")
      let head = try fixture.person("head", ("department_head", ["sales"])), manager = try fixture.person("man", ("manager", ["sales"]))
      let board = try fixture.person("board", ("board", [])), all = try fixture.person("all", ("all_hands", []))
      try fixture.migrate(
        AccessFixture.yaml.replacing(AccessFixture.access, with: "access: { by: department, barrier: true, tiers: [ceo, manager], hide: { manager: [] } }")
          .replacing("tiers: [ceo, board, department_head, manager, all_hands]", with: "tiers: [ceo]"))
      let view = "analytics.daily_metrics_manager"
      #expect(manager.departments(view) == "<sales>" && manager.value("SELECT sum(revenue) FROM \(view)") == "2000")
      for gone in ["daily_metrics_department_head", "daily_metrics_board", "daily_active_users_board", "daily_active_users_all_hands"] {
        #expect(head.value("SELECT 1 FROM analytics.\(gone)") == "42P01")
        #expect(board.value("SELECT 1 FROM analytics.\(gone)") == "42P01")
        #expect(all.value("SELECT 1 FROM analytics.\(gone)") == "42P01")
      }
      #expect(manager.value("SELECT count(*) FROM analytics.daily_active_users") == "42501")
      // And comes back.
      try fixture.migrate()
      #expect(head.departments() == "<sales>" && manager.departments() == "42501" && manager.departments(view) == "<sales>")
      #expect(manager.value("SELECT revenue FROM \(view)") == "42703")
      #expect(board.value("SELECT count(*) FROM analytics.daily_metrics_board") == "7")
      // Without access nobody is left.
      try fixture.migrate(AccessFixture.yaml.replacing("    \(AccessFixture.access)\n", with: ""))
      #expect(head.departments() == "42P01" && head.departments("analytics.daily_metrics") == "42501")
      #expect(fixture.sql.value("SELECT count(*) FROM pg_policy WHERE polrelid = 'analytics.daily_metrics'::regclass AND polname NOT IN ('tidemark_writer', 'tidemark_batch')") == "0")
    }

    @Test func twoTopologiesDoNotTakeFromEachOther() throws {
      let fixture = try AccessFixture("two")
      let other = AccessFixture.yaml.replacing("topology: product-events", with: "topology: other").replacing("daily_metrics", with: "other_metrics")
        .replacing("daily_active_users", with: "other_users").replacing("per_minute", with: "other_minute")
        .replacing("time: {", with: "tiers: { auditor: { rows: all } }\ntime: {").replacing(AccessFixture.access, with: "access: { by: department, barrier: true, tiers: [auditor, manager] }")
      try fixture.migrate(other)
      let head = try fixture.person("head", ("department_head", ["sales"])), auditor = try fixture.person("aud", ("auditor", []))
      #expect(head.departments() == "<sales>")
      #expect(auditor.value("SELECT count(*) FROM analytics.other_metrics") == "0")
      try fixture.migrate()
      #expect(auditor.value("SELECT count(*) FROM analytics.other_metrics") == "0")
      #expect(auditor.value("SELECT count(*) FROM access.whoami() WHERE tier = 'auditor'") == "1")
      #expect(auditor.departments() == "42501")
      #expect(try fixture.verification().lint().filter { $0.severity == .leak } == [])
    }

    /// A superuser migrates one of two topologies: the other stays with the look-up, and verification finds nothing.
    @Test func oneOfTwoTopologiesGetsTheOperator() throws {
      let fixture = try AccessFixture("half", isWithoutOperator: true)
      let other = AccessFixture.yaml.replacing("topology: product-events", with: "topology: other").replacing("daily_metrics", with: "other_metrics")
        .replacing("daily_active_users", with: "other_users").replacing("per_minute", with: "other_minute")
        .replacing("time: {", with: "tiers: { lead: { rows: own } }\ntime: {").replacing(AccessFixture.access, with: "access: { by: department, barrier: true, tiers: [lead] }")
      try fixture.migrate(other)
      let lead = try fixture.person("lead", ("lead", ["sales"])), head = try fixture.person("head", ("department_head", ["sales"]))
      try fixture.sql.script("INSERT INTO analytics.other_metrics SELECT * FROM analytics.daily_metrics")
      _ = try Migration.run([fixture.topology], on: fixture.sql) { 1 }
      #expect(head.departments() == "<sales>" && lead.departments("analytics.other_metrics_lead") == "<sales>")
      #expect(fixture.sql.value("SELECT count(*) FROM pg_policy WHERE starts_with(polname, 'tidemark_scope')") == "1")
      let topologies = [fixture.topology, try Topology.parse(yaml: other, file: "access.yaml")]
      let report = try fixture.verification(topologies).run()
      #expect(report.leaks == 0, "\(report.findings.filter { $0.severity == .leak }) \(report.attacks.filter { $0.leak != nil })")
    }

    @Test func aRoleOfThatNameThatIsNoTierIsNotTaken() throws {
      let fixture = try AccessFixture("foreignrole")
      try fixture.sql.script("CREATE ROLE regional LOGIN")
      let yaml = AccessFixture.yaml.replacing("time: {", with: "tiers: { regional: { rows: all } }\ntime: {")
      do {
        try fixture.migrate(yaml)
        Issue.record("it was taken")
      } catch let error as WarehouseError {
        #expect(error.message.contains("has a role regional already that is not a tier of Tidemark"))
      }
      #expect(fixture.sql.value("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'regional'") == "t")
      try fixture.sql.script("ALTER ROLE regional NOLOGIN; COMMENT ON ROLE regional IS 'Tidemark tier'")
      try fixture.migrate(yaml)
    }

    /// Roles by which Tidemark works may come to be more: what they are granted stays, and no person is let in.
    @Test func whatWorkersAreGrantedStays() throws {
      let fixture = try AccessFixture("workers")
      try fixture.sql.script(
        """
        DO $$ BEGIN CREATE ROLE tidemark_batch_test NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
        GRANT SELECT, DELETE ON analytics.daily_metrics TO tidemark_batch_test; GRANT USAGE ON SCHEMA analytics TO tidemark_batch_test;
        CREATE POLICY tidemark_batch_test ON analytics.daily_metrics TO tidemark_batch_test USING (true);
        CREATE ROLE \(fixture.login("batch")) LOGIN IN ROLE tidemark_batch_test
        """)
      try fixture.migrate()
      let batch = try fixture.connect(fixture.login("batch"))
      #expect(batch.value("SELECT count(*) FROM analytics.daily_metrics") == "120")
      let findings = try fixture.verification([fixture.topology]).lint()
      #expect(findings.filter { $0.severity == .leak } == [])
      #expect(findings.contains { $0.severity == .note && $0.object == fixture.login("batch") })
      #expect(throws: WarehouseError.self) { try fixture.books.grant(fixture.login("batch"), tier: "ceo", departments: []) }
      try fixture.sql.script("DROP ROLE \(fixture.login("batch")); DROP POLICY tidemark_batch_test ON analytics.daily_metrics; DROP OWNED BY tidemark_batch_test; DROP ROLE tidemark_batch_test")
    }

    @Test func anotherTopologyCannotRedefineATierThatIsInUse() throws {
      let fixture = try AccessFixture("redefined")
      let other = AccessFixture.yaml.replacing("topology: product-events", with: "topology: other").replacing("daily_metrics", with: "other_metrics")
        .replacing("daily_active_users", with: "other_users").replacing("per_minute", with: "other_minute")
        .replacing("time: {", with: "tiers: { manager: { rows: all } }\ntime: {")
      do {
        try fixture.migrate(other)
        Issue.record("it was taken")
      } catch let error as WarehouseError { #expect(error.message.contains("tier manager is defined otherwise by another topology")) }
      // The topology itself may: it is the only one that uses the tier.
      try fixture.migrate(AccessFixture.yaml.replacing("time: {", with: "tiers: { manager: { rows: totals } }\ntime: {"))
    }

    /// Verification by a login that is no superuser.
    @Test func verifiesWithoutASuperuser() throws {
      let fixture = try AccessFixture("operator")
      let here = try accessServer.get()
      let name = fixture.login("ops")
      try fixture.sql.script("CREATE ROLE \(name) LOGIN CREATEROLE IN ROLE tidemark_owner, tidemark_writer, tidemark_granter, tidemark_issuer")
      try fixture.sql.script(AccessFixture.givingRoles(to: name, roles: "rolname IN ('tidemark_access', 'tidemark_audit')"))
      let ops = try Connection(here.target(database: fixture.name, user: name), applicationName: "tests")
      let verification = AccessVerification(ops, topologies: [fixture.topology]) { login throws(PostgresError) in
        try Connection("host=127.0.0.1 port=\(here.port) dbname=\(fixture.name)", applicationName: "tests", login: login)
      }
      let report = try verification.run()
      #expect(report.leaks == 0, "\(report.findings.filter { $0.severity == .leak }) \(report.attacks.filter { $0.leak != nil })")
      #expect(report.lines.contains { $0.tier == "ceo" && $0.relation == "analytics.daily_metrics" && $0.seen == 120 && $0.expected == 120 })
      #expect(fixture.sql.value("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'tidemark_verify_')") == "0")
      #expect(fixture.sql.value(AccessFixture.mayBecome(name, "tidemark_access")) == "f")
    }

    /// A relation of somebody else with the name of a tier's view is not touched.
    @Test func aTableInTheViewsPlaceIsRefused() throws {
      let fixture = try AccessFixture("inplace")
      let yaml = AccessFixture.yaml
      try fixture.sql.script("DROP VIEW analytics.daily_metrics_board; CREATE TABLE analytics.daily_metrics_board (mine integer)")
      do {
        try fixture.migrate(yaml)
        Issue.record("it was taken")
      } catch let error as WarehouseError { #expect(error.message.contains("exists and is no view")) }
      #expect(fixture.sql.value("SELECT count(*) FROM analytics.daily_metrics_board") == "0")
    }

    /// No superuser is needed: CREATEROLE and CREATE on the database do; what was borrowed is given back.
    @Test func migratesWithoutASuperuser() throws {
      let here = try accessServer.get()
      let admin = try Connection(here.target, applicationName: "tests")
      try admin.script("CREATE ROLE deployer LOGIN CREATEROLE")
      try admin.script("CREATE DATABASE deployed OWNER deployer")
      let deployer = try Connection(here.target(database: "deployed", user: "deployer"), applicationName: "tests")
      let topology = try Topology.parse(yaml: AccessFixture.yaml, file: "access.yaml")
      if deployer.serverVersion >= 160_000, admin.value("SELECT count(*) FROM pg_roles WHERE rolname = 'tidemark_owner'") == "1" {
        let refusal = Result { try Migration.run([topology], on: deployer) { 1 } }
        #expect("\(refusal)".contains(": GRANT ") && "\(refusal)".contains(" TO deployer WITH ADMIN TRUE"), "roles that others made")
      }
      try admin.script(AccessFixture.givingRoles(to: "deployer"))
      for _ in 0..<2 { #expect(try Migration.run([topology], on: deployer) { 1 }.last?.contains("a superuser's `tidemark migrate`") == true) }
      let root = try Connection(here.target(database: "deployed", user: "postgres"), applicationName: "tests")
      for role in ["tidemark_access", "tidemark_audit", "tidemark_batch"] {
        #expect(root.value(AccessFixture.mayBecome("deployer", role)) == "f")
      }
      #expect(deployer.value("SELECT count(*) FROM access.key") == "42501")
      try root.script("INSERT INTO analytics.daily_active_users VALUES ('2026-01-01Z', 1)")
      #expect(deployer.value("SELECT count(*) FROM analytics.daily_active_users") == "0")
      #expect(try AccessVerification(root, accepted: ["deployer"]) { _ throws(PostgresError) in root }.lint().filter { $0.severity == .leak } == [])
    }

    @Test func theDryRunShowsRolesPoliciesViewsAndWhatGoes() throws {
      let topology = try Topology.parse(yaml: AccessFixture.yaml, file: "access.yaml")
      let sql = Migration.statements([topology]).joined(separator: ";\n")
      for words in [
        "CREATE ROLE \"department_head\" NOLOGIN", "CREATE POLICY %I ON %s AS RESTRICTIVE FOR SELECT TO \"tidemark_view_department_head\" USING (%s)",
        "(department = ANY (( SELECT access.departments(''department_head''::text)",
        "(department OPERATOR(access.=) ANY (( SELECT access.own(''department_head''::text)", "CREATE OPERATOR CLASS access.department_ops",
        "CREATE POLICY %I ON %s FOR SELECT TO \"tidemark_view_department_head\" USING (%s)", "CREATE POLICY %I ON %s FOR SELECT TO \"ceo\" USING (%s)",
        "CREATE OR REPLACE VIEW analytics.\"daily_metrics_board\" WITH (security_barrier)", "DROP POLICY %I ON %s", "DROP VIEW %s", "FORCE ROW LEVEL SECURITY",
        "GRANT SELECT ON analytics.\"daily_metrics_manager\" TO \"manager\"",
      ] { #expect(sql.contains(words), "\(words)") }
    }
  }

  /// What the policies cost, by their plans. `Benchmarks/access` measures the time.
  @Suite struct Plans {
    @Test(arguments: [false, true]) func functionsRunOnceAndTheIndexOnTheDepartmentIsUsed(isWithoutOperator: Bool) throws {
      let fixture = try AccessFixture(isWithoutOperator ? "plans_lookup" : "plans", isWithoutOperator: isWithoutOperator)
      let condition = isWithoutOperator ? "department = ANY (" : "department OPERATOR(access.=) ANY ("
      try fixture.sql.script(
        """
        INSERT INTO analytics.daily_metrics (window_start, department, event_type, event_count, unique_users, revenue)
        SELECT d, 'department ' || n, e, 1, 1, 1 FROM generate_series('2020-01-01Z'::timestamptz, '2020-04-09Z', '1 day') d, generate_series(1, 100) n, unnest('{a,b,c}'::text[]) e;
        ANALYZE analytics.daily_metrics
        """)
      let head = try fixture.person("head", ("department_head", ["department 7"])), manager = try fixture.person("man", ("manager", ["department 7"]))
      let ceo = try fixture.person("ceo", ("ceo", []))
      for (person, relation) in [(head, "daily_metrics_department_head"), (manager, "daily_metrics_manager")] {
        for filter in ["true", "window_start >= '2020-03-01Z'", "event_type = 'a'"] {
          let plan = try person.query("EXPLAIN (COSTS OFF) SELECT sum(event_count) FROM analytics.\(relation) WHERE \(filter)").map { $0[0] ?? "" }.joined(separator: "\n")
          #expect(plan.contains("InitPlan 1"), "\(plan)")
          #expect(plan.contains("daily_metrics_department_window_start_idx") && plan.contains(condition), "\(plan)")
          #expect(!plan.contains("Seq Scan"), "\(plan)")
          // The index answers the policy: nothing is left to ask row by row.
          #expect(isWithoutOperator || !plan.contains("Filter: ((department"), "\(plan)")
        }
      }
      let plan = try ceo.query("EXPLAIN (COSTS OFF) SELECT sum(event_count) FROM analytics.daily_metrics WHERE window_start >= '2020-04-01Z'").map { $0[0] ?? "" }.joined(separator: "\n")
      #expect(plan.contains("InitPlan 1") && plan.contains("daily_metrics_pkey"), "\(plan)")
      // So it is for a gateway, also one that serves tiers with and without departments.
      let api = try fixture.gateway()
      _ = try fixture.books.grant("ada@example.org", tier: "department_head", departments: ["department 7"])
      let token = try fixture.books.token(for: "ada@example.org", at: fixture.login("api"), seconds: 60)
      try api.script("BEGIN")
      #expect(api.value("SELECT access.assume($1)", [.text(token)]) == "ada@example.org")
      #expect(api.departments() == "<department 7>")
      let narrow = try api.query("EXPLAIN (COSTS OFF) SELECT sum(event_count) FROM \(AccessFixture.own)").map { $0[0] ?? "" }.joined(separator: "\n")
      #expect(narrow.contains("daily_metrics_department_window_start_idx"), "\(narrow)")
      try api.script("COMMIT")
      // Once a query, not once a row.
      let calls = "SELECT COALESCE(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = '\(isWithoutOperator ? "departments" : "own")'"
      try fixture.sql.script("ALTER DATABASE \(SQL.identifier(fixture.name)) SET track_functions = 'all'")
      let fresh = try fixture.connect(fixture.login("head"))
      for _ in 0..<5 { #expect(fresh.value("SELECT count(*) FROM \(AccessFixture.own)") == "300") }
      _ = fresh.value("SELECT pg_stat_force_next_flush()")
      #expect(fresh.value("SELECT 1") == "1")
      #expect(fixture.sql.value(calls) == "5")
    }
  }
}
