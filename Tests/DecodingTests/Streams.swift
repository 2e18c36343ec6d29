import Aggregation
import Decoding

/// A small topology that uses every kind of measure, and streams for it.
enum Streams {
  static let minute: Int64 = 60_000_000
  static let base: Int64 = 1_700_000_000_000_000

  static func plan(lateness: Int64 = 600_000_000, groupLimit: Int = 100_000) -> Plan {
    Plan(
      topology: "test", fingerprint: "f", topics: ["t"], idPath: ["id"], timePath: ["at"], timeFormat: .rfc3339,
      fields: [
        FieldPlan(name: "type", path: ["type"], kind: .string, presence: .required),
        FieldPlan(name: "user", path: ["user"], kind: .string, presence: .required),
        FieldPlan(name: "department", path: ["department"], kind: .string, presence: .defaulted("none")),
        FieldPlan(name: "amount", path: ["properties", "amount"], kind: .integer, presence: .optional),
        FieldPlan(name: "price", path: ["properties", "price"], kind: .decimal(scale: 2), presence: .optional),
        FieldPlan(name: "paid", path: ["paid"], kind: .boolean, presence: .optional),
      ],
      partitionKey: 1,
      aggregates: [
        AggregatePlan(
          name: "per_minute", window: .tumbling(length: minute), by: [2, 0], filter: [],
          measures: [
            MeasurePlan(name: "n", kind: .count), MeasurePlan(name: "users", kind: .distinct(field: 1)),
            MeasurePlan(name: "total", kind: .sum(field: 3)), MeasurePlan(name: "low", kind: .minimum(field: 4)),
            MeasurePlan(name: "high", kind: .maximum(field: 4)), MeasurePlan(name: "mean", kind: .average(field: 3)),
          ], groupLimit: groupLimit),
        AggregatePlan(
          name: "days", window: .calendarDays(1, zone: .utc), by: [], filter: [FilterTerm(field: 0, negated: true, values: ["ping"])],
          measures: [MeasurePlan(name: "dau", kind: .distinct(field: 1))], groupLimit: groupLimit),
      ],
      allowedLateness: lateness, deduplicateWithin: 120_000_000, maxFutureSkew: 300_000_000)
  }

  static func text(_ microseconds: Int64) -> String {
    // 2023-11-14T22:13:20Z is `base`; streams stay within that day's last hour and a half.
    let seconds = (microseconds - base) / 1_000_000 + 22 * 3600 + 13 * 60 + 20
    func two(_ n: Int64) -> String { n < 10 ? "0\(n)" : "\(n)" }
    let fraction = String(1_000_000 + (microseconds % 1_000_000)).dropFirst()
    return "2023-11-14T\(two(seconds / 3600)):\(two(seconds / 60 % 60)):\(two(seconds % 60)).\(fraction)Z"
  }

  /// A seeded stream with gaps, tombstones, invalid, late, far-future, duplicate and misrouted events.
  static func messages(_ count: Int, seed: UInt64) -> [RecordBuffer.Message] {
    var dice = Dice(seed)
    var offset: Int64 = 0
    var result: [RecordBuffer.Message] = []
    var clock = base
    for i in 0..<count {
      offset += dice.chance(40) ? Int64(dice.below(4)) + 2 : 1
      clock += Int64(dice.below(4_000_000))
      if clock > base + 5_000_000_000 { clock = base + 5_000_000_000 }
      let stamp = clock / 1000
      let user = "u\(dice.below(40))"
      if dice.chance(50) { result.append(.init(offset: offset, timestamp: stamp, key: Array(user.utf8), payload: nil)); continue }
      if dice.chance(50) { result.append(.init(offset: offset, timestamp: stamp, key: nil, payload: Array("{\"id\":".utf8))); continue }
      var time = clock - Int64(dice.below(30_000_000))
      if dice.chance(20) { time -= 700_000_000 }
      if dice.chance(60) { time += 400_000_000 }
      if time < base - 80_000_000_000 { time = base }
      let id = dice.chance(10) ? max(0, i - Int(dice.below(20))) : i
      let amount = dice.chance(3) ? "" : "\"amount\":\(Int64(dice.below(1000)) - 300),"
      let payload =
        "{\"id\":\"e\(id)\",\"type\":\"\(["view", "buy", "ping"][Int(dice.below(3))])\",\"user\":\"\(user)\","
        + (dice.chance(4) ? "" : "\"department\":\"d\(dice.below(3))\",") + "\"at\":\"\(text(time))\",\"properties\":{\(amount)\"price\":\(dice.below(90)).25}}"
      let key = dice.chance(80) ? Array("x".utf8) : Array(user.utf8)
      result.append(.init(offset: offset, timestamp: stamp, key: key, payload: Array(payload.utf8)))
    }
    return result
  }

  /// Folds a stream cut at `cuts` (indices, ascending) into one composed Delta and the state's snapshot.
  static func fold(_ plan: Plan, _ messages: [RecordBuffer.Message], cuts: [Int]) -> (Delta, Delta) {
    let decoder = Decoder(plan: plan, seed: 42)
    var processor = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
    var pending = PendingDelta(at: Offset(0), aggregateCount: plan.aggregates.count)
    var batch = EventBatch(capacity: max(1, messages.count), fieldCount: plan.fields.count)
    var begin = 0
    for end in cuts + [messages.count] where end > begin {
      RecordBuffer(messages[begin..<end]).withRecords { records in
        decoder.decode(records, into: &batch)
        pending.append(processor.apply(batch, records))
      }
      processor.closeWindows()
      begin = end
    }
    return (pending.take().canonical(), processor.snapshot().canonical())
  }
}

/// A seeded generator, so that a failing stream can be made again.
struct Dice {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &+ 0x9E37_79B9_7F4A_7C15 }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func below(_ n: UInt64) -> UInt64 { next() % n }
  mutating func chance(_ oneIn: UInt64) -> Bool { below(oneIn) == 0 }
}
