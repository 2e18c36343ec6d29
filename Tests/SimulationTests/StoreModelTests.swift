import Aggregation
import Engine
import LocalServers
import Postgres
import Testing
import Topologies
import Warehouse

@testable import Simulation

private let server = Result { try EphemeralPostgres() }

/// The simulator is worth as much as its store resembles PostgreSQL: both are asked the same, and must answer the same.
@Suite struct StoreModelTests {
  @Test(arguments: 1...6) func theModelAndPostgreSQLAgree(seed: UInt64) throws {
    var both = try Both(seed: seed)
    try both.run()
    #expect(both.differences == [])
    #expect(both.rowsCompared > 100)
  }

  /// The comparison is compared: a model that does not look at epochs is told from PostgreSQL.
  @Test func aModelWithABugIsTold() throws {
    var both = try Both(seed: 7, mutant: .epochUnchecked)
    try both.run()
    #expect(!both.differences.isEmpty)
  }
}

/// A model and a real warehouse, and three instances that use both.
private struct Both {
  private struct Held {
    var epoch: Epoch
    var next: Offset
    var watermark: EventTime?
    var last: FlushRequest?
  }
  private let world: World
  private let plan: Plan
  private let sql: Connection
  private let warehouses: [Warehouse]
  private let ids = (0..<3).map { PartitionID(topic: "events", partition: Int32($0)) }
  private var dice: Dice
  private var held: [[PartitionID: Held]] = [[:], [:], [:]]
  private var flushes: UInt64 = 0
  private var clock = SimulatedWorkload.beginning

  init(seed: UInt64, mutant: Mutant? = nil) throws {
    let here = try server.get()
    let admin = try Connection(here.target, applicationName: "tests")
    try admin.script("CREATE DATABASE model\(seed)")
    let target = here.target(database: "model\(seed)", user: "postgres")
    sql = try Connection(target, applicationName: "tests")
    var restrictions = Restrictions()
    restrictions.without = Set(Fault.allCases)
    // Merging 16 chunks of a level is the warehouse's own number.
    let fitting = (1...1000).lazy.map { Scenario(seed: seed &* 1000 + $0, restrictions) }.first { $0.fanIn == 16 && SimulatedWorkload($0).plan.deduplicateWithin != nil }!
    world = World(fitting, mutant, false)
    let topology = try Topology.parse(yaml: Self.yaml(world.plan), file: "world.yaml")
    plan = topology.plan()
    #expect(plan.aggregates == world.plan.aggregates && plan.fields == world.plan.fields)
    #expect(plan.allowedLateness == world.plan.allowedLateness && plan.deduplicateWithin == world.plan.deduplicateWithin)
    _ = try Migration.run([topology], on: sql) { 7 }
    warehouses = (0..<3).map { [plan] in Warehouse(target: target, instance: "instance-\($0)", plan: plan) }
    dice = Dice(seed, 50)
  }

  /// The topology of a world's plan.
  private static func yaml(_ plan: Plan) -> String {
    guard case .tumbling(let window) = plan.aggregates[0].window else { return "" }
    func seconds(_ microseconds: Int64) -> String { "\(microseconds / 1_000_000)s" }
    return """
      topology: world
      source: { topics: [events], format: json, partition_key: user }
      event:
        id: id
        time: { path: at, format: epoch_milliseconds }
        fields:
          type: string
          user: string
          region: { type: string, default: none }
          amount: { type: integer, optional: true }
          price: { type: decimal, scale: 2, optional: true }
      time: { allowed_lateness: \(seconds(plan.allowedLateness)), zone: UTC, max_future_skew: \(seconds(plan.maxFutureSkew)) }
      deduplicate: { within: \(seconds(plan.deduplicateWithin!)) }
      aggregates:
        activity:
          window: { tumbling: \(seconds(window)) }
          by: [region, type]
          where: { type: { not: [noise] } }
          max_groups: \(plan.aggregates[0].groupLimit)
          measures: { n: count, users: distinct user, total: sum amount, low: min price, high: max amount, mean: average price }
        days:
          window: { tumbling: 1 day }
          where: { type: { not: [ping, noise] } }
          max_groups: 1000
          measures: { dau: distinct user }
        sales:
          window: { tumbling: \(seconds(window * 3)) }
          by: [type]
          where: { type: [buy] }
          max_groups: 1000
          measures: { sold: count, buyers: distinct user }
      """
  }

  private(set) var differences: [String] = []
  private(set) var rowsCompared = 0

  mutating func run() throws {
    for _ in 0..<160 { try step() }
    try compareTables()
  }

  private mutating func check<Value: Equatable>(_ what: String, real: Value, model: Value) {
    if real != model { differences.append("\(what): PostgreSQL \(real), model \(model)") }
  }

  private mutating func check(_ table: String, _ real: [[String?]], _ model: [[String?]]) {
    rowsCompared += real.count
    check(table, real: real, model: model)
  }

  // MARK: Steps

  private mutating func step() throws {
    let who = dice.below(3)
    switch dice.below(20) {
    case 0..<3: try acquire(who)
    case 3..<15: try flush(who)
    case 15: repeatFlush(who)
    case 16..<18: try compact(who)
    case 18: try release(who)
    default: try acceptGap()
    }
  }

  private func session(_ who: Int) -> SimulatedStore.Session { SimulatedStore.Session("instance-\(who)") }

  private mutating func acquire(_ who: Int) throws {
    let wanted = Array(dice.shuffled(ids).prefix(dice.between(1, 3))).sorted()
    let first = Offset(Int64(dice.below(5)))
    let real = try warehouses[who].acquire(wanted) { _ in first }
    let session = session(who)
    var model: [AcquiredPartition] = []
    for id in wanted { world.store.acquire(id, first: first, session) { if case .success(let partition) = $0 { model.append(partition) } } }
    world.store.commit(session)
    check("acquire", real: real, model: model)
    for partition in real {
      held[who][partition.partition] = Held(epoch: partition.epoch, next: partition.nextOffset, watermark: partition.watermark)
    }
  }

  /// Runs a flush procedure against the model; nobody else has a lock.
  private func model(_ procedure: FlushProcedure, _ request: FlushRequest, _ who: Int) -> FlushOutcome {
    var procedure = procedure
    let session = session(who)
    var step = procedure.begin()
    while true {
      switch step {
      case .ended(let outcome): return outcome
      case .perform(let statement):
        var result: StatementResult?
        world.store.perform(statement, request, session) { result = $0 }
        step = procedure.next(after: result!)
      }
    }
  }

  private mutating func flush(_ who: Int) throws {
    guard !held[who].isEmpty else { return }
    let count = dice.between(1, held[who].count)
    let chosen = dice.shuffled(held[who].keys.sorted()).prefix(count).sorted()
    flushes += 1
    var parts: [FlushRequest.Part] = []
    for id in chosen {
      let mine = held[who][id]!
      parts.append(
        FlushRequest.Part(
          partition: id, epoch: mine.epoch, watermarkBefore: mine.watermark, delta: delta(mine.next), endOffset: dice.flip() ? Offset(99) : nil,
          figures: figures()))
    }
    send(FlushRequest(id: flushes, parts: parts), who)
  }

  private mutating func send(_ request: FlushRequest, _ who: Int) {
    let real = warehouses[who].flush(request)
    check("flush", real: real, model: model(FlushProcedure(request, aggregates: plan.aggregates.count), request, who))
    check("resolve", real: warehouses[who].resolve(request), model: model(FlushProcedure(resolving: request), request, who))
    for part in request.parts {
      if real == .committed {
        held[who][part.partition]?.next = part.delta.to
        held[who][part.partition]?.watermark = part.delta.watermark ?? part.watermarkBefore
        held[who][part.partition]?.last = request
      }
      if case .fenced(let ids) = real, ids.contains(part.partition) { held[who][part.partition] = nil }
    }
  }

  /// What an instance does that does not know how its flush ended.
  private mutating func repeatFlush(_ who: Int) {
    guard let last = held[who].sorted(by: { $0.key < $1.key }).compactMap(\.value.last).first else { return }
    let real = warehouses[who].flush(last)
    check("flush again", real: real, model: model(FlushProcedure(last, aggregates: plan.aggregates.count), last, who))
  }

  private mutating func compact(_ who: Int) throws {
    let id = dice.pick(ids)
    let epoch = held[who][id]?.epoch ?? Epoch(1)
    try warehouses[who].compact(id, epoch)
    let session = session(who)
    world.store.compact(id, epoch, session) { _ in }
    world.store.commit(session)
  }

  private mutating func release(_ who: Int) throws {
    let id = dice.pick(ids)
    let epoch = held[who][id]?.epoch ?? Epoch(1)
    try warehouses[who].release(id, epoch)
    world.store.release(id, epoch, session(who)) { _ in }
  }

  private mutating func acceptGap() throws {
    let id = dice.pick(ids)
    let target = world.store.next(id) + Int64(dice.below(4)) - 1
    let real = try Books(sql).acceptGap("world", id, to: target, operator: "tests")
    check("accept-gap", real: real, model: world.store.acceptGap(id, to: Offset(target)))
  }

  private mutating func figures() -> PartitionFigures {
    func some(_ most: Int) -> Int? { dice.flip() ? dice.below(most) : nil }
    return PartitionFigures(
      recordTime: some(1 << 40).map(Int64.init), journalBytes: some(1 << 40), stateBytes: some(1 << 40),
      loads: dice.flip() ? (0..<3).map { _ in AggregateLoad(groups: dice.below(1000), overflowed: Int64(dice.below(9))) } : [])
  }

  // MARK: Deltas

  /// Something that a partition may have come to, from `from` on.
  private mutating func delta(_ from: Offset) -> Delta {
    let count = Int64(dice.between(1, 9))
    var delta = Delta(from: from, to: Offset(from.value + count), aggregateCount: 3)
    clock += Int64(dice.below(Int(plan.allowedLateness / 2)))
    delta.watermark = dice.chance(500) ? nil : EventTime(microseconds: clock)
    delta.ledger.gap = Int64(dice.below(Int(count) + 1))
    delta.ledger.applied = count - delta.ledger.gap
    if delta.ledger.applied == 0 { return delta }
    for a in 0..<3 {
      for _ in 0..<dice.below(4) { add(a, to: &delta) }
      if dice.chance(2000) {
        delta.aggregates[a].late.append(LateIncrement(key: key(a, clock - 2 * plan.allowedLateness).key, count: Int64(dice.between(1, 5))))
      }
    }
    if dice.chance(3000) {
      delta.quarantine.append(
        QuarantinedEvent(
          offset: from, reason: dice.pick(QuarantineReason.allCases), field: "type", timestamp: dice.pick([-1, 5, .max]), eventTime: nil,
          payload: [0, 255, 7], payloadBytes: 3, key: []))
    }
    return delta
  }

  private mutating func key(_ a: Int, _ time: Int64) -> (key: RowKey, end: EventTime) {
    let window = plan.aggregates[a].window.window(at: EventTime(microseconds: time))
    let texts = plan.aggregates[a].by.map { _ in dice.pick(["buy", "süd", "e\u{301}st", "ést", "", "Z", "a\\b\"{,}"]) }
    return (RowKey(windowStart: window.start, fields: texts), window.end)
  }

  private mutating func add(_ a: Int, to delta: inout Delta) {
    let (key, end) = key(a, clock)
    guard !delta.aggregates[a].groups.contains(where: { $0.key == key }) else { return }
    let n = Int64(dice.between(1, 5))
    let value: Int64? = dice.flip() ? Int64(dice.between(-900, 900)) : nil
    let members = (0..<dice.below(3)).map { _ in dice.next() | 1 }
    let measures: [MeasureIncrement] =
      switch a {
      case 0:
        [
          .count(n), .distinct(members), .sum(Int128(value ?? 0), present: value == nil ? 0 : n), .minimum(value), .maximum(value),
          .sum(Int128(value ?? 0) * 3, present: value == nil ? 0 : n),
        ]
      case 1: [.distinct(members)]
      default: [.count(n), .distinct(members)]
      }
    let hash = key.fields.reduce(UInt64(a)) { $0 &* 31 &+ $1.utf8.reduce(7) { $0 &* 131 &+ UInt64($1) } }
    delta.aggregates[a].groups.append(GroupIncrement(key: key, windowEnd: end, keyHash: hash, measures: measures))
  }

  // MARK: Tables

  private static func micros(_ column: String) -> String { "(extract(epoch FROM \(column)) * 1000000)::bigint" }
  private func text(_ value: Int64?) -> String? { value.map(String.init) }
  private func byText(_ rows: [[String?]]) -> [[String?]] {
    rows.sorted { a, b in a.map { Array(($0 ?? "").utf8) }.flatMap { $0 + [0] }.lexicographicallyPrecedes(b.map { Array(($0 ?? "").utf8) }.flatMap { $0 + [0] }) }
  }

  private mutating func compareTables() throws {
    let store = world.store!
    let partitions = try sql.query(
      """
      SELECT partition, next_offset, epoch, owner, \(Self.micros("watermark")), end_offset, \(Self.micros("record_time")), journal_bytes, state_bytes,
             (SELECT string_agg(format('%s %s/%s', key, value->'groups', value->'overflow'), ', ' ORDER BY key) FROM jsonb_each(aggregates)),
             (SELECT string_agg(key, ', ' ORDER BY key) FROM jsonb_object_keys(changed_at) AS key)
        FROM tidemark.partition ORDER BY 1
      """)
    var expected: [[String?]] = store.partitions.sorted { $0.key < $1.key }.map { id, row in
      [String(id.partition), text(row.next.value), text(row.epoch.value), row.owner, text(row.watermark?.microseconds), text(row.endOffset?.value)]
        + figures(row)
    }
    check("partition", partitions, expected)
    let ledger = try sql.query(
      "SELECT partition, from_offset, to_offset, applied, gap, \(Self.micros("watermark_before")), \(Self.micros("watermark_after")) FROM tidemark.ledger ORDER BY 1, 2")
    expected = []
    for id in store.ledger.keys.sorted() {
      for row in store.ledger[id]! {
        expected.append([
          String(id.partition), text(row.from.value), text(row.to.value), text(row.counts.applied), text(row.counts.gap),
          text(row.watermarkBefore?.microseconds), text(row.watermarkAfter?.microseconds),
        ])
      }
    }
    check("ledger", ledger, expected)
    let chunks = try sql.query(
      "SELECT partition, from_offset, to_offset, level, \(Self.micros("last_window_end")), length(bytes) FROM tidemark.state_chunk ORDER BY 1, 3")
    expected = []
    for id in store.chunks.keys.sorted() {
      for chunk in store.chunks[id]! {
        expected.append([
          String(id.partition), text(chunk.from.value), text(chunk.to.value), String(chunk.level), text(chunk.lastWindowEnd.microseconds),
          String(chunk.bytes.count),
        ])
      }
    }
    check("state_chunk", chunks, expected)
    try compareRows(store)
  }

  private func figures(_ row: SimulatedStore.PartitionRow) -> [String?] {
    let names = plan.aggregates.map(\.name)
    func joined(_ texts: [String]) -> String? { texts.isEmpty ? nil : texts.sorted().joined(separator: ", ") }
    return [
      text(row.figures.recordTime.map { $0 * 1000 }), text(row.figures.journalBytes.map(Int64.init)), text(row.figures.stateBytes.map(Int64.init)),
      joined(zip(names, row.figures.loads).map { "\($0) \($1.groups)/\($1.overflowed)" }), joined(row.changed.map { names[$0] }),
    ]
  }

  private mutating func compareRows(_ store: SimulatedStore) throws {
    let columns = [
      "region, type, n, users, total::bigint, (low * 100)::bigint, high, (mean_sum * 100)::bigint, mean_count", "dau", "type, sold, buyers",
    ]
    for (a, aggregate) in plan.aggregates.enumerated() {
      let found = try sql.query("SELECT \(Self.micros("window_start")), \(columns[a]) FROM analytics.\(aggregate.name)")
      let expected = store.rows[a].map { key, values -> [String?] in
        [text(key.windowStart.microseconds)] + key.fields
          + values.enumerated().flatMap { m, value -> [String?] in
            switch value {
            case .number(let n): [text(n)]
            case .sum(let sum, let present): [present > 0 ? String(sum) : nil] + (m == 5 ? [text(present)] : [])
            case .minimum(let least): [text(least)]
            case .maximum(let greatest): [text(greatest)]
            }
          }
      }
      check(aggregate.name, byText(found), byText(expected))
      let late = try sql.query("SELECT \(Self.micros("window_start")), late, array_to_string(key, '|') FROM tidemark.late_count WHERE aggregate = '\(aggregate.name)'")
      let lateExpected: [[String?]] = store.late[a].map { [text($0.key.windowStart.microseconds), text($0.value), $0.key.fields.joined(separator: "|")] }
      check("late_count", byText(late), byText(lateExpected))
    }
    let quarantine = try sql.query("SELECT partition, \"offset\", reason FROM tidemark.quarantine")
    var refused: [[String?]] = []
    for (id, events) in store.quarantine { for (offset, event) in events { refused.append([String(id.partition), text(offset), event.reason.name]) } }
    check("quarantine", byText(quarantine), byText(refused))
  }
}
