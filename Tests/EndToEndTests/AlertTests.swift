import Foundation
import Glibc
import LocalServers
import Testing

/// The commands and the instances as operators use them: who checks, who is told, and what scripts read.
@Suite struct AlertTests {
  private func channels(_ world: World, _ text: String) throws -> String {
    let file = world.directory.appendingPathComponent("channels-\(UUID().uuidString.prefix(6))")
    try Data(text.utf8).write(to: file)
    return file.path
  }

  /// Two instances, one of which checks; a topic of which half is refused; the checking one is killed with -9.
  @Test func oneInstanceTellsAndAnotherGoesOnWithoutRepeating() throws {
    let world = try World("alerts_run", partitions: 2)
    let hook = try WebhookServer()
    let file = try channels(world, "webhook = \(hook.url)/very-secret-path\n")
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("generate", "--topic", "product.events", "--events", "4000", "--users", "50", "--invalid", "0.5")
    let more = ["--check-interval", "1s", "--alert-channels", file]
    let a = try world.instance("a", topology, more[0], more[1], more[2], more[3])
    let b = try world.instance("b", topology, more[0], more[1], more[2], more[3])
    #expect(awaitTrue { world.consumed == 4_000 })
    // A machine under load may be told other things as well.
    func told() -> [String] { hook.received.map(\.body).filter { $0.contains("quarantine_rate") } }
    #expect(awaitTrue { told().count == 1 } && told()[0].contains("\"phase\":\"raised\""))
    #expect(awaitTrue { a.messages.contains("this instance checks every 1 s") || b.messages.contains("this instance checks every 1 s") })
    let first = a.messages.contains("this instance checks") ? a : b
    let second = first === a ? b : a
    #expect(!second.messages.contains("this instance checks"))
    // Killed between a message and its record, the next one would say it again, rather than never.
    let record = "SELECT sum(d.told) FROM tidemark.alert_delivery d JOIN tidemark.alert a ON a.id = d.alert WHERE a.kind = 'quarantine_rate'"
    #expect(awaitTrue { (try? world.rows(record)[0][0]) == "1" })
    first.kill9()
    #expect(second.says("this instance checks every 1 s"))
    // The other one looks at it several times and says nothing again.
    let seen = { (try? world.rows("SELECT seen FROM tidemark.alert WHERE kind = 'quarantine_rate'").first?[0]).flatMap { $0 }.flatMap { Int($0) } ?? 0 }
    let before = seen()
    #expect(awaitTrue { seen() >= before + 3 })
    #expect(told().count == 1, "\(hook.received.map(\.body))")

    let check = try world.tidemark("alerts", "check", "--topology", topology, "--format", "json", code: 3)
    let open = try #require((JSONSerialization.jsonObject(with: Data(check.output.utf8)) as? [String: Any])?["open"] as? [[String: Any]])
    #expect(open.contains { $0["kind"] as? String == "quarantine_rate" && $0["topology"] as? String == "product-events" && $0["severity"] as? String == "warning" })
    #expect(try world.tidemark("alerts", "check", "--topology", topology, "--dry-run", code: 3).output.contains("were refused within 15 minutes"))
    second.send(SIGTERM)
    let ended = second.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    #expect(!ended.messages.contains("very-secret-path"))
  }

  @Test func checkSaysWhatIsWellAndWhatItCouldNotCheck() throws {
    let world = try World("alerts_check", partitions: 1)
    let topology = Repository.topology("product-events")
    #expect(try world.tidemark("alerts", "check", "--topology", topology, code: 65).messages.contains("run `tidemark migrate"))
    try world.tidemark("migrate", "--topology", topology)
    let well = try world.tidemark("alerts", "check", "--topology", topology)
    #expect(well.output == "nothing is open\n" && well.messages.contains("not checked: product-events slow_query: the extension pg_stat_statements"))
  }

  @Test func testSendsThroughEachChannel() throws {
    let world = try World("alerts_test", partitions: 1)
    let good = try WebhookServer(), bad = try WebhookServer()
    bad.answer(500)
    let fine = try world.tidemark("alerts", "test", "--alert-channels", channels(world, "slack = \(good.url)/a\nwebhook = \(good.url)/b\ncommand = /bin/true"))
    #expect(fine.output == "slack: took it\nwebhook: took it\ncommand: took it\n")
    #expect(good.received.map(\.path) == ["/a", "/b"] && good.received[0].body.contains(":wave: TEST") && good.received[1].body.contains("\"phase\":\"test\""))
    let broken = try world.tidemark("alerts", "test", "--alert-channels", channels(world, "slack = \(bad.url)/SECRET\nwebhook = \(good.url)/b"), code: 69)
    #expect(broken.output == "slack: FAILED: 127.0.0.1:\(bad.port) answered 500\nwebhook: took it\n" && !(broken.output + broken.messages).contains("SECRET"))
    #expect(try world.tidemark("alerts", "test", code: 64).messages.contains("TIDEMARK_ALERT_SLACK"))
    #expect(try world.tidemark("alerts", "test", "--alert-channels", channels(world, "slack = SECRET"), code: 65).messages.contains("SECRET") == false)
    #expect(try world.tidemark("run", "--topology", Repository.topology("product-events"), "--data-dir", "/tmp/x", "--alert-channels", "/nowhere", code: 65)
      .messages.contains("/nowhere: cannot be read"))
  }
}
