import Aggregation
import Alerting
import Testing
import Topologies

/// A book in memory, as the database keeps it: nothing else is remembered between passes, so each pass is a restart.
struct Book {
  var rows: [StoredAlert] = []
  var deliveries: [Int64: Delivery] = [:]
  var channel = MonitorFacts.ChannelState(name: "c", failures: 0)
  var sent: [(phase: Notice.Phase, id: Int64, at: Int64)] = []
  var settle = 2 * minute
  let repeatEvery = 5 * minute

  mutating func pass(_ assessments: [Assessment], now: Int64, partitions: [MonitorFacts.Partition] = [], channelWorks: Bool = true) {
    var facts = MonitorFacts(now: now, topology: "shop")
    facts.partitions = partitions
    for change in AlertBook.changes(open: rows.filter { $0.resolvedAt == nil }, assessments, facts, settle: settle) {
      switch change {
      case .raise(let finding):
        rows.append(
          StoredAlert(
            id: Int64(rows.count + 1), key: finding.key, severity: finding.severity, message: finding.message, raisedAt: now, lastSeenAt: now, isByCheck: true))
      case .see(let id, let finding):
        rows[Int(id) - 1].lastSeenAt = now
        if let finding { rows[Int(id) - 1].message = finding.message }
      case .resolve(let id): rows[Int(id) - 1].resolvedAt = now
      }
    }
    for row in rows where channel.mayTry(now: now) {
      guard let phase = deliveries[row.id, default: Delivery()].owed(row, repeatEvery: repeatEvery, now: now) else { continue }
      channel.record(error: channelWorks ? nil : "503", at: now)
      guard channelWorks else { break }
      deliveries[row.id, default: Delivery()].record(phase, at: now)
      sent.append((phase, row.id, now))
    }
  }
}

/// Every sequence of what a check can say, held against a plain account of what must follow.
@Suite struct AlertBookTests {
  static let finding = Finding(AlertKey(kind: "stale"), .critical, "m")
  static let verdicts: [Assessment.Verdict] = [.findings([finding]), .findings([]), .unknown("?"), .off]

  /// All 4⁷ sequences of one check a minute: when it opens, when it is resolved, what is sent.
  @Test func everySequenceOfVerdictsIsJudgedRightly() {
    var checked = 0
    func descend(_ book: Book, _ model: (open: Bool, gone: Int64, told: Int64, rows: Int), _ step: Int64) {
      guard step < 7 else { return }
      for verdict in Self.verdicts {
        var book = book
        var model = model
        let now = noon + step * minute
        book.pass([Assessment(.stale, verdict)], now: now)
        var sends: [Notice.Phase] = []
        switch verdict {
        case .findings([]):
          if model.open {
            if now - model.gone >= 2 * minute { (model.open, sends) = (false, [.resolved]) }
          }
        case .findings:
          model.gone = now
          if !model.open { (model.open, model.told, sends, model.rows) = (true, now, [.raised], model.rows + 1) }
        case .off: if model.open { (model.open, sends) = (false, [.resolved]) }
        case .unknown: break
        }
        if model.open, now - model.told >= 5 * minute { (model.told, sends) = (now, [.repeated]) }
        let opened = book.rows.filter { $0.resolvedAt == nil }.count
        if opened != (model.open ? 1 : 0) || book.rows.count != model.rows || book.sent.filter({ $0.at == now }).map(\.phase) != sends {
          Issue.record("step \(step), \(verdict): open \(opened), rows \(book.rows.count), sent \(book.sent); expected \(model), \(sends)")
          return
        }
        checked += 1
        descend(book, model, step + 1)
      }
    }
    descend(Book(), (false, 0, 0, 0), 0)
    #expect(checked == (1...7).reduce(0) { $0 + (1 << (2 * $1)) })
  }

  /// All 2¹² sequences of a channel that works or does not, over an alert that is open for six minutes: what is owed is
  /// sent when the channel is back, once, and what was never told is not taken back.
  @Test func everySequenceOfFailuresLosesAndRepeatsNothing() {
    for pattern in 0..<(1 << 12) {
      var book = Book()
      for step in 0..<Int64(40) {
        let isBad = step < 6
        let works = step >= 12 || pattern >> step & 1 == 0
        book.pass([Assessment(.stale, .findings(isBad ? [Self.finding] : []))], now: noon + step * minute, channelWorks: works)
      }
      let phases = book.sent.map(\.phase)
      let raised = phases.filter { $0 == .raised }.count
      let resolved = phases.filter { $0 == .resolved }.count
      guard raised <= 1, resolved == raised, book.rows.count == 1, phases.last == (raised == 1 ? .resolved : nil), phases.first ?? .raised == .raised else {
        Issue.record("pattern \(pattern): \(phases)")
        return
      }
      // A channel that worked when it may be tried has told it.
      if pattern & 1 == 0 { #expect(book.sent[0].at == noon && raised == 1) }
      for (a, b) in zip(book.sent, book.sent.dropFirst()) where b.phase == .repeated { #expect(b.at - a.at >= book.repeatEvery) }
    }
  }

  @Test func aChannelIsTriedLessAndLessOften() {
    var channel = MonitorFacts.ChannelState(name: "c", failures: 0)
    var waits: [Int64] = []
    for _ in 0..<7 {
      channel.record(error: "503", at: noon)
      waits.append((channel.nextAttemptAt! - noon) / minute)
      #expect(!channel.mayTry(now: channel.nextAttemptAt! - 1) && channel.mayTry(now: channel.nextAttemptAt!))
    }
    #expect(waits == [1, 2, 4, 8, 15, 15, 15])
    #expect(Checks.channelFailing(channel)?.message.contains("7 failures in a row, the last one: 503") == true)
    channel.record(error: nil, at: noon)
    #expect(channel == .init(name: "c", failures: 0) && Checks.channelFailing(channel) == nil)
  }

  @Test func aValueThatSwingsAroundItsThresholdIsOneAlert() {
    var book = Book()
    for step in 0..<Int64(60) { book.pass([Assessment(.stale, .findings(step % 2 == 0 ? [Self.finding] : []))], now: noon + step * minute) }
    #expect(book.rows.count == 1 && book.rows[0].resolvedAt == nil)
    #expect(book.sent.map(\.phase) == [.raised] + Array(repeating: .repeated, count: 11))
  }

  @Test func alertsThatAnotherOneSaysAreKeptButNotRaised() {
    var book = Book()
    let quiet = Finding(AlertKey(kind: "events_down", subject: "view"), .warning, "m", raises: false)
    book.pass([Assessment(.eventsDown, .findings([quiet]))], now: noon)
    #expect(book.rows.isEmpty)
    book.pass([Assessment(.eventsDown, .findings([Finding(quiet.key, .warning, "m")]))], now: noon + minute)
    for step in Int64(2)...9 { book.pass([Assessment(.eventsDown, .findings([quiet]))], now: noon + step * minute) }
    #expect(book.rows.count == 1 && book.rows[0].resolvedAt == nil)
  }

  @Test func subjectsAreAlertsOfTheirOwn() {
    var book = Book()
    let two = ["a", "b"].map { Finding(AlertKey(kind: "slow_query", subject: $0), .warning, $0) }
    book.pass([Assessment(.slowQuery, .findings(two))], now: noon)
    for step in Int64(1)...3 { book.pass([Assessment(.slowQuery, .findings([two[1]]))], now: noon + step * minute) }
    #expect(book.rows.map { $0.resolvedAt != nil } == [true, false])
  }

  // MARK: Rows of others

  private func row(_ kind: String, partition: Int32 = 0, byCheck: Bool = false) -> StoredAlert {
    StoredAlert(
      id: 1, key: AlertKey(kind: kind, topic: "shop", partition: partition), severity: .critical, message: "theirs", raisedAt: noon, lastSeenAt: noon,
      isByCheck: byCheck)
  }

  @Test(arguments: ["offset_out_of_range", "state_unreadable", "topic_ends_early", "state_over_budget"])
  func aStoppedPartitionIsToldAndResolvedWhenItFlushesAgain(_ kind: String) {
    var book = Book()
    book.rows = [row(kind)]
    let partitions = { (flushed: Int64?) in [partition(0, flushed: flushed), partition(1, flushed: noon + hour)] }
    book.pass([], now: noon + minute, partitions: partitions(noon - minute))
    #expect(book.sent.map(\.phase) == [.raised])
    // A flush that was under way when it stopped is no sign of life.
    book.pass([], now: noon + 2 * minute, partitions: partitions(noon + minute - 1))
    #expect(book.rows[0].resolvedAt == nil)
    book.pass([], now: noon + 3 * minute, partitions: partitions(noon + minute))
    #expect(book.rows[0].resolvedAt == noon + 3 * minute && book.sent.map(\.phase) == [.raised, .resolved])
  }

  @Test func whatHasHappenedIsOverAfterADay() {
    var book = Book()
    book.rows = [row("horizon_incomplete")]
    book.pass([], now: noon + 24 * hour - 1)
    #expect(book.rows[0].resolvedAt == nil)
    book.pass([], now: noon + 24 * hour)
    #expect(book.rows[0].resolvedAt != nil)
  }

  @Test func alertsOfOthersAreTheirsToResolve() {
    var book = Book()
    book.rows = [row("something_else")]
    for step in Int64(0)...5 { book.pass([Assessment(.stale, .findings([]))], now: noon + step * 12 * hour, partitions: [partition(0, flushed: noon + 60 * hour)]) }
    #expect(book.rows[0].resolvedAt == nil && book.sent.first?.phase == .raised)
    book.rows[0].resolvedAt = noon + 61 * hour
    book.pass([], now: noon + 61 * hour)
    #expect(book.sent.last?.phase == .resolved)
  }

  /// The batch side raises the same alert itself: it stays one row, with its words.
  @Test func aRowThatSomebodyElseRaisedIsNotDoubled() {
    var book = Book()
    let finding = Finding(AlertKey(kind: "refresh_failed", topic: "nightly.daily"), .warning, "ours")
    book.rows = [StoredAlert(id: 1, key: finding.key, severity: .warning, message: "theirs", raisedAt: noon, lastSeenAt: noon, isByCheck: false)]
    book.pass([Assessment(.refreshFailed, .findings([finding]))], now: noon + minute)
    #expect(book.rows.count == 1 && book.rows[0].message == "theirs" && book.rows[0].lastSeenAt == noon + minute)
  }

  @Test func linesAndTimesReadWell() {
    var alert = row("offset_out_of_range", partition: 3)
    #expect(Notice(.raised, alert, topology: "shop").line == "CRITICAL shop: offset_out_of_range shop/3 theirs")
    #expect(Notice(.repeated, alert, topology: "shop").line == "STILL CRITICAL shop: offset_out_of_range shop/3 since 2026-03-04T05:06:07Z: theirs")
    alert.resolvedAt = noon + hour
    let notice = Notice(.resolved, alert, topology: "shop")
    #expect(notice.line == "RESOLVED shop: offset_out_of_range shop/3 open from 2026-03-04T05:06:07Z to 2026-03-04T06:06:07Z: theirs")
    #expect(notice.id == "shop/1" && notice.partition == 3)
  }
}
