import Aggregation
import Engine
import Foundation
import LocalServers
import Postgres
import Testing
import Topologies
import Warehouse

extension AccessTests {
  /// Attacks by somebody with psql, a valid login and time. The head of `sales` must never learn of a row of another
  /// department: not by its count, not by its values, not by an error.
  @Suite struct Attacks {
    /// A head of sales, a manager of sales, a board member, in one database.
    struct Scene {
      let fixture: AccessFixture
      let head: Connection, manager: Connection, board: Connection

      init(_ name: String) throws {
        fixture = try AccessFixture(name)
        head = try fixture.person("head", ("department_head", ["sales"]))
        manager = try fixture.person("man", ("manager", ["sales"]))
        board = try fixture.person("board", ("board", []))
      }

      func expectNothingGained(_ what: String, location: SourceLocation = #_sourceLocation) {
        for person in [head, manager, board] { if person.isInTransaction { _ = try? person.script("ROLLBACK") } }
        #expect(head.departments() == "<sales>", "\(what)", sourceLocation: location)
        #expect(manager.departments("analytics.daily_metrics_manager") == "<sales>", "\(what)", sourceLocation: location)
        #expect(manager.departments() == "42501", "\(what)", sourceLocation: location)
        #expect(board.departments() == "42501", "\(what)", sourceLocation: location)
      }
    }

    private static let hidden = ["support", "legal", "o'brien", "999999"]

    /// What a statement answers, as text, with the words of its errors.
    private static func answer(_ person: Connection, _ sql: String) -> String {
      do throws(PostgresError) { return try person.query(sql).map { $0.map { $0 ?? "NULL" }.joined(separator: "|") }.joined(separator: "\n") } catch {
        return "\(error.sqlState) \(error.message) \(error.detail)"
      }
    }

    @Test func settingsGainNothing() throws {
      let scene = try Scene("settings")
      for person in [scene.head, scene.manager, scene.board] {
        for name in ["app.user_department", "tidemark.person", "tidemark.department", "tidemark.login", "access.person", "app.tier"] {
          for value in ["legal", "ceo", "postgres", "%", ""] {
            #expect(person.value("SELECT set_config('\(name)', '\(value)', false)") == value)
            #expect(person.value("SELECT set_config('\(name)', '\(value)', true)") == value)
          }
        }
        #expect(person.value("SET session_replication_role = replica") == "42501")
        _ = try person.script("SET search_path = access, tidemark, analytics, public; SET check_function_bodies = off")
      }
      scene.expectNothingGained("settings")
      // Policies switched off is an error for whom they hold, not a way around.
      try scene.head.script("SET row_security = off")
      #expect(scene.head.departments() == "42501")
    }

    @Test func rolesGainNothing() throws {
      let scene = try Scene("roles")
      let others = ["postgres", "tidemark_owner", "tidemark_writer", "tidemark_access", "tidemark_audit", "tidemark_view_board", "tidemark_view_manager",
        "tidemark_gateway", "tidemark_issuer", "tidemark_granter", "ceo", "pg_read_all_data"]
      for role in others {
        for person in [scene.head, scene.manager, scene.board] {
          #expect(person.value("SET ROLE \(role)") == "42501", "\(role)")
          #expect(person.value("SET SESSION AUTHORIZATION \(role)") == "42501", "\(role)")
          #expect(person.value("GRANT \(role) TO CURRENT_USER") == "42501", "\(role)")
        }
      }
      for person in [scene.head, scene.manager, scene.board] { try person.script("RESET ROLE; RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION DEFAULT") }
      scene.expectNothingGained("RESET ROLE")
      try scene.head.script("SET ROLE department_head")
      #expect(scene.head.departments() == "<sales>")
      // A superuser who plays a tier is nobody: identity is the login.
      try scene.fixture.sql.script("SET ROLE department_head")
      #expect(scene.fixture.sql.departments() == "none")
    }

    @Test func partitionsNamedDirectlyAreClosed() throws {
      let fixture = try AccessFixture(
        "parts",
        before: """
          CREATE SCHEMA analytics; CREATE SCHEMA archive;
          CREATE TABLE analytics.daily_metrics (window_start timestamptz NOT NULL, department text COLLATE "C" NOT NULL, event_type text COLLATE "C" NOT NULL,
            event_count bigint NOT NULL, unique_users bigint NOT NULL, revenue numeric, updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (window_start, department, event_type)) PARTITION BY RANGE (window_start);
          CREATE TABLE analytics.part_a PARTITION OF analytics.daily_metrics FOR VALUES FROM (MINVALUE) TO ('2026-01-05Z');
          CREATE TABLE archive.part_b PARTITION OF analytics.daily_metrics FOR VALUES FROM ('2026-01-05Z') TO (MAXVALUE);
          GRANT SELECT ON analytics.part_a, archive.part_b TO PUBLIC;
          CREATE ROLE tidemark_owner; GRANT tidemark_owner TO postgres; ALTER SCHEMA analytics OWNER TO tidemark_owner; ALTER SCHEMA archive OWNER TO tidemark_owner;
          ALTER TABLE analytics.daily_metrics OWNER TO tidemark_owner; ALTER TABLE analytics.part_a OWNER TO tidemark_owner; ALTER TABLE archive.part_b OWNER TO tidemark_owner
          """.replacing("CREATE ROLE tidemark_owner;", with: "DO $$ BEGIN CREATE ROLE tidemark_owner; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"))
      let head = try fixture.person("head", ("department_head", ["sales"])), ceo = try fixture.person("ceo", ("ceo", []))
      #expect(head.departments() == "<sales>" && head.value("SELECT count(*) FROM \(AccessFixture.own)") == "20")
      #expect(ceo.value("SELECT count(*) FROM analytics.daily_metrics") == "120")
      try fixture.sql.script("GRANT USAGE ON SCHEMA archive TO PUBLIC")
      for part in ["analytics.part_a", "archive.part_b"] {
        #expect(head.departments(part) == "42501")
        #expect(ceo.departments(part) == "42501")
        // Were it granted by somebody, its own policies would still hold.
        try fixture.sql.script("GRANT SELECT ON \(part) TO department_head")
        #expect(head.departments(part) == "none")
        #expect(try fixture.verification().lint().contains { $0.kind == "grant" && $0.object.contains(part.split(separator: ".")[1]) })
        try fixture.sql.script("ALTER TABLE \(part) NO FORCE ROW LEVEL SECURITY")
        #expect(try fixture.verification().lint().contains { $0.kind == "table" })
      }
      #expect(try fixture.verification().lint().contains { $0.kind == "schema" && $0.object == "archive" })
      try fixture.sql.script("REVOKE USAGE ON SCHEMA archive FROM PUBLIC")
      try fixture.migrate()
      #expect(head.departments("analytics.part_a") == "42501")
      let left = try fixture.verification([fixture.topology]).lint().filter { $0.severity == .leak }
      #expect(left == [], "\(left)")
    }

    @Test func viewsAndMaterializedViewsOfOthersGainNothing() throws {
      let scene = try Scene("views")
      try scene.fixture.sql.script(
        """
        CREATE VIEW public.invoked WITH (security_invoker) AS SELECT * FROM analytics.daily_metrics_department_head; GRANT SELECT ON public.invoked TO PUBLIC;
        CREATE MATERIALIZED VIEW public.nightly AS SELECT * FROM analytics.daily_metrics
        """)
      #expect(scene.head.departments("public.invoked") == "<sales>")
      #expect(scene.manager.departments("public.invoked") == "42501")
      #expect(scene.head.departments("public.nightly") == "42501")
      _ = try? scene.head.script("CREATE TEMPORARY VIEW mine AS SELECT * FROM \(AccessFixture.own)")
      #expect(scene.head.departments("mine") == "<sales>")
      #expect(scene.manager.value("CREATE TEMPORARY VIEW mine AS SELECT * FROM analytics.daily_metrics; SELECT 1") != "1")
    }

    @Test func copyTableAndExplainShowOnlyOwnRows() throws {
      let scene = try Scene("copy")
      let copied = try scene.head.copyOut("COPY (SELECT department, revenue FROM \(AccessFixture.own)) TO STDOUT")
      #expect(Set(copied.split(separator: "\n")) == ["sales\t100"])
      for person in [scene.head, scene.manager] {
        #expect(throws: PostgresError.self) { try person.copyOut("COPY analytics.daily_metrics TO STDOUT") }
      }
      for forbidden in ["COPY analytics.daily_metrics TO '/tmp/rows'", "COPY analytics.daily_metrics TO PROGRAM 'cat'", "COPY analytics.daily_metrics FROM '/etc/passwd'"] {
        #expect(["42501", "0A000"].contains(scene.head.value(forbidden)), "\(forbidden)")
      }
      #expect(try scene.head.query("TABLE \(AccessFixture.own)").count == 20)
      for sql in ["EXPLAIN (ANALYZE, VERBOSE, BUFFERS) TABLE \(AccessFixture.own)", "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM \(AccessFixture.own) WHERE revenue > 500"] {
        let plan = Self.answer(scene.head, sql)
        #expect(plan.contains("daily_metrics") && !Self.hidden.contains { plan.contains($0) })
      }
      #expect(scene.manager.value("EXPLAIN SELECT revenue FROM analytics.daily_metrics") == "42501")
      #expect(scene.board.value("EXPLAIN ANALYZE SELECT * FROM analytics.daily_metrics") == "42501")
    }

    @Test func preparedStatementsCursorsAndSnapshotsEndWithARevocation() throws {
      let scene = try Scene("revoked")
      let (head, role) = (scene.head, scene.fixture.login("head"))
      _ = try scene.fixture.books.grant(role, tier: "department_head", departments: ["support"])
      let count = "SELECT count(*) FROM \(AccessFixture.own)"
      try head.script("PREPARE p AS \(count)")
      for _ in 0..<7 { #expect(head.value("EXECUTE p") == "40") }  // past the fifth a generic plan is kept
      _ = try scene.fixture.books.revoke(role, tier: "department_head", departments: ["support"])
      #expect(head.value("EXECUTE p") == "20")
      let old = try scene.fixture.connect(role)
      try old.script("BEGIN ISOLATION LEVEL REPEATABLE READ")
      #expect(old.value(count) == "20")
      try old.script("DECLARE c CURSOR WITH HOLD FOR SELECT department FROM \(AccessFixture.own); FETCH 1 FROM c")
      _ = try scene.fixture.books.revoke(role, tier: nil, departments: [])
      #expect(head.value("EXECUTE p") == "42501")
      // The role is gone at once, whatever snapshot a transaction has.
      #expect(old.value(count) == "42501")
      // Cursors were opened before: they end with the sessions.
      let sessions = try scene.fixture.books.endSessions(of: role)
      #expect(sessions.ended == 2 && sessions.left == 0)
      #expect(throws: PostgresError.self) { try old.query("FETCH ALL FROM c") }
      #expect(throws: PostgresError.self) { try head.query("EXECUTE p") }
    }

    @Test func statisticsAreHidden() throws {
      let scene = try Scene("stats")
      try scene.fixture.sql.script("CREATE STATISTICS analytics.s ON department, event_type FROM analytics.daily_metrics; ANALYZE analytics.daily_metrics")
      #expect(scene.fixture.sql.value("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'daily_metrics'") == "t")
      for person in [scene.head, scene.manager, scene.board] {
        #expect(person.value("SELECT count(*) FROM pg_stats WHERE tablename LIKE 'daily_metrics%'") == "0")
        #expect(person.value("SELECT count(*) FROM pg_stats_ext WHERE tablename LIKE 'daily_metrics%'") == "0")
        #expect(person.value("SELECT count(*) FROM pg_statistic") == "42501")
        #expect(person.value("SELECT count(*) FROM pg_statistic_ext_data") == "42501")
      }
    }

    @Test func functionsAndOperatorsInWhereSeeOnlyOwnRows() throws {
      let scene = try Scene("leaky")
      for (person, relation) in [(scene.head, AccessFixture.own), (scene.manager, "analytics.daily_metrics_manager")] {
        try person.script(
          """
          CREATE TEMPORARY TABLE seen (value text);
          CREATE FUNCTION pg_temp.keep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN INSERT INTO pg_temp.seen VALUES ($1); RETURN true; END';
          CREATE FUNCTION pg_temp.keep2(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN INSERT INTO pg_temp.seen VALUES ($1); RETURN true; END';
          CREATE OPERATOR pg_temp.<<>> (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.keep2)
          """)
        for sql in [
          "SELECT count(*) FROM \(relation) WHERE pg_temp.keep(department)", "SELECT count(*) FROM \(relation) WHERE department OPERATOR(pg_temp.<<>>) 'x'",
          "SELECT count(*) FROM \(relation) WHERE pg_temp.keep(event_count::text) OR department = 'legal'",
          "SELECT count(*) FROM \(relation) a JOIN \(relation) b ON pg_temp.keep(a.department) AND a.window_start = b.window_start",
          "SELECT 1 FROM \(relation) ORDER BY pg_temp.keep(department)", "SELECT count(*) FROM \(relation) GROUP BY pg_temp.keep(department)",
        ] { #expect(person.value(sql).count < 5, "\(sql)") }
        #expect(person.value("SELECT count(*) > 0 FROM pg_temp.seen") == "t")
        #expect(person.value("SELECT string_agg(DISTINCT value, ',') FROM pg_temp.seen WHERE value NOT IN ('sales', '10')") == "NULL")
        // Declared leakproof it would be believed: only a superuser may declare it.
        #expect(person.value("ALTER FUNCTION pg_temp.keep(text) LEAKPROOF") == "42501")
        #expect(person.value("CREATE FUNCTION pg_temp.sly(text) RETURNS boolean LEAKPROOF LANGUAGE sql AS 'SELECT true'") == "42501")
      }
      // Totals are made before a reader's function sees anything.
      try scene.board.script(
        """
        CREATE TEMPORARY TABLE seen (value text);
        CREATE FUNCTION pg_temp.keep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN INSERT INTO pg_temp.seen VALUES ($1); RETURN true; END'
        """)
      _ = scene.board.value("SELECT count(*) FROM analytics.daily_metrics_board WHERE pg_temp.keep(revenue::text) AND pg_temp.keep(window_start::text)")
      #expect(scene.board.value("SELECT string_agg(DISTINCT value, ',') FROM pg_temp.seen WHERE value IN ('100', '999999')") == "NULL")
      #expect(scene.board.value("SELECT count(*) FROM pg_temp.seen") == "14")
    }

    @Test func errorsNameOnlyOwnValues() throws {
      let scene = try Scene("errors")
      for (person, relation, money) in [(scene.head, AccessFixture.own, "revenue"), (scene.manager, "analytics.daily_metrics_manager", "event_count")] {
        for sql in [
          "SELECT count(*) FROM \(relation) WHERE 1 / (CASE department WHEN 'sales' THEN 1 ELSE 0 END) = 1",
          "SELECT count(*) FROM \(relation) WHERE (CASE department WHEN 'sales' THEN '1' ELSE department END)::integer = 1",
          "SELECT count(*) FROM \(relation) WHERE 1 / (\(money) - 999999) < 1", "SELECT sum(1 / (\(money) - 999999)) FROM \(relation)",
        ] { #expect(!Self.answer(person, sql).hasPrefix("22"), "\(sql): \(Self.answer(person, sql))") }
        // An error about one's own rows is allowed to name them, and names nothing else.
        let own = Self.answer(person, "SELECT department::integer FROM \(relation)")
        #expect(own.hasPrefix("22P02") && own.contains("sales") && !Self.hidden.contains { own.contains($0) })
      }
    }

    @Test func keysAreNotProbed() throws {
      let scene = try Scene("probing")
      let row = "('2026-01-01Z', 'legal', 'a', 1, 1, 1, now())"
      for person in [scene.head, scene.manager, scene.board] {
        for sql in [
          "INSERT INTO analytics.daily_metrics VALUES \(row)", "INSERT INTO analytics.daily_metrics VALUES \(row) ON CONFLICT DO NOTHING RETURNING *",
          "INSERT INTO analytics.daily_metrics VALUES \(row) ON CONFLICT (window_start, department, event_type) DO UPDATE SET revenue = daily_metrics.revenue RETURNING daily_metrics.revenue",
          "MERGE INTO analytics.daily_metrics t USING (SELECT 1) s ON t.department = 'legal' WHEN MATCHED THEN DELETE",
          "CREATE TEMPORARY TABLE probe (w timestamptz, d text, e text, FOREIGN KEY (w, d, e) REFERENCES analytics.daily_metrics)",
          "CREATE TABLE probe (w timestamptz, d text, e text, FOREIGN KEY (w, d, e) REFERENCES analytics.daily_metrics)",
        ] { #expect(["42501", "42P16"].contains(person.value(sql)), "\(sql): \(person.value(sql))") }
        #expect(person.value("SELECT 1 FROM analytics.daily_metrics WHERE department = 'legal' FOR UPDATE") == "42501")
      }
      #expect(scene.fixture.sql.value("SELECT count(*) FROM analytics.daily_metrics") == "120")
    }

    @Test func filesProgramsAndOtherServersAreClosed() throws {
      let scene = try Scene("files")
      try scene.fixture.sql.script("CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw")
      let port = try accessServer.get().port
      for person in [scene.head, scene.manager, scene.board] {
        for sql in [
          "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/tmp/x')", "SELECT pg_read_file('PG_VERSION')", "SELECT pg_read_binary_file('global/pg_control')",
          "SELECT pg_ls_dir('base')", "SELECT pg_stat_file('PG_VERSION')", "CREATE EXTENSION file_fdw", "ALTER SYSTEM SET log_statement = 'all'",
          "CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1')", "CREATE LANGUAGE plperlu",
        ] { #expect(["42501", "0A000", "58P01"].contains(person.value(sql)), "\(sql): \(person.value(sql))") }
        // The server would let anybody in here; dblink still asks for a password.
        let target = "host=127.0.0.1 port=\(port) user=postgres dbname=\(scene.fixture.name)"
        #expect(person.value("SELECT * FROM dblink('\(target)', 'SELECT count(*) FROM analytics.daily_metrics') AS t(n bigint)") == "2F003")
        #expect(person.value("SELECT dblink_connect_u('\(target)')") == "42501")
        // A large object of one's own is no way to anybody's rows.
        #expect(person.value("SELECT lo_create(0) > 0") == "t")
      }
    }

    @Test func shadowedNamesAreNotUsed() throws {
      let scene = try Scene("shadow")
      for person in [scene.head, scene.manager, scene.board] {
        let login = person.user
        try person.script(
          """
          CREATE TEMPORARY TABLE member (login text, tier text, department text);
          INSERT INTO pg_temp.member SELECT '\(login)', t, d FROM unnest('{ceo,department_head,manager,board}'::text[]) t, unnest('{legal,support,sales}'::text[]) d;
          CREATE TEMPORARY TABLE assumed (nonce text, xid xid8, person text, gateway text, expires_at timestamptz);
          CREATE TEMPORARY VIEW freshness AS SELECT 'daily_metrics'::text AS aggregate, '2030-01-01Z'::timestamptz AS complete_through;
          CREATE FUNCTION pg_temp.person() RETURNS text LANGUAGE sql AS 'SELECT ''ceo''::text';
          CREATE FUNCTION pg_temp.holds(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
          CREATE FUNCTION pg_temp.departments(text) RETURNS text[] LANGUAGE sql AS 'SELECT ''{legal,support,sales}''::text[]';
          CREATE FUNCTION pg_temp.array_agg(text) RETURNS text[] LANGUAGE sql AS 'SELECT ''{legal}''::text[]';
          CREATE FUNCTION pg_temp.pg_has_role(name, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
          CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''2000-01-01Z''::timestamptz';
          CREATE FUNCTION pg_temp.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
          CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.same);
          SET search_path = pg_temp, pg_catalog, analytics, access
          """)
      }
      #expect(scene.head.value("SELECT count(*) FROM \(AccessFixture.own)") == "20")
      #expect(scene.manager.value("SELECT count(*) FROM analytics.daily_metrics_manager") == "20")
      #expect(scene.board.value("SELECT count(*) FROM analytics.daily_metrics_board") == "7")
    }

    @Test func theBooksAreClosed() throws {
      let scene = try Scene("books")
      for person in [scene.head, scene.manager, scene.board] {
        for table in ["access.member", "access.key", "access.assumed", "access.audit", "tidemark.quarantine", "tidemark.topology", "tidemark.ledger",
          "tidemark.state_chunk", "tidemark.access_rule", "tidemark.tier", "raw.events", "tidemark.landing_quarantine", "tidemark.definition", "pg_authid", "pg_user_mapping"] {
          #expect(person.value("SELECT * FROM \(table)") == "42501", "\(table)")
        }
        #expect(!Self.answer(person, "SELECT pg_get_functiondef('access.assume(text)'::regprocedure)").contains("secret payload"))
        #expect(person.value("SELECT count(*) FROM access.whoami() WHERE person = session_user::text") == "1")
      }
    }

    /// A login that may read every table of the server reads no row that a policy guards, and no key.
    @Test func readingEveryTableIsNotReadingEveryRow() throws {
      let fixture = try AccessFixture("readall")
      try fixture.sql.script("CREATE ROLE \(fixture.login("backup")) LOGIN IN ROLE pg_read_all_data, pg_write_all_data")
      let backup = try fixture.connect(fixture.login("backup"))
      #expect(try fixture.books.grant("x@example.org", tier: "ceo", departments: []) == false)
      for table in ["analytics.daily_metrics", "analytics.daily_active_users", "access.key", "access.member", "access.audit", "access.assumed"] {
        #expect(backup.value("SELECT count(*) FROM \(table)") == "0", "\(table)")
      }
      #expect(backup.value("INSERT INTO access.member (login, tier) VALUES (session_user, 'ceo')") == "42501")
      #expect(backup.value("INSERT INTO access.key VALUES (9, decode(repeat('00', 32), 'hex'))") == "42501")
      #expect(backup.value("SELECT count(*) FROM analytics.daily_metrics_board") == "42501")
      #expect(try fixture.verification().lint().contains { $0.kind == "member" && $0.object == fixture.login("backup") })
      try fixture.sql.script("DROP ROLE \(fixture.login("backup"))")
    }

    /// NOTIFY says that something was flushed, and nothing of what.
    @Test func notificationsHoldNoValues() throws {
      let fixture = try AccessFixture("listen")
      _ = try fixture.person("head", ("department_head", ["sales"]))
      let psql = Process(), input = Pipe(), output = Pipe()
      psql.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      psql.arguments = ["psql", "-X", "-q", "-At", try accessServer.get().target(database: fixture.name, user: fixture.login("head"))]
      psql.standardInput = input
      psql.standardOutput = output
      try psql.run()
      func send(_ line: String) { input.fileHandleForWriting.write(Data((line + "\n").utf8)) }
      func line() -> String {
        var bytes: [UInt8] = []
        while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") { bytes.append(byte) }
        return String(decoding: bytes, as: UTF8.self)
      }
      send("LISTEN tidemark; SELECT 'listening';")
      #expect(line() == "listening")
      let warehouse = Warehouse(target: try accessServer.get().target(database: fixture.name, user: "postgres"), instance: "a", plan: fixture.topology.plan())
      let partition = try warehouse.acquire([PartitionID(topic: "events", partition: 1)]) { _ in Offset(0) }[0]
      var delta = Delta(from: Offset(0), to: Offset(1), aggregateCount: 3)
      delta.ledger.applied = 1
      delta.aggregates[0].groups = [
        GroupIncrement(
          key: RowKey(windowStart: EventTime(microseconds: 1_767_225_600_000_000), fields: ["legal", "a"]), windowEnd: EventTime(microseconds: 1_767_312_000_000_000),
          keyHash: 7, measures: [.count(1), .distinct([1]), .sum(424_242, present: 1)])
      ]
      #expect(
        warehouse.flush(FlushRequest(id: 1, parts: [FlushRequest.Part(partition: partition.partition, epoch: partition.epoch, watermarkBefore: nil, delta: delta, endOffset: nil)]))
          == .committed)
      #expect(fixture.sql.value("SELECT count(*) FROM analytics.daily_metrics WHERE revenue = 1424241") == "1")
      send("SELECT 'after';")
      var lines: [String] = []
      while lines.last?.hasPrefix("Asynchronous") != true, lines.count < 5 { lines.append(line()) }
      #expect(lines.last?.hasPrefix("Asynchronous notification \"tidemark\" received") == true, "\(lines)")
      #expect(lines.allSatisfy { !$0.contains("payload") && !$0.contains("legal") && !$0.contains("424242") })
      input.fileHandleForWriting.closeFile()
      psql.waitUntilExit()
    }
  }
}
