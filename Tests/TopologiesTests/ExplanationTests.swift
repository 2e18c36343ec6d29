import Testing

@testable import Aggregation
@testable import Topologies

/// What `tidemark explain` says.
@Suite struct ExplanationTests {
  @Test func productEventsIsExplained() throws {
    let topology = try Files.load("product-events.yaml")
    #expect(
      topology.explanation() == """
        Topology product-events
          fingerprint     \(topology.fingerprint)
          topics          product.events
          format          JSON
          partition key   user_id, the Kafka key: all events of one user_id are in one partition, so distinct counts
                          add up

        Event
          id              event_id
          time            created_at, RFC 3339
          fields          event_type    string   event_type               required: an event without it is quarantined
                          user_id       string   user_id                  required: an event without it is quarantined
                          department    string   department               "unassigned" where it is absent or null
                          amount_cents  integer  properties.amount_cents  optional

        Time
          zone            UTC
          late            an event more than 48 hours before its partition's watermark, the greatest event time
                          accepted there: quarantined and counted
          far future      an event more than 5 minutes after its record's Kafka timestamp: quarantined, and the
                          watermark stays where it is
          duplicate       an event whose id was seen before, until the watermark has moved on by more than 1 hour
                          since: counted once

        Aggregate daily_metrics
          window          calendar days in UTC
          final           48 hours after its end, by the watermark of every partition but those that are read to their end:
                          the window of 2026-03-29 (UTC), 24 hours long, ends at 2026-03-30T00:00:00Z
                          and is final once the watermark has reached 2026-04-01T00:00:00Z
          open at once    3 windows
          table           analytics.daily_metrics
          key             window_start, department, event_type
          columns         event_count    count
                          unique_users   distinct user_id
                          revenue_cents  sum amount_cents
                          updated_at     when the row was last written
          groups          at most 100,000 a window and partition, what is more goes to __overflow__
          access          ceo              analytics.daily_metrics          every row
                          department_head  analytics.daily_metrics          rows of the person's own department
                          manager          analytics.daily_metrics_manager  rows of the person's own department, without revenue_cents
                          board            analytics.daily_metrics_board    totals of complete days over every department, event_type, without unique_users
          reconciled      against raw, tolerance exact

        Aggregate daily_active_users
          window          calendar days in UTC
          final           48 hours after its end, by the watermark of every partition but those that are read to their end:
                          the window of 2026-03-29 (UTC), 24 hours long, ends at 2026-03-30T00:00:00Z
                          and is final once the watermark has reached 2026-04-01T00:00:00Z
          open at once    3 windows
          table           analytics.daily_active_users
          key             window_start
          columns         dau         distinct user_id
                          updated_at  when the row was last written
          access          ceo              analytics.daily_active_users            every window
                          department_head  analytics.daily_active_users            every window
                          manager          analytics.daily_active_users            every window
                          board            analytics.daily_active_users_board      every window of complete days
                          all_hands        analytics.daily_active_users_all_hands  every window
          reconciled      against raw, tolerance exact

        Aggregate events_per_minute
          window          1 minute, aligned to 1970-01-01T00:00:00Z
          final           48 hours after its end, by the watermark of every partition but those that are read to their end:
                          the window from 2026-03-29T01:00:00Z, 1 minute long, ends at 2026-03-29T01:01:00Z
                          and is final once the watermark has reached 2026-03-31T01:01:00Z
          open at once    2,881 windows
          counts          events whose event_type is not "heartbeat"
          table           analytics.events_per_minute
          key             window_start, event_type
          columns         event_count  count
                          updated_at   when the row was last written
          groups          at most 100,000 a window and partition, what is more goes to __overflow__
          access          none: the file gives nobody access
          reconciled      against raw, tolerance exact

        Memory of one partition, estimated
          daily_metrics       3 windows x groups x (300 to 408 bytes + members)
          daily_active_users  3 windows x (196 to 280 bytes + members)
          events_per_minute   2,881 windows x groups x (132 to 200 bytes)
          members             2 to 4 bytes for each user_id of a group; 1 bit to 8 bytes once they are many
          each user_id        32 to 64 bytes while an open window holds it: 3.2 to 6.4 MB for 100,000
          each event id       17 to 48 bytes for 1 hour: 17 to 48 MB for 1,000,000
          texts               of more than 15 bytes in by: 32 bytes and their length more for each group
          closed windows      are kept until they are a quarter of an aggregate's groups

        Alerts (monitor:)
          freshness       expected 1 minute (default)
          events          drop 50% (default), floor 100 (default), counted in analytics.events_per_minute by
                          event_type
          refresh         daily 26 hours (default), hourly 2 hours (default)
          reconciliation  unexplained 0 (default)
          lag             growing_for 10 minutes (default), floor 10000 (default)
          quarantine      rate 1% (default), within 15 minutes (default), floor 10 (default)
          queries         slower_than 3 seconds (default), within 10 minutes (default)
          storage         capacity unknown (default), time_to_full 14 days (default), growth 50% (default), floor 1
                          GiB (default)
          fenced          times 5 (default), within 15 minutes (default)
          repeat          4 hours (default)
          settle          2 minutes (default)

        """)
  }

  private func explanation(_ edits: [(String, String)]) throws -> [String] {
    try Topology.parse(yaml: Files.shop(edits), file: "t.yaml").explanation().split(separator: "\n").map(String.init)
  }

  @Test func aDayOfAnotherZoneIsWorkedOut() throws {
    let lines = try explanation([])
    #expect(lines.contains("  window          calendar days in Europe/Berlin, 23 or 25 hours long where the clocks change"))
    #expect(
      lines.contains("                  the window of 2026-03-29 (Europe/Berlin), 23 hours long, ends at 2026-03-29T22:00:00Z"))
    #expect(lines.contains("                  and is final once the watermark has reached 2026-03-31T22:00:00Z"))
    #expect(lines.contains("  open at once    3 windows, one more around a change of the clocks"))
  }

  @Test func weeksSayWhereTheyBegin() throws {
    let lines = try explanation([("tumbling: 1 day", "tumbling: 1 week")])
    #expect(lines.contains("  window          7 calendar days in Europe/Berlin, counted from 1970-01-01, a Thursday"))
    #expect(
      lines.contains("                  the window from 2026-03-26 (Europe/Berlin), 167 hours long, ends at 2026-04-01T22:00:00Z")
    )
  }

  @Test func withoutLatenessAWindowIsFinalAtItsEnd() throws {
    let lines = try explanation([("allowed_lateness: 48h", "allowed_lateness: 0s")])
    #expect(
      lines.contains("  final           at its end, by the watermark of every partition but those that are read to their end:"))
    #expect(lines.contains("                  and is final once the watermark has reached 2026-03-29T22:00:00Z"))
    #expect(lines.contains("  open at once    1 window"))
  }

  @Test func filtersDefaultsAndAveragesAreWrittenOut() throws {
    let lines = try explanation([
      ("scale: 2 }", "scale: 2, default: -1.5 }"), ("revenue: sum amount", "revenue: average amount"),
      ("where: { paid: true }", "where: { amount: [0.25, 3], paid: true, coupon: { not: [\"a\\nb\"] } }")
    ])
    #expect(lines.contains("                  amount   decimal(2)  amount   -1.50 where it is absent or null"))
    #expect(lines.contains("  counts          events whose amount is 0.25 or 3.00"))
    #expect(lines.contains("                  and whose paid is true"))
    #expect(lines.contains("                  and whose coupon is not \"a\\nb\", or is absent"))
    #expect(lines.contains("                  revenue_sum    sum amount"))
    #expect(lines.contains("                  revenue_count  values of amount"))
    #expect(lines.contains("                  revenue        revenue_sum / revenue_count"))
  }

  @Test func aTopologyWithoutMembersAndIdsSaysNothingOfThem() throws {
    let text = try explanation([("      buyers: distinct user_id\n", ""), ("deduplicate: { within: 1h }\n", "")]).joined(
      separator: "\n")
    #expect(text.contains("duplicate       events are not deduplicated"))
    #expect(!text.contains("each user_id") && !text.contains("members") && !text.contains("each event id"))
  }

  // MARK: The figures

  @Test(arguments: [600, 1_000, 1_100, 5_000, 65_000, 70_000]) func aMemberTakesWhatIsSaid(_ count: Int) {
    var members = MemberDictionary()
    for member in 1...count { _ = members.id(of: mix(UInt64(member))) }
    #expect(StateEstimate.member.contains(members.bytes / count))
  }

  @Test(arguments: [2_700, 2_900, 5_000, 5_800, 30_000]) func anIdentifierTakesWhatIsSaid(_ count: Int) {
    var identifiers = IdentifierTable(horizon: 3_600)
    for id in 1...count { _ = identifiers.note(mix(UInt64(id)), now: 0) }
    #expect(StateEstimate.identifier.contains(identifiers.bytes / count))
  }

  @Test func aMemberOfAGroupTakesWhatIsSaid() {
    var sparse = Bitmap()
    var dense = Bitmap()
    var full = Bitmap()
    for id in 0..<1_000 as Range<UInt32> { _ = sparse.insert(id * 64) }
    for id in 0..<1_025 as Range<UInt32> { _ = dense.insert(id * 63) }
    for id in 0..<65_536 as Range<UInt32> { _ = full.insert(id) }
    #expect((2.0...4.3).contains(Double(sparse.bytes) / 1_000))
    #expect((7.9...8.2).contains(Double(dense.bytes) / 1_025))
    #expect((0.124...0.128).contains(Double(full.bytes) / 65_536))
  }

  /// The core's own count of its bytes lies in the range, up to the doubling of arrays that it does not see.
  @Test(arguments: [200, 1_000, 10_000]) func aGroupTakesWhatIsSaid(_ groups: Int) throws {
    let topology = try Files.load("product-events.yaml")
    for (aggregate, compiled) in zip(topology.aggregates, topology.plan().aggregates) {
      var state = AggregateState(plan: compiled) { UInt64($0.utf8.count) }
      let window = Window(start: EventTime(microseconds: 0), end: EventTime(microseconds: 86_400_000_000))
      for group in 0..<groups {
        let slot = state.add(window: window, keyHash: mix(UInt64(group + 1))) { compiled.by.map { _ in "a" } }
        for lane in state.lanes.indices where !state.lanes[lane].members.isEmpty { _ = state.lanes[lane].members[slot].insert(1) }
      }
      let estimate = StateEstimate(aggregate, allowedLateness: topology.allowedLateness)
      #expect((estimate.group.lowerBound * 9 / 10...estimate.group.upperBound).contains(state.bytes / groups))
    }
  }

  /// As many windows are open as a processor would hold: all that end after watermark - lateness.
  @Test(arguments: ["0s", "1h", "24h", "36h", "48h", "49h", "30 days"]) func windowsOpenAtOnceAreCounted(_ lateness: String)
    throws
  {
    let span = try #require(TimeSpan(lateness))
    for length in ["1 day", "1h", "7h", "1 minute"] {
      let topology = try Topology.parse(
        yaml: Files.shop([("tumbling: 1 minute", "tumbling: \(length)"), ("48h", lateness), ("Europe/Berlin", "UTC")]),
        file: "t.yaml")
      let window = topology.plan().aggregates[1].window
      var most = 0
      for minute in stride(from: Int64(0), to: 1_440, by: 7) {
        let watermark = 1_774_746_000_000_000 + minute * 60_000_000 + 59_999_999
        let last = window.window(at: EventTime(microseconds: watermark))
        let first = window.window(at: EventTime(microseconds: watermark - span.microseconds))
        most = max(
          most, Int((last.start.microseconds - first.start.microseconds) / (last.end.microseconds - last.start.microseconds)) + 1)
      }
      #expect(StateEstimate(topology.aggregates[1], allowedLateness: span).openWindows == most, "\(length)")
    }
  }
}
