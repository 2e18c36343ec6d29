import Foundation
import FoundationNetworking
import Glibc
import LocalServers
import Testing

/// What operators see: over HTTP of one instance, and by `tidemark status` of all.
@Suite struct StatusTests {
  /// One GET; 0: nobody answered within ten seconds.
  private func get(_ path: String, _ port: Int) -> (status: Int, body: String) {
    let answer = Mailbox()
    let done = DispatchSemaphore(value: 0)
    let request = URLRequest(url: URL(string: "http://127.0.0.1:\(port)\(path)")!, timeoutInterval: 10)
    URLSession.shared.dataTask(with: request) { data, response, _ in
      answer.put(((response as? HTTPURLResponse)?.statusCode ?? 0, String(decoding: data ?? Data(), as: UTF8.self)))
      done.signal()
    }.resume()
    done.wait()
    return answer.take()
  }

  // Safety: the semaphore above orders the one write before the one read.
  private final class Mailbox: @unchecked Sendable {
    private var value = (0, "")
    func put(_ new: (Int, String)) { value = new }
    func take() -> (status: Int, body: String) { value }
  }

  private typealias Row = [String: Any]
  private func rows(_ text: String) throws -> [Row] { try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [Row], "\(text)") }

  /// Values of these keys, as texts, by partition.
  private func picked(_ rows: [Row], _ keys: [String]) -> [String] {
    rows.map { row in keys.map { "\($0)=\(row[$0].map { "\($0)" } ?? "-")" }.joined(separator: " ") }
  }

  @Test func anInstanceShowsOverHTTPWhatPostgreSQLHas() throws {
    let world = try World("status_http", partitions: 4)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    let a = try world.instance("a", topology, "--http", "127.0.0.1:0", "--no-checks", "--workers", "1")
    let b = try world.instance("b", topology, "--no-checks", "--workers", "1")
    #expect(a.says("shows this instance"))
    let port = try #require(a.messages.firstMatch(of: /http:\/\/127\.0\.0\.1:(\d+)\//).flatMap { Int($0.1) })
    #expect(get("/healthz", port).status == 200)
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--topology", topology, "--events", "60000", "--users", "500", "--rate", "2000", "--payload-bytes", "0",
        "--start", "now", "--span", "30s", "--invalid", "0.01", "--duplicates", "0.01"], world: world, name: "generate")
    func owners() -> Int { (try? world.rows("SELECT count(DISTINCT owner) FROM tidemark.partition WHERE owner IN ('a', 'b')")[0][0]).flatMap { $0 }.flatMap(Int.init) ?? 0 }
    #expect(awaitTrue { owners() == 2 && world.flushes(of: "a") > 0 && world.flushes(of: "b") > 0 }, "\(a.messages)\(b.messages)")

    // While events flow: whatever is shown was true a moment ago, and no number is ahead of the books.
    #expect(generate.process.isRunning)
    #expect(awaitTrue(seconds: 30) { get("/readyz", port).status == 200 }, "\(get("/readyz", port).body)")
    let served = try rows(get("/status", port).body)
    let books = try world.rows("SELECT partition, next_offset, owner, epoch FROM tidemark.partition ORDER BY 1")
    #expect(served.count == 4 && served.allSatisfy { ($0["nextOffset"] as? Int ?? -1) >= 0 })
    for (row, book) in zip(served, books) {
      #expect("\(row["partition"] ?? "")" == book[0] && row["nextOffset"] as? Int ?? .max <= Int(book[1] ?? "") ?? 0, "\(row) \(book)")
    }
    #expect(served.contains { $0["owner"] as? String == "a" && $0["phase"] as? String == "running" })
    let metrics = get("/metrics", port)
    #expect(metrics.status == 200 && metrics.body.contains("tidemark_events_total{topology=\"product-events\""))
    #expect(get("/nothing", port).status == 404)

    let ended = generate.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    #expect(awaitTrue { world.consumed >= 60_000 })
    try compare(world, port)
    for instance in [a, b] {
      instance.send(SIGTERM)
      let ended = instance.wait()
      #expect(ended.code == 0, "\(ended.messages)")
    }
  }

  /// Nothing comes any more: HTTP, command and PostgreSQL say the same.
  private func compare(_ world: World, _ port: Int) throws {
    let consumed = world.consumed
    let same = ["topology", "topic", "partition", "owner", "epoch", "nextOffset", "endOffset", "lag", "lagSeconds", "watermark", "completeThrough", "recordTime",
      "lastFlush", "applied", "filtered", "duplicate", "late", "quarantined", "gap", "alerts"]
    var served: [Row] = []
    var said: [Row] = []
    #expect(
      awaitTrue(seconds: 30) {
        served = (try? rows(get("/status", port).body)) ?? []
        said = (try? rows(world.tidemark("status", "--format", "json").output)) ?? []
        return !said.isEmpty && picked(served, same) == picked(said, same)
      }, "\(picked(served, same)) \(picked(said, same))")
    #expect(said.allSatisfy { $0["lag"] as? Int == 0 && $0["lagSeconds"] as? Double == 0 })
    // The phase, and what only the journal has, an instance alone can say.
    let own: Set<String> = ["phase", "unflushedBytes"]
    for (row, other) in zip(said, served) { #expect(Set(row.keys) == Set(other.keys).subtracting(own), "\(row) \(other)") }
    let sql = try world.rows(
      """
      SELECT p.partition, p.next_offset, p.owner, p.epoch, sum(l.applied), sum(l.duplicate), sum(l.quarantined)
        FROM tidemark.partition p JOIN tidemark.ledger l USING (topology, topic, partition) GROUP BY 1, 2, 3, 4 ORDER BY 1
      """)
    let keys = ["partition", "nextOffset", "owner", "epoch", "applied", "duplicate", "quarantined"]
    #expect(said.map { row in keys.map { "\(row[$0] ?? "")" } } == sql.map { $0.map { $0 ?? "" } })
    #expect(said.reduce(0) { $0 + ($1["nextOffset"] as? Int ?? 0) } == consumed)
    #expect(said.allSatisfy { ($0["journalBytes"] as? Int ?? 0) > 0 && $0["recordTime"] is String })
    let aggregates = try #require(said[0]["aggregates"] as? [Row])
    #expect(aggregates.compactMap { $0["name"] as? String } == ["daily_active_users", "daily_metrics", "events_per_minute"])
    #expect(aggregates.allSatisfy { ($0["groups"] as? Int ?? 0) > 0 && $0["overflow"] as? Int == 0 && $0["rowsChangedAt"] is String })
    // Prometheus is told the same of the partitions that are held here.
    let told = said.filter { $0["owner"] as? String == "a" }.map { row in
      "tidemark_partition_next_offset{topology=\"product-events\",topic=\"product.events\",partition=\"\(row["partition"] ?? "")\"} \(row["nextOffset"] ?? "")\n"
    }
    // A worker shows how it stands twice a second.
    #expect(!told.isEmpty && awaitTrue(seconds: 20) { told.allSatisfy(get("/metrics", port).body.contains) }, "\(told)")
    let overview = try #require(try JSONSerialization.jsonObject(with: Data(get("/overview", port).body.utf8)) as? Row)
    let shown = try #require((overview["topologies"] as? [Row])?.first)
    #expect(shown["freshnessTarget"] as? Double == 60, "what the topology's monitor section expects")
    #expect((shown["ledger"] as? [String: Int])?.values.reduce(0, +) == consumed)
    #expect(get("/readyz", port).status == 200)
  }

  @Test func statusShowsAlertsOfTheTopologyAndRefusesWhatItDoesNotKnow() throws {
    let world = try World("status_alerts", partitions: 1)
    let topology = Repository.topology("product-events")
    #expect(try world.tidemark("status", code: 65).messages.contains("tidemark migrate"))
    try world.tidemark("migrate", "--topology", topology)
    #expect(try world.tidemark("status").output.contains("no partition was ever taken over"))
    _ = try world.rows(
      "INSERT INTO tidemark.alert (topology, topic, partition, kind, message, severity) VALUES ('product-events', '', -1, 'lag_growing', 'lag grew', 'warning')")
    // A topology that nothing has consumed yet has no row in JSON: its alert is said all the same.
    let early = try world.tidemark("status", "--format", "json")
    #expect(early.output == "[]\n" && early.messages.contains("product-events has no partition yet, and an open alert lag_growing: lag grew"))
    try world.tidemark("generate", "--topic", "product.events", "--events", "500", "--users", "50")
    try world.tidemark("run", "--topology", topology, "--data-dir", world.directory.appendingPathComponent("d").path, "--until-caught-up", "--no-checks")
    let table = try world.tidemark("status").output
    #expect(table.contains("\n1 open alert\nALERT warning product-events the topology lag_growing: lag grew; since 20"), "\(table)")
    let row = try #require(try rows(world.tidemark("status", "--format", "json").output).first)
    let alerts = try #require(row["topologyAlerts"] as? [Row])
    #expect(alerts.map { $0["message"] as? String } == ["lag grew"] && alerts[0]["since"] is String && (row["alerts"] as? [String])?.isEmpty == true)
    #expect(row["owner"] == nil && row["lag"] as? Int == 0)
    // A name that is not there is no topology with nothing in it.
    for command in [["status"], ["status", "--format", "json"], ["status", "--watch"], ["quarantine", "list"], ["nightly", "--roll-up-only"]] {
      let ended = try TidemarkProcess(command + ["--topology-name", "nosuch"], world: world).wait()
      #expect(ended.code == 65 && ended.output.isEmpty, "\(command): \(ended)")
      #expect(ended.messages.contains("there is no topology nosuch in PostgreSQL; there is product-events"), "\(command): \(ended)")
    }
    for wrong in ["0", "x", "-1", "2 days"] {
      #expect(try world.tidemark("status", "--watch=\(wrong)", code: 64).messages.contains("--watch \(wrong): expected seconds or a time"), "\(wrong)")
    }
  }

  @Test func watchingGoesOnWhileServersAreAwayAndEndsInOrder() throws {
    let server = try EphemeralPostgres()
    defer { server.close() }
    let world = try World("status_watch", partitions: 1, server: server)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("generate", "--topic", "product.events", "--events", "500", "--users", "50")
    try world.tidemark("run", "--topology", topology, "--data-dir", world.directory.appendingPathComponent("d").path, "--until-caught-up", "--no-checks")
    let watch = try TidemarkProcess(["status", "--watch", "200ms", "--format", "json"], world: world, name: "watch")
    for _ in 0..<3 { #expect(try rows(watch.line()).map { $0["nextOffset"] as? Int } == [500]) }
    try server.stop(immediately: true)
    #expect(watch.says("; trying again"), "\(watch.messages)")
    try server.start()
    #expect(watch.says("all servers answer again"), "\(watch.messages)")
    let away = watch.messages.components(separatedBy: "trying again").count - 1
    #expect(try rows(watch.line()).count == 1)
    #expect(away <= 4, "a trouble is said once, not at every look: \(watch.messages)")
    watch.send(SIGINT)
    let ended = watch.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    #expect(ended.output.isEmpty || ended.output.hasSuffix("\n"), "no document is cut")
  }
}
