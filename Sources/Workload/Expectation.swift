import Foundation
import Topologies

/// Computes the exact result of a stream: dictionaries and sets, one event at a time, written to be read. It shares
/// nothing with the engine, so that the two can be held against each other. Texts are told apart by their bytes, as PostgreSQL
/// does: to a String "é" of one character and of two are the same.
///
/// Events of one partition must come in offset order; how partitions interleave does not matter.
/// - Complexity: about 10 µs an event; memory for every row, member and id within the horizon.
public struct Expectation {
  /// The last event time that is accepted, microseconds.
  public static let latestTime = EventReading.times.upperBound

  private struct RowID: Hashable {
    var start: Int64
    var by: [[UInt8]]
  }
  private struct Row {
    var count: Int64 = 0
    /// By measure.
    var sums: [Int128]
    var present: [Int64]
    var extremes: [Int64?]
    var members: [Set<UInt32>]
  }
  private struct Partition {
    var watermark: Int64?
    /// Event id to the second of watermark at which it was last seen.
    var seen: [[UInt8]: Int64] = [:]
    var pruneAt = 65_536
    /// Groups of each window, for the cap, by aggregate.
    var groups: [[Int64: Set<[[UInt8]]>]]
  }

  private let shape: Shape
  private let zone: TimeZone
  private var partitions: [Int: Partition] = [:]
  private var rows: [[RowID: Row]]
  private var late: [[RowID: Int64]]
  private var members: [[UInt8]: UInt32] = [:]
  private var dayStarts: [Int: Int64] = [:]
  private var ledger: [String: Int64] = [:]
  private var quarantine: [String: Int64] = [:]
  private var offsets: Int64 = 0

  public init(_ topology: Topology) {
    shape = Shape(topology)
    zone = TimeZone(identifier: shape.zone)!
    rows = shape.aggregates.map { _ in [:] }
    late = shape.aggregates.map { _ in [:] }
  }

  /// The next event of its partition.
  public mutating func add(_ event: GeneratedEvent) {
    offsets += 1
    var partition =
      partitions.removeValue(forKey: event.partition) ?? Partition(groups: shape.aggregates.map { _ in [:] })
    judge(event, &partition)
    partitions[event.partition] = partition
  }

  private mutating func refuse(_ reason: String) {
    ledger["quarantined", default: 0] += 1
    quarantine[reason, default: 0] += 1
  }

  private mutating func judge(_ event: GeneratedEvent, _ partition: inout Partition) {
    guard let payload = event.payload else {
      ledger["filtered", default: 0] += 1
      ledger["tombstones", default: 0] += 1
      return
    }
    let reading: EventReading
    do { reading = try EventReading(payload, shape) } catch { return refuse(error.reason) }
    if reading.time > event.timestampMilliseconds * 1000 + shape.skew { return refuse("far_future") }
    if let watermark = partition.watermark, reading.time < watermark - shape.lateness {
      ledger["late", default: 0] += 1
      quarantine["late", default: 0] += 1
      for (a, aggregate) in shape.aggregates.enumerated() where passes(aggregate, reading) {
        late[a][RowID(start: windowStart(aggregate.window, reading.time), by: key(aggregate, reading)), default: 0] += 1
      }
      return
    }
    let watermark = max(partition.watermark ?? reading.time, reading.time)
    partition.watermark = watermark
    if let key = shape.key, let member = reading.values[key], event.key != Array(member.text.utf8) { ledger["misrouted", default: 0] += 1 }
    if let horizon = shape.horizon {
      let second = watermark / 1_000_000
      let before = partition.seen.updateValue(second, forKey: reading.identifier)
      if partition.seen.count > partition.pruneAt {
        partition.seen = partition.seen.filter { second - $0.value <= horizon }
        partition.pruneAt = max(65_536, partition.seen.count * 2)
      }
      if let before, second - before <= horizon {
        ledger["duplicate", default: 0] += 1
        return
      }
    }
    var applied = false
    for (a, aggregate) in shape.aggregates.enumerated() where passes(aggregate, reading) {
      applied = true
      apply(a, aggregate, reading, &partition)
    }
    ledger[applied ? "applied" : "filtered", default: 0] += 1
  }

  private func passes(_ aggregate: Shape.Aggregate, _ reading: EventReading) -> Bool {
    aggregate.terms.allSatisfy { term in
      let isOne = reading.values[term.field].map { value in term.values.contains { $0.utf8.elementsEqual(value.text.utf8) } } ?? false
      return isOne != term.negated
    }
  }

  private func key(_ aggregate: Shape.Aggregate, _ reading: EventReading) -> [[UInt8]] {
    aggregate.by.map { Array((reading.values[$0]?.text ?? "").utf8) }
  }

  private mutating func apply(_ a: Int, _ aggregate: Shape.Aggregate, _ reading: EventReading, _ partition: inout Partition) {
    let start = windowStart(aggregate.window, reading.time)
    var by = key(aggregate, reading)
    if partition.groups[a][start]?.contains(by) != true {
      if partition.groups[a][start]?.count ?? 0 < aggregate.maxGroups {
        partition.groups[a][start, default: []].insert(by)
      } else {
        by = by.map { _ in Array("__overflow__".utf8) }
      }
    }
    let id = RowID(start: start, by: by)
    let n = aggregate.measures.count
    var row =
      rows[a].removeValue(forKey: id)
      ?? Row(
        sums: Array(repeating: 0, count: n), present: Array(repeating: 0, count: n), extremes: Array(repeating: nil, count: n),
        members: Array(repeating: [], count: n))
    row.count += 1
    for (m, measure) in aggregate.measures.enumerated() {
      guard let field = measure.kind.field, let value = reading.values[field] else { continue }
      row.present[m] += 1
      if case .distinct = measure.kind {
        row.members[m].insert(member(Array(value.text.utf8)))
        continue
      }
      guard case .number(let number) = value else { continue }
      switch measure.kind {
      case .minimum: row.extremes[m] = min(row.extremes[m] ?? number, number)
      case .maximum: row.extremes[m] = max(row.extremes[m] ?? number, number)
      case .sum, .average: row.sums[m] += Int128(number)
      case .count, .distinct: break
      }
    }
    rows[a][id] = row
  }

  private mutating func member(_ text: [UInt8]) -> UInt32 {
    if let known = members[text] { return known }
    let id = UInt32(members.count)
    members[text] = id
    return id
  }

  // MARK: Windows

  private mutating func windowStart(_ window: Shape.Window, _ time: Int64) -> Int64 {
    switch window {
    case .fixed(let length): return time - time % length
    case .days(let days):
      let second = Int(time / 1_000_000)
      let local = second + zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(second)))
      let day = Int((Double(local) / 86_400).rounded(.down))
      return dayStart(day - day % days)
    }
  }

  /// The first moment of a day of the zone.
  private mutating func dayStart(_ day: Int) -> Int64 {
    if let known = dayStarts[day] { return known }
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = zone
    let date = CivilDay(number: day)
    let noon = calendar.date(from: DateComponents(year: date.year, month: date.month, day: date.day, hour: 12))!
    let start = Int64(calendar.startOfDay(for: noon).timeIntervalSince1970) * 1_000_000
    dayStarts[day] = start
    return start
  }

  // MARK: Result

  /// Everything so far.
  public var result: ExpectedResult {
    var buckets = ledger
    for bucket in ["applied", "filtered", "duplicate", "late", "quarantined", "gap", "tombstones", "misrouted"] { buckets[bucket, default: 0] += 0 }
    var aggregates: [String: ExpectedResult.Aggregate] = [:]
    for (a, aggregate) in shape.aggregates.enumerated() {
      let sorted = rows[a].sorted { Self.precedes($0.key, $1.key) }
      let late = late[a].sorted { Self.precedes($0.key, $1.key) }
      aggregates[Topology.sqlName(aggregate.name)] = ExpectedResult.Aggregate(
        by: aggregate.by.map { Topology.sqlName(shape.fields[$0].name) },
        rows: sorted.map {
          ExpectedResult.Row(window_start: ExpectedResult.timeText($0.key.start), by: Self.texts($0.key.by), measures: measures(aggregate, $0.value))
        },
        late: late.map { ExpectedResult.LateRow(window_start: ExpectedResult.timeText($0.key.start), by: Self.texts($0.key.by), count: $0.value) })
    }
    return ExpectedResult(topology: shape.topology, offsets: offsets, ledger: buckets, quarantine: quarantine, aggregates: aggregates)
  }

  private static func precedes(_ a: RowID, _ b: RowID) -> Bool {
    if a.start != b.start { return a.start < b.start }
    return a.by.lexicographicallyPrecedes(b.by) { $0.lexicographicallyPrecedes($1) }
  }

  private static func texts(_ by: [[UInt8]]) -> [String] { by.map { String(decoding: $0, as: UTF8.self) } }

  private func measures(_ aggregate: Shape.Aggregate, _ row: Row) -> [String: ExpectedResult.Value] {
    var result: [String: ExpectedResult.Value] = [:]
    for (m, measure) in aggregate.measures.enumerated() {
      let name = Topology.sqlName(measure.name)
      let scale = measure.kind.field.map { shape.fields[$0].kind.scale } ?? 0
      switch measure.kind {
      case .count: result[name] = .integer(row.count)
      case .distinct: result[name] = .integer(Int64(row.members[m].count))
      case .sum: result[name] = row.present[m] == 0 ? .null : Self.number(row.sums[m], scale)
      case .minimum, .maximum: result[name] = row.extremes[m].map { Self.number(Int128($0), scale) } ?? .null
      case .average:
        result["\(name)_sum"] = row.present[m] == 0 ? .null : Self.number(row.sums[m], scale)
        result["\(name)_count"] = .integer(row.present[m])
      }
    }
    return result
  }

  private static func number(_ value: Int128, _ scale: Int) -> ExpectedResult.Value {
    if scale == 0 { return Int64(exactly: value).map { .integer($0) } ?? .text(String(value)) }
    var digits = String(value.magnitude)
    while digits.count <= scale { digits = "0" + digits }
    return .text("\(value < 0 ? "-" : "")\(digits.dropLast(scale)).\(digits.suffix(scale))")
  }
}
