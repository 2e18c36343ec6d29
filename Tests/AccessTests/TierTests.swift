import Postgres
import Testing
import Topologies
import Warehouse

extension AccessTests {
  /// What each tier sees, in plain numbers.
  @Suite struct Tiers {
    @Test func everyTierSeesWhatItShouldAndNothingElse() throws {
      let fixture = try AccessFixture("tiers")
      let refused = "42501"
      let relations = ["daily_metrics", "daily_metrics_department_head", "daily_metrics_manager", "daily_metrics_board", "daily_active_users",
        "daily_active_users_board", "daily_active_users_all_hands", "per_minute"]
      let people: [(Connection, [String])] = [
        (try fixture.person("grace", ("ceo", [])), ["120", refused, refused, refused, "10", refused, refused, refused]),
        (try fixture.person("ada", ("department_head", ["sales"])), [refused, "20", refused, refused, "10", refused, refused, refused]),
        (try fixture.person("mia", ("manager", ["support"])), [refused, refused, "20", refused, "10", refused, refused, refused]),
        (try fixture.person("bob", ("board", [])), [refused, refused, refused, "7", refused, "7", refused, refused]),
        (try fixture.person("hal", ("all_hands", [])), [refused, refused, refused, refused, refused, refused, "10", refused]),
        (try fixture.person("eve"), [String](repeating: refused, count: 8)),
      ]
      for (person, expected) in people {
        for (relation, count) in zip(relations, expected) {
          #expect(person.value("SELECT count(*) FROM analytics.\(relation)") == count, "\(person.user) \(relation)")
        }
      }
      #expect(people[1].0.departments() == "<sales>")
      #expect(people[1].0.value("SELECT sum(revenue) FROM \(AccessFixture.own)") == "2000")
      #expect(people[2].0.departments("analytics.daily_metrics_manager") == "<support>")
      // What a tier may not see is no column of anything that it can read.
      #expect(people[2].0.value("SELECT revenue FROM analytics.daily_metrics_manager") == "42703")
      // Totals, of complete days, without distinct counts, which do not add up.
      let columns = try people[3].0.execute("SELECT * FROM analytics.daily_metrics_board LIMIT 0").columnNames
      #expect(columns == ["window_start", "event_count", "revenue", "updated_at"])
      #expect(
        try people[3].0.query("SELECT min(event_count), max(event_count), max(revenue), max(window_start)::date FROM analytics.daily_metrics_board")
          == [["120", "120", "2000998", "2026-01-07"]])
      #expect(people[4].0.value("SELECT max(dau) FROM analytics.daily_active_users_all_hands") == "77")
    }

    @Test func completeDaysFollowFreshness() throws {
      let fixture = try AccessFixture("complete")
      let board = try fixture.person("bob", ("board", []))
      let days = "SELECT count(*) FROM analytics.daily_active_users_board"
      #expect(board.value(days) == "7")
      try fixture.sql.script("UPDATE tidemark.partition SET watermark = '2026-01-10 00:00Z'")
      #expect(board.value(days) == "7")
      try fixture.sql.script("UPDATE tidemark.partition SET watermark = '2026-01-09 23:59:59Z'")
      #expect(board.value(days) == "6")
      try fixture.sql.script("UPDATE tidemark.partition SET watermark = NULL")
      #expect(board.value(days) == "0")
    }

    @Test func completeDaysOfMinutesAndOfAnotherZone() throws {
      let yaml = AccessFixture.yaml.replacing("zone: UTC", with: "zone: America/New_York").replacing(
        "measures: { event_count: count }", with: "measures: { event_count: count }\n    access: { tiers: [board, ceo] }")
      let fixture = try AccessFixture("minutes", yaml: yaml)
      try fixture.sql.script(
        """
        INSERT INTO analytics.per_minute (window_start, event_type, event_count) VALUES
          ('2026-01-08 04:59Z', 'x', 1), ('2026-01-08 04:59Z', 'y', 2), ('2026-01-08 05:00Z', 'x', 5), ('2026-01-08 03:00Z', 'x', 1)
        """)
      // Events are in up to 2026-01-08T05:00Z, midnight in New York: the minute before it belongs to a complete day.
      let board = try fixture.person("bob", ("board", []))
      #expect(
        try board.query("SELECT window_start AT TIME ZONE 'UTC', event_count FROM analytics.per_minute_board WHERE window_start > '2026-01-02' ORDER BY 1")
          == [["2026-01-08 03:00:00", "1"], ["2026-01-08 04:59:00", "3"]])
      try fixture.sql.script("UPDATE tidemark.partition SET watermark = '2026-01-10 04:59:59Z'")
      #expect(board.value("SELECT count(*) FROM analytics.per_minute_board WHERE window_start > '2026-01-02'") == "0")
    }

    /// The union of both, and nothing more: revenue of the one, no revenue of the other.
    @Test func twoDepartmentsAndTwoTiers() throws {
      let fixture = try AccessFixture("union")
      let ada = try fixture.person("ada", ("department_head", ["sales", "support"]), ("manager", ["legal"]))
      #expect(ada.departments() == "<sales> <support>")
      #expect(ada.departments("analytics.daily_metrics_manager") == "<legal>")
      #expect(ada.value("SELECT count(*) FROM \(AccessFixture.own) WHERE revenue > 100") == "0")
      #expect(ada.value("SELECT revenue FROM analytics.daily_metrics_manager") == "42703")
      let both = try fixture.person("bo", ("manager", ["legal"]), ("board", []))
      #expect(both.departments() == "42501")
      #expect(both.value("SELECT count(*) FROM analytics.daily_metrics_board") == "7")
      #expect(both.departments("analytics.daily_metrics_manager") == "<legal>")
    }

    @Test func departmentsWithoutANameWithQuotesAndOverflow() throws {
      let fixture = try AccessFixture("quotes")
      let strange = AccessFixture.departments[3]
      let ada = try fixture.person("ada", ("department_head", [strange]))
      #expect(ada.departments() == "<\(strange)>")
      for department in ["", "__overflow__"] {
        #expect(throws: WarehouseError.self) { try fixture.books.grant(fixture.login("ada"), tier: "department_head", departments: [department]) }
        // By hand neither: the table refuses it.
        #expect(throws: PostgresError.self) {
          try fixture.sql.execute("INSERT INTO access.member (login, tier, department) VALUES ($1, 'department_head', $2)", [.text(fixture.login("ada")), .text(department)])
        }
      }
      // A row without a department, from a hand that wrote it: closed, not open.
      let bea = try fixture.person("bea", ("department_head", ["sales"]))
      try fixture.sql.script("UPDATE access.member SET department = NULL WHERE login = '\(fixture.login("bea"))'")
      #expect(bea.departments() == "none")
      try fixture.sql.script("ALTER TABLE access.member DROP CONSTRAINT member_department_check")
      for hostile in ["", "%", "sales' OR true --", "{sales}", "sales,support", "NULL", "*"] {
        try fixture.sql.execute("UPDATE access.member SET department = $1 WHERE login = $2", [.text(hostile), .text(fixture.login("bea"))])
        #expect(bea.departments() == "none", "\(hostile)")
      }
    }

    @Test func measuresAreHiddenAndTiersNamedAsTheTopologySays() throws {
      let yaml = AccessFixture.yaml.replacing(
        AccessFixture.access, with: "access: { by: department, barrier: true, tiers: [ceo, auditor, manager], hide: { auditor: [unique_users], manager: [event_count] } }"
      ).replacing("time: {", with: "tiers: { auditor: { rows: all } }\ntime: {")
      let fixture = try AccessFixture("custom", yaml: yaml)
      let auditor = try fixture.person("aud", ("auditor", []))
      #expect(try auditor.execute("SELECT * FROM analytics.daily_metrics_auditor LIMIT 0").columnNames
        == ["window_start", "department", "event_type", "event_count", "revenue", "updated_at"])
      #expect(auditor.value("SELECT count(*) FROM analytics.daily_metrics_auditor") == "120")
      #expect(auditor.departments("analytics.daily_metrics") == "42501")
      let manager = try fixture.person("mia", ("manager", ["sales"]))
      #expect(try manager.execute("SELECT * FROM analytics.daily_metrics_manager LIMIT 0").columnNames
        == ["window_start", "department", "event_type", "unique_users", "revenue", "updated_at"])
      #expect(throws: WarehouseError.self) { try fixture.books.grant(fixture.login("aud"), tier: "auditor", departments: ["sales"]) }
    }

    /// "The flush role can write and cannot read other aggregates' rows beyond what upserts need."
    @Test func theFlushRoleWritesAndReadsOnlyWhatUpsertsNeed() throws {
      let fixture = try AccessFixture("writer")
      try fixture.sql.script("CREATE ROLE \(fixture.login("flush")) LOGIN IN ROLE tidemark_writer")
      let flush = try fixture.connect(fixture.login("flush"))
      try flush.script("INSERT INTO analytics.daily_active_users VALUES ('2026-02-01Z', 1) ON CONFLICT (window_start) DO UPDATE SET dau = daily_active_users.dau + excluded.dau")
      for forbidden in [
        "DELETE FROM analytics.daily_metrics", "TRUNCATE analytics.daily_metrics", "ALTER TABLE analytics.daily_metrics DISABLE ROW LEVEL SECURITY",
        "SELECT * FROM analytics.daily_metrics_manager", "SELECT * FROM analytics.daily_metrics_board", "SELECT * FROM access.member",
        "SELECT * FROM access.key", "SELECT * FROM access.audit", "SELECT access.holds('ceo')", "SELECT access.issue('x', 'y', 1)",
        "CREATE TABLE analytics.mine (a integer)", "SET ROLE tidemark_owner", "SET ROLE ceo", "CREATE TABLE raw.mine (a integer)",
        "UPDATE tidemark.access_rule SET condition = 'true'", "UPDATE tidemark.ledger SET applied = 0", "DELETE FROM tidemark.quarantine",
        "GRANT SELECT ON tidemark.ledger TO PUBLIC",
      ] {
        if forbidden.hasPrefix("GRANT") {
          #expect((try? flush.script(forbidden)) == nil || fixture.sql.value("SELECT has_table_privilege('\(fixture.login("flush"))', 'tidemark.ledger', 'SELECT WITH GRANT OPTION')") == "f")
        } else {
          #expect(flush.value(forbidden) == "42501", "\(forbidden)")
        }
      }
    }

    @Test func readersWriteNothing() throws {
      let fixture = try AccessFixture("readonly")
      let people = [
        try fixture.person("grace", ("ceo", [])), try fixture.person("ada", ("department_head", ["sales"])), try fixture.person("mia", ("manager", ["sales"])),
        try fixture.person("bob", ("board", [])), try fixture.person("hal", ("all_hands", [])),
      ]
      for person in people {
        for relation in ["daily_metrics", "daily_metrics_manager", "daily_active_users", "daily_active_users_all_hands", "freshness"] {
          for statement in ["INSERT INTO analytics.\(relation) DEFAULT VALUES", "DELETE FROM analytics.\(relation)", "TRUNCATE analytics.\(relation)"] {
            let state = person.value(statement)
            #expect(["42501", "55000", "42809"].contains(state), "\(person.user) \(statement): \(state)")
          }
        }
      }
      #expect(fixture.sql.value("SELECT count(*) FROM analytics.daily_metrics") == "120")
    }
  }
}
