/// SQL that makes one row of several rows of a ledger that join, and proves that the row says what they said: what both
/// roll-ups have in common. In functions of PL/pgSQL with the parameters of `Schema.rollUpFunction`.
struct LedgerMerge {
  var table: String
  /// When a row was written, and for a merged one the first of those times.
  var at: String
  var firstAt: String
  /// Columns of a row that must equal columns of the next, besides `to_offset` and `from_offset`.
  var joints: [(after: String, before: String)]
  /// What rows must have in common, besides epoch, instance, and hour or day.
  var kinds: [String]
  /// Columns that add up.
  var sums: [String]
  /// Other columns, and what they are for several rows.
  var others: [(column: String, expression: String)]
  /// What else a row has to be; empty: nothing.
  var condition = ""

  static let key = "topology = p_topology AND topic = p_topic AND partition = p_partition"

  /// Ages: rows of before `v_flushes_from` are merged by hour, those of before `v_hours_from` by day.
  static let variables = """
    v_flushes_from CONSTANT timestamptz := date_trunc('day', now(), 'UTC') - interval '48 hours';
          v_hours_from CONSTANT timestamptz := date_trunc('day', now(), 'UTC') - interval '840 hours';
          v_seen bigint; v_run record; v_before record; v_after record;
    """

  /// One at a time works on a partition.
  static func beginning(_ what: String) -> String {
    """
    rows_before := 0; rows_after := 0;
          IF p_most < 2 THEN RAISE EXCEPTION 'a part of % rows is too small: 2 at least', p_most USING ERRCODE = '22023'; END IF;
          \(Schema.turn("format('\(what) %s %s %s', p_topology, p_topic, p_partition)"));
    """
  }

  /// What an operator entered stays as it is.
  private var allKinds: [String] {
    [
      "epoch", "instance", "date_trunc(CASE WHEN \(at) < v_hours_from THEN 'day' ELSE 'hour' END, \(at), 'UTC')",
      "CASE WHEN instance LIKE 'operator %' THEN from_offset END",
    ] + kinds
  }

  private var columns: [(column: String, expression: String)] {
    [("from_offset", "min(from_offset)"), ("to_offset", "max(to_offset)"), ("earliest", "min(earliest)"), ("latest", "max(latest)"),
      ("epoch", "min(epoch)"), ("instance", "min(instance)"), (firstAt, "min(COALESCE(\(firstAt), \(at)))"), (at, "max(\(at))")]
      + others + sums.map { ($0, "sum(\($0))") }
  }

  /// What a merge must leave as it is. One row, whatever the range holds.
  private func proof(into variable: String) -> String {
    """
    SELECT sum(to_offset - from_offset), max(epoch), max(instance), \(columns.map(\.expression).joined(separator: ", "))
      INTO \(variable) FROM \(table) WHERE \(Self.key) AND from_offset >= v_run.first AND from_offset < v_run.last
    """
  }

  /// Merges the runs of one part, and sets `rows_before`, `rows_after`, `next_position`.
  var loop: String {
    let names = allKinds.indices.map { "kind_\($0)" }
    let after = ["to_offset"] + joints.map(\.after), before = ["from_offset"] + joints.map(\.before)
    return """
      FOR v_run IN
              WITH part AS (
                SELECT \((before + after).joined(separator: ", ")), \(zip(allKinds, names).map { "\($0) AS \($1)" }.joined(separator: ", "))
                  FROM \(table)
                 WHERE \(Self.key) AND from_offset >= p_position AND \(at) < v_flushes_from\(condition.isEmpty ? "" : " AND \(condition)")
                 ORDER BY from_offset LIMIT p_most),
              marked AS (
                SELECT from_offset, to_offset, (\((after + names).map { "lag(\($0)) OVER w" }.joined(separator: ", ")))
                         IS DISTINCT FROM (\((before + names).joined(separator: ", "))) AS is_first
                  FROM part WINDOW w AS (ORDER BY from_offset)),
              numbered AS (SELECT *, count(*) FILTER (WHERE is_first) OVER (ORDER BY from_offset) AS run FROM marked)
              SELECT min(from_offset) AS first, max(to_offset) AS last, count(*) AS rows, sum(count(*)) OVER () AS seen FROM numbered GROUP BY run ORDER BY 1
            LOOP
              v_seen := v_run.seen;
              next_position := v_run.first;
              CONTINUE WHEN v_run.rows = 1;
              \(proof(into: "v_before"));
              WITH gone AS (DELETE FROM \(table) WHERE \(Self.key) AND from_offset >= v_run.first AND from_offset < v_run.last RETURNING *)
              INSERT INTO \(table) (topology, topic, partition, \(columns.map(\.column).joined(separator: ", ")))
              SELECT p_topology, p_topic, p_partition, \(columns.map(\.expression).joined(separator: ", ")) FROM gone;
              \(proof(into: "v_after"));
              IF v_before IS DISTINCT FROM v_after THEN
                RAISE EXCEPTION '\(table) of %/% from % to % would not be the same: % became %', p_topic, p_partition, v_run.first, v_run.last, v_before, v_after
                  USING ERRCODE = 'XX000';
              END IF;
              rows_before := rows_before + v_run.rows;
              rows_after := rows_after + 1;
            END LOOP;
            -- The last run may go on in the next part, which begins with it.
            IF v_seen IS NULL OR v_seen < p_most THEN next_position := NULL; END IF;
      """
  }
}
