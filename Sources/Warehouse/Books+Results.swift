import Aggregation
import Postgres
import Topologies

/// What analytics tables and ledger hold, as texts: for comparisons and live views.
extension Books {
  private static let window = #"to_char(window_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"#

  /// `2024-06-01T00:00:00Z`, with as many fractional digits as there are.
  private static func timeText(_ text: String) -> String {
    var text = text
    while text.hasSuffix("0") { text.removeLast() }
    if text.hasSuffix(".") { text.removeLast() }
    return text + "Z"
  }

  /// Every row of an aggregate's table: window start and key texts, then the measures in the order asked for.
  public func rows(of table: String, by: [String], measures: [String]) throws(WarehouseError) -> [(key: [String], measures: [String?])] {
    try reading { () throws(PostgresError) in
      let columns = [Self.window] + (by + measures).map(SQL.identifier)
      let rows = try connection.query("SELECT \(columns.joined(separator: ", ")) FROM analytics.\(SQL.identifier(table))")
      return rows.map { row in
        (key: [Self.timeText(row[0] ?? "")] + row[1..<(1 + by.count)].map { $0 ?? "NULL" }, measures: Array(row[(1 + by.count)...]))
      }
    }
  }

  /// Late events of an aggregate with `width` key fields, by window start and key texts.
  public func lateCounts(topology: String, table: String, width: Int) throws(WarehouseError) -> [(key: [String], late: Int64)] {
    try reading { () throws(PostgresError) in
      let fields = (0..<width).map { ", key[\($0 + 1)]" }.joined()
      let rows = try connection.query(
        "SELECT late, \(Self.window)\(fields) FROM tidemark.late_count WHERE topology = $1 AND aggregate = $2", [.text(topology), .text(table)])
      return rows.map { row in (key: [Self.timeText(row[1] ?? "")] + row[2...].map { $0 ?? "NULL" }, late: Int64(row[0] ?? "") ?? 0) }
    }
  }

  /// Sums over a topology's ledger: offsets moved, each bucket by its name, and refused events whose bytes were not kept.
  public func ledgerTotals(topology: String) throws(WarehouseError) -> (offsets: Int64, buckets: [String: Int64], omitted: Int64) {
    try reading { () throws(PostgresError) in
      let names = ["applied", "filtered", "duplicate", "late", "quarantined", "gap", "tombstones", "misrouted"]
      let sums = (["to_offset - from_offset", "quarantine_omitted"] + names).map { "COALESCE(sum(\($0)), 0)::bigint" }
      let rows = try connection.execute("SELECT \(sums.joined(separator: ", ")) FROM tidemark.ledger WHERE topology = $1", [.text(topology)])
      var buckets: [String: Int64] = [:]
      for (i, name) in names.enumerated() { buckets[name] = rows.integer(0, 2 + i) ?? 0 }
      return (rows.integer(0, 0) ?? 0, buckets, rows.integer(0, 1) ?? 0)
    }
  }

  /// A topology at a glance.
  public struct Pulse: Sendable {
    /// Offsets in the ledger.
    public var offsets: Int64
    /// Greatest event time in the tables; nil: none yet.
    public var watermark: EventTime?
    /// Greatest value of a measure over its table; 0: no row yet.
    public var greatest: Int64
  }

  /// - Parameters:
  ///   - table: an aggregate's table.
  ///   - measure: an integer column of it.
  public func pulse(topology: String, table: String, measure: String) throws(WarehouseError) -> Pulse {
    try reading { () throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT (SELECT COALESCE(sum(to_offset - from_offset), 0)::bigint FROM tidemark.ledger WHERE topology = $1),
               (SELECT max(watermark) FROM tidemark.partition WHERE topology = $1),
               (SELECT COALESCE(max(\(SQL.identifier(measure))), 0)::bigint FROM analytics.\(SQL.identifier(table)))
        """, [.text(topology)])
      return Pulse(
        offsets: rows.integer(0, 0) ?? 0, watermark: rows.timestamp(0, 1).map(EventTime.init(microseconds:)), greatest: rows.integer(0, 2) ?? 0)
    }
  }
}
