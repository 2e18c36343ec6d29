import Postgres
import Testing
import Warehouse

extension AccessTests {
  /// Gateways, and tokens that are forged, expired, shown twice or not at all.
  @Suite struct Tokens {
    static let rows = "SELECT count(*) FROM \(AccessFixture.own)"

    /// A database with a gateway and a person behind it.
    struct World {
      let fixture: AccessFixture
      let gateway: Connection
      let person = "ada@example.org"

      init(_ name: String) throws {
        fixture = try AccessFixture(name)
        gateway = try fixture.gateway()
        _ = try fixture.books.grant(person, tier: "department_head", departments: ["sales"])
        _ = try fixture.books.grant(person, tier: "manager", departments: ["legal"])
      }

      func token(seconds: Int = 60) throws -> String { try fixture.books.token(for: person, at: fixture.login("api"), seconds: seconds) }

      /// A token as only the key's holder could make it, whatever it says.
      func forged(person: String? = nil, gateway: String? = nil, issued: Int = 0, expires: Int, key: Int = 1) throws -> String {
        try fixture.sql.query(
          """
          WITH t AS (SELECT concat_ws('.', 'tidemark1', '\(key)', encode(convert_to($1, 'UTF8'), 'hex'), encode(convert_to($2, 'UTF8'), 'hex'),
            floor(extract(epoch FROM now()))::bigint + \(issued), floor(extract(epoch FROM now()))::bigint + \(expires), md5(random()::text)) AS head)
          SELECT head || '.' || access.mac(head, (SELECT secret FROM access.key WHERE id = \(key))) FROM t
          """, [.text(person ?? self.person), .text(gateway ?? fixture.login("api"))])[0][0]!
      }

      /// What a transaction that shows a token sees of the table; the SQLSTATE where the token was refused.
      func shown(_ token: String, on connection: Connection? = nil) throws -> String {
        let connection = connection ?? gateway
        try connection.script("BEGIN")
        defer { _ = try? connection.script("ROLLBACK") }
        let answer = connection.value("SELECT access.assume($1)", [.text(token)])
        return answer == "28000" ? answer : connection.value(Tokens.rows)
      }
    }

    @Test func aTokenSpeaksForOnePersonInOneTransaction() throws {
      let world = try World("speaks")
      let api = world.gateway
      #expect(api.value(Self.rows) == "0")
      let token = try world.token()
      try api.script("BEGIN")
      #expect(api.value(Self.rows) == "0")
      #expect(api.value("SELECT access.assume($1)", [.text(token)]) == "ada@example.org")
      #expect(api.departments() == "<sales>" && api.departments("analytics.daily_metrics_manager") == "<legal>")
      #expect(api.value("SELECT count(*) FROM analytics.daily_active_users") == "10")
      #expect(api.value("SELECT count(*) FROM analytics.daily_metrics_board") == "0")
      try api.script("SAVEPOINT s; \(Self.rows); ROLLBACK TO s")
      #expect(api.departments() == "<sales>")
      try api.script("COMMIT")
      #expect(api.value(Self.rows) == "0")
      // A savepoint that the identity was shown in takes it away again.
      let other = try world.token()
      try api.script("BEGIN; SAVEPOINT s")
      #expect(api.value("SELECT access.assume($1)", [.text(other)]) == "ada@example.org")
      try api.script("ROLLBACK TO s")
      #expect(api.value(Self.rows) == "0")
      try api.script("COMMIT")
    }

    /// Two clients of a pooler in transaction mode take turns on one server session.
    @Test func behindAPoolerNobodyInheritsAnIdentity() throws {
      let world = try World("pooler")
      _ = try world.fixture.books.grant("bea@example.org", tier: "department_head", departments: ["support"])
      let server = world.gateway
      for _ in 0..<3 {
        let ada = try world.token()
        let bea = try world.fixture.books.token(for: "bea@example.org", at: world.fixture.login("api"), seconds: 60)
        try server.script("BEGIN")
        _ = server.value("SELECT access.assume($1)", [.text(ada)])
        #expect(server.departments() == "<sales>")
        try server.script("COMMIT")
        try server.script("BEGIN")
        #expect(server.departments() == "none")
        #expect(server.value("SELECT access.assume($1)", [.text(ada)]) == "28000")
        try server.script("ROLLBACK; BEGIN")
        _ = server.value("SELECT access.assume($1)", [.text(bea)])
        #expect(server.departments() == "<support>")
        try server.script("COMMIT; BEGIN; COMMIT AND CHAIN")
        #expect(server.departments() == "none")
        try server.script("ROLLBACK")
      }
      // Several transactions in one message have the same time and the same process: the identity is of the first alone.
      let ada = try world.token()
      let last = try server.script("BEGIN; SELECT access.assume('\(ada)'); COMMIT; BEGIN; \(Self.rows)")
      #expect(last.integer(0, 0, text: true) == 0)
      try server.script("ROLLBACK")
    }

    @Test func everyFieldIsSigned() throws {
      let world = try World("fields")
      let parts = try world.token().split(separator: ".").map(String.init)
      #expect(parts.count == 8)
      for field in parts.indices {
        for character in ["0", "1", "a", "f"] where !parts[field].hasSuffix(character) {
          var changed = parts
          changed[field] = String(changed[field].dropLast()) + character
          #expect(try world.shown(changed.joined(separator: ".")) == "28000", "field \(field)")
        }
      }
      let bob = try world.token().split(separator: ".").map(String.init)
      for field in [5, 6, 7] {
        var mixed = parts
        mixed[field] = bob[field]
        if mixed != parts { #expect(try world.shown(mixed.joined(separator: ".")) == "28000", "field \(field) of another token") }
      }
      var person = parts
      person[2] = Array("grace".utf8).map { String($0, radix: 16) }.joined()
      #expect(try world.shown(person.joined(separator: ".")) == "28000")
      #expect(try world.shown(parts.joined(separator: ".")) == "20")
    }

    /// There is no field for an algorithm: what other systems accept is no token here.
    @Test(arguments: [
      "", " ", "NULL", "tidemark1", "tidemark1.1......", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZGEifQ.",
      "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl", "tidemark0.1.616461.617069.1.9999999999.00000000000000000000000000000000.0000000000000000000000000000000000000000000000000000000000000000",
      "tidemark1.1.6164.zz.1.9999999999.00000000000000000000000000000000.0000000000000000000000000000000000000000000000000000000000000000", "'; DROP TABLE access.member; --",
    ])
    func whatIsNoTokenIsRefused(_ text: String) throws {
      let world = try Self.shared.get()
      #expect(try world.shown(text) == "28000")
    }
    // Safety: tests of this module run one after another.
    nonisolated(unsafe) static let shared = Result { try World("garbage") }

    @Test func otherAlgorithmsOverTheSameTextAreRefused() throws {
      let world = try World("algorithms")
      let parts = try world.token().split(separator: ".").map(String.init)
      let head = parts.dropLast().joined(separator: ".")
      for expression in [
        "sha256(convert_to($1, 'UTF8'))", "tidemark.hmac(convert_to($1, 'UTF8'), ''::bytea, 'sha256')", "tidemark.digest($1, 'sha256')",
        "sha256(convert_to($1, 'UTF8') || (SELECT secret FROM access.key))", "tidemark.hmac(convert_to($1, 'UTF8'), (SELECT secret FROM access.key), 'md5')",
        "tidemark.hmac(convert_to($1, 'UTF8'), (SELECT secret FROM access.key), 'sha512')", "tidemark.hmac(convert_to($1, 'UTF8'), (SELECT secret FROM access.key), 'sha1')",
      ] {
        let mac = try world.fixture.sql.query("SELECT encode(\(expression), 'hex')", [.text(head)])[0][0]!
        #expect(try world.shown("\(head).\(mac)") == "28000", "\(expression)")
      }
      let mac = try world.fixture.sql.query(
        "SELECT encode(tidemark.hmac(convert_to($1, 'UTF8'), (SELECT secret FROM access.key), 'sha256'), 'hex')", [.text(head)])[0][0]!
      #expect(mac == parts[7])
    }

    /// RFC 4231, test cases 1 and 2.
    @Test func theMACIsHMACSHA256() throws {
      let fixture = try AccessFixture("rfc4231")
      #expect(
        fixture.sql.value("SELECT access.mac('Hi There', decode(repeat('0b', 20), 'hex'))")
          == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
      #expect(
        fixture.sql.value("SELECT access.mac('what do ya want for nothing?', 'Jefe'::bytea)")
          == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }

    @Test func expiredAndOverlongTokensAreRefusedThoughSigned() throws {
      let world = try World("expired")
      #expect(try world.shown(world.forged(expires: 60)) == "20")
      #expect(try world.shown(world.forged(issued: -120, expires: -60)) == "28000")
      #expect(try world.shown(world.forged(issued: -1, expires: 0)) == "28000")
      #expect(try world.shown(world.forged(expires: 86_400)) == "28000")
      #expect(try world.shown(world.forged(gateway: "another", expires: 60)) == "28000")
      // Signed, for a person without any grant: it speaks for her, and she sees nothing.
      #expect(try world.shown(world.forged(person: "nobody", expires: 60)) == "0")
      // For a superuser's name: a name is all it is.
      #expect(try world.shown(world.forged(person: "postgres", expires: 60)) == "0")
      #expect(try world.shown(world.forged(person: "ada@example.org' OR true --", expires: 60)) == "0")
    }

    @Test func aTransactionThatOutlivesItsTokenSeesNothing() throws {
      let world = try World("outlives")
      let token = try world.forged(expires: 2)
      let api = world.gateway
      try api.script("BEGIN")
      #expect(api.value("SELECT access.assume($1)", [.text(token)]) == "ada@example.org")
      #expect(api.value(Self.rows) == "20")
      // Asked until the token's second is over; the database's clock decides.
      let end = token.split(separator: ".")[5]
      while world.fixture.sql.value("SELECT clock_timestamp() > to_timestamp(\(end))") == "f" { _ = world.fixture.sql.value("SELECT pg_sleep(0.05)") }
      #expect(api.value(Self.rows) == "0")
      try api.script("ROLLBACK")
    }

    @Test func aTokenIsShownOnce() throws {
      let world = try World("once")
      let token = try world.token()
      let api = world.gateway
      try api.script("BEGIN")
      _ = api.value("SELECT access.assume($1)", [.text(token)])
      // The same token elsewhere at the same time waits for the first transaction's end, and then is refused.
      let other = try world.fixture.connect(world.fixture.login("api"))
      try other.script("SET lock_timeout = '200ms'; BEGIN")
      #expect(other.value("SELECT access.assume($1)", [.text(token)]) == "55P03")
      try other.script("ROLLBACK")
      try api.script("COMMIT")
      #expect(try world.shown(token, on: other) == "28000")
      #expect(try world.shown(token) == "28000")
      // One transaction speaks for one person.
      try api.script("BEGIN")
      _ = api.value("SELECT access.assume($1)", [.text(try world.token())])
      #expect(api.value("SELECT access.assume($1)", [.text(try world.token())]) == "28000")
      try api.script("ROLLBACK")
    }

    @Test func twoKeysAreGoodAndNoThird() throws {
      let world = try World("keys")
      let first = try world.token(), early = try world.token()
      #expect(try world.fixture.books.rotateKey() == 2)
      #expect(try world.shown(first) == "20")
      let second = try world.token()
      #expect(second.split(separator: ".")[1] == "2")
      #expect(try world.fixture.books.rotateKey() == 3)
      #expect(try world.shown(early) == "28000")
      #expect(try world.shown(second) == "20")
      #expect(world.fixture.sql.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM access.key") == "2,3")
      #expect(try world.fixture.books.history(limit: 1)[0].detail == "key 3")
    }

    @Test func aGatewayServesOnlyItsTiers() throws {
      let world = try World("narrow")
      let narrow = try world.fixture.gateway("narrow", tiers: ["all_hands"])
      _ = try world.fixture.books.grant("grace@example.org", tier: "ceo", departments: [])
      let token = try world.fixture.books.token(for: "grace@example.org", at: world.fixture.login("narrow"), seconds: 60)
      #expect(try world.shown(token, on: narrow) == "42501")
      // Being a person too does not help it: its own name counts for nothing.
      try world.fixture.sql.script("INSERT INTO access.member (login, tier) VALUES ('\(world.fixture.login("api"))', 'ceo')")
      #expect(world.gateway.value(Self.rows) == "0")
    }

    @Test func aGatewayReadsNoKeyAndForgesNoIdentity() throws {
      let world = try World("forges")
      let api = world.gateway
      for forbidden in [
        "SELECT * FROM access.key", "SELECT * FROM access.assumed", "SELECT * FROM access.member", "SELECT * FROM access.audit",
        "INSERT INTO access.assumed VALUES ('x', pg_current_xact_id(), 'ada@example.org', session_user, now() + '1 hour')",
        "UPDATE access.assumed SET xid = pg_current_xact_id()", "SELECT access.mac('x', 'x')", "SELECT access.issue('ada@example.org', session_user::text, 60)",
        "SELECT access.person()", "SELECT access.rotate_key()", "SELECT access.random(1)",
      ] { #expect(api.value(forbidden) == "42501", "\(forbidden)") }
      for tier in ["ceo", "department_head", "manager"] {
        try api.script("SET ROLE \(tier)")
        #expect(["0", "42501"].contains(api.value(Self.rows)), "\(tier)")
        try api.script("RESET ROLE")
      }
    }

    @Test func revocationReachesPeopleBehindGateways() throws {
      let world = try World("behind")
      let api = world.gateway
      try api.script("BEGIN")
      _ = api.value("SELECT access.assume($1)", [.text(try world.token())])
      #expect(api.value(Self.rows) == "20")
      _ = try world.fixture.books.revoke(world.person, tier: "department_head", departments: [])
      #expect(api.value(Self.rows) == "0")
      try api.script("ROLLBACK")
    }
  }
}

extension Rows {
  /// A number of a textual answer.
  func integer(_ row: Int, _ column: Int, text: Bool) -> Int64? { self.text(row, column).flatMap { Int64($0) } }
}
