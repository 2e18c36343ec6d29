import Postgres
import Testing
import Warehouse

extension AccessTests {
  /// Granting, revoking, and the audit of it.
  @Suite struct People {
    @Test func takesEffectAtTheNextQuery() throws {
      let fixture = try AccessFixture("nextquery")
      let ada = try fixture.person("ada")
      let role = fixture.login("ada")
      #expect(ada.departments() == "42501")
      #expect(try fixture.books.grant(role, tier: "department_head", departments: ["sales"]))
      #expect(ada.departments() == "<sales>")
      #expect(try fixture.books.grant(role, tier: "department_head", departments: ["support", "sales"]))
      #expect(ada.departments() == "<sales> <support>")
      #expect(try fixture.books.revoke(role, tier: "department_head", departments: ["sales"]) == 1)
      #expect(ada.departments() == "<support>")
      #expect(try fixture.books.revoke(role, tier: nil, departments: []) == 2)
      #expect(ada.departments() == "42501")
      #expect(try fixture.books.members(login: role) == [])
      #expect(try fixture.books.revoke(role, tier: nil, departments: []) == 0)
    }

    /// Being in the role alone shows nothing, and a row in the table alone neither.
    @Test func bothHalvesAreNeeded() throws {
      let fixture = try AccessFixture("halves")
      let ada = try fixture.person("ada")
      try fixture.sql.script("GRANT ceo, department_head TO \(fixture.login("ada"))")
      #expect(ada.departments() == "none")
      let bea = try fixture.person("bea")
      try fixture.sql.script("INSERT INTO access.member (login, tier) VALUES ('\(fixture.login("bea"))', 'ceo')")
      #expect(bea.departments() == "42501")
    }

    @Test func whatCannotBeGrantedIsExplained() throws {
      let fixture = try AccessFixture("explained")
      _ = try fixture.person("ada", ("manager", ["sales"]))
      _ = try fixture.gateway("api")
      try fixture.sql.script("CREATE ROLE \(fixture.login("group")); CREATE ROLE \(fixture.login("flush")) LOGIN IN ROLE tidemark_writer")
      let cases: [(String, String, [String], String)] = [
        ("x", "managr", [], "there is no tier \"managr\": there are all_hands, board, ceo, department_head, manager"),
        ("x", "manager", [], "name at least one"), ("x", "ceo", ["sales"], "tier ceo has no departments"), ("", "ceo", [], "1 to 255 characters"),
        ("postgres", "ceo", [], "bypasses row-level security"), (fixture.login("group"), "ceo", [], "nobody logs in as"),
        (fixture.login("api"), "ceo", [], "is a gateway"), (fixture.login("flush"), "ceo", [], "reads every row"), ("tidemark_owner", "ceo", [], "nobody logs in as"),
      ]
      for (login, tier, departments, words) in cases {
        do throws(WarehouseError) {
          _ = try fixture.books.grant(login, tier: tier, departments: departments)
          Issue.record("granted: \(login) \(tier)")
        } catch { #expect(error.message.contains(words), "\(error.message)") }
      }
      do throws(WarehouseError) {
        try fixture.books.login(Login(name: fixture.login("ada"), password: "something long"), isGateway: true)
        Issue.record("a person became a gateway")
      } catch { #expect(error.message.contains("is a person already")) }
    }

    @Test func theAuditIsOnlyAddedToAlsoByWhoGrants() throws {
      let fixture = try AccessFixture("audit")
      try fixture.sql.script("CREATE ROLE \(fixture.login("officer")) LOGIN IN ROLE tidemark_granter")
      let officer = try fixture.connect(fixture.login("officer"))
      let books = AccessBooks(officer)
      #expect(try !books.grant("someone@example.org", tier: "manager", departments: ["sales", "legal"]))
      #expect(try books.revoke("someone@example.org", tier: "manager", departments: ["legal"]) == 1)
      let entries = try books.history(limit: 3)
      #expect(entries.map(\.action) == ["revoke", "grant", "grant"])
      #expect(entries[0].actor == fixture.login("officer") && entries[0].login == "someone@example.org" && entries[0].department == "legal")
      for forbidden in [
        "DELETE FROM access.audit", "UPDATE access.audit SET actor = 'x'", "TRUNCATE access.audit", "INSERT INTO access.audit (actor, action) VALUES ('x', 'x')",
        "SELECT access.note('x', 'x', 'x', 'x', 'x')", "DROP TABLE access.audit", "ALTER TABLE access.audit DISABLE TRIGGER ALL", "INSERT INTO access.member (login, tier) VALUES ('x', 'ceo')",
        "DELETE FROM access.member", "SELECT secret FROM access.key", "SET ROLE tidemark_audit", "SET ROLE tidemark_access", "GRANT tidemark_audit TO CURRENT_USER",
        "SELECT access.issue('someone@example.org', 'x', 60)",
      ] { #expect(officer.value(forbidden) == "42501", "\(forbidden)") }
      // Nor the roles that the tables belong to, nor a superuser who does not take the trigger away first.
      for role in ["tidemark_audit", "tidemark_access", "tidemark_owner", "postgres"] {
        for forbidden in ["DELETE FROM access.audit", "UPDATE access.audit SET actor = 'x'", "TRUNCATE access.audit"] {
          try fixture.sql.script("SET ROLE \(role)")
          #expect(fixture.sql.value(forbidden) == "42501", "\(role): \(forbidden)")
          try fixture.sql.script("RESET ROLE")
        }
      }
      // A change by hand is in it as well, also where triggers are told to be quiet.
      try fixture.sql.script("SET session_replication_role = replica; DELETE FROM access.member; SET session_replication_role = origin")
      #expect(try books.history(limit: 1)[0].actor == "postgres")
      try fixture.sql.script("TRUNCATE access.member")
      #expect(try books.history(limit: 1)[0].action == "revoke all")
    }

    @Test func anIssuerIssuesAndDoesNothingElse() throws {
      let fixture = try AccessFixture("issuer")
      _ = try fixture.gateway("api")
      _ = try fixture.books.grant("ada@example.org", tier: "manager", departments: ["sales"])
      try fixture.sql.script("CREATE ROLE \(fixture.login("idp")) LOGIN IN ROLE tidemark_issuer")
      let issuer = try fixture.connect(fixture.login("idp"))
      #expect(try AccessBooks(issuer).token(for: "ada@example.org", at: fixture.login("api"), seconds: 5).hasPrefix("tidemark1."))
      for forbidden in ["SELECT * FROM access.key", "SELECT access.grant_tier('x', 'ceo', '{}')", "SELECT access.rotate_key()", "SELECT * FROM analytics.daily_metrics"] {
        #expect(issuer.value(forbidden) == "42501", "\(forbidden)")
      }
      for (person, gateway, seconds) in [("nobody", fixture.login("api"), 60), ("ada@example.org", "postgres", 60), ("ada@example.org", fixture.login("api"), 3601), ("ada@example.org", fixture.login("api"), 0)] {
        #expect(throws: WarehouseError.self) { try AccessBooks(issuer).token(for: person, at: gateway, seconds: seconds) }
      }
    }

    @Test func aDashboardLoginIsReadOnlyAndItsPasswordIsInNoStatement() throws {
      let fixture = try AccessFixture("bi")
      try fixture.sql.script("SET log_statement = 'none'")
      try fixture.books.login(Login(name: fixture.login("metabase"), password: "correct horse"), isGateway: false)
      #expect(try fixture.books.grant(fixture.login("metabase"), tier: "manager", departments: ["sales"]))
      let stored = fixture.sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = '\(fixture.login("metabase"))'")
      #expect(stored.hasPrefix("SCRAM-SHA-256$") && !stored.contains("correct horse"))
      let metabase = try fixture.connect(fixture.login("metabase"))
      #expect(metabase.value("SHOW default_transaction_read_only") == "on")
      #expect(metabase.value("SHOW jit") == "off")
      #expect(metabase.departments("daily_metrics_manager") == "<sales>")
      #expect(metabase.value("CREATE TEMPORARY TABLE t (a integer)") == "25006")
      // Again: a new password, nothing else.
      try fixture.books.login(Login(name: fixture.login("metabase"), password: "another one"), isGateway: false)
      #expect(metabase.departments("daily_metrics_manager") == "<sales>")
    }

    /// A name that is somebody's already, a person's or a service's, keeps its password and its settings.
    @Test func nobodysLoginBecomesADashboards() throws {
      let fixture = try AccessFixture("mistaken")
      _ = try fixture.person("ada", ("manager", ["sales"]))
      try fixture.sql.script("CREATE ROLE \(fixture.login("instance")) LOGIN PASSWORD 'its own' IN ROLE tidemark_writer")
      func stored(_ login: String) -> String {
        fixture.sql.value("SELECT concat(a.rolpassword, s.setconfig) FROM pg_authid a LEFT JOIN pg_db_role_setting s ON s.setrole = a.oid WHERE rolname = '\(fixture.login(login))'")
      }
      for (login, isGateway) in [("ada", false), ("instance", false), ("instance", true)] {
        let before = stored(login)
        do throws(WarehouseError) {
          try fixture.books.login(Login(name: fixture.login(login), password: "another one"), isGateway: isGateway)
          Issue.record("\(login) is a dashboard")
        } catch { #expect(error.message.contains("was not made for a dashboard or gateway"), "\(error.message)") }
        #expect(stored(login) == before)
      }
      // What cannot be granted makes no login, and gives none another password.
      try fixture.books.login(Login(name: fixture.login("grafana"), password: "the first one"), isGateway: false)
      let before = stored("grafana")
      for login in ["grafana", "fresh"] {
        #expect(throws: WarehouseError.self) {
          try fixture.books.login(Login(name: fixture.login(login), password: "the second one"), isGateway: false) { () throws(WarehouseError) in
            _ = try fixture.books.grant(fixture.login(login), tier: "bord", departments: [])
          }
        }
      }
      #expect(stored("grafana") == before && !before.isEmpty)
      #expect(fixture.sql.value("SELECT count(*) FROM pg_roles WHERE rolname = '\(fixture.login("fresh"))'") == "0")
    }
  }
}
