import Foundation
import Postgres
import Synchronization
import Testing
import Topologies

@testable import Warehouse

/// What runs once at a time: refreshes of one view. Whoever waits goes on when the other one ends, or is gone.
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
}
