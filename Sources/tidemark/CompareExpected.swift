import ArgumentParser
import Foundation
import Postgres
import Workload

struct CompareExpected: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare-expected",
    abstract: "Hold PostgreSQL's rows against what generate --expect wrote.",
    discussion: """
      Every row of every aggregate, late counts, quarantine reasons and the ledger. Exit code 0: equal, 3: different.

      EXAMPLES
        tidemark generate --topic product.events --events 100000 --late 0.01 --expect expected.json
        tidemark run --topology topologies/product-events.yaml --data-dir data --until-caught-up
        tidemark compare-expected expected.json
      """)
  @Argument(help: ArgumentHelp("What generate --expect wrote.", valueName: "file")) var file: String
  @Option(help: ArgumentHelp("Most differences listed.", valueName: "count")) var limit = 20
  @OptionGroup var postgres: PostgresOptions

  func run() throws {
    try reportingFailures {
      let expected: ExpectedResult
      do { expected = try ExpectedResult.read(from: file) } catch { throw Failure(.data, "\(file): \(error.localizedDescription)") }
      let differences = try Comparison.differences(expected, connect(postgres.target))
      for difference in differences.prefix(limit) { Console.write(difference) }
      if differences.count > limit { Console.write("... and \(differences.count - limit) more") }
      guard differences.isEmpty else { throw Failure(.difference, "\(Console.grouped(differences.count)) differences") }
      let rows = expected.aggregates.values.reduce(0) { $0 + $1.rows.count }
      Console.write("equal: \(rows) rows of \(expected.aggregates.count) aggregates, \(expected.offsets) offsets in the ledger")
    }
  }
}

/// Expected rows against PostgreSQL's.
enum Comparison {
  /// One line a difference; empty: all is equal.
  static func differences(_ expected: ExpectedResult, _ connection: Connection) throws -> [String] {
    do throws(PostgresError) {
      var lines: [String] = []
      for (table, aggregate) in expected.aggregates.sorted(by: { $0.key < $1.key }) {
        lines += try rows(table, aggregate, connection)
        lines += try lateCounts(expected.topology, table, aggregate, connection)
      }
      lines += try books(expected, connection)
      return lines
    } catch { throw Failure(error.consequence == .unreachable ? .unavailable : .data, "PostgreSQL: \(error)") }
  }

  private static let window = #"to_char(window_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"#

  /// `2024-06-01T00:00:00.000000` as the expectation writes it.
  private static func time(_ text: String) -> String {
    var text = text
    while text.hasSuffix("0") { text.removeLast() }
    if text.hasSuffix(".") { text.removeLast() }
    return text + "Z"
  }

  private static func rows(_ table: String, _ aggregate: ExpectedResult.Aggregate, _ connection: Connection) throws(PostgresError) -> [String] {
    let measures = aggregate.rows.first.map { $0.measures.keys.sorted() } ?? []
    let columns = [window] + (aggregate.by + measures).map(SQL.identifier)
    let found = try connection.query("SELECT \(columns.joined(separator: ", ")) FROM analytics.\(SQL.identifier(table))")
    var actual: [String: [String?]] = [:]
    for row in found {
      let key = ([time(row[0]!)] + row[1..<(1 + aggregate.by.count)].map { $0! }).joined(separator: " | ")
      actual[key] = Array(row[(1 + aggregate.by.count)...])
    }
    var lines: [String] = []
    for row in aggregate.rows {
      let key = ([row.window_start] + row.by).joined(separator: " | ")
      let wanted = measures.map { row.measures[$0]?.text }
      guard let here = actual.removeValue(forKey: key) else {
        lines.append("\(table) [\(key)]: missing")
        continue
      }
      for (m, name) in measures.enumerated() where here[m] != wanted[m] {
        lines.append("\(table) [\(key)] \(name): \(here[m] ?? "NULL"), expected \(wanted[m] ?? "NULL")")
      }
    }
    lines += actual.keys.sorted().map { "\(table) [\($0)]: not expected" }
    return lines
  }

  private static func lateCounts(_ topology: String, _ table: String, _ aggregate: ExpectedResult.Aggregate, _ connection: Connection)
    throws(PostgresError) -> [String]
  {
    let found = try connection.query(
      "SELECT \(window), array_to_string(key, ' | '), late FROM tidemark.late_count WHERE topology = $1 AND aggregate = $2",
      [.text(topology), .text(table)])
    var actual: [String: String] = [:]
    for row in found { actual[([time(row[0]!)] + (row[1]!.isEmpty ? [] : [row[1]!])).joined(separator: " | ")] = row[2]! }
    var lines: [String] = []
    for row in aggregate.late {
      let key = ([row.window_start] + row.by).joined(separator: " | ")
      let here = actual.removeValue(forKey: key)
      if here != String(row.count) { lines.append("\(table) [\(key)] late: \(here ?? "missing"), expected \(row.count)") }
    }
    lines += actual.keys.sorted().map { "\(table) [\($0)] late: not expected" }
    return lines
  }

  private static func books(_ expected: ExpectedResult, _ connection: Connection) throws(PostgresError) -> [String] {
    var lines: [String] = []
    let buckets = expected.ledger.keys.sorted()
    let sums = buckets.map { "COALESCE(sum(\(SQL.identifier($0))), 0)" } + ["COALESCE(sum(to_offset - from_offset), 0)", "COALESCE(sum(quarantine_omitted), 0)"]
    let row = try connection.query("SELECT \(sums.joined(separator: ", ")) FROM tidemark.ledger WHERE topology = $1", [.text(expected.topology)])[0]
    for (b, bucket) in buckets.enumerated() where row[b] != String(expected.ledger[bucket]!) {
      lines.append("ledger \(bucket): \(row[b]!), expected \(expected.ledger[bucket]!)")
    }
    if row[buckets.count] != String(expected.offsets) { lines.append("ledger offsets: \(row[buckets.count]!), expected \(expected.offsets)") }
    guard row[buckets.count + 1] == "0" else { return lines }
    var reasons: [String: String] = [:]
    for row in try connection.query("SELECT reason, count(*) FROM tidemark.quarantine WHERE topology = $1 GROUP BY 1", [.text(expected.topology)]) {
      reasons[row[0]!] = row[1]!
    }
    for reason in Set(reasons.keys).union(expected.quarantine.keys).sorted() {
      let wanted = String(expected.quarantine[reason] ?? 0)
      if reasons[reason] ?? "0" != wanted { lines.append("quarantine \(reason): \(reasons[reason] ?? "0"), expected \(wanted)") }
    }
    return lines
  }
}
