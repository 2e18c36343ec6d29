import Aggregation
import Foundation
import LocalServers
import Postgres
import Testing
import Topologies
import Warehouse

/// Views that the migration makes, and their refreshes.
@Suite(.serialized) struct NightlyTests {
  private static let reconciled =
    Fixture.yaml + "\nreconcile:\n  by-shop: { against: raw, tolerance: exact }\n  overall: { against: raw }\n"

  private func views(_ fixture: Fixture) -> NightlyViews { NightlyViews(BatchSession(target: fixture.target, name: "tests")) }

  @Test func kpisComeFromTheOperationalTablesAndTheStream() throws {
    let fixture = try Fixture("kpi", migrated: false)
    try fixture.sql.script(
      """
      CREATE TABLE public.users (id int, created_at timestamptz);
      CREATE TABLE public.subscriptions (id int, status text, amount_cents bigint);
      INSERT INTO public.users VALUES (1, now() - interval '29 days'), (2, now()), (3, now() - interval '31 days');
      INSERT INTO public.subscriptions VALUES (1, 'active', 990), (2, 'active', 1990), (3, 'canceled', 5000)
      """)
    try fixture.migrate()
    try fixture.sql.script("INSERT INTO analytics.overall (window_start, dau) VALUES (now(), 42), (now() - interval '1 day', 50)")
    #expect(try views(fixture).all(topology: nil).map { [$0.name, $0.topology, $0.every] } == [["kpi_snapshot", "shop-events", "hour"]])
    #expect(try views(fixture).refresh("kpi_snapshot", lockWait: "1s").isDone)
    #expect(try fixture.rows("SELECT mrr_cents, new_users_30d, dau FROM analytics.kpi_snapshot") == [["2980", "2", "42"]])
    // Concurrently from the second time on.
    try fixture.sql.script("UPDATE public.subscriptions SET status = 'active'")
    #expect(try views(fixture).refresh("kpi_snapshot", lockWait: "1s").isDone)
    #expect(try fixture.rows("SELECT mrr_cents FROM analytics.kpi_snapshot") == [["7980"]])
    try fixture.migrate()
    #expect(try fixture.rows("SELECT mrr_cents FROM analytics.kpi_snapshot") == [["7980"]])
    // Revenue is nobody's who was not granted it.
    try fixture.sql.script("SET ROLE tidemark_reader")
    for forbidden in ["SELECT * FROM analytics.kpi_snapshot", "SELECT * FROM nightly.kpi_snapshot"] {
      #expect(throws: PostgresError.self) { try fixture.sql.script(forbidden) }
    }
  }

  @Test func withoutOperationalTablesThereIsNoSnapshot() throws {
    let fixture = try Fixture("nokpi")
    #expect(try fixture.rows("SELECT to_regclass('analytics.kpi_snapshot') IS NULL AND to_regclass('nightly.kpi_snapshot') IS NULL") == [["t"]])
  }

  /// The view is what the same events give by hand: first copy of an id, days of the zone, sums and filters as stated.
  @Test func aViewFollowsItsDefinition() throws {
    let yaml = Self.reconciled.replacing("zone: UTC", with: "zone: Europe/Berlin").replacing(
      "by: [shop, kind]", with: "by: [shop, kind]\n    where: { kind: { not: [test] }, price: [\"1.25\", \"2.50\"] }")
    let fixture = try Fixture("viewdef", yaml: yaml)
    try fixture.sql.script(
      """
      CREATE TABLE raw.all_shop PARTITION OF raw.events_shop_events FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
      INSERT INTO raw.events_shop_events (topic, partition, "offset", event_time, "user", kind, shop, amount, price, event_id) VALUES
        ('shop', 0, 1, '2024-03-31 00:30Z', 'a', 'k', 's', 5, 1.25, 'x'), ('shop', 0, 2, '2024-03-31 00:40Z', 'b', 'k', 's', 7, 2.5, 'y'),
        ('shop', 0, 3, '2024-03-31 00:50Z', 'b', 'k', 's', 100, 2.5, 'y'), ('shop', 1, 3, '2024-03-31 00:50Z', 'c', 'k', 's', NULL, 2.5, 'y'),
        ('shop', 0, 4, '2024-03-31 00:55Z', 'a', 'test', 's', 5, 1.25, 'z'), ('shop', 0, 5, '2024-03-31 00:55Z', 'a', 'k', 's', 5, NULL, 'w'),
        ('shop', 0, 6, '2024-03-31 22:30Z', 'd', 'k', 's', 5, 3, 'v')
      """)
    for view in try views(fixture).all(topology: "shop-events") { #expect(try views(fixture).refresh(view.name, lockWait: "1s").isDone) }
    #expect(
      try fixture.rows("SELECT window_start AT TIME ZONE 'UTC', shop, kind, n, users, total, low, high, mean_sum, mean_count FROM nightly.by_shop")
        == [["2024-03-31 00:00:00", "s", "k", "3", "3", "12", "1.25", "7", "6.25", "3"]])
    // Days in Berlin: one of 23 hours, then the next.
    #expect(
      try fixture.rows("SELECT window_start AT TIME ZONE 'UTC', dau FROM nightly.overall ORDER BY 1")
        == [["2024-03-30 23:00:00", "3"], ["2024-03-31 22:00:00", "1"]])
  }

  /// Days and runs of days begin in SQL where they begin in the stream: also where a midnight comes twice (Havana, the Azores), never
  /// (Cairo, São Paulo), or with a whole day missing (Samoa).
  @Test(arguments: [
    "Europe/Berlin", "America/Havana", "Atlantic/Azores", "Africa/Cairo", "America/Sao_Paulo", "America/Asuncion", "Asia/Beirut",
    "Asia/Amman", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu",
  ]) func daysBeginWhereTheStreamsDo(_ zone: String) throws {
    let sql = try Connection(try server.get().target, applicationName: "tests")
    for length in ["1 day", "7 days"] {
      let yaml = Self.reconciled.replacing("zone: UTC", with: "zone: \(zone)").replacing("tumbling: 1 day", with: "tumbling: \(length)")
      let topology = try Topology.parse(yaml: yaml, file: "shop.yaml")
      let batch = try #require(topology.batchAggregates().first { $0.name == "overall" })
      let window = try #require(topology.plan().aggregates.first { $0.name == "overall" }).window
      let rows = try sql.execute(
        """
        SELECT w, min(t), max(t), \(batch.windowEnd(of: "w")) FROM (
          SELECT t, \(batch.windowStart(of: "t")) AS w FROM generate_series('2006-01-01Z'::timestamptz, '2013-01-01Z', '30 minutes') t
          UNION ALL SELECT t, \(batch.windowStart(of: "t")) FROM generate_series('2023-01-01Z'::timestamptz, '2025-01-01Z', '30 minutes') t) x
         GROUP BY 1 ORDER BY 1
        """)
      #expect(rows.count > 400)
      for row in 0..<rows.count {
        let starts = (1...2).map { window.window(at: EventTime(microseconds: rows.timestamp(row, $0)!)) }
        let start = rows.timestamp(row, 0)!, end = rows.timestamp(row, 3)!
        if starts.contains(where: { $0.start.microseconds != start }) || starts[0].end.microseconds != end {
          Issue.record("\(zone), \(length): \(start)..<\(end) in SQL, \(starts) in the stream")
          break
        }
      }
    }
  }

  @Test func aViewOfAnotherDefinitionIsMadeAnew() throws {
    let fixture = try Fixture("viewnew", yaml: Self.reconciled)
    #expect(try views(fixture).refresh("by_shop", lockWait: "1s").isDone)
    try fixture.migrate()
    #expect(try fixture.rows("SELECT relispopulated FROM pg_class WHERE oid = 'nightly.by_shop'::regclass") == [["t"]])
    let changed = try Topology.parse(yaml: Self.reconciled.replacing("by: [shop, kind]", with: "by: [shop, kind]\n    where: { kind: [k] }"), file: "shop.yaml")
    _ = try Migration.run([changed], on: fixture.sql) { 1 }
    #expect(try fixture.rows("SELECT relispopulated FROM pg_class WHERE oid = 'nightly.by_shop'::regclass") == [["f"]])
    let without = try Topology.parse(yaml: Fixture.yaml, file: "shop.yaml")
    _ = try Migration.run([without], on: fixture.sql) { 1 }
    #expect(try fixture.rows("SELECT to_regclass('nightly.by_shop') IS NULL, count(*) FROM tidemark.nightly_view") == [["t", "0"]])
  }

  static let hasPgCron = FileManager.default.fileExists(atPath: "/usr/share/postgresql/15/extension/pg_cron.control")

  @Test(.enabled(if: hasPgCron, "the package postgresql-15-cron is not installed"))
  func pgCronRefreshesTheViews() throws {
    let own = try EphemeralPostgres()
    try Connection(own.target, applicationName: "tests").script("ALTER SYSTEM SET shared_preload_libraries = 'pg_cron'")
    try own.stop(immediately: false)
    try own.start()
    let sql = try Connection(own.target, applicationName: "tests")
    let topology = try Topology.parse(yaml: Self.reconciled, file: "shop.yaml")
    _ = try Migration.run([topology], on: sql) { 1 }
    #expect(try NightlySchedule.install(on: sql)[0].contains("CREATE EXTENSION pg_cron"))
    try sql.script("CREATE EXTENSION pg_cron")
    for _ in 0..<2 { #expect(try NightlySchedule.install(on: sql).count == 5) }
    #expect(
      try sql.query("SELECT jobname, schedule FROM cron.job ORDER BY 1")
        == [["tidemark nightly.by_shop", "0 2 * * *"], ["tidemark nightly.overall", "0 2 * * *"], ["tidemark roll-up", "0 4 * * *"]])
    try sql.script("UPDATE cron.job SET schedule = '* * * * *', nodename = '127.0.0.1', nodeport = \(own.port) WHERE jobname LIKE '%overall' OR jobname LIKE '%roll-up'")
    let end = Date(timeIntervalSinceNow: 130)
    let done = "SELECT FROM tidemark.refresh, cron.job_run_details WHERE view_name = 'overall' AND outcome = 'done' AND command LIKE '%roll_up%' AND status = 'succeeded'"
    while Date() < end, try sql.query(done).isEmpty { try sql.script("SELECT pg_sleep(1)") }
    let runs = try sql.query("SELECT status, return_message FROM cron.job_run_details")
    #expect(try !sql.query(done).isEmpty, "\(runs)")
  }
}
