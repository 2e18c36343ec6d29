import Testing

@testable import Topologies

/// `monitor:`: what it may say, and what a person reads who gets it wrong. It begins at line 35.
@Suite struct MonitorTests {
  private func problems(_ monitor: String) -> [String] { Files.problems(Files.shop + monitor) }
  private func parse(_ monitor: String) throws -> Topology { try Topology.parse(yaml: Files.shop + monitor, file: "t.yaml") }

  @Test func everyThresholdHasADefaultAndNoneDecidesResults() throws {
    let plain = try parse("")
    #expect(plain.monitor == Topology.Monitor())
    let other = try parse("monitor: { freshness: { expected: 5 minutes }, storage: off }\n")
    #expect(other.monitor.freshness?.expected == TimeSpan("5 minutes") && other.monitor.storage == nil && other.monitor.events == plain.monitor.events)
    #expect(plain.fingerprint == other.fingerprint)
  }

  @Test func allOfItIsRead() throws {
    let monitor = try parse(
      """
      monitor:
        freshness: { expected: 30s }
        events: { drop: 12.5 %, floor: 7, aggregate: orders_per_minute }
        refresh: { daily: 30h, hourly: 3h }
        reconciliation: { unexplained: 4 }
        lag: { growing_for: 20 minutes, floor: 5 }
        quarantine: { rate: 0.001 %, within: 1h, floor: 3 }
        queries: { slower_than: 10s, within: 5 minutes }
        storage: { capacity: 500 GiB, time_to_full: 30 days, growth: 10%, floor: 5 GB }
        fenced: { times: 3, within: 1h }
        repeat: 1 day
        settle: 0s

      """
    ).monitor
    #expect(monitor.events?.drop == Percent(thousandths: 12_500) && monitor.events?.floor == 7 && monitor.events?.aggregate == "orders_per_minute")
    #expect(monitor.refresh?.daily == TimeSpan("30h") && monitor.refresh?.hourly == TimeSpan("3h") && monitor.reconciliation?.unexplained == 4)
    #expect(monitor.lag?.growingFor == TimeSpan("20m") && monitor.lag?.floor == 5 && monitor.quarantine?.rate.thousandths == 1)
    #expect(monitor.queries?.slowerThan == TimeSpan("10s") && monitor.queries?.within == TimeSpan("5m"))
    #expect(monitor.storage?.capacity?.bytes == 500 << 30 && monitor.storage?.floor.bytes == 5_000_000_000 && monitor.storage?.timeToFull == TimeSpan("30d"))
    #expect(monitor.fenced?.times == 3 && monitor.repeatEvery == TimeSpan("1 day") && monitor.settle == TimeSpan("0s"))
  }

  @Test func freshnessIsHeldAgainstWhatTheTopologyExpects() throws {
    #expect(try parse("").freshnessTarget == TimeSpan("1 minute"))
    #expect(try parse("monitor: { freshness: { expected: 5s } }\n").freshnessTarget == TimeSpan("5s"))
    #expect(try parse("monitor: { freshness: off }\n").freshnessTarget == TimeSpan("1 minute"))
  }

  @Test func thresholdsInForceAreExplained() throws {
    func explained(_ monitor: String) throws -> [String] {
      let lines = try parse(monitor).explanation().split(separator: "\n").map(String.init)
      return Array(lines[try #require(lines.firstIndex(of: "Alerts (monitor:)"))...])
    }
    let usual = try explained("")
    #expect(usual.contains("  freshness       expected 1 minute (default)") && usual.contains("  settle          2 minutes (default)"))
    #expect(usual.contains("  events          drop 50% (default), floor 100 (default), counted in analytics.orders_per_minute"))
    let changed = try explained("monitor: { freshness: { expected: 5s }, lag: off, storage: { capacity: 500 GiB }, fenced: { times: 3 }, repeat: 1h }\n")
    #expect(changed.contains("  freshness       expected 5 seconds") && changed.contains("  lag             off"))
    #expect(changed.contains("  fenced          times 3, within 15 minutes (default)") && changed.contains("  repeat          1 hour"))
    let words = changed.joined(separator: " ").split(separator: " ").joined(separator: " ")
    #expect(words.contains("storage capacity 500 GiB, time_to_full 14 days (default), growth 50% (default), floor 1 GiB (default)"))
  }

  @Test func eventsAreCountedWhereHoursCanBe() throws {
    #expect(try parse("").eventCount == .init(table: "orders_per_minute", measure: "orders", type: nil, window: 60_000_000))
    #expect(try Files.load("product-events.yaml").eventCount == .init(table: "events_per_minute", measure: "event_count", type: "event_type", window: 60_000_000))
  }

  @Test(arguments: [
    ("monitor: { freshnes: off }", "35:12: unknown key \"freshnes\" in monitor: did you mean \"freshness\"?"),
    ("monitor: { freshness: { expcted: 1m } }", "35:25: unknown key \"expcted\" in monitor.freshness: did you mean \"expected\"?"),
    ("monitor: { freshness: 5m }", "35:23: monitor.freshness is a text, expected off, or a mapping such as { expected: 1 minute }"),
    ("monitor: []", "35:10: monitor is a list, expected a mapping such as { freshness: { expected: 1 minute } }"),
    ("monitor: { freshness: { expected: 0s } }", "35:35: monitor.freshness.expected: \"0s\" is too short: the least is 1 second"),
    ("monitor: { events: { drop: 50 } }", "35:28: monitor.events.drop is \"50\", expected a share above 0 % and up to 100 %, such as 50 % or 0.5 %"),
    ("monitor: { events: { drop: 101 % } }", "35:28: monitor.events.drop is \"101 %\", expected a share above 0 % and up to 100 %, such as 50 % or 0.5 %"),
    ("monitor: { events: { aggregate: orders_per_minut } }",
      "35:33: unknown aggregate \"orders_per_minut\" in monitor.events.aggregate: did you mean \"orders_per_minute\"?"),
    ("monitor: { events: { aggregate: daily_orders } }",
      "35:33: monitor.events.aggregate: aggregate \"daily_orders\" cannot count hours: it needs a measure count, and windows that make up an hour, such as 1 minute"),
    ("monitor: { events: { by: country } }", "35:26: monitor.events.by: no aggregate that counts hours has a by field \"country\""),
    ("monitor: { storage: { capacity: 500 } }", "35:33: monitor.storage.capacity is \"500\", expected a size such as 500 GiB or 2 TB"),
    ("monitor: { lag: { floor: -1 } }", "35:26: monitor.lag.floor is \"-1\", expected an integer from 0 to 1000000000000"),
    ("monitor: { fenced: { times: 1 } }", "35:29: monitor.fenced.times is \"1\", expected an integer from 2 to 1000000000000"),
    ("monitor: { repeat: 10 }", "35:20: monitor.repeat: \"10\" has no unit: write 10s if it is seconds"),
  ])
  func mistakesAreExplained(_ text: String, _ expected: String) {
    #expect(problems(text + "\n") == [expected])
  }

  @Test func allMistakesAreSaidAtOnce() {
    #expect(problems("monitor: { settle: x, repeat: y, lag: { floor: z } }\n").count == 3)
  }

  @Test func sharesAndSizesReadAsPeopleWriteThem() {
    #expect(Percent("0.25 %")?.thousandths == 250 && Percent("50%")?.description == "50 %" && Percent("0.25%")?.description == "0.25 %")
    for wrong in ["50", "%", ".5 %", "5. %", "1.2345 %", "-1 %", "1e3 %", "99999999999999999999 %"] { #expect(Percent(wrong) == nil, "\(wrong)") }
    #expect(ByteSize("2TB")?.bytes == 2_000_000_000_000 && ByteSize("1 KiB")?.description == "1 KiB" && ByteSize(bytes: 1536 << 20).description == "1.5 GiB")
    for wrong in ["2", "2 tb", "GiB", "-1 GiB", "9999999999 TiB"] { #expect(ByteSize(wrong) == nil, "\(wrong)") }
  }
}
