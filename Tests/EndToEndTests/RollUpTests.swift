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
}
