import Foundation
import Glibc
import LocalServers
import Testing

/// A landing that is to end while PostgreSQL is away: it refuses connections, which is soon known, and trying goes on. And one that PostgreSQL refuses.
@Suite(.serialized) struct LandingDrainTests {
  enum Waiting: String, CaseIterable {
    /// A batch is in hand.
    case batch
    /// Nothing is; partitions of another instance were assigned, and cannot be taken over.
    case assignment
  }

  @Test(arguments: Waiting.allCases)
  func aDrainIsSeenWhilePostgreSQLIsAway(waiting: Waiting) throws {
    let server = try EphemeralPostgres()
    let world = try World("landing_drain_\(waiting)", partitions: 4, server: server)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    // Long enough for a time that is over before it to be seen as such.
    func start(_ name: String) throws -> TidemarkProcess {
      try TidemarkProcess(
        ["land", "--topology", topology, "--instance", name, "--flush-interval", "100ms", "--drain-time", "20s", "--kafka-set", "session.timeout.ms=6000",
          "--kafka-set", "heartbeat.interval.ms=300"], world: world, name: name)
    }
    let instance = try start("a")
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--topology", topology, "--events", "20000", "--users", "500", "--rate", "4000", "--payload-bytes", "0"],
      world: world)
    var ended: TidemarkProcess.Ended
    if waiting == .batch {
      #expect(awaitTrue { landed(world) > 2000 }, "\(instance.messages)")
      try server.stop(immediately: true)
      // Waits are of seconds by now, and more came meanwhile.
      #expect(generate.wait().code == 0)
      #expect(instance.says("not landed, trying again") || instance.says("COMMIT got no answer"), "\(instance.messages)")
    } else {
      let other = try start("b")
      #expect(other.says("landing product.events"), "\(other.messages)")
      // Also the ends: nothing is in hand any more.
      let ends = "SELECT sum(next_offset), sum(end_offset) FROM tidemark.landing"
      #expect(generate.wait().code == 0 && awaitTrue { (try? world.rows(ends)) == [["20000", "20000"]] }, "\(instance.messages)")
      try server.stop(immediately: true)
      other.kill9()
      #expect(instance.says("cannot take over"), "\(instance.messages)")
    }
    let begin = Date()
    instance.send(SIGTERM)
    ended = instance.wait()
    let seconds = Date().timeIntervalSince(begin)
    #expect(ended.code == 0, "\(ended.messages)")
    // A share of the time for the drain: 6 of 20 s.
    #expect(seconds < 9, "\(seconds) s: \(ended.messages)")
    #expect(ended.messages.contains("PostgreSQL does not take what is in hand") == (waiting == .batch), "\(ended.messages)")
    try server.start()
    ended = try world.tidemark("land", "--topology", topology, "--until-caught-up", "--kafka-set", "session.timeout.ms=6000")
    let counts = try world.rows("SELECT count(*), count(DISTINCT (topic, partition, \"offset\")), (SELECT sum(next_offset) FROM tidemark.landing) FROM raw.events")
    #expect(counts == [["20000", "20000", "20000"]])
    #expect(
      try world.rows(
        """
        SELECT sum(landed), sum(to_offset - from_offset), count(*) FILTER (WHERE from_offset <> before) FROM (
          SELECT *, lag(to_offset, 1, 0::bigint) OVER (PARTITION BY topic, partition ORDER BY from_offset) AS before FROM tidemark.landing_ledger) l
        """) == [["20000", "20000", "0"]])
  }

  /// Nobody is waited for, also with records in hand that did not go into the batch.
  @Test func whatPostgreSQLRefusesEndsTheRun() throws {
    let world = try World("landing_refused", partitions: 1)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("generate", "--topic", "product.events", "--topology", topology, "--events", "20000", "--users", "500", "--payload-bytes", "0")
    _ = try world.rows("REVOKE INSERT ON tidemark.landing_ledger FROM tidemark_batch")
    let refused = try world.tidemark("land", "--topology", topology, "--batch", "100", code: 65)
    #expect(refused.messages.contains("landing: permission denied for table landing_ledger"), "\(refused.messages)")
    #expect(!refused.messages.contains("does not answer"), "\(refused.messages)")
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("land", "--topology", topology, "--until-caught-up")
    #expect(try world.rows("SELECT count(*), count(DISTINCT \"offset\") FROM raw.events") == [["20000", "20000"]])
  }

  private func landed(_ world: World) -> Int {
    guard let rows = try? world.rows("SELECT COALESCE(sum(next_offset), 0) FROM tidemark.landing"), let text = rows[0][0] else { return 0 }
    return Int(text) ?? 0
  }
}
