import Foundation
import Testing

/// Refused events sent to Kafka again, as an operator does it.
@Suite(.serialized) struct QuarantineReplayTests {
  private static let yaml = """
    topology: shop
    source: { topics: [shop], format: json, partition_key: user }
    event: { id: id, time: at, fields: { user: string } }
    time: { allowed_lateness: 1h, zone: UTC, max_future_skew: 1s }
    aggregates:
      by_day:
        window: { tumbling: 1 day }
        measures: { n: count, people: distinct user }

    """

  private func consume(_ world: World, _ topology: String) throws {
    let ended = try world.instance("a", topology, "--until-caught-up", "--flush-interval", "100ms").wait()
    #expect(ended.code == 0, "\(ended.messages)")
  }

  private func send(_ lines: [String], _ world: World) throws {
    let file = world.directory.appendingPathComponent("\(UUID().uuidString).ndjson")
    try lines.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
    try world.tidemark("replay", file.path, "--topic", "shop", "--key", "user")
  }

  @Test func whatWasRefusedIsJudgedAnewOnce() throws {
    let world = try World("quarantine_replay", partitions: 4)
    let topology = world.directory.appendingPathComponent("shop.yaml").path
    try Self.yaml.write(toFile: topology, atomically: true, encoding: .utf8)
    try world.tidemark("migrate", "--topology", topology)
    let now = Date()
    let soon = now.addingTimeInterval(15)
    let text = ISO8601DateFormatter()
    // Twenty too far in the future now, twenty that never count, one that the quarantine does not hold whole.
    let early = (0..<20).map { #"{"id":"f\#($0)","at":"\#(text.string(from: soon))","user":"u\#($0)"}"# }
    let broken = (0..<20).map { #"{"id":"b\#($0)","at":"never","user":"u\#($0)"}"# }
    let long = #"{"id":"l","at":"never","user":"u","x":"\#(String(repeating: "x", count: 70_000))"}"#
    try send(early + broken + [long], world)
    try consume(world, topology)
    let refused = #"SELECT reason, count(*), count(replayed_at) FROM tidemark.quarantine GROUP BY 1 ORDER BY 1"#
    #expect(try world.rows(refused).map { $0.map { $0! } } == [["far_future", "20", "0"], ["invalid_time", "21", "0"]])
    #expect(try world.rows("SELECT count(*) FROM analytics.by_day") == [["0"]])

    let dry = try world.tidemark("quarantine", "replay", "--topology-name", "shop", "--dry-run")
    #expect(dry.output.contains("40 refused events would be sent") && dry.messages.contains("1 are not held whole"))
    #expect(try world.rows(refused)[0][2] == "0")

    #expect(awaitTrue { Date() > soon })
    let sent = try world.tidemark("quarantine", "replay", "--topology-name", "shop", "--reason", "far_future")
    #expect(sent.output.contains("20 refused events sent"))
    try consume(world, topology)
    #expect(try world.rows("SELECT n, people FROM analytics.by_day") == [["20", "20"]])
    // Once: what was sent is not sent again unless somebody says so.
    #expect(try world.tidemark("quarantine", "replay", "--topology-name", "shop", "--reason", "far_future").output.contains("0 refused events sent"))

    // The rest comes back as it was, in its partition, with its key; the long one is named.
    let rest = try world.tidemark("quarantine", "replay", "--topology-name", "shop")
    #expect(rest.output.contains("20 refused events sent") && rest.messages.contains("is not held whole: not sent"))
    try consume(world, topology)
    let twice = try world.rows(
      """
      SELECT count(*) FROM tidemark.quarantine a JOIN tidemark.quarantine b USING (topology, topic, partition, reason, key, payload)
       WHERE a.replayed_at IS NOT NULL AND b.replayed_at IS NULL AND b."offset" > a."offset" AND reason = 'invalid_time'
      """)
    #expect(twice == [["20"]])
    try world.expectUnbrokenLedger()

    // One, again, to another topic.
    let one = try world.rows(#"SELECT partition, "offset" FROM tidemark.quarantine WHERE reason = 'far_future' LIMIT 1"#)[0].map { $0! }
    let words = ["quarantine", "replay", "--topology-name", "shop", "--topic", "shop", "--partition", one[0], "--offset", one[1], "--again"]
    let again = try TidemarkProcess(words, world: world).wait()
    #expect(again.code == 0 && again.output.contains("1 refused events sent"), "\(again.messages)")
    try consume(world, topology)
    #expect(try world.rows("SELECT n FROM analytics.by_day") == [["21"]], "without deduplication it counts again, as the help says")
  }

  @Test func nothingIsMarkedThatKafkaDoesNotHave() throws {
    let world = try World("quarantine_replay_away", partitions: 2)
    let topology = world.directory.appendingPathComponent("shop.yaml").path
    try Self.yaml.write(toFile: topology, atomically: true, encoding: .utf8)
    try world.tidemark("migrate", "--topology", topology)
    try send([#"{"id":"b","at":"never","user":"u"}"#], world)
    try consume(world, topology)
    try world.tidemark("quarantine", "replay", "--topology-name", "nosuch", code: 65)
    try world.tidemark("quarantine", "replay", "--topology-name", "shop", "--reason", "nosuch", code: 64)
    try world.tidemark("quarantine", "replay", "--topology-name", "shop", "--kafka", "127.0.0.1:1", code: 69)
    #expect(try world.rows("SELECT count(*) FROM tidemark.quarantine WHERE replayed_at IS NOT NULL") == [["0"]])
  }
}
