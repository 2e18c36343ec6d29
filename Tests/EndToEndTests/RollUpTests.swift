import Foundation
import LocalServers
import Postgres
import Testing

/// A ledger that is rolled up proves the same as one that is not.
@Suite(.serialized) struct RollUpTests {
  /// Late, duplicate, refused events and a takeover. Times of flushes are moved into the past: that is
  /// what decides.
  @Test func reconciliationFindsInARolledUpLedgerWhatItFoundBefore() throws {
    let world = try World("rolledup", partitions: 2)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    let instance = try world.instance("a", topology, "--flush-interval", "50ms")
    for day in 1...5 {
      let flushes = world.flushes(of: "a")
      try world.tidemark(
        "generate", "--topic", "product.events", "--topology", topology, "--events", "4000", "--users", "1000", "--seed", "\(day)", "--start",
        "2024-06-0\(day)T00:00:00Z", "--invalid", "0.01", "--far-future", "0.01", "--duplicates", "0.02", "--tombstones", "0.01", "--late", "0.01",
        "--span", "1 day", "--payload-bytes", "0")
      try #require(awaitTrue { world.flushes(of: "a") >= flushes + 2 }, "\(instance.messages)")
    }
    instance.send(SIGTERM)
    #expect(instance.wait().code == 0)
    // A takeover: what another has flushed stays apart.
    #expect(try world.instance("b", topology, "--until-caught-up").wait().code == 0)
    try world.tidemark("land", "--topology", topology, "--until-caught-up")
    let sql = try Connection(world.target, applicationName: "tests")
    let flushes = try #require(Int(try world.rows("SELECT count(*) FROM tidemark.ledger")[0][0]!))
    try #require(flushes >= 10)
    let before = try world.results(["daily_metrics", "daily_active_users", "events_per_minute"])
    // What is found before, with all that is found explained; then the ledger is of five days ago.
    let young = try ReconciliationTests.report(try world.tidemark("nightly", "--format", "json", "--limit", "100000", code: 3).output)
    #expect(young.books.isEmpty && young.differences > 0)
    #expect(try world.rows("SELECT count(*) FROM tidemark.ledger WHERE flushes > 1") == [["0"]], "flushes of today stay")
    try sql.script("UPDATE tidemark.ledger SET flushed_at = date_trunc('hour', now() - interval '5 days') + (flushed_at - (SELECT min(flushed_at) FROM tidemark.ledger))")
    let nightly = try world.tidemark("nightly", "--format", "json", "--limit", "100000", code: 3)
    #expect(nightly.messages.contains("rows became"), "\(nightly.messages)")
    let rows = try world.rows("SELECT count(*), sum(flushes) FROM tidemark.ledger")[0].map { Int($0!)! }
    #expect(rows[0] < flushes && rows[1] == flushes, "\(rows) of \(flushes)")
    #expect(try world.results(["daily_metrics", "daily_active_users", "events_per_minute"]) == before)
    try world.expectUnbrokenLedger()

    // The same differences, with the same reasons and the same evidence, and no fault in the books.
    let old = try ReconciliationTests.report(try world.tidemark("reconcile", "--format", "json", "--limit", "100000", code: 3).output)
    #expect(old.books.isEmpty)
    func said(_ report: ReconciliationTests.Report) -> [String] {
      report.aggregates.flatMap { aggregate in aggregate.differences.map { "\(aggregate.table) \($0.window) \($0.key) \($0.classes) \($0.reason) \($0.evidence)" } }.sorted()
    }
    #expect(said(old) == said(young))

    // A merged row that was altered is found, named, and kept as it is.
    try sql.script(
      """
      UPDATE tidemark.ledger SET applied = applied - 5, duplicate = duplicate + 5
       WHERE from_offset = (SELECT min(from_offset) FROM tidemark.ledger WHERE partition = 1 AND flushes > 1) AND partition = 1
      """)
    let altered = try ReconciliationTests.report(try world.tidemark("nightly", "--format", "json", "--limit", "0", code: 3).output)
    #expect(altered.books.map { "\($0.kind) \($0.partition)" } == ["ledger_buckets 1"])
    let held = try world.tidemark("nightly", "--roll-up-only")
    #expect(held.messages.contains("the ledger of product-events product.events/1 is not rolled up: the last reconciliation found its ledger wrong"), "\(held.messages)")
  }

  /// The landing's ledger, of two instances, with holes, refused events, many batches. Then landed events are tampered with: what is found is the same with a ledger of batches and with one of hours.
  @Test func aLandingLedgerThatIsRolledUpProvesTheSame() throws {
    let world = try World("landingrolledup", partitions: 2)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    for round in 1...2 {
      // Landed while they come: many batches.
      let landing = try TidemarkProcess(
        ["land", "--topology", topology, "--instance", "l\(round)", "--flush-interval", "50ms", "--kafka-set", "session.timeout.ms=6000"], world: world)
      #expect(landing.says("landing product.events/0, product.events/1"), "\(landing.messages)")
      try world.tidemark(
        "generate", "--topic", "product.events", "--topology", topology, "--events", "8000", "--users", "1000", "--seed", "\(round)", "--start",
        "2024-06-0\(round)T00:00:00Z", "--invalid", "0.01", "--duplicates", "0.02", "--tombstones", "0.02", "--late", "0.01", "--span", "1 day", "--payload-bytes", "0",
        "--rate", "1000")
      #expect(awaitTrue { (try? world.rows("SELECT sum(next_offset) FROM tidemark.landing")) == [["\(round * 8000)"]] }, "\(landing.messages)")
      landing.send(SIGTERM)
      #expect(landing.wait().code == 0)
    }
    #expect(try world.instance("a", topology, "--until-caught-up").wait().code == 0)
    let sql = try Connection(world.target, applicationName: "tests")
    try sql.script(
      """
      UPDATE tidemark.landing_ledger SET landed_at = landed_at - interval '5 days';
      UPDATE raw.events_product_events SET landed_at = landed_at - interval '5 days'
      """)
    func report(_ command: String..., code: Int32 = 3) throws -> ReconciliationTests.Report {
      let ended = try TidemarkProcess(command + ["--format", "json", "--limit", "100000"], world: world).wait()
      #expect(ended.code == code, "\(ended.messages)")
      return try ReconciliationTests.report(ended.output)
    }
    func said(_ report: ReconciliationTests.Report) -> [String] {
      report.aggregates.flatMap { aggregate in aggregate.differences.map { "\(aggregate.table) \($0.window) \($0.key) \($0.classes) \($0.reason) \($0.evidence)" } }.sorted()
        + report.books.map { "\($0.kind) \($0.partition) \($0.from) \($0.to) \($0.reason)" }
    }
    func count() throws -> [Int] { try world.rows("SELECT count(*), sum(batches), sum(landed) FROM tidemark.landing_ledger")[0].map { Int($0!)! } }

    let whole = try count()
    #expect(whole[0] > 20 && whole[1] == whole[0], "\(whole)")
    let young = try report("nightly", "--no-roll-up")
    #expect(young.books.isEmpty && young.differences > 0)
    try sql.script("CREATE TABLE public.batches AS TABLE tidemark.landing_ledger")
    let rolled = try world.tidemark("nightly", "--roll-up-only")
    #expect(rolled.messages.contains("the landing's ledger of product-events:"), "\(rolled.messages)")
    let merged = try count()
    #expect(merged[0] * 4 < whole[0] && merged[1] == whole[1] && merged[2] == whole[2], "\(merged) of \(whole)")
    #expect(said(try report("reconcile")) == said(young))

    // A row that is gone; a second one of an offset, before and after the own one in event time; one where there was no event.
    let chosen = "SELECT \"offset\" FROM raw.events_product_events WHERE partition = 1 AND EXISTS (SELECT FROM public.batches b WHERE b.partition = 1 AND b.from_offset = \"offset\") ORDER BY 1"
    let offsets = try world.rows(chosen).map { Int($0[0]!)! }
    try #require(offsets.count > 8)
    let columns = try world.rows(
      """
      SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'raw.events_product_events'::regclass AND attnum > 0
         AND attname NOT IN ('offset', 'event_time', 'landed_at')
      """)[0][0]!
    func forge(_ offset: Int, _ by: String, to: String) -> String {
      """
      INSERT INTO raw.events_product_events ("offset", event_time, landed_at, \(columns))
      SELECT \(to), event_time + interval '\(by)', now(), \(columns) FROM raw.events_product_events WHERE partition = 1 AND "offset" = \(offset);
      """
    }
    let hole = try world.rows("SELECT min(lower(h)) FROM public.batches, unnest(holes) h WHERE partition = 1")[0][0]!
    try sql.script(
      "DELETE FROM raw.events_product_events WHERE partition = 1 AND \"offset\" = \(offsets[2]);"
        + forge(offsets[4], "1 second", to: "\"offset\"") + forge(offsets[6], "-1 second", to: "\"offset\"") + forge(offsets[8], "1 second", to: hole))
    let tampered = try report("reconcile")
    let found = Set(tampered.books.map { "\($0.kind) \($0.from)" })
    #expect(found.contains("raw_missing \(offsets[2])") && tampered.books.filter { $0.kind != "raw_missing" && $0.kind.hasPrefix("raw_") }.count == 3, "\(tampered.books)")
    // The rows of batches once more: found is the same, to the offset and the word.
    try sql.script("CREATE TABLE public.hours AS TABLE tidemark.landing_ledger; DELETE FROM tidemark.landing_ledger; INSERT INTO tidemark.landing_ledger SELECT * FROM public.batches")
    let single = try report("reconcile")
    #expect(tampered.books.map { "\($0.kind) \($0.partition) \($0.from) \($0.to) \($0.reason)" } == single.books.map { "\($0.kind) \($0.partition) \($0.from) \($0.to) \($0.reason)" })
    #expect(tampered.differences == single.differences)
    // And what was found wrong is not merged any more.
    let held = try world.tidemark("nightly", "--roll-up-only")
    #expect(held.messages.contains("the landing's ledger of product-events product.events/1 is not rolled up: the last reconciliation found"), "\(held.messages)")
    #expect(held.messages.contains("the landing's ledger of product-events:"), "the other partition's is: \(held.messages)")
  }
}
