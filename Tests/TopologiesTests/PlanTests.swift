import Aggregation
import Testing

@testable import Topologies

/// The repository's topologies compile to what their text says.
@Suite struct PlanTests {
  private let hour: Int64 = 3_600_000_000
  private let day: Int64 = 86_400_000_000

  @Test func productEventsIsPlanned() throws {
    let plan = try Files.load("product-events.yaml").plan()
    #expect(plan.topology == "product-events")
    #expect(plan.topics == ["product.events"])
    #expect(plan.idPath == ["event_id"])
    #expect(plan.timePath == ["created_at"])
    #expect(plan.timeFormat == .rfc3339)
    #expect(
      plan.fields == [
        FieldPlan(name: "event_type", path: ["event_type"], kind: .string, presence: .required),
        FieldPlan(name: "user_id", path: ["user_id"], kind: .string, presence: .required),
        FieldPlan(name: "department", path: ["department"], kind: .string, presence: .defaulted("unassigned")),
        FieldPlan(name: "amount_cents", path: ["properties", "amount_cents"], kind: .integer, presence: .optional)
      ])
    #expect(plan.partitionKey == 1)
    #expect(plan.allowedLateness == 48 * hour)
    #expect(plan.deduplicateWithin == hour)
    #expect(plan.maxFutureSkew == 300_000_000)
    #expect(
      plan.aggregates == [
        AggregatePlan(
          name: "daily_metrics", window: .calendarDays(1, zone: .utc), by: [2, 0], filter: [],
          measures: [
            MeasurePlan(name: "event_count", kind: .count), MeasurePlan(name: "unique_users", kind: .distinct(field: 1)),
            MeasurePlan(name: "revenue_cents", kind: .sum(field: 3))
          ], groupLimit: 100_000),
        AggregatePlan(
          name: "daily_active_users", window: .calendarDays(1, zone: .utc), by: [], filter: [],
          measures: [MeasurePlan(name: "dau", kind: .distinct(field: 1))], groupLimit: 100_000),
        AggregatePlan(
          name: "events_per_minute", window: .tumbling(length: 60_000_000), by: [0],
          filter: [FilterTerm(field: 0, negated: true, values: ["heartbeat"])],
          measures: [MeasurePlan(name: "event_count", kind: .count)], groupLimit: 100_000)
      ])
  }

  @Test func productEventsSaysWhoMayReadAndWhatIsReconciled() throws {
    let topology = try Files.load("product-events.yaml")
    #expect(topology.aggregate(named: "daily_metrics")?.access == Topology.Access(by: "department", tiers: []))
    #expect(
      topology.aggregate(named: "daily_active_users")?.access
        == Topology.Access(by: nil, tiers: ["ceo", "board", "department_head", "manager", "all_hands"]))
    #expect(topology.aggregate(named: "events_per_minute")?.access == nil)
    #expect(topology.reconciliations == topology.aggregates.map { .init(aggregate: $0.name, against: .raw, tolerance: .exact) })
    #expect(topology.zone == "UTC")
  }

  @Test func gitActivityIsPlanned() throws {
    let plan = try Files.load("git-activity.yaml").plan()
    #expect(plan.topology == "git-activity")
    #expect(plan.allowedLateness == 5_000 * day)
    #expect(plan.deduplicateWithin == 30 * day)
    #expect(plan.partitionKey == 1)
    #expect(plan.aggregates.map(\.name) == ["activity_daily", "activity_hourly", "people_daily"])
    #expect(
      plan.aggregates.map(\.window) == [.calendarDays(1, zone: .utc), .tumbling(length: hour), .calendarDays(1, zone: .utc)])
    #expect(plan.aggregates.map(\.by) == [[2, 0], [2, 0], []])
    #expect(plan.aggregates[0].measures.map(\.kind) == [.count, .distinct(field: 1), .sum(field: 3)])
  }

  @Test func everyKindOfMeasureFilterAndDefaultIsCompiled() throws {
    let yaml = Files.shop([
      ("revenue: sum amount", "revenue: average amount\n      least: min items\n      most: max items"),
      ("scale: 2 }", "scale: 2, default: -1.5 }"),
      ("where: { paid: true }", "where: { amount: [0.25, 3], paid: { not: false }, items: \"+007\" }\n    max_groups: 12"),
      ("    paid: boolean", "    paid: { type: boolean, default: true }")
    ])
    let plan = try Topology.parse(yaml: yaml, file: "t.yaml").plan()
    #expect(plan.fields[5].presence == .defaulted("-150"))
    #expect(plan.fields[3].presence == .defaulted("true"))
    #expect(
      plan.aggregates[0].measures.map(\.kind)
        == [.count, .distinct(field: 0), .average(field: 5), .minimum(field: 4), .maximum(field: 4)])
    #expect(
      plan.aggregates[1].filter == [
        FilterTerm(field: 5, negated: false, values: ["25", "300"]), FilterTerm(field: 3, negated: true, values: ["false"]),
        FilterTerm(field: 4, negated: false, values: ["7"])
      ])
    #expect(plan.aggregates[1].groupLimit == 12)
  }

  @Test func eventTimesInEpochUnitsAreCompiled() throws {
    let yaml = Files.shop([("time: created_at", "time: { path: meta.ts, format: epoch_milliseconds }")])
    let plan = try Topology.parse(yaml: yaml, file: "t.yaml").plan()
    #expect(plan.timePath == ["meta", "ts"])
    #expect(plan.timeFormat == .epochMilliseconds)
  }

  @Test func withoutDeduplicationTheIdIsNotRead() throws {
    let plan = try Topology.parse(yaml: Files.shop([("deduplicate: { within: 1h }\n", "")]), file: "t.yaml").plan()
    #expect(plan.idPath == nil)
    #expect(plan.deduplicateWithin == nil)
  }

  @Test(arguments: [
    ("90s", 90), ("90 seconds", 90), ("1 sec", 1), ("15m", 900), ("15 minutes", 900), ("1 min", 60), ("48h", 172_800),
    ("1 hour", 3_600),
    ("1d", 86_400), ("30 days", 2_592_000), ("2w", 1_209_600), ("1 week", 604_800), ("0s", 0), ("50000 days", 4_320_000_000)
  ]) func durationsReadAsPeopleWriteThem(_ text: String, _ seconds: Int64) {
    #expect(TimeSpan(text)?.microseconds == seconds * 1_000_000)
  }

  @Test func wholeDaysAreCalendarDaysAndOtherLengthsAreNot() throws {
    func window(_ length: String) throws -> WindowPlan {
      try Topology.parse(yaml: Files.shop([("tumbling: 1 minute", "tumbling: \(length)")]), file: "t.yaml").plan().aggregates[1]
        .window
    }
    let berlin = ZoneRules.table(of: "Europe/Berlin")
    #expect(try window("1 day") == .calendarDays(1, zone: berlin))
    #expect(try window("24h") == .calendarDays(1, zone: berlin))
    #expect(try window("1 week") == .calendarDays(7, zone: berlin))
    #expect(try window("36h") == .tumbling(length: 36 * hour))
    #expect(try window("1s") == .tumbling(length: 1_000_000))
  }
}
