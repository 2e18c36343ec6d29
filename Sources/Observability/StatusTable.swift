/// `tidemark status` as text: a table of partitions, one of aggregates, and what alerts are open.
public enum StatusTable {
  /// - Parameters:
  ///   - width: characters of a line; nil: no terminal, everything is shown, with whole times.
  ///   - now: milliseconds since the epoch.
  /// - Complexity: O(partitions + aggregates + alerts).
  public static func lines(_ report: StatusReport, width: Int?, now: Int64) -> [String] {
    let words = StatusWords(now: now)
    let isOne = Set(report.rows.map(\.topology) + report.aggregates.map(\.topology)).count <= 1 && width != nil
    var left: [String] = []
    var lines: [String] = []
    func add(_ table: FittedTable) {
      let (text, missing) = table.lines(width: width)
      lines += text
      left += missing.filter { !left.contains($0) }
    }
    add(partitions(report.rows, words, withTopology: !isOne))
    if report.rows.isEmpty { lines.append("no partition was ever taken over") }
    if !report.aggregates.isEmpty {
      lines.append("")
      add(aggregates(report.aggregates, words, withTopology: !isOne))
    }
    if !report.alerts.isEmpty {
      lines += ["", "\(report.alerts.count) open alert\(report.alerts.count == 1 ? "" : "s")"]
      for alert in report.alerts { lines += self.lines(alert, words, width) }
    }
    if !left.isEmpty { lines += ["", "no room for: \(left.joined(separator: ", ")); a wider terminal or --format json has them"].flatMap { wrapped($0, width) } }
    return lines
  }

  private typealias Column = FittedTable.Column

  private static func number<Row>(_ heading: String, rank: Int = 0, absent: String = "-", _ rows: [Row], _ value: (Row) -> Int64?) -> Column {
    let cells: [String] = rows.map { row in value(row).map { "\($0)" } ?? absent }
    return Column(heading, cells, isRight: true, rank: rank)
  }

  /// - Parameter isAge: on a terminal, how long ago that was.
  private static func time<Row>(_ heading: String, rank: Int, _ words: StatusWords, isAge: Bool = false, _ rows: [Row], _ value: (Row) -> String?) -> Column {
    let cells: [String] = rows.map { value($0) ?? "-" }
    let short: [String] = rows.map { isAge ? words.ago(value($0)) : words.short(value($0)) }
    return Column(heading, cells, short: short, rank: rank)
  }

  private static func partitions(_ rows: [StatusRow], _ words: StatusWords, withTopology: Bool) -> FittedTable {
    var columns: [Column] = []
    if withTopology { columns.append(Column("topology", rows.map(\.topology), least: 8)) }
    columns.append(Column("partition", rows.map { "\($0.topic)/\($0.partition)" }, least: 14))
    columns.append(Column("owner", rows.map { $0.owner ?? "-" }, least: 8))
    columns.append(number("epoch", rank: 4, rows) { $0.epoch })
    columns.append(number("offset", rows) { $0.nextOffset })
    columns.append(number("end", rank: 5, absent: "?", rows) { $0.endOffset })
    columns.append(number("lag", absent: "?", rows) { $0.lag })
    columns.append(Column("behind", rows.map { $0.lagSeconds.map(words.span) ?? "?" }, isRight: true))
    columns.append(time("watermark", rank: 2, words, rows) { $0.watermark })
    columns.append(time("complete through", rank: 3, words, rows) { $0.completeThrough })
    columns.append(time("last flush", rank: 1, words, isAge: true, rows) { $0.lastFlush })
    columns.append(Column("journal", rows.map { words.bytes($0.journalBytes) }, isRight: true, rank: 6))
    columns.append(Column("state", rows.map { words.bytes($0.stateBytes) }, isRight: true, rank: 7))
    columns.append(number("applied", rank: 13, rows) { $0.applied })
    columns.append(number("filtered", rank: 11, rows) { $0.filtered })
    columns.append(number("duplicate", rank: 10, rows) { $0.duplicate })
    columns.append(number("late", rank: 9, rows) { $0.late })
    columns.append(number("quarantined", rank: 8, rows) { $0.quarantined })
    columns.append(number("gap", rank: 12, rows) { $0.gap })
    return FittedTable(columns)
  }

  private static func aggregates(_ all: [(topology: String, aggregate: StatusAggregate)], _ words: StatusWords, withTopology: Bool) -> FittedTable {
    let list: [StatusAggregate] = all.map(\.aggregate)
    var columns: [Column] = []
    if withTopology { columns.append(Column("topology", all.map(\.topology), least: 8)) }
    columns.append(Column("aggregate", list.map(\.name), least: 12))
    columns.append(number("groups", list) { $0.groups })
    columns.append(number("overflow", list) { $0.overflow })
    columns.append(number("rows, about", absent: "?", list) { $0.rows })
    columns.append(time("complete through", rank: 0, words, list) { $0.completeThrough })
    columns.append(time("fresh as of", rank: 2, words, isAge: true, list) { $0.freshAsOf })
    columns.append(time("rows changed", rank: 1, words, isAge: true, list) { $0.rowsChangedAt })
    return FittedTable(columns)
  }

  private static func lines(_ alert: StatusAlert, _ words: StatusWords, _ width: Int?) -> [String] {
    let place = alert.topic.map { "\($0)/\(alert.partition ?? 0)" } ?? "the topology"
    let subject = alert.subject.map { " (\($0))" } ?? ""
    let severity = alert.severity.map { "\($0) " } ?? ""
    let head = "ALERT \(severity)\(alert.topology) \(place) \(alert.kind)\(subject): \(alert.message)"
    return wrapped("\(FittedTable.printable(head)); since \(alert.since), \(words.age(alert.since))", width)
  }

  /// At spaces, with the second line on indented.
  public static func wrapped(_ text: String, _ width: Int?) -> [String] {
    guard let width, width > 20 else { return [text] }
    var lines: [String] = []
    for word in text.split(separator: " ", omittingEmptySubsequences: true) {
      if let last = lines.last, last.count + 1 + word.count <= width { lines[lines.count - 1] = "\(last) \(word)" } else {
        lines.append(lines.isEmpty ? String(word) : "  \(word)")
      }
    }
    return lines
  }
}

/// Numbers and times as an operator reads them at a glance.
struct StatusWords {
  /// Milliseconds since the epoch.
  var now: Int64

  /// `04:51:22` of today, `11-24 04:51` of this year, or the date; of an RFC 3339 time.
  func short(_ time: String?) -> String {
    guard let time else { return "-" }
    let today = TimeText.rfc3339(now * 1000)
    if time.prefix(10) == today.prefix(10) { return String(time.dropFirst(11).prefix(8)) }
    if time.prefix(4) == today.prefix(4) { return "\(time.dropFirst(5).prefix(5)) \(time.dropFirst(11).prefix(5))" }
    return String(time.prefix(10))
  }

  /// `3.2 s ago`; a dash where there is no time.
  func ago(_ time: String?) -> String { time.map { "\(age($0)) ago" } ?? "-" }

  /// `3.2 s`, `12 min`, since then.
  func age(_ time: String) -> String { TimeText.microseconds(time).map { span(max(0, Double(now) / 1000 - Double($0) / 1e6)) } ?? "?" }

  /// Seconds.
  func span(_ seconds: Double) -> String {
    switch seconds {
    case 0: "0 s"
    case ..<10: "\((seconds * 10).rounded() / 10) s"
    case ..<120: "\(Int(seconds.rounded())) s"
    case ..<7200: "\(Int((seconds / 60).rounded())) min"
    case ..<172_800: "\(Int((seconds / 3600).rounded())) h"
    default: "\(Int((seconds / 86_400).rounded())) d"
    }
  }

  func bytes(_ bytes: Int64?) -> String {
    guard let bytes else { return "-" }
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit < 4 {
      value /= 1024
      unit += 1
    }
    let text = unit == 0 || value >= 100 ? "\(Int(value.rounded()))" : "\((value * 10).rounded() / 10)"
    return "\(text) \(["B", "KiB", "MiB", "GiB", "TiB"][unit])"
  }
}
