import Postgres
import Topologies
import Warehouse

/// Events that the stream has and the landing has not: those after its last offset, those before its first one, and those that
/// an operator moved it past. What the stream's ledger says of when they happened bounds the windows that they may be in.
extension Snapshot {
  /// Fills `tm_unlanded`: a row for the flushes of a partition whose events span the same hours; times in event time. O(ledger).
  func fillUnlanded() throws(PostgresError) {
    try connection.script("CREATE TEMPORARY TABLE tm_unlanded (earliest timestamptz, latest timestamptz, events bigint) ON COMMIT DROP")
    try connection.execute(
      """
      INSERT INTO pg_temp.tm_unlanded
      WITH skipped AS (
        SELECT topic, partition, range_agg(hole) AS ranges FROM tidemark.landing_ledger, unnest(holes) hole
         WHERE topology = $1 AND instance LIKE 'operator %' GROUP BY 1, 2),
      absent AS (
        SELECT p.topic, p.partition, CASE WHEN p.landing_next IS NULL THEN int8multirange(int8range(NULL, NULL))
                 ELSE int8multirange(int8range(NULL, COALESCE(p.landing_first, p.landing_next)), int8range(p.landing_next, NULL)) + COALESCE(s.ranges, '{}') END
                 AS ranges
          FROM pg_temp.tm_position p LEFT JOIN skipped s USING (topic, partition)),
      flushes AS (
        SELECT k.*, (SELECT COALESCE(sum(upper(r) - lower(r)), 0)
                       FROM unnest(int8multirange(int8range(k.from_offset, k.to_offset)) * a.ranges) r)::bigint AS offsets
          FROM tidemark.ledger k JOIN absent a USING (topic, partition) WHERE k.topology = $1 AND k.applied > 0)
      SELECT min(earliest), max(latest), sum(LEAST(applied, offsets)) FROM flushes WHERE offsets > 0
       GROUP BY topic, partition, date_trunc('hour', earliest), date_trunc('hour', latest)
      """, [name])
    try connection.script("ANALYZE pg_temp.tm_unlanded")
  }
}

extension Comparison {
  /// SQL that makes `tm_unlanded_window`: how many such events may be in each window that differs. O(windows × rows of `tm_unlanded`).
  var unlanded: String {
    """
    DROP TABLE IF EXISTS pg_temp.tm_unlanded_window;
    CREATE TEMPORARY TABLE tm_unlanded_window ON COMMIT DROP AS
    SELECT w.window_start, sum(u.events)::bigint AS events
      FROM (SELECT DISTINCT window_start FROM pg_temp.tm_difference) w
      JOIN pg_temp.tm_unlanded u ON u.earliest < \(aggregate.windowEnd(of: "w.window_start")) AND u.latest >= w.window_start
     GROUP BY 1;
    ANALYZE pg_temp.tm_unlanded_window
    """
  }
}
