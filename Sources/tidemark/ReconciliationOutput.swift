import Aggregation
import Foundation
import Reconciliation

/// A reconciliation for people.
struct ReconciliationText {
  let text: String

  init(_ report: ReconciliationReport) {
    var lines: [String] = []
    let through = report.completeThrough.map { timeText(EventTime(microseconds: $0)) } ?? "nowhere yet"
    lines.append("topology \(report.topology), run \(report.run): complete on both sides through \(through)")
    for aggregate in report.aggregates {
      let open = aggregate.open > 0 ? " (\(Console.grouped(aggregate.open)) still open)" : ""
      var line =
        "  \(aggregate.table): \(Console.grouped(aggregate.windows)) windows\(open), \(Console.grouped(aggregate.rows)) rows, "
        + "\(Console.grouped(aggregate.differences)) differences"
      if aggregate.repaired > 0 { line += ", \(Console.grouped(aggregate.repaired)) repaired" }
      if aggregate.unexplained > 0 { line += ", \(Console.grouped(aggregate.unexplained)) unexplained" }
      if aggregate.pending > 0 { line += "; \(Console.grouped(aggregate.pending)) rows of open windows have late events" }
      if let sealed = aggregate.sealedThrough { line += "; sealed through \(timeText(EventTime(microseconds: sealed)))" }
      lines.append(line + String(format: "; %.1f s", aggregate.seconds))
      let classes = aggregate.classes.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\(Console.grouped($0.value)) \($0.key)" }
      if !classes.isEmpty { lines.append("    \(classes.joined(separator: ", "))") }
    }
    let wrong = report.books.filter { !$0.isExplained }.count
    lines.append(
      "  books: \(report.books.isEmpty ? "balanced" : wrong == 0 ? "balanced, with remarks" : "\(Console.grouped(wrong)) findings")"
        + String(format: "; %.1f s", report.booksSeconds))
    if !report.books.isEmpty {
      lines.append(
        Console.table(
          ["partition", "offsets", "class", "reason"],
          report.books.prefix(50).map { ["\($0.partition)", "\($0.from)..<\($0.to)", $0.kind.rawValue, $0.reason] }))
      if report.books.count > 50 { lines.append("and \(Console.grouped(report.books.count - 50)) more") }
    }
    let listed = report.aggregates.flatMap(\.listed)
    if !listed.isEmpty {
      lines.append(
        Console.table(["aggregate", "window", "group", "stream", "batch", "difference", "reason", "offsets"], listed.map(Self.cells)))
      let rest = report.aggregates.reduce(0) { $0 + $1.differences } - Int64(listed.count)
      if rest > 0 { lines.append("and \(Console.grouped(rest)) more: SELECT * FROM tidemark.reconciliation_difference WHERE run = \(report.run)") }
    }
    let outcome =
      switch report.outcome {
      case .equal: "equal"
      case .explained: "different, and all of it explained"
      case .different: "DIFFERENT"
      }
    lines.append(outcome)
    text = lines.joined(separator: "\n")
  }

  private static func cells(_ difference: Difference) -> [String] {
    let changed = difference.columns.indices.filter { difference.stream?[$0] != difference.batch?[$0] }
    func side(_ values: [String?]?) -> String {
      guard let values else { return "no row" }
      return changed.map { "\(difference.columns[$0])=\(values[$0] ?? "NULL")" }.joined(separator: " ")
    }
    let deltas = changed.map { index -> String in
      func number(_ side: [String?]?) -> Double? { Double(side.flatMap { $0[index] } ?? "0") }
      guard let batch = number(difference.batch), let stream = number(difference.stream) else { return "?" }
      let delta = stream - batch
      return (delta > 0 ? "+" : "") + (delta == delta.rounded() && abs(delta) < 1e15 ? String(Int64(delta)) : String(delta))
    }
    let evidence = difference.evidence.prefix(3).map { $0.split(separator: " ").last.map(String.init) ?? $0 }
    return [
      difference.aggregate ?? "", difference.windowStart.map { timeText(EventTime(microseconds: $0)) } ?? "", difference.key.joined(separator: "/"),
      side(difference.stream), side(difference.batch), deltas.joined(separator: " "),
      "\(difference.classes.joined(separator: "+")): \(difference.reason)\(difference.isRepaired ? " (repaired)" : "")",
      evidence.joined(separator: " ") + (difference.evidence.count > 3 ? " ..." : ""),
    ]
  }
}

/// A reconciliation for machines.
struct ReconciliationJSON: Encodable {
  struct Row: Encodable {
    var window: String
    var key: [String]
    /// Values by column; null: no row.
    var stream: [String: String?]?
    var batch: [String: String?]?
    var classes: [String]
    var isExplained: Bool
    var isRepaired: Bool
    var reason: String
    var evidence: [String]
  }
  struct Aggregate: Encodable {
    var table: String
    var windows: Int64, openWindows: Int64, rows: Int64, differenceCount: Int64, unexplained: Int64, repaired: Int64, pending: Int64
    var classes: [String: Int64]
    var sealedThrough: String?
    var seconds: Double
    var differences: [Row]
  }
  struct Finding: Encodable {
    var topic: String
    var partition: Int32
    var from: Int64, to: Int64
    var kind: String
    var isExplained: Bool
    var reason: String
  }
  var topology: String
  var run: Int64
  var outcome: String
  var completeThrough: String?
  var aggregates: [Aggregate]
  var books: [Finding]
  var booksSeconds: Double

  init(_ report: ReconciliationReport) {
    func text(_ time: Int64?) -> String? { time.map { timeText(EventTime(microseconds: $0)) } }
    topology = report.topology
    run = report.run
    outcome = report.outcome.rawValue
    completeThrough = text(report.completeThrough)
    booksSeconds = report.booksSeconds
    books = report.books.map {
      Finding(
        topic: $0.partition.topic, partition: $0.partition.partition, from: $0.from, to: $0.to, kind: $0.kind.rawValue, isExplained: $0.isExplained,
        reason: $0.reason)
    }
    aggregates = report.aggregates.map { aggregate in
      Aggregate(
        table: aggregate.table, windows: aggregate.windows, openWindows: aggregate.open, rows: aggregate.rows, differenceCount: aggregate.differences,
        unexplained: aggregate.unexplained, repaired: aggregate.repaired, pending: aggregate.pending, classes: aggregate.classes,
        sealedThrough: text(aggregate.sealedThrough), seconds: aggregate.seconds,
        differences: aggregate.listed.map { difference in
          func values(_ side: [String?]?) -> [String: String?]? {
            side.map { Dictionary(uniqueKeysWithValues: zip(difference.columns, $0)) }
          }
          return Row(
            window: text(difference.windowStart) ?? "", key: difference.key, stream: values(difference.stream), batch: values(difference.batch),
            classes: difference.classes, isExplained: difference.isExplained, isRepaired: difference.isRepaired, reason: difference.reason,
            evidence: difference.evidence)
        })
    }
  }
}
