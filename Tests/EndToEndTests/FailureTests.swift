import Foundation
import LocalServers
import Postgres
import Testing

/// What operators fear: kills, restarts, zombies, drains.
@Suite(.serialized) struct FailureTests {
  @Test(.enabled(if: GitActivity.file != nil, "the real events are not at hand"))
  func thirtyKillsAndFiveCrashesOfPostgreSQLChangeNothing() throws {
    let server = try EphemeralPostgres()
    let world = try World("kills", partitions: 8, server: server)
    let topology = Repository.topology("git-activity")
    try world.tidemark("migrate", "--topology", topology)
    try GitActivity.load(into: world)
    let replay = try TidemarkProcess(["replay", GitActivity.file!, "--topic", "git.activity", "--key", "user_id", "--rate", "8000"], world: world)
    var dice = SystemRandomNumberGenerator()
    var instances: [TidemarkProcess?] = [nil, nil]
    for kill in 0..<30 {
      for i in 0..<2 where instances[i] == nil {
        instances[i] = try world.instance("i\(i)", topology, "--flush-interval", "100ms", "--kafka-set", "session.timeout.ms=3000")
      }
      usleep(UInt32.random(in: 100_000...1_500_000, using: &dice))
      let victim = Int.random(in: 0..<2, using: &dice)
      instances[victim]!.kill9()
      instances[victim] = nil
      if kill % 6 == 5 {
        try server.stop(immediately: true)
        usleep(UInt32.random(in: 0...500_000, using: &dice))
        try server.start()
      }
    }
    for instance in instances { instance?.kill9() }
    #expect(replay.wait().code == 0)
    let last = try (0..<2).map { try world.instance("i\($0)", topology, "--until-caught-up") }
    for instance in last {
      let ended = instance.wait()
      #expect(ended.code == 0, "\(ended.messages)")
    }
    try GitActivity.expectEqualToBatch(world)
    #expect(try world.rows("SELECT sum(applied), sum(to_offset - from_offset) FROM tidemark.ledger") == [["\(GitActivity.count)", "\(GitActivity.count)"]])
    try world.expectUnbrokenLedger()
  }

  @Test func aZombieIsFencedSaysSoAndComesBack() throws {
    let world = try World("zombie", partitions: 4)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    let a = try world.instance("a", topology, "--flush-interval", "200ms")
    #expect(a.says("assigned"), "\(a.messages)")
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--topology", topology, "--events", "100000", "--users", "2000", "--rate", "2500", "--payload-bytes", "0",
        "--duplicates", "0.02", "--expect", expected], world: world)
    let b = try world.instance("b", topology, "--flush-interval", "200ms")
    #expect(b.says("assigned"), "\(b.messages)")
    #expect(awaitTrue { (try? world.rows("SELECT count(DISTINCT owner) FROM tidemark.partition")[0][0]) == "2" }, "\(a.messages)\(b.messages)")
    // It is stopped in the middle of a flush: one that waits for a row which is locked here.
    let before = world.flushes(of: "a")
    #expect(awaitTrue { world.flushes(of: "a") > before }, "\(a.messages)")
    let lock = try Connection(world.target, applicationName: "tests")
    try lock.script("BEGIN; SELECT FROM tidemark.partition WHERE owner = 'a' FOR UPDATE")
    #expect(
      awaitTrue {
        // Other tests of this server have an instance a as well, and a compaction may wait for the same row.
        (try? world.rows(
          """
          SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark % a'
             AND query LIKE '%SET next_offset%' AND wait_event_type = 'Lock'
          """)) == [["t"]]
      }, "\(a.messages)")
    a.send(SIGSTOP)
    try lock.script("ROLLBACK")
    #expect(awaitTrue { (try? world.rows("SELECT DISTINCT owner FROM tidemark.partition")) == [["b"]] }, "\(b.messages)")
    a.send(SIGCONT)
    #expect(a.says("fenced"), "\(a.messages)")
    #expect(awaitTrue { (try? world.rows("SELECT count(DISTINCT owner) FROM tidemark.partition")[0][0]) == "2" }, "\(a.messages)\(b.messages)")
    #expect(generate.wait().code == 0)
    let c = try world.instance("c", topology, "--until-caught-up").wait()
    #expect(c.code == 0, "\(c.messages)")
    for instance in [a, b] {
      instance.send(SIGTERM)
      let ended = instance.wait()
      #expect(ended.code == 0, "\(ended.messages)")
    }
    try world.tidemark("compare-expected", expected)
    try world.expectUnbrokenLedger()
  }

  @Test func sigtermFlushesReleasesAndLeaves() throws {
    let world = try World("drain", partitions: 4)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark(
      "generate", "--topic", "product.events", "--events", "20000", "--users", "500", "--payload-bytes", "0", "--expect", expected)
    // An interval that does not pass by itself: only the drain flushes the rest.
    let instance = try world.instance("a", topology, "--flush-interval", "1m")
    #expect(awaitTrue { (try? world.rows("SELECT count(*) FROM tidemark.partition WHERE owner = 'a'")[0][0]) == "4" }, "\(instance.messages)")
    #expect(awaitTrue { world.consumed > 0 }, "\(instance.messages)")
    instance.send(SIGTERM)
    let ended = instance.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    #expect(try world.rows("SELECT count(*) FROM tidemark.partition WHERE owner IS NOT NULL")[0][0] == "0")
    let rest = try world.instance("b", topology, "--until-caught-up").wait()
    #expect(rest.code == 0, "\(rest.messages)")
    try world.tidemark("compare-expected", expected)
  }

  @Test func postgreSQLAwayForAWhileLosesNothing() throws {
    let server = try EphemeralPostgres()
    let world = try World("away", partitions: 4, server: server)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    let instance = try world.instance("a", topology, "--flush-interval", "100ms")
    #expect(instance.says("assigned"), "\(instance.messages)")
    try server.stop(immediately: true)
    try world.tidemark("generate", "--topic", "product.events", "--events", "40000", "--users", "500", "--payload-bytes", "0", "--expect", expected)
    try server.start()
    #expect(awaitTrue { world.consumed == 40_000 }, "\(instance.messages)")
    instance.send(SIGTERM)
    let ended = instance.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    try world.tidemark("compare-expected", expected)
  }
}
