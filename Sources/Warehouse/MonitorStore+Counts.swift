import Aggregation
import Alerting
import Postgres
import Topologies

/// Events of hours like this one, by event time from an aggregate, or by time of flush from the ledger.
extension MonitorStore {
  /// Event types that are compared at most: those with the most events.
  private static let mostTypes = 200

  /// Spans of 60 minutes: 0 is the present one, 1 to 4 the same of earlier weeks, 11 to 16 the hours before.
  private struct Spans {
    var numbers: [Int64] = [0]
    var begins: [Int64]

    init(end: Int64) {
      begins = [end - hour]
      for week in Int64(1)...4 { add(week, end - week * 7 * 24 * hour) }
      for before in Int64(1)...6 { add(10 + before, end - before * hour) }
    }

    private mutating func add(_ number: Int64, _ end: Int64) {
      numbers.append(number)
      begins.append(end - hour)
    }

    var parameters: [Parameter] { [.integers(numbers), .timestamps(begins.map { $0 }), .timestamps(begins.map { $0 + hour })] }

    /// What was counted in each span, as the checks see it; spans before the first known moment are left out.
    func hours(_ type: String?, _ counts: [Int64: Int64], since first: Int64) -> MonitorFacts.EventHours {
      func known(_ range: ClosedRange<Int64>) -> [Int64] {
        zip(numbers, begins).filter { range.contains($0.0) && $0.1 >= first }.map { counts[$0.0] ?? 0 }
      }
      return .init(type: type, current: counts[0] ?? 0, weeks: known(1...4), hours: known(11...16))
    }
  }

  private static let spans = "unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS s(n, begins, ends)"

  func eventHours(_ now: Int64) throws(WarehouseError) -> [MonitorFacts.EventHours] {
    guard let count = topology.eventCount else { return try flushedHours(now) }
    let spans = Spans(end: now / count.window * count.window)
    let table = "analytics.\(SQL.identifier(count.table))"
    let type = count.type.map { "t.\(SQL.identifier($0))" } ?? "NULL::text"
    return try asking { connection throws(PostgresError) in
      guard let first = try connection.execute("SELECT min(window_start) FROM \(table)").timestamp(0, 0) else { return [] }
      let rows = try connection.execute(
        """
        WITH counted AS (
          SELECT s.n, \(type) AS type, sum(t.\(SQL.identifier(count.measure)))::bigint AS events
            FROM \(Self.spans) JOIN \(table) t ON t.window_start >= s.begins AND t.window_start < s.ends GROUP BY 1, 2),
        usual AS (
          SELECT type FROM counted WHERE n > 0 AND events >= $4 AND type <> '__overflow__'
           GROUP BY 1 ORDER BY sum(events) DESC, 1 LIMIT \(Self.mostTypes))
        SELECT n, NULL::text, sum(events)::bigint FROM counted GROUP BY n
        UNION ALL SELECT n, type, events FROM counted JOIN usual USING (type)
        """, spans.parameters + [.integer(Int64(topology.monitor.events?.floor ?? 0))])
      var counts: [String?: [Int64: Int64]] = [nil: [:]]
      for row in 0..<rows.count { counts[rows.text(row, 1), default: [:]][rows.integer(row, 0)!] = rows.integer(row, 2)! }
      return counts.sorted { ($0.key ?? "") < ($1.key ?? "") }.map { spans.hours($0.key, $0.value, since: first) }
    }
  }

  /// Without an aggregate that counts hours: what was consumed in them. A row of the ledger that is rolled up is of an hour
  /// at most where it is this young (`Schema.ledgerRollUp`); each span has its share of it, as if the flushes lay evenly in it.
  private func flushedHours(_ now: Int64) throws(WarehouseError) -> [MonitorFacts.EventHours] {
    let spans = Spans(end: now)
    return try asking { connection throws(PostgresError) in
      let began = try connection.execute(
        """
        SELECT min(l.flushed_at) FROM tidemark.partition p, LATERAL (
          SELECT COALESCE(first_flushed_at, flushed_at) AS flushed_at FROM tidemark.ledger l
           WHERE l.topology = p.topology AND l.topic = p.topic AND l.partition = p.partition ORDER BY l.from_offset LIMIT 1) l
         WHERE p.topology = $1
        """, [.text(topology.name)])
      guard let first = began.timestamp(0, 0) else { return [] }
      let rows = try connection.execute(
        """
        SELECT s.n, round(sum((l.to_offset - l.from_offset - l.gap)
                 * CASE WHEN l.first_flushed_at < l.flushed_at
                     THEN extract(epoch FROM LEAST(l.flushed_at, s.ends) - GREATEST(l.first_flushed_at, s.begins)) / extract(epoch FROM l.flushed_at - l.first_flushed_at)
                     ELSE 1 END))::bigint
          FROM \(Self.spans) JOIN tidemark.ledger l
            ON l.flushed_at >= s.begins AND l.flushed_at < s.ends + interval '1 hour' AND COALESCE(l.first_flushed_at, l.flushed_at) < s.ends
               AND l.topology = $4 GROUP BY 1
        """, spans.parameters + [.text(topology.name)])
      var counts: [Int64: Int64] = [:]
      for row in 0..<rows.count { counts[rows.integer(row, 0)!] = rows.integer(row, 1)! }
      return [spans.hours(nil, counts, since: first)]
    }
  }
}
