import LocalServers
import Postgres
import Testing

/// One server for all tests of the process.
let server = Result { try EphemeralPostgres() }

@Suite struct ConnectionTests {
  let connection: Connection
  init() throws { connection = try Connection(server.get().target, applicationName: "tests") }

  @Test func everyTypeComesBackAsItWasSent() throws {
    let sql = "SELECT $1, $2, $3, $4, $5"
    let full = try connection.execute(sql, [.text("ü'\\\n"), .integer(.min), .boolean(true), .bytes([0, 255, 7]), .timestamp(-1)])
    #expect(full.text(0, 0) == "ü'\\\n")
    #expect(full.integer(0, 1) == .min)
    #expect(full.boolean(0, 2) == true)
    #expect(full.bytes(0, 3) == [0, 255, 7])
    #expect(full.timestamp(0, 4) == -1)
    let empty = try connection.execute(sql, [.text(nil), .integer(nil), .boolean(nil), .bytes(nil), .timestamp(nil)])
    for column in 0..<5 { #expect(empty.text(0, column) == nil) }
    let blank = try connection.execute("SELECT $1, $2", [.text(""), .bytes([])])
    #expect(blank.text(0, 0) == "")
    #expect(blank.bytes(0, 1) == [])
  }

  @Test func arraysKeepOrderNullsAndEmptiness() throws {
    let rows = try connection.query(
      "SELECT a, b, c, encode(d, 'hex') FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bytea[]) AS t(a, b, c, d)",
      [.texts(["x", nil, ""]), .integers([1, nil, -9]), .timestamps([0, nil, 1_700_000_000_123_456]), .byteArrays([[1], nil, []])])
    #expect(rows.map { $0[0] } == ["x", nil, ""])
    #expect(rows.map { $0[1] } == ["1", nil, "-9"])
    #expect(rows[0][2]?.hasPrefix("1970-01-01 00:00:00") == true)
    #expect(rows[2][2]?.hasPrefix("2023-11-14 22:13:20.123456") == true)
    #expect(rows.map { $0[3] } == ["01", nil, ""])
    #expect(try connection.query("SELECT count(*) FROM unnest($1::bigint[])", [.integers([])])[0][0] == "0")
  }

  @Test func errorsSayWhatFollowsFromThem() throws {
    #expect(throws: PostgresError.self) { try connection.execute("SELECT 1/0") }
    do { try connection.execute("SELECT 1/0") } catch {
      #expect(error.consequence == .data)
      #expect(error.sqlState == "22012")
    }
    do { try connection.execute("SELECT * FROM nowhere") } catch { #expect(error.consequence == .refused) }
    #expect(connection.isUsable)
    #expect(try connection.query("SELECT 1")[0][0] == "1")
  }

  @Test func aKilledBackendIsALostConnection() throws {
    let other = try Connection(try server.get().target, applicationName: "killer")
    try other.execute("SELECT pg_terminate_backend($1::bigint::int)", [.integer(Int64(connection.backend))])
    do {
      try connection.execute("SELECT 1")
      Issue.record("the backend still answers")
    } catch {
      #expect(error.consequence == .connectionLost)
    }
    #expect(!connection.isUsable)
  }

  @Test func noAnswerInTimeIsALostConnection() throws {
    connection.deadline = 50
    do {
      try connection.execute("SELECT pg_sleep(60)")
      Issue.record("it answered")
    } catch {
      #expect(error.consequence == .connectionLost)
      #expect(error.message.contains("50 ms"))
    }
  }

  @Test func refusalsAndAbsenceAreToldApart() throws {
    let here = try server.get()
    do { _ = try Connection(here.target(database: "nothing", user: "postgres"), applicationName: "x") } catch {
      #expect(error.consequence == .refused)
    }
    do { _ = try Connection("host=127.0.0.1 port=1 password=secret", applicationName: "x") } catch {
      #expect(error.consequence == .unreachable)
      #expect(!error.message.contains("secret"))
    }
    do { _ = try Connection("nonsense=1", applicationName: "x") } catch { #expect(error.consequence == .refused) }
  }

  @Test func largeValuesTravelBothWays() throws {
    let bytes = (0..<20_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    #expect(try connection.execute("SELECT $1", [.bytes(bytes)]).bytes(0, 0) == bytes)
  }

  /// A restart of the instance would not help, waiting does.
  @Test func tooManyConnectionsPass() throws {
    let here = try server.get()
    try connection.script("CREATE ROLE crowded LOGIN CONNECTION LIMIT 1")
    let target = here.target(database: "postgres", user: "crowded")
    let first = try Connection(target, applicationName: "first")
    do {
      _ = try Connection(target, applicationName: "second")
      Issue.record("the limit did not hold")
    } catch {
      #expect(error.consequence == .unreachable, "\(error)")
    }
    #expect(first.isUsable)
  }

  /// After a failover the old address may be a standby: the next connection may reach the primary.
  @Test func aStandbyIsLeft() throws {
    try connection.script("SET default_transaction_read_only = on")
    do {
      try connection.execute("CREATE TABLE nothing ()")
      Issue.record("a read-only session wrote")
    } catch {
      #expect(error.sqlState == "25006")
      #expect(error.consequence == .connectionLost)
    }
  }
}
