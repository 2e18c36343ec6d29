import Foundation
import Postgres
import Testing

/// Whole runs of the built command over real servers, to rows that are known.
@Suite(.serialized) struct GoldenTests {
  @Test(.enabled(if: GitActivity.file != nil, "the real events are not at hand"))
  func realEventsEqualABatchQuery() throws {
    let world = try World("golden-git", partitions: 8)
    let topology = Repository.topology("git-activity")
    try world.tidemark("migrate", "--topology", topology)
    let replayed = try world.tidemark("replay", GitActivity.file!, "--topic", "git.activity", "--key", "user_id")
    #expect(replayed.output.hasPrefix("\(GitActivity.count) events"))
    let ended = try world.instance("a", topology, "--until-caught-up").wait()
    #expect(ended.code == 0, "\(ended.messages)")
    try GitActivity.load(into: world)
    try GitActivity.expectEqualToBatch(world)
    #expect(try world.rows("SELECT sum(applied), sum(to_offset - from_offset) FROM tidemark.ledger") == [["\(GitActivity.count)", "\(GitActivity.count)"]])
    try world.expectUnbrokenLedger()
  }

  @Test(.enabled(if: GitActivity.file != nil, "the real events are not at hand"))
  func lateEventsDependOnTheLogAlone() throws {
    var results: [[String]] = []
    // Also with another number of workers after each kill: their journals are thrown away, PostgreSQL has what they held.
    let workers = [[1, 1, 1, 1], [3, 1, 2, 2]]
    for (index, batch) in [100, 7777].enumerated() {
      let world = try World("late-\(index)", partitions: 8)
      let topology = try GitActivity.topology(lateness: "1 day", in: world)
      try world.tidemark("migrate", "--topology", topology)
      try world.tidemark("replay", GitActivity.file!, "--topic", "git.activity", "--key", "user_id")
      for kill in 0..<3 {
        let instance = try world.instance("a", topology, "--batch", "\(batch)", "--flush-interval", "100ms", "--workers", "\(workers[index][kill])")
        let goal = (kill + 1) * (index + 1) * 20_000
        let reached = awaitTrue { world.consumed > goal }
        #expect(reached, "\(instance.messages)")
        instance.kill9()
      }
      let ended = try world.instance("a", topology, "--batch", "\(batch)", "--until-caught-up", "--workers", "\(workers[index][3])").wait()
      #expect(ended.code == 0, "\(ended.messages)")
      let sums = try world.rows("SELECT sum(applied) + sum(late), sum(late) FROM tidemark.ledger")[0]
      #expect(sums[0] == "\(GitActivity.count)")
      #expect(Int(sums[1]!)! > 10_000)
      #expect(try world.rows("SELECT count(*) FROM tidemark.quarantine WHERE reason = 'late'")[0][0] == sums[1])
      #expect(try world.rows("SELECT sum(late) FROM tidemark.late_count WHERE aggregate = 'people_daily'")[0][0] == sums[1])
      try world.expectUnbrokenLedger()
      results.append(try world.results(GitActivity.tables))
    }
    #expect(results[0].count > 10_000)
    #expect(results[0] == results[1])
  }

  /// Straight through, and with three kills in the middle: the expected rows, late counts, quarantine and ledger.
  @Test(arguments: [0, 3]) func everyFaultLandsInItsBucket(kills: Int) throws {
    let world = try World("faults-\(kills)", partitions: 4)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    let made = try world.tidemark(
      "generate", "--topic", "product.events", "--topology", topology, "--events", "60000", "--users", "3000", "--seed", "42", "--invalid", "0.01",
      "--far-future", "0.01", "--duplicates", "0.01", "--tombstones", "0.01", "--late", "0.01", "--span", "5 days", "--payload-bytes", "0",
      "--expect", expected)
    #expect(made.output.hasPrefix("60000 events"))
    for kill in 0..<kills {
      let instance = try world.instance("a", topology, "--batch", "64", "--flush-interval", "50ms")
      let reached = awaitTrue { world.consumed > kill * 15_000 }
      #expect(reached, "\(instance.messages)")
      instance.kill9()
    }
    let ended = try world.instance("a", topology, "--until-caught-up").wait()
    #expect(ended.code == 0, "\(ended.messages)")
    let compared = try world.tidemark("compare-expected", expected)
    #expect(compared.output.hasPrefix("equal: "))
    try world.expectUnbrokenLedger()
    let listed = try world.tidemark("quarantine", "list", "--format", "json", "--limit", "100000")
    let rows = try #require(JSONSerialization.jsonObject(with: Data(listed.output.utf8)) as? [[String: Any]])
    #expect("\(rows.count)" == (try world.rows("SELECT sum(quarantined) + sum(late) FROM tidemark.ledger")[0][0]))
    #expect(Set(rows.compactMap { $0["reason"] as? String }).isSuperset(of: ["invalid_json", "far_future", "late", "missing_field", "wrong_type", "invalid_time"]))
    // A difference is found where there is one.
    try Connection(world.target, applicationName: "tests").script("UPDATE analytics.daily_metrics SET event_count = event_count + 1 WHERE ctid = (SELECT min(ctid) FROM analytics.daily_metrics)")
    #expect(try world.tidemark("compare-expected", expected, code: 3).output.contains("daily_metrics"))
  }
}
