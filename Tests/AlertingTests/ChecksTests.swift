import Aggregation
import Alerting
import Testing
import Topologies

/// Facts in, findings out: each threshold from both sides.
@Suite struct ChecksTests {
  @Test func whoIsWellIsNotCalled() {
    let assessments = Checks.assess(wellFacts(), Topology.Monitor())
    #expect(assessments.map(\.kind) == CheckKind.allCases)
    #expect(assessments.raised == [])
  }

  @Test func everyCheckCanBeSwitchedOff() {
    let monitor = Topology.Monitor.silent
    for assessment in Checks.assess(wellFacts(), monitor) where assessment.kind != .channelFailing { #expect(assessment.verdict == .off) }
  }

  // MARK: Freshness

  @Test(arguments: [(Int64(119), false), (120, false), (121, true)])
  func rowsAreStaleAfterTwiceTheExpectedInterval(_ seconds: Int64, _ isStale: Bool) {
    let said = assess { facts, _ in facts.partitions[1] = partition(1, next: 90, end: 100, flushed: facts.now - seconds * 1_000_000) }
    #expect(said.raised == (isStale ? ["stale"] : []))
    if isStale { #expect(said.findings(.stale)[0].message.contains("for 2 minutes 1 second in 1 of 3 partitions (shop/1), expected every 1 minute; 10 events wait")) }
  }

  @Test func aPartitionAtTheEndThatKafkaHasNowIsFresh() {
    let quiet = { (facts: inout MonitorFacts, current: Bool) in
      for i in 0..<3 { facts.partitions[i] = partition(Int32(i), current: current, flushed: facts.now - hour) }
    }
    #expect(assess { facts, _ in quiet(&facts, true) }.raised == [])
    let doubtful = assess { facts, _ in quiet(&facts, false) }
    #expect(doubtful.raised == ["stale"] && doubtful.findings(.stale)[0].message.contains("Kafka was not asked"))
    // One partition that was flushed shows that somebody is at work: silence of the others says nothing.
    #expect(assess { facts, _ in quiet(&facts, false); facts.partitions[2] = partition(2, flushed: facts.now) }.raised == [])
    // What waits, waits, whoever was asked.
    #expect(assess { facts, _ in quiet(&facts, true); facts.partitions[0] = partition(0, next: 1, current: true, flushed: nil) }.raised == ["stale"])
    #expect(assess { facts, _ in facts.partitions = [] }.raised == [])
  }

  /// Before its first flush a partition is as old as its takeover.
  @Test func aPartitionThatHasJustBeenTakenOverIsNotStale() {
    func said(_ taken: Int64) -> [String] {
      assess { facts, _ in
        var new = partition(0, next: 0, end: 10, flushed: nil)
        new.takenAt = facts.now - taken
        facts.partitions = [new]
      }.raised
    }
    #expect(said(2 * minute) == [] && said(2 * minute + 1) == ["stale"])
  }

  // MARK: Counts

  @Test(arguments: [(Int64(500), false), (499, true), (0, true)])
  func halfOfWhatWasUsualIsEnough(_ current: Int64, _ isDown: Bool) {
    #expect(assess { facts, _ in facts.hours = .known([.init(type: nil, current: current, weeks: [1_000], hours: [])]) }.raised == (isDown ? ["events_down"] : []))
  }

  @Test func theMedianOfUpToFourWeeksCounts() {
    func isDown(_ current: Int64, _ weeks: [Int64], _ hours: [Int64] = []) -> Bool {
      assess { facts, _ in facts.hours = .known([.init(type: nil, current: current, weeks: weeks, hours: hours)]) }.raised == ["events_down"]
    }
    // One extraordinary week moves nothing.
    #expect(!isDown(600, [1_000, 1_000_000, 1_000]))
    #expect(isDown(499, [1_000, 10, 1_000]))
    #expect(isDown(749, [1_000, 2_000, 1_000, 2_000]) && !isDown(750, [1_000, 2_000, 1_000, 2_000]))
    // While there is not a week, the hours before count, two of them at least.
    #expect(isDown(499, [], [1_000, 900, 1_100]) && !isDown(500, [], [1_000, 900, 1_100]))
    #expect(!isDown(0, [], [1_000]) && !isDown(0, [], []))
    // A week wins over hours.
    #expect(!isDown(400, [500], [10_000, 10_000]))
    // The floor.
    #expect(!isDown(0, [99]) && isDown(0, [100]))
  }

  @Test func typesAreSaidOnTheirOwnOnlyWhileTheWholeIsWell() {
    func hours(_ total: Int64) -> Known<[MonitorFacts.EventHours]> {
      .known([
        .init(type: nil, current: total, weeks: [10_000], hours: []), .init(type: "purchase", current: 0, weeks: [300], hours: []),
        .init(type: "login", current: 90, weeks: [99], hours: []), .init(type: "view", current: 400, weeks: [900], hours: []),
      ])
    }
    let types = assess { facts, _ in facts.hours = hours(9_000) }.findings(.eventsDown)
    #expect(types.map(\.key.subject) == ["view", "purchase"] && types.allSatisfy(\.raises))
    let all = assess { facts, _ in facts.hours = hours(1_000) }.findings(.eventsDown)
    #expect(all.map(\.key.subject) == ["", "view", "purchase"] && all.map(\.raises) == [true, false, false])
    #expect(all[0].message.contains("90 % fewer than the median of the same hour a week ago, 10,000; most of it: view, purchase"))
  }

  @Test func aDropNamesItsLikelyCause() {
    func message(_ change: (inout MonitorFacts) -> Void) -> String {
      assess { facts, _ in
        facts.hours = .known([.init(type: nil, current: 100, weeks: [1_000], hours: [])])
        change(&facts)
      }.findings(.eventsDown)[0].message
    }
    #expect(message { _ in }.contains("the source sends less"))
    #expect(message { $0.partitions[0] = partition(0, next: 0, end: 700, flushed: noon) }.contains("700 events wait in Kafka"))
    #expect(message { $0.refused.quarantined = 800 }.contains("800 were refused"))
  }

  @Test func aHostileTypeNameIsCutAndCleaned() {
    let hostile = "buy\u{202E}\n\u{0}<!channel>" + String(repeating: "x", count: 10_000)
    let said = assess { facts, _ in
      facts.hours = .known((0..<500).map { .init(type: "\(hostile)", current: 0, weeks: [1_000 + Int64($0)], hours: []) })
    }.findings(.eventsDown)
    #expect(said.count == 20)
    for finding in said {
      #expect(finding.key.subject.unicodeScalars.count < 70 && finding.message.unicodeScalars.count < 400)
      #expect(!finding.message.unicodeScalars.contains { $0.value < 32 || $0.value == 0x202E })
    }
  }

  // MARK: The stream

  @Test func lagThatGrowsIsSaidAndLagThatJittersIsNot() {
    func isGrowing(_ values: [Int64], minutes: Int64 = 1) -> Bool {
      assess { facts, _ in
        facts.lag = values.enumerated().map { .init(at: facts.now - Int64(values.count - 1 - $0.offset) * minutes * minute, value: $0.element) }
      }.raised == ["lag_growing"]
    }
    #expect(isGrowing((0...10).map { 1_000 + $0 * 1_000 }))
    #expect(isGrowing([0, 900, 500, 2_000, 5_000, 4_000, 6_000, 9_000, 12_000, 11_000, 13_000]))
    #expect(!isGrowing([30_000, 1_000, 30_000, 1_000, 30_000, 1_000, 30_000, 1_000, 30_000, 1_000, 30_000]))
    #expect(!isGrowing((0...10).map { 50_000 - $0 * 1_000 }))
    #expect(!isGrowing((0...10).map { _ in 50_000 }))
    // Below the floor, and without ten minutes of history, nothing is said.
    #expect(!isGrowing((0...10).map { $0 * 900 }))
    #expect(!isGrowing((0...5).map { $0 * 100_000 }) && !isGrowing([]))
  }

  @Test func refusalsAboveTheRateAreSaid() {
    func isSaid(_ quarantined: Int64, of offsets: Int64) -> Bool {
      assess { facts, _ in
        facts.refused.offsets = offsets
        facts.refused.quarantined = quarantined
        facts.refused.reasons = ["invalid_json"]
      }.raised == ["quarantine_rate"]
    }
    #expect(isSaid(101, of: 10_000) && !isSaid(100, of: 10_000))
    #expect(isSaid(10, of: 10) && !isSaid(9, of: 9) && !isSaid(0, of: 0))
  }

  @Test func takeoversAreCounted() {
    func said(_ times: Int64) -> [Finding] {
      assess { facts, _ in facts.takeovers = [.init(id: PartitionID(topic: "shop", partition: 1), times: times)] }.findings(.fenced)
    }
    #expect(said(4) == [] && said(5).count == 1 && said(5)[0].message.contains("shop/1 5 times"))
  }

  // MARK: The batch side

  @Test func refreshesAreJudgedByTheirLastGoodEnd() {
    func said(_ refresh: @escaping (Int64) -> MonitorFacts.Refresh) -> [String] { assess { facts, _ in facts.refreshes = .known([refresh(facts.now)]) }.raised }
    #expect(said { refresh(doneAt: $0 - 26 * hour) } == [] && said { refresh(doneAt: $0 - 26 * hour - 1) } == ["refresh_late"])
    #expect(said { refresh(doneAt: $0 - 2 * hour, hourly: true) } == [] && said { refresh(doneAt: $0 - 3 * hour, hourly: true) } == ["refresh_late"])
    #expect(said { refresh(doneAt: $0, failure: "disk full") } == ["refresh_failed"])
    #expect(said { refresh(doneAt: nil, createdAt: $0 - hour) } == [] && said { refresh(doneAt: nil, createdAt: $0 - 27 * hour) } == ["refresh_late"])
    #expect(assess { facts, _ in facts.refreshes = .known([refresh(doneAt: facts.now, failure: "x")]) }.findings(.refreshFailed)[0].key.topic == "nightly.daily")
  }

  @Test func unexplainedDifferencesAreSaid() {
    func said(_ change: (inout MonitorFacts.Reconciliation, inout Topology.Monitor) -> Void) -> [Finding] {
      assess { facts, monitor in
        var run = MonitorFacts.Reconciliation(run: 7)
        change(&run, &monitor)
        facts.reconciliation = .known(run)
      }.findings(.reconciliation)
    }
    #expect(said { run, _ in run.differences = 5 } == [])
    #expect(said { run, _ in (run.differences, run.unexplained, run.examples) = (5, 2, ["daily 2026-03-04: stream 3, batch 4"]) }[0].message
      == "reconciliation run 7 found 2 unexplained of 5 differences: daily 2026-03-04: stream 3, batch 4")
    #expect(said { run, monitor in run.unexplained = 2; monitor.reconciliation!.unexplained = 2 } == [])
    #expect(said { run, _ in run.failure = "no such view" }.count == 1)
  }

  // MARK: The database

  @Test func slowQueriesAreSaidAndBounded() {
    func query(_ id: Int, _ mean: Double, calls: Int64 = 3) -> MonitorFacts.Query {
      .init(id: "\(id)", user: "grafana", text: "SELECT *\nFROM analytics.daily", calls: calls, meanMilliseconds: mean)
    }
    let said = assess { facts, _ in facts.queries = .known([query(1, 3_000), query(2, 3_001), query(3, 9_000, calls: 0)]) }.findings(.slowQuery)
    #expect(said.map(\.key.subject) == ["grafana 2"] && said[0].message.contains("takes 3.0 s on average (3 calls") && !said[0].message.contains("\n"))
    #expect(assess { facts, _ in facts.queries = .known((0..<100).map { query($0, 5_000) }) }.findings(.slowQuery).count == 20)
  }

  @Test func storageThatGrowsOrFillsUpIsSaid() {
    func said(_ grow: Int64, hours: Int64 = 48, capacity: Int64? = nil) -> [Assessment] {
      assess { facts, monitor in
        facts.storage = (0...hours).map { .init(at: facts.now - (hours - $0) * hour, value: 100 << 30 + $0 * grow) }
        monitor.storage!.capacity = capacity.map { ByteSize(bytes: $0) }
      }
    }
    #expect(said(1 << 30).raised == [])
    #expect(said(4 << 30).raised == ["storage_growth"])
    #expect(said(1 << 30, capacity: 1 << 50).raised == [])
    // 148 GiB, 1 GiB an hour: 400 GiB are reached in 252 hours, 11 days.
    let full = said(1 << 30, capacity: 400 << 30)
    #expect(full.raised == ["storage_full"] && full.findings(.storageFull)[0].message.contains("it is full in 10 days 12 hours"))
    #expect(full.findings(.storageFull)[0].severity == .warning && said(1 << 30, capacity: 160 << 30).findings(.storageFull)[0].severity == .critical)
    #expect(said(0, capacity: 100 << 30).findings(.storageFull)[0].message.contains("it is full"))
    if case .unknown = said(1 << 30, hours: 10).verdict(.storageGrowth) {} else { Issue.record("ten hours are no day") }
    if case .unknown = said(1 << 30, hours: 3, capacity: 1 << 50).verdict(.storageFull) {} else { Issue.record("three hours are no history") }
  }

  @Test func whatIsNotKnownIsNoVerdict() {
    let said = assess { facts, _ in
      facts.queries = .unknown("pg_stat_statements is not there")
      facts.refreshes = .unknown("none")
    }
    #expect(said.verdict(.slowQuery) == .unknown("pg_stat_statements is not there") && said.verdict(.refreshLate) == .unknown("none"))
  }
}

extension Topology.Monitor {
  static var silent: Self {
    var monitor = Self()
    (monitor.freshness, monitor.events, monitor.refresh, monitor.reconciliation, monitor.lag) = (nil, nil, nil, nil, nil)
    (monitor.quarantine, monitor.queries, monitor.storage, monitor.fenced) = (nil, nil, nil, nil)
    return monitor
  }
}
