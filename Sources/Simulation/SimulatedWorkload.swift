import Aggregation

/// The plan of a world and the events that its producers send, all made before it begins.
struct SimulatedWorkload {
  struct Arrival {
    /// Virtual milliseconds.
    var at: Int64
    /// Number of the partition.
    var partition: Int
    var record: LogRecord
  }
  let plan: Plan
  private(set) var arrivals: [Arrival] = []
  private(set) var counts = FaultCounts()

  private static let second: Int64 = 1_000_000
  /// 2023-11-14T22:13:20Z: an hour and three quarters before a day ends.
  static let beginning: Int64 = 1_700_000_000_000_000

  init(_ scenario: Scenario) {
    var dice = Dice(scenario.seed, 2)
    plan = Self.plan(&dice)
    let partitions = scenario.partitions + scenario.addedPartitions
    // One partition in some worlds never gets anything.
    let empty = partitions > 1 && dice.chance(3000) ? dice.below(partitions) : -1
    if empty >= 0 { counts[.emptyPartition] += 1 }
    let hot = dice.chance(3000)
    if hot { counts[.hotKeys] += 1 }
    var maker = EventMaker(scenario: scenario, plan: plan, isHot: hot, dice: dice)
    // Arrivals bunch: producers send when they like.
    var at: Int64 = 0
    let step = max(1, scenario.duration / Int64(max(1, scenario.events)))
    var partition = 0
    for _ in 0..<scenario.events {
      if maker.dice.chance(7000) { at = min(scenario.duration, at + maker.dice.milliseconds(0, Int(step) * 3)) }
      if maker.dice.chance(6000) { partition = maker.dice.below(partitions) }
      if partition == empty { continue }
      let appears = partition < scenario.partitions ? Int64(0) : scenario.duration / 3
      let time = max(at, appears)
      for record in maker.make(partition, at: time) { arrivals.append(Arrival(at: time, partition: partition, record: record)) }
    }
    counts.add(maker.counts)
    arrivals = arrivals.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }.map(\.element)
  }

  private static func plan(_ dice: inout Dice) -> Plan {
    let lateness = dice.pick([5, 30, 120, 600]) * second
    let window = dice.pick([5, 20, 60, 300]) * second
    let deduplicate: Int64? = dice.chance(8000) ? dice.pick([2, 20, 100, 400]) * second : nil
    let limit = dice.chance(2500) ? dice.between(1, 4) : 1000
    return Plan(
      topology: "world", fingerprint: "f", topics: ["events"], idPath: ["id"], timePath: ["at"], timeFormat: .epochMilliseconds,
      fields: [
        FieldPlan(name: "type", path: ["type"], kind: .string, presence: .required),
        FieldPlan(name: "user", path: ["user"], kind: .string, presence: .required),
        FieldPlan(name: "region", path: ["region"], kind: .string, presence: .defaulted("none")),
        FieldPlan(name: "amount", path: ["amount"], kind: .integer, presence: .optional),
        FieldPlan(name: "price", path: ["price"], kind: .decimal(scale: 2), presence: .optional),
      ],
      partitionKey: 1,
      aggregates: [
        AggregatePlan(
          name: "activity", window: .tumbling(length: window), by: [2, 0], filter: [FilterTerm(field: 0, negated: true, values: ["noise"])],
          measures: [
            MeasurePlan(name: "n", kind: .count), MeasurePlan(name: "users", kind: .distinct(field: 1)),
            MeasurePlan(name: "total", kind: .sum(field: 3)), MeasurePlan(name: "low", kind: .minimum(field: 4)),
            MeasurePlan(name: "high", kind: .maximum(field: 3)), MeasurePlan(name: "mean", kind: .average(field: 4)),
          ], groupLimit: limit),
        AggregatePlan(
          name: "days", window: .calendarDays(1, zone: .utc), by: [], filter: [FilterTerm(field: 0, negated: true, values: ["ping", "noise"])],
          measures: [MeasurePlan(name: "dau", kind: .distinct(field: 1))], groupLimit: 1000),
        AggregatePlan(
          name: "sales", window: .tumbling(length: window * 3), by: [0], filter: [FilterTerm(field: 0, negated: false, values: ["buy"])],
          measures: [MeasurePlan(name: "sold", kind: .count), MeasurePlan(name: "buyers", kind: .distinct(field: 1))], groupLimit: 1000),
      ],
      allowedLateness: lateness, deduplicateWithin: deduplicate, maxFutureSkew: 60 * second)
  }
}

/// Makes events one after another, and remembers the last ones to send them again.
private struct EventMaker {
  let scenario: Scenario
  let plan: Plan
  let isHot: Bool
  var dice: Dice
  var counts = FaultCounts()
  private var serial = 0
  private var recent: [Int: [Truth.Event]] = [:]
  /// Microseconds of event time per millisecond of virtual time.
  private let speed: Int64

  init(scenario: Scenario, plan: Plan, isHot: Bool, dice: Dice) {
    self.scenario = scenario
    self.plan = plan
    self.isHot = isHot
    self.dice = dice
    speed = self.dice.pick([1000, 5000, 20_000, 120_000])
  }

  private mutating func strikes(_ fault: Fault, _ share: Int) -> Bool {
    guard dice.chance(share), scenario.faults.contains(fault) else { return false }
    counts[fault] += 1
    return true
  }

  /// Usually one record; holes come before it.
  mutating func make(_ partition: Int, at: Int64) -> [LogRecord] {
    let now = SimulatedWorkload.beginning + at * speed
    let stamp = now / 1000
    var records: [LogRecord] = []
    if strikes(.hole, 400) {
      for _ in 0..<dice.between(1, 4) { records.append(LogRecord(truth: .hole, timestamp: stamp)) }
    }
    // A marker that stays the last of its partition, now and then.
    if dice.chance(200), scenario.faults.contains(.hole) { return records + [LogRecord(truth: .hole, timestamp: stamp)] }
    if strikes(.tombstone, 200) {
      return records + [LogRecord(truth: .tombstone, timestamp: stamp, key: Array("k".utf8), payload: nil)]
    }
    if strikes(.invalid, 300) { return records + [invalid(partition, now, stamp)] }
    let event: Truth.Event
    if let old = recent[partition], !old.isEmpty, strikes(.duplicate, 900) {
      event = dice.pick(old)
    } else {
      event = fresh(partition, now)
      recent[partition, default: []].append(event)
      if recent[partition]!.count > 40 { recent[partition]!.removeFirst() }
    }
    let isMisrouted = strikes(.misrouted, 150)
    // Producers and brokers with strange clocks, or none.
    let strange = strikes(.strangeTimestamp, 200) ? dice.pick([-1, stamp - 100_000_000, stamp + 100_000_000, .max, .min]) : stamp
    return records + [
      LogRecord(
        truth: .event(event), timestamp: strange, isMisrouted: isMisrouted, key: Array((isMisrouted ? "elsewhere" : event.user).utf8),
        payload: Array(text(event).utf8))
    ]
  }

  private mutating func fresh(_ partition: Int, _ now: Int64) -> Truth.Event {
    serial += 1
    var time = now - Int64(dice.below(Int(min(plan.allowedLateness, 3_000_000))))
    if strikes(.late, 300) { time = now - plan.allowedLateness - Int64(dice.below(200_000_000)) }
    if strikes(.farFuture, 150) { time = now + plan.maxFutureSkew + Int64(dice.between(1_000, 900_000_000)) }
    time = time / 1000 * 1000
    let crowd = isHot && dice.chance(8000) ? 1 : 12
    return Truth.Event(
      time: time, id: "e\(partition)-\(serial)", user: "u\(partition)-\(dice.below(crowd))", type: dice.pick(["view", "view", "buy", "ping", "noise"]),
      region: dice.pick(["none", "north", "süd", "e\u{301}st"]), amount: dice.chance(3000) ? nil : Int64(dice.between(-50, 500)),
      price: dice.chance(3000) ? nil : Int64(dice.between(0, 99_999)))
  }

  private func text(_ event: Truth.Event) -> String {
    var text = "{\"id\":\"\(event.id)\",\"at\":\(event.time / 1000),\"type\":\"\(event.type)\",\"user\":\"\(event.user)\""
    if event.region != "none" { text += ",\"region\":\"\(event.region)\"" }
    if let amount = event.amount { text += ",\"amount\":\(amount)" }
    if let price = event.price { text += ",\"price\":\(price / 100).\(price % 100 < 10 ? "0" : "")\(price % 100)" }
    return text + "}"
  }

  private mutating func invalid(_ partition: Int, _ now: Int64, _ stamp: Int64) -> LogRecord {
    serial += 1
    let head = "{\"id\":\"x\(serial)\",\"at\":\(now / 1000),\"type\":\"view\""
    let long = String(repeating: "r", count: 300)
    let (payload, reason) = dice.pick([
      ("", "empty_payload"), ("{\"id\":", "invalid_json"), ("[1]", "not_an_object"), ("\(head)}", "missing_field"),
      ("\(head),\"user\":7}", "wrong_type"), ("\(head),\"user\":\"u\",\"amount\":9223372036854775808}", "number_out_of_range"),
      ("\(head),\"user\":\"u\",\"region\":\"\(long)\"}", "oversized_field"), ("\(head),\"user\":\"u\",\"region\":\"a\\u0000\"}", "nul_character"),
      ("{\"id\":\"x\",\"at\":-5000,\"type\":\"view\",\"user\":\"u\"}", "time_out_of_range"),
    ])
    return LogRecord(truth: .invalid(reason: reason), timestamp: stamp, key: Array("u".utf8), payload: Array(payload.utf8))
  }
}
