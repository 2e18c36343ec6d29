import Foundation
import LocalServers
import Postgres
import Testing

/// The batch side proves the stream: whole runs of the built command over real servers.
@Suite(.serialized) struct ReconciliationTests {
  struct Report: Decodable {
    struct Row: Decodable {
      var window: String, key: [String], stream: [String: String?]?, batch: [String: String?]?, classes: [String], isExplained: Bool
      var isRepaired: Bool, reason: String, evidence: [String]
    }
    struct Aggregate: Decodable {
      var table: String, windows: Int, openWindows: Int, rows: Int, differenceCount: Int, unexplained: Int, repaired: Int, pending: Int
      var classes: [String: Int], sealedThrough: String?, differences: [Row]
    }
    struct Finding: Decodable { var topic: String, partition: Int, from: Int, to: Int, kind: String, isExplained: Bool, reason: String }
    var run: Int, outcome: String, completeThrough: String?, aggregates: [Aggregate], books: [Finding]

    func rows(_ table: String) -> [Row] { aggregates.first { $0.table == table }?.differences ?? [] }
    var differences: Int { aggregates.reduce(0) { $0 + $1.differenceCount } }
  }

  static func report(_ text: String) throws -> Report { try #require(JSONDecoder().decode([Report].self, from: Data(text.utf8)).first) }

  private func reconcile(_ world: World, _ more: String..., code: Int32, location: SourceLocation = #_sourceLocation) throws -> Report {
    let ended = try TidemarkProcess(["reconcile", "--format", "json", "--limit", "100000"] + more, world: world).wait()
    #expect(ended.code == code, "\(ended.messages)\(ended.output.prefix(2000))", sourceLocation: location)
    return try Self.report(ended.output)
  }

  private func consume(_ world: World, _ topology: String) throws {
    let land = try TidemarkProcess(["land", "--topology", topology, "--until-caught-up"], world: world, name: "land")
    let run = try world.instance("a", topology, "--until-caught-up").wait()
    #expect(run.code == 0, "\(run.messages)")
    let landed = land.wait()
    #expect(landed.code == 0, "\(landed.messages)")
  }

  // MARK: Real events

  @Test(.enabled(if: GitActivity.file != nil, "the real events are not at hand"))
  func realEventsHaveNoDifference() throws {
    let world = try World("reconcile-git", partitions: 8)
    let topology = Repository.topology("git-activity")
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("replay", GitActivity.file!, "--topic", "git.activity", "--key", "user_id")
    try consume(world, topology)
    let report = try Self.report(try world.tidemark("nightly", "--format", "json").output)
    #expect(report.outcome == "equal" && report.books.isEmpty && report.differences == 0)
    #expect(report.aggregates.map(\.table) == ["activity_daily", "activity_hourly", "people_daily"])
    #expect(report.aggregates.map(\.windows) == [4853, 63_006, 4853] && report.aggregates.map(\.rows) == [31_553, 143_550, 4853])
    #expect(try world.rows("SELECT count(*) FROM raw.events") == [["\(GitActivity.count)"]])
    #expect(try world.rows("SELECT view_name, outcome, row_count FROM tidemark.refresh ORDER BY 1")
      == [["activity_daily", "done", "31553"], ["activity_hourly", "done", "143550"], ["people_daily", "done", "4853"]])
  }

  /// Allowed lateness of a day makes a tenth of the events late: each difference is explained by them, to the row, and can be
  /// repaired once.
  @Test(.enabled(if: GitActivity.file != nil, "the real events are not at hand"))
  func lateEventsExplainEveryDifferenceAndRepairsStand() throws {
    let world = try World("reconcile-late", partitions: 8)
    let topology = try GitActivity.topology(lateness: "1 day", in: world)
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("replay", GitActivity.file!, "--topic", "git.activity", "--key", "user_id")
    try consume(world, topology)
    try world.tidemark("nightly", "--refresh-only")
    let found = try reconcile(world, code: 3)
    #expect(found.outcome == "explained" && found.books.isEmpty && found.differences > 20_000)
    var closed = 0
    for row in found.rows("activity_daily") + found.rows("activity_hourly") {
      #expect(row.classes == ["late"])
      let counts = [row.stream, row.batch].map { Int(($0?["event_count"] ?? "0") ?? "0")! }
      let late = try #require(Int(row.reason.split(separator: " ")[0]))
      #expect(counts[1] - counts[0] == late && row.evidence.count == min(late, 20), "\(row)")
      closed += 1
    }
    #expect(closed > 20_000)
    // What is stored is what was told, with offsets that lie in quarantine.
    #expect(
      try world.rows(
        """
        SELECT count(*), bool_and(is_explained) FROM tidemark.reconciliation_difference WHERE run = \(found.run)
        """) == [["\(found.differences)", "t"]])
    #expect(
      try world.rows(
        """
        SELECT count(*) FROM (SELECT unnest(evidence) AS e FROM tidemark.reconciliation_difference WHERE run = \(found.run) LIMIT 5000) x
         WHERE NOT EXISTS (SELECT FROM tidemark.quarantine q WHERE 'late ' || q.topic || '/' || q.partition || '@' || q."offset" = e AND reason = 'late')
        """) == [["0"]])
    _ = try reconcile(world, "--accept", "explained", code: 0)
    let old = try world.rows("SELECT md5(string_agg(x.t::text, '' ORDER BY x.t)) FROM (SELECT to_jsonb(t) - 'updated_at' AS t FROM analytics.activity_daily t) x")
    let repaired = try reconcile(world, "--repair", code: 0)
    #expect(repaired.aggregates.reduce(0) { $0 + $1.repaired } == found.differences)
    // The audit holds what was there: undone, the table is what it was.
    #expect(
      try world.rows(
        """
        SELECT md5(string_agg(x.t::text, '' ORDER BY x.t)) FROM (
          SELECT to_jsonb(t) - 'updated_at' AS t FROM analytics.activity_daily t WHERE NOT EXISTS (SELECT FROM tidemark.reconciliation_repair r
             WHERE r.aggregate = 'activity_daily' AND r.window_start = t.window_start AND r.key = ARRAY[t.department, t.event_type])
          UNION ALL SELECT old_row - 'updated_at' FROM tidemark.reconciliation_repair WHERE aggregate = 'activity_daily' AND old_row IS NOT NULL) x
        """) == old)
    let again = try reconcile(world, "--repair", code: 0)
    #expect(again.outcome == "equal" && again.aggregates.allSatisfy { $0.repaired == 0 && $0.differenceCount == 0 })
    #expect(try world.rows("SELECT count(*) FROM tidemark.reconciliation_repair") == [["\(found.differences)"]])
    #expect(
      try world.rows("SELECT bool_and(sealed_through > '2026-08-20' AND sealed_through <= complete_through) FROM analytics.freshness") == [["t"]])
  }

  // MARK: Sabotage

  /// One world, every fault planted, repaired once; each sabotage happens to a copy of its database.
  @Test func everySabotageIsFoundAndNamed() throws {
    let world = try World("sabotage", partitions: 4)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    func generate(_ seed: Int, _ start: String) throws {
      try world.tidemark(
        "generate", "--topic", "product.events", "--topology", topology, "--events", "30000", "--users", "2000", "--seed", "\(seed)", "--start", start,
        "--invalid", "0.01", "--far-future", "0.01", "--duplicates", "0.02", "--tombstones", "0.01", "--late", "0.01", "--span", "5 days",
        "--payload-bytes", "0")
    }
    try generate(1, "2024-06-01T00:00:00Z")
    try consume(world, topology)
    try world.tidemark("nightly", "--limit", "0", code: 3)
    let repaired = try reconcile(world, "--repair", code: 0)
    #expect(repaired.aggregates.reduce(0) { $0 + $1.repaired } > 100)

    try inCopy(world, "row", "UPDATE analytics.daily_metrics SET event_count = event_count + 3 WHERE \(Self.row)", refreshing: false) { report, _ in
      #expect(report.books.isEmpty && report.differences == 1)
      let row = report.rows("daily_metrics")[0]
      #expect(row.classes == ["unexplained"] && row.window == "2024-06-02T00:00:00Z" && row.key == ["sales", "click"] && !row.evidence.isEmpty)
    }
    // The landing is far behind, but with events of other days: nothing that it lacks can be in the row.
    try inCopy(
      world, "behind",
      """
      WITH behind AS (
        INSERT INTO tidemark.ledger (topology, topic, partition, from_offset, to_offset, applied, filtered, duplicate, late, quarantined, gap, tombstones,
          misrouted, quarantine_omitted, watermark_before, watermark_after, earliest, latest, epoch, instance)
        SELECT topology, topic, partition, next_offset, next_offset + 5000, 5000, 0, 0, 0, 0, 0, 0, 0, 0, watermark, watermark, '2024-06-05Z',
          '2024-06-05 01:00Z', epoch, 'ahead' FROM tidemark.partition WHERE partition = 0 RETURNING topology),
      moved AS (UPDATE tidemark.partition SET next_offset = next_offset + 5000 WHERE partition = 0 AND EXISTS (SELECT FROM behind))
      UPDATE analytics.daily_metrics SET event_count = event_count + 3 WHERE \(Self.row)
      """, refreshing: false
    ) { report, _ in
      let row = try #require(report.rows("daily_metrics").first { $0.key == ["sales", "click"] && $0.window == "2024-06-02T00:00:00Z" })
      #expect(report.books.isEmpty && row.classes == ["unexplained"], "\(row)")
    }
    let deleted = try #require(try world.rows("SELECT partition, \"offset\" FROM raw.events_product_events e WHERE \(Self.event) LIMIT 1").first)
    try inCopy(world, "raw", "DELETE FROM raw.events_product_events WHERE (partition, \"offset\") = (\(deleted[0]!), \(deleted[1]!))") { report, _ in
      #expect(report.books.map(\.kind) == ["raw_missing"] && report.books[0].partition == Int(deleted[0]!) && report.books[0].from == Int(deleted[1]!))
      let row = try #require(report.rows("daily_metrics").first)
      #expect(row.classes == ["missing_offsets"] && row.key == ["sales", "click"] && row.evidence == ["missing_offsets product.events/\(deleted[0]!)@\(deleted[1]!)"])
    }
    let range = try world.rows("SELECT partition, from_offset, to_offset FROM tidemark.ledger ORDER BY partition, from_offset LIMIT 1")[0].map { Int($0!)! }
    let ledgerRow = "(partition, from_offset) = (\(range[0]), \(range[1]))"
    try inCopy(
      world, "ledgerdelete",
      "WITH w AS (DELETE FROM tidemark.sealed_window), s AS (DELETE FROM tidemark.sealed) DELETE FROM tidemark.ledger WHERE \(ledgerRow)", refreshing: false
    ) { report, _ in
      #expect(report.aggregates.allSatisfy { $0.sealedThrough == nil }, "rows that are equal prove nothing while the books do not add up")
      #expect(report.books.map { "\($0.kind) \($0.partition) \($0.from) \($0.to)" } == ["ledger_hole \(range[0]) \(range[1]) \(range[2])"])
      #expect(report.differences == 0)
    }
    try inCopy(world, "ledgeralter", "UPDATE tidemark.ledger SET applied = applied - 5, duplicate = duplicate + 5 WHERE \(ledgerRow)", refreshing: false) {
      report, _ in
      #expect(report.books.map { "\($0.kind) \($0.partition) \($0.from) \($0.to)" } == ["ledger_buckets \(range[0]) \(range[1]) \(range[2])"])
    }
    try inCopy(
      world, "duplicate",
      """
      INSERT INTO raw.events_product_events SELECT topic, partition, "offset" + 1000000, event_time, record_time, key, event_type, user_id, department,
        amount_cents, event_id, payload FROM raw.events_product_events e WHERE \(Self.event) LIMIT 1
      """
    ) { report, _ in
      #expect(report.books.map(\.kind) == ["raw_duplicate"] && report.books[0].from > 1_000_000)
      #expect(report.differences == 0, "the view counts an id once")
    }
    try inCopy(
      world, "foreign",
      """
      INSERT INTO raw.events_product_events SELECT topic, partition, "offset" + 1000000, event_time, record_time, key, event_type, user_id, department,
        amount_cents, 'forged', payload FROM raw.events_product_events e WHERE \(Self.event) LIMIT 1
      """
    ) { report, _ in
      #expect(report.books.map(\.kind) == ["raw_foreign"])
      let row = try #require(report.rows("daily_metrics").first)
      #expect(row.classes == ["raw_foreign"] && row.key == ["sales", "click"] && row.evidence[0].hasPrefix("raw_foreign product.events/"))
    }

    // Two that show once the stream goes on.
    try inCopy(world, "forward", "UPDATE tidemark.partition SET next_offset = next_offset + 40 WHERE partition = 1", checking: false) { _, target in
      let from = try #require(Int(try world.rows("SELECT max(to_offset) FROM tidemark.ledger WHERE partition = 1")[0][0]!))
      try generate(2, "2024-06-06T00:00:00Z")
      for command in [["land", "--topology", topology, "--until-caught-up"], ["run", "--topology", topology, "--until-caught-up", "--data-dir", world.directory.path + "/forward", "--instance", "f"]] {
        let ended = try TidemarkProcess(command + ["--postgres", target], world: world).wait()
        #expect(ended.code == 0, "\(ended.messages)")
      }
      let stale = try self.checked(world, target, refreshing: false)
      #expect(stale.aggregates[0].classes.keys.contains { $0.contains("view_stale") })
      #expect(stale.books.map { "\($0.kind) \($0.partition) \($0.from) \($0.to)" } == ["ledger_hole 1 \(from) \(from + 40)"])
      let refreshed = try self.checked(world, target, refreshing: true)
      let rows = refreshed.rows("daily_metrics").filter { $0.classes.contains("missing_offsets") }
      #expect(!rows.isEmpty && refreshed.aggregates.allSatisfy { $0.unexplained == 0 })
      let offsets = rows.flatMap(\.evidence).filter { $0.hasPrefix("missing_offsets product.events/1@") }.compactMap { Int($0.split(separator: "@")[1]) }
      #expect(!offsets.isEmpty && offsets.allSatisfy { (from..<(from + 40)).contains($0) })
      #expect(!refreshed.aggregates[0].classes.keys.contains { $0.contains("view_stale") })
    }
  }

  private static let row = "(window_start, department, event_type) = ('2024-06-02Z', 'sales', 'click')"
  /// A landed event of that row, without a copy.
  private static let event = """
    event_time >= '2024-06-02Z' AND event_time < '2024-06-03Z' AND department = 'sales' AND event_type = 'click'
      AND NOT EXISTS (SELECT FROM raw.events_product_events o WHERE o.event_id = e.event_id AND o."offset" <> e."offset")
      AND NOT EXISTS (SELECT FROM tidemark.quarantine q WHERE (q.partition, q."offset") = (e.partition, e."offset"))
    """

  private func inCopy(
    _ world: World, _ name: String, _ sql: String, refreshing: Bool = true, checking: Bool = true, _ body: (Report, String) throws -> Void
  ) throws {
    let copy = "sabotage_\(name)"
    try Connection(world.server.target, applicationName: "tests").script("CREATE DATABASE \(copy) TEMPLATE \(world.database)")
    let target = world.server.target(database: copy, user: "postgres")
    let affected = try Connection(target, applicationName: "tests").execute(sql).affected
    #expect(affected == 1, "\(name)")
    try body(checking ? try checked(world, target, refreshing: refreshing) : try Self.empty(), target)
  }

  private static func empty() throws -> Report { try report(#"[{"run":0,"outcome":"","aggregates":[],"books":[]}]"#) }

  private func checked(_ world: World, _ target: String, refreshing: Bool) throws -> Report {
    let command = refreshing ? "nightly" : "reconcile"
    let ended = try TidemarkProcess([command, "--format", "json", "--limit", "100000", "--accept", "explained", "--postgres", target], world: world).wait()
    #expect(ended.code == 3, "\(ended.messages)")
    return try Self.report(ended.output)
  }
}
