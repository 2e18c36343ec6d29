import Aggregation
import Decoding
import Testing
import Topologies
import Workload

/// The plain code and the core, held against each other over generated streams.
@Suite struct ExpectationTests {
  static let berlin = """
    topology: shop-berlin
    source: { topics: [shop], partition_key: user }
    event:
      id: meta.id
      time: { path: ts, format: epoch_milliseconds }
      fields:
        user: string
        kind: string
        paid: { type: boolean, default: false }
        amount: { path: cart.amount, type: integer, optional: true }
        price: { path: cart.price, type: decimal, scale: 2, optional: true }
    time: { allowed_lateness: 6h, zone: Europe/Berlin }
    deduplicate: { within: 20 minutes }
    aggregates:
      days:
        window: { tumbling: 1 day }
        by: [kind, paid]
        measures: { n: count, users: distinct user, total: sum price, low: min amount, high: max price, mean: average amount }
      two-days:
        window: { tumbling: 2 days }
        where: { paid: true, kind: { not: [kind_1, kind_2] } }
        measures: { users: distinct user, total: sum amount }
      capped:
        window: { tumbling: 90 minutes }
        by: [kind]
        max_groups: 5
        measures: { n: count, users: distinct user }
    """

  static func faulty(_ seed: UInt64) -> GeneratorOptions {
    var options = GeneratorOptions()
    options.events = 6_000
    options.users = 300
    options.seed = seed
    options.partitions = 3
    // Both changes of the clock in Berlin lie within the two spans.
    options.start = seed % 2 == 0 ? 1_711_749_600_000 : 1_729_893_600_000
    options.span = TimeSpan("3 days")!
    (options.late, options.duplicates, options.invalid, options.farFuture) = (0.02, 0.03, 0.05, 0.02)
    (options.tombstones, options.emptyPayloads) = (0.02, 0.01)
    return options
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func theCoreGivesWhatIsExpected(seed: UInt64) throws {
    for yaml in [Self.berlin, Self.berlin.replacing("deduplicate: { within: 20 minutes }", with: "").replacing("Europe/Berlin", with: "UTC")] {
      let topology = try Topology.parse(yaml: yaml, file: "shop.yaml")
      try compare(topology, Self.faulty(seed))
    }
  }

  private func compare(_ topology: Topology, _ options: GeneratorOptions) throws {
    var generator = try EventGenerator(topology, options)
    var expectation = Expectation(topology)
    var streams: [[RecordBuffer.Message]] = Array(repeating: [], count: options.partitions)
    while let event = generator.next() {
      expectation.add(event)
      let at = event.partition
      streams[at].append(.init(offset: Int64(streams[at].count), timestamp: event.timestampMilliseconds, key: event.key, payload: event.payload))
    }
    let expected = expectation.result
    let actual = CoreResult(topology.plan(), streams)
    #expect(actual.ledger == expected.ledger)
    #expect(actual.quarantine == expected.quarantine)
    for aggregate in topology.aggregates {
      let table = Topology.sqlName(aggregate.name)
      let wanted = expected.aggregates[table]!
      #expect(actual.rows[table] == Dictionary(uniqueKeysWithValues: wanted.rows.map { ("\($0.window_start) \($0.by)", $0.measures) }), "\(table)")
      #expect(actual.late[table] == Dictionary(uniqueKeysWithValues: wanted.late.map { ("\($0.window_start) \($0.by)", $0.count) }), "\(table)")
    }
    let planted = generator.counts
    #expect(planted.total == options.events)
    #expect(Int64(planted.late) == expected.ledger["late"])
    #expect(Int64(planted.tombstone) == expected.ledger["tombstones"])
    #expect(Int64(planted.farFuture) == expected.quarantine["far_future"])
    #expect(Int64(planted.emptyPayload) == expected.quarantine["empty_payload"])
    #expect(Int64(planted.invalid + planted.emptyPayload + planted.farFuture) == expected.ledger["quarantined"])
    if topology.deduplicateWithin != nil { #expect(Int64(planted.duplicate) == expected.ledger["duplicate"]) }
    #expect(planted.late > 0 && planted.duplicate > 0 && planted.invalid > 0 && planted.farFuture > 0)
  }

  /// "é" of one character and of two: two keys, two members and two values of `where`, as PostgreSQL and the core have it.
  @Test func textsAreToldApartByTheirBytes() throws {
    let yaml = Self.berlin.replacing("[kind_1, kind_2]", with: "[\u{E9}]").replacing("paid: true, ", with: "")
    let topology = try Topology.parse(yaml: yaml, file: "shop.yaml")
    var expectation = Expectation(topology)
    for (n, text) in ["\u{E9}", "e\u{301}", "\u{E9}"].enumerated() {
      let payload = "{\"meta\":{\"id\":\"\(n)\"},\"ts\":1700000000000,\"user\":\"\(text)\",\"kind\":\"\(text)\"}"
      expectation.add(GeneratedEvent(key: Array(text.utf8), payload: Array(payload.utf8), timestampMilliseconds: 1_700_000_000_000, partition: 0))
    }
    let result = expectation.result
    #expect(result.aggregates["days"]!.rows.map { $0.measures["n"] } == [.integer(1), .integer(2)])
    #expect(result.aggregates["days"]!.rows.map { $0.by[0].utf8.count } == [3, 2])
    #expect(result.aggregates["two_days"]!.rows.map { $0.measures["users"] } == [.integer(1)])
    #expect(result.ledger["misrouted"] == 0)
  }

  @Test func oneSeedOneStream() throws {
    let topology = try Topology.parse(yaml: Self.berlin, file: "shop.yaml")
    let a = Array(try EventGenerator(topology, Self.faulty(7))), b = Array(try EventGenerator(topology, Self.faulty(7)))
    #expect(a == b)
    #expect(a != Array(try EventGenerator(topology, Self.faulty(9))))
  }

  @Test func theExpectedResultSurvivesItsFile() throws {
    let topology = try Topology.parse(yaml: Self.berlin, file: "shop.yaml")
    var expectation = Expectation(topology)
    for event in try EventGenerator(topology, Self.faulty(1)) { expectation.add(event) }
    let file = temporaryFile("expected.json")
    defer { remove(file) }
    try expectation.result.write(to: file)
    #expect(try ExpectedResult.read(from: file) == expectation.result)
  }
}

/// The core's result over whole streams, in the expectation's words.
struct CoreResult {
  var ledger: [String: Int64] = [:]
  var quarantine: [String: Int64] = [:]
  var rows: [String: [String: [String: ExpectedResult.Value]]] = [:]
  var late: [String: [String: Int64]] = [:]

  init(_ plan: Plan, _ streams: [[RecordBuffer.Message]]) {
    for aggregate in plan.aggregates { (rows[Topology.sqlName(aggregate.name)], late[Topology.sqlName(aggregate.name)]) = ([:], [:]) }
    var merged: [String: [String: [MeasureIncrement]]] = [:]
    for messages in streams {
      let decoder = Decoder(plan: plan, seed: 42)
      var processor = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
      var batch = EventBatch(capacity: 500, fieldCount: plan.fields.count)
      var begin = 0
      while begin < messages.count {
        let end = min(begin + 500, messages.count)
        let delta = RecordBuffer(messages[begin..<end]).withRecords { records in
          decoder.decode(records, into: &batch)
          return processor.apply(batch, records)
        }
        processor.closeWindows()
        begin = end
        add(delta, plan, &merged)
      }
    }
    for (a, aggregate) in plan.aggregates.enumerated() {
      let table = Topology.sqlName(aggregate.name)
      for (key, increments) in merged[table] ?? [:] { rows[table]![key] = Self.values(plan, a, increments) }
    }
  }

  private mutating func add(_ delta: Delta, _ plan: Plan, _ merged: inout [String: [String: [MeasureIncrement]]]) {
    let l = delta.ledger
    for (name, count) in [
      ("applied", l.applied), ("filtered", l.filtered), ("duplicate", l.duplicate), ("late", l.late), ("quarantined", l.quarantined), ("gap", l.gap),
      ("tombstones", l.tombstones), ("misrouted", l.misrouted),
    ] { ledger[name, default: 0] += count }
    for event in delta.quarantine { quarantine[event.reason.name, default: 0] += 1 }
    for (a, aggregate) in plan.aggregates.enumerated() {
      let table = Topology.sqlName(aggregate.name)
      for group in delta.aggregates[a].groups {
        merged[table, default: [:]][Self.key(group.key), default: []] += group.measures
      }
      for item in delta.aggregates[a].late { late[table]![Self.key(item.key), default: 0] += item.count }
    }
  }

  private static func key(_ key: RowKey) -> String { "\(ExpectedResult.timeText(key.windowStart.microseconds)) \(key.fields)" }

  private static func values(_ plan: Plan, _ a: Int, _ increments: [MeasureIncrement]) -> [String: ExpectedResult.Value] {
    let measures = plan.aggregates[a].measures
    var result: [String: ExpectedResult.Value] = [:]
    for (m, measure) in measures.enumerated() {
      let own = stride(from: m, to: increments.count, by: measures.count).map { increments[$0] }
      var scale = 0
      if let field = measure.field, case .decimal(let s) = plan.fields[field].kind { scale = s }
      var count: Int64 = 0, sum: Int128 = 0, present: Int64 = 0, extremes: [Int64] = []
      for increment in own {
        switch increment {
        case .count(let n): count += n
        case .distinct(let members): count += Int64(members.count)
        case .sum(let s, let n): (sum, present) = (sum + s, present + n)
        case .minimum(let value), .maximum(let value): if let value { extremes.append(value) }
        }
      }
      let name = Topology.sqlName(measure.name)
      switch measure.kind {
      case .count, .distinct: result[name] = .integer(count)
      case .sum: result[name] = present == 0 ? .null : number(sum, scale)
      case .minimum: result[name] = extremes.min().map { number(Int128($0), scale) } ?? .null
      case .maximum: result[name] = extremes.max().map { number(Int128($0), scale) } ?? .null
      case .average:
        result["\(name)_sum"] = present == 0 ? .null : number(sum, scale)
        result["\(name)_count"] = .integer(present)
      }
    }
    return result
  }

  private static func number(_ value: Int128, _ scale: Int) -> ExpectedResult.Value {
    if scale == 0 { return .integer(Int64(value)) }
    var unit: Int128 = 1
    for _ in 0..<scale { unit *= 10 }
    let rest = String((value.magnitude % unit.magnitude) + unit.magnitude).dropFirst()
    return .text("\(value < 0 ? "-" : "")\(value.magnitude / unit.magnitude).\(rest)")
  }
}
