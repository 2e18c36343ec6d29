import Foundation
import LocalServers
import Postgres
import Testing

/// Kafka has dropped what was not consumed yet: the partition stops, an operator accepts the gap, it goes on.
@Suite(.serialized) struct AcceptGapTests {
  /// The development broker keeps the newest 5 MB of a partition.
  @Test func streamAndLandingGoOnPastAnAcceptedGap() throws {
    let world = try World("acceptgap", partitions: 1)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    func generate(_ events: Int, _ seed: Int, _ bytes: Int) throws {
      try world.tidemark(
        "generate", "--topic", "product.events", "--topology", topology, "--events", "\(events)", "--users", "100", "--seed", "\(seed)",
        "--start", "2024-06-0\(seed)T00:00:00Z", "--span", "1 day", "--payload-bytes", "\(bytes)")
    }
    try generate(500, 1, 0)
    // The mock cluster's groups have one session timeout, the newest member's: a short one lets others join soon.
    let quick = ["--kafka-set", "session.timeout.ms=6000", "--kafka-set", "heartbeat.interval.ms=500"]
    #expect(try TidemarkProcess(["land", "--topology", topology, "--until-caught-up"] + quick, world: world).wait().code == 0)
    #expect(try world.instance("first", topology, "--until-caught-up").wait().code == 0)
    try generate(12_000, 2, 1000)

    let stream = try world.instance("stream", topology)
    let landing = try TidemarkProcess(["land", "--topology", topology, "--instance", "landing"] + quick, world: world, name: "landing")
    let open = "SELECT kind FROM tidemark.alert WHERE resolved_at IS NULL AND kind LIKE '%offset_out_of_range' ORDER BY 1"
    #expect(awaitTrue { (try? world.rows(open)) == [["landing_offset_out_of_range"], ["offset_out_of_range"]] }, "\(stream.messages)\(landing.messages)")
    #expect(landing.messages.contains("`tidemark accept-gap --landing` lets it go on past the gap"))
    // It is tried again and again, and the alert counts that; the log has it once.
    let seen = "SELECT count(*) FROM tidemark.alert WHERE kind = 'landing_offset_out_of_range' AND seen >= 3"
    #expect(awaitTrue { (try? world.rows(seen)) == [["1"]] }, "\(landing.messages)")
    #expect(landing.messages.components(separatedBy: "Kafka no longer has offset").count == 2, "\(landing.messages)")
    // A run that is to end says so instead of waiting.
    let ending = try world.tidemark("land", "--topology", topology, "--until-caught-up", "--group", "ending", code: 65)
    #expect(ending.messages.contains("Kafka no longer has offset 500 that landing is to go on at"), "\(ending.messages)")

    let partition = ["--topology-name", "product-events", "--topic", "product.events", "--partition", "0"]
    func accept(_ more: String..., code: Int32 = 0) throws -> TidemarkProcess.Ended {
      let ended = try TidemarkProcess(["accept-gap"] + partition + more, world: world).wait()
      #expect(ended.code == code, "\(more): \(ended.messages)\(ended.output)")
      return ended
    }
    #expect(try accept("--landing", "--to", "1", code: 65).messages.contains("--to 1 is outside"))
    #expect(try accept("--landing", "--to", "99999999", code: 65).messages.contains("is outside"))
    let accepted = try accept("--landing").output
    let said = try #require(accepted.firstMatch(of: /offsets 500 to (\d+) are accepted as a gap of \d+/), "\(accepted)")
    let low = try #require(Int(said.1))
    #expect(low > 1000)
    // Of the landing, not of the stream.
    #expect(try world.rows("SELECT next_offset FROM tidemark.partition") == [["500"]])
    #expect(try world.rows(open) == [["offset_out_of_range"]])
    #expect(try accept("--landing", code: 65).messages.contains("nothing to accept"))

    let end = 12_500
    #expect(awaitTrue { (try? world.rows("SELECT next_offset FROM tidemark.landing")) == [["\(end)"]] }, "\(landing.messages)")
    #expect(landing.messages.contains("product.events/0 goes on at offset \(low); Kafka lacked 500"), "\(landing.messages)")
    #expect(try accept().output.contains("offsets 500 to \(low) are accepted"))
    #expect(awaitTrue { (try? world.rows("SELECT next_offset FROM tidemark.partition")) == [["\(end)"]] }, "\(stream.messages)")
    #expect(try world.rows(open) == [])
    for instance in [stream, landing] {
      instance.send(SIGTERM)
      #expect(instance.wait().code == 0, "\(instance.messages)")
    }
    // Both books say so, with a name, and reach from the beginning to the end; what is there is there once.
    let name = NSUserName()
    #expect(
      try world.rows("SELECT from_offset, to_offset, landed, hole_count, holes, instance FROM tidemark.landing_ledger WHERE instance LIKE 'operator %'")
        == [["500", "\(low)", "0", "\(low - 500)", "{[500,\(low))}", "operator \(name)"]])
    #expect(try world.rows("SELECT from_offset, to_offset, gap, instance FROM tidemark.ledger WHERE gap > 0") == [["500", "\(low)", "\(low - 500)", "operator \(name)"]])
    for ledger in ["ledger", "landing_ledger"] {
      #expect(try world.rows("SELECT range_agg(int8range(from_offset, to_offset)), sum(to_offset - from_offset) FROM tidemark.\(ledger)") == [["{[0,\(end))}", "\(end)"]])
    }
    #expect(try world.rows("SELECT count(*), count(DISTINCT \"offset\") FROM raw.events_product_events") == [["\(end - low + 500)", "\(end - low + 500)"]])
    // And both sides agree about what is left.
    let report = try ReconciliationTests.report(try world.tidemark("nightly", "--format", "json", "--accept", "explained").output)
    #expect(report.books.isEmpty && report.aggregates.allSatisfy { $0.differenceCount == 0 }, "\(report)")
  }
}
