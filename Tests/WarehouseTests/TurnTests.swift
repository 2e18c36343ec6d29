import Foundation
import LocalServers
import Postgres
import Synchronization
import Testing
import Topologies

@testable import Warehouse

/// What runs once at a time: refreshes of one view, migrations. Whoever waits goes on when the other one ends, or is gone.
@Suite(.serialized) struct TurnTests {
  private static let reconciled =
    Fixture.yaml + "\nreconcile:\n  by-shop: { against: raw, tolerance: exact }\n  overall: { against: raw }\n"

  /// What came of something that runs beside the test, on a thread of its own: tests of the same process may keep all others busy.
  private final class Beside<R: Sendable>: Sendable {
    private let end = DispatchSemaphore(value: 0)
    private let outcome = Mutex<Result<R, any Error>?>(nil)
    init(_ body: @escaping @Sendable () throws -> R) {
      Thread.detachNewThread { [self] in
        let result = Result { try body() }
        outcome.withLock { $0 = result }
        end.signal()
      }
    }
    /// Waits for its end.
    func get() throws -> R {
      end.wait()
      defer { end.signal() }
      return try outcome.withLock { $0! }.get()
    }
  }

  private func refresh(_ fixture: Fixture, _ view: String, _ name: String) -> Beside<NightlyViews.Refresh> {
    let target = fixture.target
    return Beside { try NightlyViews(BatchSession(target: target, name: name)).refresh(view, lockWait: "5min") }
  }

  /// Waits until the session of a name waits for a lock.
  private func awaitWaiting(_ sql: Connection, _ name: String, location: SourceLocation = #_sourceLocation) throws {
    let waiting = """
      SELECT FROM pg_stat_activity WHERE application_name = '\(name)' AND datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
      """
    let end = Date(timeIntervalSinceNow: 60)
    while Date() < end, try sql.query(waiting).isEmpty { usleep(10_000) }
    try #require(!sql.query(waiting).isEmpty, "\(name) waits for nobody", sourceLocation: location)
  }

  private func runs(_ fixture: Fixture) throws -> [[String?]] {
    try fixture.rows("SELECT view_name, outcome, reason FROM tidemark.refresh ORDER BY id")
  }

  @Test func aRefreshWaitsForTheOneBeforeOfItsViewAlone() throws {
    let fixture = try Fixture("turnrefresh", yaml: Self.reconciled)
    let holder = try Connection(fixture.target, applicationName: "holder")
    // A refresh reads where the landing stands: it comes to a halt there, in its second transaction.
    try holder.script("BEGIN; LOCK TABLE tidemark.landing IN ACCESS EXCLUSIVE MODE")
    let first = refresh(fixture, "by_shop", "first")
    try awaitWaiting(fixture.sql, "first")
    try fixture.sql.script("SET lock_timeout = '100ms'")
    do {
      try fixture.sql.script("CALL tidemark.refresh_view('by_shop')")
      Issue.record("two at once")
    } catch { #expect(error.sqlState == "55P03" && error.consequence == .retry) }
    #expect(try runs(fixture) == [["by_shop", "running", nil]])
    // Of another view: it is on record, and halts where the first does.
    let other = refresh(fixture, "overall", "other")
    try awaitWaiting(fixture.sql, "other")
    #expect(try runs(fixture) == [["by_shop", "running", nil], ["overall", "running", nil]])
    let second = refresh(fixture, "by_shop", "second")
    try awaitWaiting(fixture.sql, "second")
    #expect(try runs(fixture).count == 2)
    try holder.script("COMMIT")
    for refresh in [first, other, second] { #expect(try refresh.get().isDone) }
    #expect(try fixture.rows("SELECT view_name, outcome, reason, row_count FROM tidemark.refresh ORDER BY view_name, id")
      == [["by_shop", "done", nil, "0"], ["by_shop", "done", nil, "0"], ["overall", "done", nil, "0"]])
  }

  @Test func aRefreshGoesOnWhenTheOneBeforeDies() throws {
    let fixture = try Fixture("turndies", yaml: Self.reconciled)
    let holder = try Connection(fixture.target, applicationName: "holder")
    try holder.script("BEGIN; LOCK TABLE tidemark.landing IN ACCESS EXCLUSIVE MODE")
    let first = refresh(fixture, "by_shop", "first")
    try awaitWaiting(fixture.sql, "first")
    let second = refresh(fixture, "by_shop", "second")
    try awaitWaiting(fixture.sql, "second")
    try fixture.sql.script("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'first' AND datname = current_database()")
    #expect(throws: WarehouseError.self) { try first.get() }
    try holder.script("COMMIT")
    #expect(try second.get().isDone)
    #expect(try runs(fixture) == [["by_shop", "failed", "interrupted: the session that refreshed is gone"], ["by_shop", "done", nil]])
  }

  /// Between the two transactions of a refresh another may come in: nobody fails by that, and what is on record is what was.
  @Test func manyRefreshesAtOnceAllComeToTheirEnd() throws {
    let fixture = try Fixture("turnmany", yaml: Self.reconciled)
    try fixture.sql.script("CREATE TABLE raw.all_shop PARTITION OF raw.events_shop_events FOR VALUES FROM ('2020-01-01') TO ('2030-01-01')")
    let (target, rounds) = (fixture.target, 12)
    let refreshes = (0..<4).map { n in
      Beside {
        let views = NightlyViews(BatchSession(target: target, name: "many \(n)"))
        let sql = try Connection(target, applicationName: "many \(n)")
        return try (0..<rounds).map { round in
          // Rows change in between: each refresh has something to write, over what another has written.
          try sql.script(
            """
            INSERT INTO raw.events_shop_events (topic, partition, "offset", event_time, "user", kind, shop, event_id)
            VALUES ('shop', \(n), \(round), '2024-01-01', 'u\(n)', 'k', 's', 'e\(n)-\(round)')
            """)
          return try views.refresh("by_shop", lockWait: "5min")
        }
      }
    }
    for refresh in refreshes { #expect(try refresh.get().allSatisfy(\.isDone)) }
    #expect(try fixture.rows("SELECT outcome, reason, count(*) FROM tidemark.refresh GROUP BY 1, 2") == [["done", nil, "\(4 * rounds)"]])
    #expect(try fixture.rows("SELECT n, users FROM nightly.by_shop") == [["\(4 * rounds)", "4"]])
  }

  // MARK: Migrations

  /// One that has everything but its end, and one that wants to begin: in an empty database of a server that knows no role yet, in
  /// one whose tables are older than turns, and in one that is up to date.
  @Test func aMigrationWaitsForTheOneBefore() throws {
    let own = try EphemeralPostgres()
    let topology = try Topology.parse(yaml: Self.reconciled, file: "shop.yaml")
    let sql = try Connection(own.target, applicationName: "tests")
    let target = own.target
    for (before, said) in [("", "up to date"), ("DROP TABLE tidemark.turn", "up to date"), ("SELECT 1", "up to date")] {
      if !before.isEmpty { try sql.script(before) }
      let first = try Connection(target, applicationName: "first")
      try first.script("BEGIN")
      for statement in Migration.statements([topology], seed: "1") { try first.execute(statement) }
      let second = Beside {
        let connection = try Connection(target, applicationName: "second")
        return try Migration.run([topology], on: connection) { 2 }
      }
      try awaitWaiting(sql, "second")
      #expect(try sql.query("SELECT pg_blocking_pids(pid) FROM pg_stat_activity WHERE application_name = 'second'") == [["{\(first.backend)}"]], "\(before)")
      try first.script("COMMIT")
      #expect(try second.get() == ["topology shop-events is \(said)"], "\(before)")
    }
    #expect(try sql.query("SELECT hash_seed FROM tidemark.topology") == [["1"]])
  }

  /// All begin at once; roles are there, the database is empty.
  @Test func firstMigrationsAtOnceAllSucceed() throws {
    _ = try Fixture("turnroles")
    for round in 0..<3 {
      let fixture = try Fixture("turnempty\(round)", migrated: false)
      let (target, topology) = (fixture.target, fixture.topology)
      let migrations = (0..<4).map { n in
        Beside { try Migration.run([topology], on: try Connection(target, applicationName: "migration \(n)")) { Int64(n) } }
      }
      var said: [String] = []
      for migration in migrations { said.append(try migration.get().last ?? "") }
      #expect(said.filter { $0 == "topology shop-events is new" }.count == 1 && said.filter { $0 == "topology shop-events is up to date" }.count == 3, "\(said)")
    }
  }

  /// Logins that may make roles and schemas, and nothing more; the roles are new to their server.
  @Test func aLoginThatIsNoSuperuserTakesTurnsToo() throws {
    let own = try EphemeralPostgres()
    let sql = try Connection(own.target, applicationName: "tests")
    try sql.script("CREATE DATABASE turns")
    try sql.script("CREATE ROLE migrator LOGIN CREATEROLE; GRANT CREATE ON DATABASE turns TO migrator")
    let (target, topology) = (own.target(database: "turns", user: "migrator"), try Topology.parse(yaml: Fixture.yaml, file: "shop.yaml"))
    for round in 0..<2 {
      let migrations = (0..<3).map { n in
        Beside { try Migration.run([topology], on: try Connection(target, applicationName: "migration \(n)")) { 1 } }
      }
      let said = try migrations.map { try $0.get().contains("topology shop-events is new") }
      #expect(said.filter { $0 }.count == (round == 0 ? 1 : 0))
    }
    let rows = try Connection(target, applicationName: "tests").query("SELECT rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = 'tidemark.turn'::regclass")
    #expect(rows == [["tidemark_owner"]])
  }
}
