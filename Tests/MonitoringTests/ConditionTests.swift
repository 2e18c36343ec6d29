import Aggregation
import Alerting
import Channels
import Engine
import Foundation
import LocalServers
import Postgres
import Runtime
import Testing
import Topologies
import Warehouse

/// Each alert is raised by its condition in a real PostgreSQL, received by a webhook server, said once, and resolved when the
/// condition is gone. Only the clock is the tests'.
@Suite struct ConditionTests {
  // MARK: The stream

  @Test func stale() throws {
    let m = try Monitored("stale")
    let partition = try m.acquire()[0]
    try m.flush(partition, applied: 100, end: 100, at: m.now - 10 * minute)
    m.ends[Monitored.id] = 100
    try m.pass()
    #expect(try m.received() == [], "at the end that Kafka has, a quiet topic is fresh")
    m.ends[Monitored.id] = 250
    try m.expectRaisedAndResolved("stale", saying: "for 10 minutes in 1 of 1 partitions (shop/0), expected every 1 minute; 150 events wait; owned by a") {
      try m.flush(partition, applied: 150)
    }
  }

  @Test func lagThatGrows() throws {
    let m = try Monitored("lag_growing", monitor: "monitor: { lag: { floor: 20000 } }\n")
    let partition = try m.acquire()[0]
    for step in Int64(0)...8 {
      try m.flush(partition, applied: 10)
      m.ends[Monitored.id] = 1_000 + step * 5_000
      try m.pass(minutes: step == 0 ? 0 : 1)
      #expect(try m.received() == [], "not enough history yet")
    }
    m.now += minute
    m.ends[Monitored.id] = 60_000
    try m.flush(partition, applied: 10)
    try m.expectRaisedAndResolved("lag_growing", saying: "lag grew from 990 to 59,900 events within 9 minutes") {
      try m.flush(partition, applied: 59_900)
    }
  }

  @Test func quarantineRate() throws {
    let m = try Monitored("quarantine_rate")
    let partition = try m.acquire()[0]
    m.ends[Monitored.id] = 0
    try m.flush(partition, applied: 1_000, quarantined: 10)
    try m.pass()
    #expect(try m.received() == [])
    try m.flush(partition, applied: 0, quarantined: 1)
    try m.expectRaisedAndResolved("quarantine_rate", saying: "11 of 1,011 events were refused within 15 minutes (invalid_json): 1.088 %, more than 1 %") {
      m.now += 15 * minute
    }
  }

  @Test func instancesThatFenceEachOther() throws {
    let m = try Monitored("fenced")
    m.ends[Monitored.id] = 0
    _ = try m.acquire("a")
    try m.pass()
    for turn in 0..<5 { _ = try m.acquire(turn % 2 == 0 ? "b" : "a") }
    m.now += minute
    try m.expectRaisedAndResolved("fenced_repeatedly", saying: "shop/0 5 times") { m.now += 15 * minute }
  }

  /// As an instance raises it, and as `tidemark accept-gap` ends it.
  @Test func aPartitionStoppedByAGap() throws {
    let m = try Monitored("gap")
    _ = try m.acquire()
    m.ends[Monitored.id] = 0
    try m.raise("Kafka has no offset 0 any more, its first is 500")
    try m.expectRaisedAndResolved("offset_out_of_range", saying: "its first is 500") {
      let stood = try Books(m.sql).acceptGap("shop-events", Monitored.id, to: 500, operator: "someone")
      #expect(stood == 0)
      m.ends[Monitored.id] = 500
    }
  }

  // MARK: Counts

  private func history(_ m: Monitored, _ kind: String, _ events: Int64, hours: ClosedRange<Int64> = 1...7) throws {
    for hours in hours { try m.count(kind, events, inHourBefore: m.now - hours * hour) }
  }

  @Test func eventsDown() throws {
    let m = try Monitored("events_down")
    try history(m, "buy", 6_000)
    try history(m, "view", 60_000)
    try m.count("buy", 3_000, inHourBefore: m.now)
    try m.count("view", 18_000, inHourBefore: m.now)
    try m.expectRaisedAndResolved(
      "events_down", saying: "21,000 events within an hour, 68 % fewer than the median of the last 6 hours, 66,000; most of it: view; neither lag"
    ) {
      try m.count("buy", 6_000, inHourBefore: m.now)
      try m.count("view", 60_000, inHourBefore: m.now)
    }
  }

  @Test func eventsOfOneTypeDownAgainstFourWeeks() throws {
    let m = try Monitored("events_down_type")
    for (week, refunds) in zip(Int64(1)..., [Int64(600), 1_200, 60_000, 1_200]) {
      try m.count("buy", 60_000, inHourBefore: m.now - week * 7 * 24 * hour)
      try m.count("refund", refunds, inHourBefore: m.now - week * 7 * 24 * hour)
    }
    // A history of hours would say otherwise: weeks win.
    try history(m, "refund", 60)
    try m.count("buy", 60_000, inHourBefore: m.now)
    try m.count("refund", 540, inHourBefore: m.now)
    try m.expectRaisedAndResolved("events_down refund", saying: "refund: 540 events within an hour, 55 % fewer than the median of the same hour of 4 weeks, 1,200") {
      try m.count("refund", 1_200, inHourBefore: m.now)
    }
  }

  @Test func eventsDownByTheLedgerWhereNoAggregateCountsHours() throws {
    let m = try Monitored("events_down_ledger", yaml: Monitored.yaml.replacing("tumbling: 1 minute", with: "tumbling: 1 day"))
    let partition = try m.acquire()[0]
    m.ends[Monitored.id] = 0
    for hours in (Int64(1)...5).reversed() { try m.flush(partition, applied: 1_000, at: m.now - hours * hour - 30 * minute) }
    try m.flush(partition, applied: 400, at: m.now - 10 * minute)
    try m.expectRaisedAndResolved("events_down", saying: "400 events within an hour, 60 % fewer than the median of the last 4 hours, 1,000") {
      try m.flush(partition, applied: 600)
    }
  }

  // MARK: The batch side

  /// Its tables, with what the checks read of them; where the batch side has made them, nothing is made here.
  private func batchTables(_ m: Monitored) throws {
    try m.sql.script(
      """
      CREATE TABLE IF NOT EXISTS tidemark.nightly_view (view_name text PRIMARY KEY, topology text NOT NULL, fingerprint text NOT NULL,
        definition text NOT NULL, every text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
      CREATE TABLE IF NOT EXISTS tidemark.refresh (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, view_name text NOT NULL, topology text NOT NULL,
        fingerprint text NOT NULL, started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz, outcome text NOT NULL DEFAULT 'running',
        reason text);
      CREATE TABLE IF NOT EXISTS tidemark.reconciliation_run (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topology text NOT NULL,
        fingerprint text NOT NULL, outcome text NOT NULL DEFAULT 'running', differences bigint NOT NULL DEFAULT 0, unexplained bigint NOT NULL DEFAULT 0,
        reason text);
      CREATE TABLE IF NOT EXISTS tidemark.reconciliation_difference (run bigint NOT NULL, number bigint NOT NULL, aggregate text, window_start timestamptz,
        topic text, partition integer, class text NOT NULL, is_explained boolean NOT NULL, reason text NOT NULL, PRIMARY KEY (run, number));
      """)
    for table in ["nightly_view", "refresh", "reconciliation_run", "reconciliation_difference"] {
      try m.sql.script("ALTER TABLE tidemark.\(table) OWNER TO tidemark_owner")
    }
    try m.migrate()
    try m.sql.execute("DELETE FROM tidemark.nightly_view")
    try m.sql.execute(
      "INSERT INTO tidemark.nightly_view (view_name, topology, fingerprint, definition, every, created_at) VALUES ('daily', 'shop-events', 'f', 'd', 'day', $1)",
      [.timestamp(m.now - 30 * 24 * hour)])
  }

  private func refresh(_ m: Monitored, _ outcome: String, _ reason: String? = nil, at time: Int64) throws {
    try m.sql.execute(
      "INSERT INTO tidemark.refresh (view_name, topology, fingerprint, finished_at, outcome, reason) VALUES ('daily', 'shop-events', 'f', $1, $2, $3)",
      [.timestamp(time), .text(outcome), .text(reason)])
  }

  @Test func aRefreshThatFailed() throws {
    let m = try Monitored("refresh_failed")
    try batchTables(m)
    try refresh(m, "done", at: m.now - 24 * hour)
    try refresh(m, "failed", "could not extend file: No space left on device", at: m.now)
    try m.expectRaisedAndResolved("refresh_failed", saying: "the refresh of nightly.daily failed: could not extend file") { try refresh(m, "done", at: m.now) }
  }

  @Test func aRefreshThatIsLate() throws {
    let m = try Monitored("refresh_late")
    try batchTables(m)
    try refresh(m, "done", at: m.now - 27 * hour)
    try refresh(m, "running", at: m.now)
    try m.expectRaisedAndResolved("refresh_late", saying: "1 day 3 hours ago, expected within 26 hours") { try refresh(m, "done", at: m.now) }
  }

  @Test func unexplainedDifferences() throws {
    let m = try Monitored("reconciliation")
    try batchTables(m)
    try refresh(m, "done", at: m.now)
    func run(_ outcome: String, _ differences: Int64, _ unexplained: Int64) throws -> Int64 {
      try m.sql.execute(
        "INSERT INTO tidemark.reconciliation_run (topology, fingerprint, outcome, differences, unexplained) VALUES ('shop-events', 'f', $1, $2, $3) RETURNING id",
        [.text(outcome), .integer(differences), .integer(unexplained)]).integer(0, 0)!
    }
    _ = try run("explained", 4, 0)
    try m.pass()
    #expect(try m.received() == [])
    let bad = try run("different", 4, 1)
    try m.sql.execute(
      """
      INSERT INTO tidemark.reconciliation_difference (run, number, aggregate, window_start, class, is_explained, reason)
      VALUES ($1, 1, 'shop_by_minute', '2026-03-04 05:06Z', 'row_changed', false, 'n is 3, raw events give 4')
      """, [.integer(bad)])
    try m.expectRaisedAndResolved(
      "reconciliation_difference", saying: "1 unexplained of 4 differences: shop_by_minute 2026-03-04 05:06 row_changed: n is 3, raw events give 4"
    ) { _ = try run("equal", 0, 0) }
  }

  // MARK: The database

  @Test func slowDashboardQueries() throws {
    let m = try Monitored("slow_query", monitor: "monitor: { queries: { slower_than: 1s }, freshness: off }\n")
    let before = try m.pass().assessments
    #expect(before.first { $0.kind == .slowQuery }?.verdict == .unknown("the extension pg_stat_statements is not in this database"))
    try m.sql.script("CREATE EXTENSION pg_stat_statements; GRANT pg_read_all_stats TO tidemark_writer")
    try m.count("buy", 60, inHourBefore: m.now)
    try m.pass(minutes: 1)
    // Tidemark's own statements, and those of other tables, are nobody's dashboard.
    try m.sql.script("SET ROLE tidemark_writer; SELECT count(*), pg_sleep(1.1) FROM analytics.shop_by_minute; RESET ROLE")
    _ = try m.sql.query("SELECT count(*), pg_sleep(1.1) FROM tidemark.alert")
    try m.pass(minutes: 1)
    #expect(try m.received() == [])
    _ = try m.sql.query("/* board */ SELECT count(*), pg_sleep(1.1) FROM analytics.shop_by_minute WHERE kind <> 'secret literal'")
    // Without the comment: since PostgreSQL 18 it is not kept.
    let id = try #require(m.sql.query("SELECT queryid FROM pg_stat_statements WHERE query LIKE '%pg_sleep%shop_by_minute WHERE kind <>%'").first?[0])
    m.now += minute
    try m.expectRaisedAndResolved("slow_query postgres \(id)", saying: "takes 1.1 s on average (1 calls within 10 minutes, expected under 1 second)") {
      #expect(!m.lastMessage.contains("secret literal"))
      m.now += 10 * minute
    }
  }

  /// An entry that is reset, or evicted, while its statement runs comes back with the text as it was sent, constants and all.
  @Test func constantsOfAStatementStayInTheDatabase() throws {
    let m = try Monitored("slow_query_secret", monitor: "monitor: { queries: { slower_than: 1s }, freshness: off }\n")
    try m.sql.script("CREATE EXTENSION pg_stat_statements; GRANT pg_read_all_stats TO tidemark_writer; SELECT pg_advisory_lock(1)")
    try m.count("buy", 60, inHourBefore: m.now)
    try m.pass()
    let target = m.target
    // A thread of its own: a task would wait for one of the few that all tests share.
    Thread {
      _ = try? Connection(target, applicationName: "dashboard").execute(
        "SELECT count(*), pg_advisory_lock_shared(1) FROM analytics.shop_by_minute WHERE kind <> 'secret literal' AND n <> 4711")
    }.start()
    func awaitRows(_ query: String) throws -> [[String?]] {
      let end = ContinuousClock.now + .seconds(60)
      while ContinuousClock.now < end {
        let rows = try m.sql.query(query)
        if !rows.isEmpty { return rows }
        usleep(10_000)
      }
      throw RunError(.again, "no row within a minute: \(query)")
    }
    let waiting = "SELECT FROM pg_stat_activity WHERE application_name = 'dashboard' AND datname = current_database() AND wait_event_type = 'Lock'"
    _ = try awaitRows(waiting)
    _ = try m.sql.query("SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()")
    _ = try awaitRows(waiting + " AND clock_timestamp() - query_start > interval '1.1 s'")
    _ = try m.sql.query("SELECT pg_advisory_unlock(1)")
    let stored = try awaitRows("SELECT query FROM pg_stat_statements WHERE query LIKE '%pg_advisory_lock_shared%' AND query LIKE 'SELECT count%'")
    #expect(stored.count == 1 && stored[0][0]?.contains("'secret literal'") == true, "PostgreSQL has the text as it was sent: \(stored)")
    try m.pass(minutes: 1)
    #expect(try m.received().count == 1)
    #expect(m.lastMessage.contains("WHERE kind <> ? AND n <> ?"), "\(m.lastMessage)")
  }

  private func grow(_ m: Monitored, megabytes: Int) throws {
    try m.sql.script("CREATE TABLE raw.ballast AS SELECT repeat('x', 1000) AS x FROM generate_series(1, \(megabytes * 1000)) ")
  }

  @Test func storageThatGrows() throws {
    let m = try Monitored("storage_growth", monitor: "monitor: { storage: { growth: 50 %, floor: 5 MB } }\n")
    try m.pass()
    try grow(m, megabytes: 20)
    m.now += 24 * hour
    try m.expectRaisedAndResolved("storage_growth", saying: "within 1 day, from") { try m.sql.script("DROP TABLE raw.ballast") }
  }

  @Test func storageThatWillBeFull() throws {
    let m = try Monitored("storage_full", monitor: "monitor: { storage: { capacity: 60 MB } }\n")
    try m.pass()
    try grow(m, megabytes: 10)
    m.now += 24 * hour
    try m.expectRaisedAndResolved("storage_full", saying: "of 57.2 MiB and grew by") { try m.sql.script("DROP TABLE raw.ballast") }
  }
}
