import Foundation
import Glibc
import Testing

/// SIGTERM while a server gives no answer: no error, no closed connection, just silence.
@Suite(.serialized) struct DrainTests {
  @Test func aDrainDoesNotWaitForAPostgreSQLThatIsSilent() throws {
    let world = try World("silent_drain", partitions: 4)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    let instance = try world.instance("a", topology, "--flush-interval", "100ms", "--workers", "1")
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--topology", topology, "--events", "30000", "--users", "500", "--rate", "3000", "--payload-bytes", "0",
        "--expect", expected], world: world)
    #expect(awaitTrue { world.consumed > 3000 }, "\(instance.messages)")
    // The instance's session stands still, as behind a network that swallows everything.
    let sessions = try world.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark %'")
    let silent = sessions.compactMap { $0[0].flatMap(pid_t.init) }
    #expect(silent.count == 1)
    for session in silent { kill(session, SIGSTOP) }
    defer { for session in silent { kill(session, SIGCONT) } }
    let begin = Date()
    instance.send(SIGTERM)
    let ended = instance.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    // --drain-time is 10 s; a statement alone may wait for a minute.
    #expect(Date().timeIntervalSince(begin) < 10.5, "\(ended.messages)")
    for session in silent { kill(session, SIGCONT) }
    #expect(generate.wait().code == 0)
    let rest = try world.instance("b", topology, "--until-caught-up").wait()
    #expect(rest.code == 0, "\(rest.messages)")
    try world.tidemark("compare-expected", expected)
    try world.expectUnbrokenLedger()
  }

  @Test func aDrainDoesNotWaitForAKafkaThatIsSilent() throws {
    let world = try World("silent_kafka", partitions: 4)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark(
      "generate", "--topic", "product.events", "--topology", topology, "--events", "20000", "--users", "500", "--payload-bytes", "0", "--expect", expected)
    // The offsets that wait to be acknowledged are sent every five seconds, or at the end: librdkafka waits for the answer.
    let instance = try world.instance("a", topology, "--flush-interval", "100ms")
    #expect(awaitTrue { world.consumed == 20_000 }, "\(instance.messages)")
    let broker = try #require(world.broker)
    broker.send(SIGSTOP)
    defer { broker.send(SIGCONT) }
    let begin = Date()
    instance.send(SIGTERM)
    let ended = instance.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    #expect(Date().timeIntervalSince(begin) < 10.5, "\(ended.messages)")
    broker.send(SIGCONT)
    let rest = try world.instance("b", topology, "--until-caught-up").wait()
    #expect(rest.code == 0, "\(rest.messages)")
    try world.tidemark("compare-expected", expected)
    try world.expectUnbrokenLedger()
  }
}
