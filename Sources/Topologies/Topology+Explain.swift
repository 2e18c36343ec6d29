import Aggregation
import Foundation

extension Topology {
  /// What the topology means, in plain words: for `tidemark explain`. The generated SQL
  /// is the warehouse's to add.
  /// - Complexity: O(text), and some milliseconds for the zone's table.
  public func explanation() -> String {
    let plan = plan()
    var text = Explanation()
    text.heading("Topology \(name)")
    text.row("fingerprint", plan.fingerprint)
    text.row("topics", topics.joined(separator: ", "))
    text.row("format", "JSON")
    let key = partitionKey.map { "\($0), the Kafka key: all events of one \($0) are in one partition, so distinct counts add up" }
    text.row("partition key", key ?? "none: nothing is counted distinct")
    explainEvent(&text)
    explainTime(&text)
    for (aggregate, compiled) in zip(aggregates, plan.aggregates) { explain(aggregate, compiled, &text) }
    explainState(&text)
    explainMonitor(&text)
    return text.lines.joined(separator: "\n") + "\n"
  }

  private func explainEvent(_ text: inout Explanation) {
    text.heading("Event")
    text.row("id", idPath.map { $0.joined(separator: ".") } ?? "none")
    text.row("time", "\(timePath.joined(separator: ".")), \(timeFormat.words)")
    let table = fields.map { field in
      let type = if case .decimal(let scale) = field.kind { "decimal(\(scale))" } else { field.kind.word }
      let presence =
        switch field.presence {
        case .required: "required: an event without it is quarantined"
        case .optional: "optional"
        case .defaulted(let value): "\(field.kind.shownValue(value)) where it is absent or null"
        }
      return [field.name, type, field.path.map(shown).joined(separator: "."), presence]
    }
    text.row("fields", Explanation.aligned(table))
  }

  private func explainTime(_ text: inout Explanation) {
    text.heading("Time")
    text.row("zone", zone)
    text.row(
      "late",
      "an event more than \(allowedLateness.elapsed) before its partition's watermark, the greatest event time accepted there: "
        + "quarantined and counted")
    text.row(
      "far future",
      "an event more than \(maxFutureSkew.elapsed) after its record's Kafka timestamp: quarantined, "
        + "and the watermark stays where it is")
    text.row(
      "duplicate",
      deduplicateWithin.map {
        "an event whose id was seen before, until the watermark has moved on by more than \($0.elapsed) since: counted once"
      }
        ?? "events are not deduplicated")
  }

  // MARK: Aggregates

  private func explain(_ aggregate: Aggregate, _ compiled: AggregatePlan, _ text: inout Explanation) {
    text.heading("Aggregate \(aggregate.name)")
    text.row("window", words(aggregate.window))
    text.row("final", finality(aggregate, compiled))
    let estimate = StateEstimate(aggregate, allowedLateness: allowedLateness)
    let more = aggregate.window.calendarDays != nil && zone != "UTC" ? ", one more around a change of the clocks" : ""
    text.row("open at once", "\(counted(estimate.openWindows, "window"))\(more)")
    if !aggregate.filter.isEmpty {
      text.row(
        "counts",
        aggregate.filter.enumerated().map { n, term in
          let field = field(named: term.field)
          let values = term.values.map { field?.kind.shownValue($0) ?? quoted($0) }.joined(separator: " or ")
          let absent = term.negated && field?.presence == .optional ? ", or is absent" : ""
          return "\(n == 0 ? "events whose" : "and whose") \(term.field) is \(term.negated ? "not " : "")\(values)\(absent)"
        })
    }
    text.row("table", "analytics.\(aggregate.tableName)")
    text.row("key", (["window_start"] + aggregate.by.map(Self.sqlName)).joined(separator: ", "))
    text.row(
      "columns",
      Explanation.aligned(aggregate.measures.flatMap { columns($0) } + [["updated_at", "when the row was last written"]]))
    if !aggregate.by.isEmpty {
      text.row(
        "groups", "at most \(grouped(aggregate.maxGroups)) a window and partition, what is more goes to \(overflowKey)")
    }
    text.row("access", accessWords(aggregate))
    if let found = reconciliations.first(where: { $0.aggregate == aggregate.name }) {
      text.row("reconciled", "against \(found.against.rawValue), tolerance \(found.tolerance)")
    }
  }

  private func words(_ window: Window) -> [String] {
    switch window {
    case .tumbling(let length):
      switch window.calendarDays {
      case 1?: [zone == "UTC" ? "calendar days in UTC" : "calendar days in \(zone), 23 or 25 hours long where the clocks change"]
      case let days?: ["\(days) calendar days in \(zone), counted from 1970-01-01, a Thursday"]
      case nil: ["\(length), aligned to 1970-01-01T00:00:00Z"]
      }
    }
  }

  /// An event in the night when the clocks of Europe change: its day there has 23 hours.
  private static let exampleTime = EventTime(microseconds: 1_774_746_000 * 1_000_000)

  private func finality(_ aggregate: Aggregate, _ compiled: AggregatePlan) -> [String] {
    let window = compiled.window.window(at: Self.exampleTime)
    let final = EventTime(microseconds: window.end.microseconds + allowedLateness.microseconds)
    let name =
      switch aggregate.window.calendarDays {
      case 1?: "of \(Self.date(window.start, in: zone)) (\(zone))"
      case _?: "from \(Self.date(window.start, in: zone)) (\(zone))"
      case nil: "from \(Self.moment(window.start))"
      }
    let length = TimeSpan(microseconds: window.end.microseconds - window.start.microseconds)
    let after = allowedLateness.microseconds == 0 ? "at" : "\(allowedLateness.elapsed) after"
    return [
      "\(after) its end, by the watermark of every partition but those that are read to their end:",
      "the window \(name), \(length.inHours) long, ends at \(Self.moment(window.end))",
      "and is final once the watermark has reached \(Self.moment(final))"
    ]
  }

  private func columns(_ measure: Measure) -> [[String]] {
    let name = Self.sqlName(measure.name)
    guard case .average(let field) = measure.kind else { return [[name, measure.text]] }
    return [["\(name)_sum", "sum \(field)"], ["\(name)_count", "values of \(field)"], [name, "\(name)_sum / \(name)_count"]]
  }

  // MARK: State

  private func explainState(_ text: inout Explanation) {
    text.heading("Memory of one partition, estimated")
    var table: [[String]] = []
    var sets = 0
    for aggregate in aggregates {
      let estimate = StateEstimate(aggregate, allowedLateness: allowedLateness)
      let groups = aggregate.by.isEmpty ? "" : " x groups"
      let members = estimate.sets == 0 ? "" : " + members\(estimate.sets == 1 ? "" : " x \(estimate.sets)")"
      table.append([aggregate.name, "\(counted(estimate.openWindows, "window"))\(groups) x (\(bytes(estimate.group))\(members))"])
      sets += estimate.sets
    }
    if sets > 0, let partitionKey {
      table += [
        ["members", "2 to 4 bytes for each \(partitionKey) of a group; 1 bit to 8 bytes once they are many"],
        [
          "each \(partitionKey)",
          "\(bytes(StateEstimate.member)) while an open window holds it: \(megabytes(StateEstimate.member, 100_000)) for 100,000"
        ]
      ]
    }
    if let deduplicateWithin {
      table.append(
        [
          "each event id",
          "\(bytes(StateEstimate.identifier)) for \(deduplicateWithin.elapsed): "
            + "\(megabytes(StateEstimate.identifier, 1_000_000)) for 1,000,000"
        ])
    }
    table.append(["texts", "of more than 15 bytes in by: 32 bytes and their length more for each group"])
    table.append(["closed windows", "are kept until they are a quarter of an aggregate's groups"])
    text.table(table)
  }

  private func megabytes(_ range: ClosedRange<Int>, _ count: Int) -> String {
    func one(_ bytes: Int) -> String {
      let tenths = bytes * count / 100_000
      return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }
    return "\(one(range.lowerBound)) to \(one(range.upperBound)) MB"
  }

  private func bytes(_ range: ClosedRange<Int>) -> String { "\(range.lowerBound) to \(range.upperBound) bytes" }
  private func counted(_ n: Int, _ what: String) -> String { "\(grouped(n)) \(what)\(n == 1 ? "" : "s")" }

  /// `100,000`
  private func grouped(_ n: Int) -> String {
    let digits = Array(String(n))
    return digits.enumerated().reduce(into: "") { text, digit in
      if digit.offset > 0, (digits.count - digit.offset) % 3 == 0 { text += "," }
      text.append(digit.element)
    }
  }

  /// `2026-03-29T22:00:00Z`
  private static func moment(_ time: EventTime) -> String {
    Date(timeIntervalSince1970: Double(time.seconds)).formatted(.iso8601)
  }

  /// `2026-03-29`
  private static func date(_ time: EventTime, in zone: String) -> String {
    var style = Date.ISO8601FormatStyle().year().month().day()
    if let zone = TimeZone(identifier: zone) { style.timeZone = zone }
    return Date(timeIntervalSince1970: Double(time.seconds)).formatted(style)
  }
}

extension TimeFormat {
  fileprivate var words: String {
    switch self {
    case .rfc3339: "RFC 3339"
    case .epochSeconds: "seconds since 1970-01-01T00:00:00Z"
    case .epochMilliseconds: "milliseconds since 1970-01-01T00:00:00Z"
    case .epochMicroseconds: "microseconds since 1970-01-01T00:00:00Z"
    }
  }
}

extension FieldPlan.Kind {
  /// Texts in quotation marks, other values as they are.
  fileprivate func shownValue(_ canonical: String) -> String { self == .string ? quoted(canonical) : written(canonical) }
}

extension TimeSpan {
  /// `48 hours`: short spans in hours, so that nobody takes them for calendar days.
  fileprivate var elapsed: String { microseconds < 10 * Self.day ? inHours : description }

  /// `23 hours`: never in days, where a day may have another length.
  fileprivate var inHours: String {
    let hour = 3_600 * Self.second
    guard microseconds > 0, microseconds % hour == 0 else { return description }
    return microseconds == hour ? "1 hour" : "\(microseconds / hour) hours"
  }
}
