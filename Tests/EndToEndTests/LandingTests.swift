import Foundation
import Glibc
import LocalServers
import Testing
import Workload

/// Landing as its users run it.
@Suite(.serialized) struct LandingTests {
  /// Two instances that share partitions, killed again and again while PostgreSQL crashes: every offset once.
  @Test func killsLandEveryOffsetOnce() throws {
    let server = try EphemeralPostgres()
    let world = try World("landkills", partitions: 4, server: server)
    let topology = Repository.topology("product-events")
    let expectation = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--events", "60000", "--users", "2000", "--rate", "8000", "--payload-bytes", "100", "--duplicates", "0.01",
        "--invalid", "0.01", "--tombstones", "0.01", "--expect", expectation], world: world)
    // All of them with one session timeout: the mock cluster's group has only one, the newest member's.
    func start(_ name: String, _ more: String...) throws -> TidemarkProcess {
      try TidemarkProcess(
        ["land", "--topology", topology, "--instance", name, "--flush-interval", "100ms", "--batch", "500", "--kafka-set", "session.timeout.ms=3000",
          "--kafka-set", "heartbeat.interval.ms=300"] + more, world: world, name: name)
    }
    var instances = [try start("a"), try start("b")]
    for kill in 0..<6 {
      let goal = (kill + 1) * 8000
      #expect(awaitTrue { landed(world) >= goal }, "\(instances.map(\.messages))")
      instances[kill % 2].kill9()
      if kill == 2 {
        try server.stop(immediately: true)
        try server.start()
      }
      instances[kill % 2] = try start(kill % 2 == 0 ? "a" : "b")
    }
    #expect(generate.wait().code == 0)
    let rest = try start("c", "--until-caught-up").wait()
    #expect(rest.code == 0, "\(rest.messages)")
    for instance in instances {
      instance.send(SIGTERM)
      let ended = instance.wait()
      #expect(ended.code == 0, "\(ended.messages)")
    }
    #expect(landed(world) == 60_000)
    let sums = try world.rows(
      """
      SELECT (SELECT count(*) FROM raw.events), (SELECT count(DISTINCT (topic, partition, "offset")) FROM raw.events),
             (SELECT count(*) FROM tidemark.landing_quarantine), sum(landed), sum(quarantined), sum(hole_count) FROM tidemark.landing_ledger
      """)[0].map { Int($0!)! }
    #expect(sums[0] == sums[1] && sums[0] == sums[3] && sums[2] == sums[4])
    // Holes are tombstones and nothing else: no event was passed over.
    let expected = try ExpectedResult.read(from: expectation).ledger
    #expect(sums[0] + sums[4] + sums[5] == 60_000 && sums[5] == Int(expected["tombstones"]!) && sums[4] == Int(expected["quarantined"]!) && sums[4] > 300)
    #expect(
      try world.rows(
        """
        SELECT count(*) FROM (SELECT from_offset, lag(to_offset, 1, 0::bigint) OVER (PARTITION BY topic, partition ORDER BY from_offset) AS before
          FROM tidemark.landing_ledger) l WHERE from_offset <> before
        """) == [["0"]])
  }

  /// SIGTERM while a server gives no answer: the end comes in time, and what was not landed is landed by the next one, once.
  @Test(arguments: ["postgres", "kafka"])
  func aLandingEndsInTimeWhoeverIsSilent(silent: String) throws {
    let world = try World("land_silent_\(silent)", partitions: 4)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    let instance = try TidemarkProcess(
      ["land", "--topology", topology, "--instance", "a", "--flush-interval", "100ms", "--kafka-set", "session.timeout.ms=6000"], world: world, name: "a")
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--topology", topology, "--events", "20000", "--users", "500", "--rate", "4000", "--payload-bytes", "0"],
      world: world)
    #expect(awaitTrue { landed(world) > 2000 }, "\(instance.messages)")
    // Kafka falls silent after the last event: the generator needs it, too.
    if silent == "kafka" { #expect(generate.wait().code == 0 && awaitTrue { landed(world) == 20_000 }) }
    let sessions = try world.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark %'")
    let stopped = silent == "kafka" ? [try #require(world.broker).process.processIdentifier] : sessions.compactMap { $0[0].flatMap(pid_t.init) }
    #expect(!stopped.isEmpty)
    for process in stopped { kill(process, SIGSTOP) }
    defer { for process in stopped { kill(process, SIGCONT) } }
    let begin = Date()
    instance.send(SIGTERM)
    let ended = instance.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    #expect(Date().timeIntervalSince(begin) < 10.5, "\(ended.messages)")
    for process in stopped { kill(process, SIGCONT) }
    #expect(generate.wait().code == 0)
    try world.tidemark("land", "--topology", topology, "--until-caught-up", "--kafka-set", "session.timeout.ms=6000")
    let counts = try world.rows("SELECT count(*), count(DISTINCT (topic, partition, \"offset\")), (SELECT sum(next_offset) FROM tidemark.landing) FROM raw.events")
    #expect(counts == [["20000", "20000", "20000"]])
  }

  private func landed(_ world: World) -> Int {
    guard let rows = try? world.rows("SELECT COALESCE(sum(next_offset), 0) FROM tidemark.landing"), let text = rows[0][0] else { return 0 }
    return Int(text) ?? 0
  }
}
