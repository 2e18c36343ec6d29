import Postgres
import Warehouse

/// What follows from a comparison: repaired rows and sealed windows.
extension Comparison {
  /// Replaces the stream's rows by the batch's where that is safe, and keeps what was there.
  mutating func repair(_ writer: inout DifferenceWriter) throws(PostgresError) {
    guard report.differences > 0 else { return }
    try writer.flush()
    try connection.script("SET LOCAL enable_nestloop = on")
    defer { _ = try? connection.script("SET LOCAL enable_nestloop = off") }
    let keys = keyColumns
    let match = (["x.window_start = d.window_start"] + keys.enumerated().map { "x.\($1) = d.k\($0)" }).joined(separator: " AND ")
    let chosen = "pg_temp.tm_difference d"
    let keyArray = "ARRAY[\((0..<keyCount).map { "d.k\($0)" }.joined(separator: ", "))]::text[]"
    let measures = aggregate.measures.map { SQL.identifier($0.column) }
    let columns = (["window_start"] + keys + measures).joined(separator: ", ")
    try connection.execute(
      """
      INSERT INTO tidemark.reconciliation_repair (run, aggregate, window_start, key, old_row, new_row)
      SELECT $1, \(SQL.literal(aggregate.table)), d.window_start, \(keyArray), to_jsonb(o), to_jsonb(n)
        FROM \(chosen)
        LEFT JOIN LATERAL (SELECT * FROM \(aggregate.streamTable) x WHERE \(match)) o ON true
        LEFT JOIN LATERAL (SELECT * FROM \(aggregate.viewName) x WHERE \(match)) n ON true
       WHERE d.is_repairable
      """, [.integer(run)])
    try connection.execute("DELETE FROM \(aggregate.streamTable) x USING \(chosen) WHERE d.is_repairable AND NOT d.in_batch AND \(match)")
    let updates = measures.map { "\($0) = excluded.\($0)" } + ["updated_at = now()"]
    try connection.execute(
      """
      INSERT INTO \(aggregate.streamTable) (\(columns))
      SELECT \((["window_start"] + keys + measures).map { "x.\($0)" }.joined(separator: ", ")) FROM \(aggregate.viewName) x, \(chosen)
       WHERE d.is_repairable AND \(match)
      ON CONFLICT (\((["window_start"] + keys).joined(separator: ", "))) DO UPDATE SET \(updates.joined(separator: ", "))
      """)
    report.repaired = try connection.execute("SELECT count(*) FROM \(chosen) WHERE is_repairable").integer(0, 0)!
  }

  // MARK: Sealing

  /// Marks the closed windows that were checked and equal, unmarks those that are not, and notes how far all are proven.
  /// - Parameter isProven: whether the books add up. Where they do not, equal rows prove nothing: both sides may lack the same
  ///   event; no window is marked then.
  mutating func seal(isProven: Bool) throws(PostgresError) {
    let table = SQL.literal(aggregate.table)
    let different = "SELECT window_start FROM pg_temp.tm_difference d WHERE d.is_closed\(request.repairs ? " AND NOT d.is_repairable" : "")"
    try connection.script(
      """
      DELETE FROM tidemark.sealed_window w WHERE w.table_name = \(table) AND w.window_start IN (\(different));
      INSERT INTO tidemark.sealed_window (table_name, window_start, run)
      SELECT \(table), window_start, \(run) FROM pg_temp.tm_window WHERE \(isProven) AND is_closed AND window_start NOT IN (\(different))
      ON CONFLICT DO NOTHING
      """)
    // Up to the first window with rows that is not sealed. Where all closed windows were compared, that is one of them.
    let all =
      request.from == nil && request.to == nil && snapshot.droppedBefore == nil
      ? "SELECT window_start FROM pg_temp.tm_window"
      : "SELECT window_start FROM \(aggregate.streamTable) UNION SELECT window_start FROM \(aggregate.viewName)"
    let rows = try connection.execute(
      """
      INSERT INTO tidemark.sealed AS s (table_name, sealed_through)
      SELECT \(table), CASE WHEN EXISTS (SELECT FROM tidemark.sealed_window WHERE table_name = \(table)) THEN
               (SELECT max(\(aggregate.windowEnd(of: "w.window_start"))) FROM tidemark.sealed_window w
                 WHERE w.table_name = \(table) AND w.window_start < COALESCE((
                   SELECT min(window_start) FROM (\(all)) a
                    WHERE NOT EXISTS (SELECT FROM tidemark.sealed_window z WHERE z.table_name = \(table) AND z.window_start = a.window_start)),
                   'infinity')) END
      ON CONFLICT (table_name) DO UPDATE SET sealed_through = excluded.sealed_through, updated_at = now()
      RETURNING sealed_through
      """)
    report.sealedThrough = rows.timestamp(0, 0)
  }
}
