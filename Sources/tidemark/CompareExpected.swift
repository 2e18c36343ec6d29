import ArgumentParser
import Foundation
import Warehouse
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
      let differences = try Comparison.differences(expected, Books(connect(postgres.target)))
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
  static func differences(_ expected: ExpectedResult, _ books: Books) throws -> [String] {
    do throws(WarehouseError) {
      var lines: [String] = []
      for (table, aggregate) in expected.aggregates.sorted(by: { $0.key < $1.key }) {
        lines += try rows(table, aggregate, books)
        lines += try lateCounts(expected.topology, table, aggregate, books)
      }
      lines += try totals(expected, books)
      return lines
    } catch { throw Failure(error) }
  }

  private static func rows(_ table: String, _ aggregate: ExpectedResult.Aggregate, _ books: Books) throws(WarehouseError) -> [String] {
    let measures = aggregate.rows.first.map { $0.measures.keys.sorted() } ?? []
    var actual: [Key: [String?]] = [:]
    for row in try books.rows(of: table, by: aggregate.by, measures: measures) { actual[Key(row.key)] = row.measures }
    var lines: [String] = []
    for row in aggregate.rows {
      let key = [row.window_start] + row.by
      guard let here = actual.removeValue(forKey: Key(key)) else {
        lines.append("\(table) [\(text(key))]: missing")
        continue
      }
      for (m, name) in measures.enumerated() {
        let wanted = row.measures[name]?.text
        if here[m] != wanted { lines.append("\(table) [\(text(key))] \(name): \(here[m] ?? "NULL"), expected \(wanted ?? "NULL")") }
      }
    }
    return lines + actual.keys.map { "\(table) [\(text($0.texts))]: not expected" }.sorted()
  }

  /// A row's key by its bytes: two texts that a String takes for one are two rows.
  private struct Key: Hashable {
    let bytes: [[UInt8]]
    init(_ texts: [String]) { bytes = texts.map { Array($0.utf8) } }
    var texts: [String] { bytes.map { String(decoding: $0, as: UTF8.self) } }
  }

  private static func text(_ key: [String]) -> String { key.joined(separator: " | ") }

  private static func lateCounts(_ topology: String, _ table: String, _ aggregate: ExpectedResult.Aggregate, _ books: Books)
    throws(WarehouseError) -> [String]
  {
    var actual: [Key: Int64] = [:]
    for row in try books.lateCounts(topology: topology, table: table, width: aggregate.by.count) { actual[Key(row.key)] = row.late }
    var lines: [String] = []
    for row in aggregate.late {
      let key = [row.window_start] + row.by
      let here = actual.removeValue(forKey: Key(key))
      if here != row.count { lines.append("\(table) [\(text(key))] late: \(here.map { "\($0)" } ?? "missing"), expected \(row.count)") }
    }
    return lines + actual.keys.map { "\(table) [\(text($0.texts))] late: not expected" }.sorted()
  }

  private static func totals(_ expected: ExpectedResult, _ books: Books) throws(WarehouseError) -> [String] {
    var lines: [String] = []
    let ledger = try books.ledgerTotals(topology: expected.topology)
    for (bucket, count) in expected.ledger.sorted(by: { $0.key < $1.key }) where ledger.buckets[bucket] != count {
      lines.append("ledger \(bucket): \(ledger.buckets[bucket].map { "\($0)" } ?? "no such bucket"), expected \(count)")
    }
    if ledger.offsets != expected.offsets { lines.append("ledger offsets: \(ledger.offsets), expected \(expected.offsets)") }
    // Past the cap a flush keeps no bytes of refused events: then their rows cannot be as many.
    guard ledger.omitted == 0 else { return lines }
    var filter = Books.QuarantineFilter()
    filter.topology = expected.topology
    let reasons = Dictionary(uniqueKeysWithValues: try books.quarantineCounts(filter).map { ($0.reason, $0.count) })
    for reason in Set(reasons.keys).union(expected.quarantine.keys).sorted() where reasons[reason] ?? 0 != expected.quarantine[reason] ?? 0 {
      lines.append("quarantine \(reason): \(reasons[reason] ?? 0), expected \(expected.quarantine[reason] ?? 0)")
    }
    return lines
  }
}
