import Postgres

/// What a query tells about rows that it does not show: what of its plan was executed, what PostgreSQL counted or
/// estimated, what a condition did. Each is asked twice, once with a condition that every row of others meets, once with one that none
/// does; whoever can tell the two apart can find out any value by halving.
extension AccessVerification {
  func bySideChannels(_ subject: Subject) throws(PostgresError) {
    for target in partial(subject) {
      let columns = try admin.query(
        """
        SELECT quote_ident(a.attname), format_type(a.atttypid, NULL), EXISTS (
                 SELECT FROM tidemark.access_rule r JOIN pg_attribute b ON b.attrelid = to_regclass(format('analytics.%I', r.table_name))
                  WHERE to_regclass(format('analytics.%I', r.relation)) = a.attrelid AND b.attname = a.attname AND b.attnotnull)
          FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
        """, [.text(target.relation)])
      let others = foreign(target)
      // Whether a measure is NULL costs the planner nothing to ask, and so must what stands beside it.
      let own = try admin.query("SELECT quote_literal(COALESCE(jsonb_object_agg(d, '{}'::jsonb), '{}')) FROM unnest($1::text[]) d", [.texts(target.own)])
      let othersForNothing = "(\(own[0][0] ?? "'{}'")::jsonb)[\(target.column)] IS NULL"
      for column in columns {
        guard let name = column[0], let (least, most) = Self.bounds[column[1] ?? ""], name != target.column else { continue }
        let conditions = ["\(name) >= \(least)", "\(name) > \(most)"]
        try byConditions(conditions, subject, target.relation, others)
        if column[2] == "f" { try byConditions(["\(name) IS NOT NULL", "\(name) IS NULL"], subject, target.relation, othersForNothing) }
        // That rows are there, and when, is no secret; what they hold is.
        guard column[1] != "timestamp with time zone" || name == "updated_at", column[1] != "text" else { continue }
        record(
          "estimates of a condition", subject,
          try differing(conditions, subject) { "EXPLAIN (FORMAT JSON) SELECT 1 FROM \(target.relation) WHERE \($0)" })
      }
    }
  }

  private func byConditions(_ conditions: [String], _ subject: Subject, _ relation: String, _ others: String) throws(PostgresError) {
    record(
      "EXPLAIN ANALYZE of a condition", subject,
      try differing(conditions, subject) {
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT 1 FROM \(relation) WHERE \($0) AND \(others)"
      })
    record(
      "counters after a condition", subject,
      try differing(conditions, subject, then: Self.counters) { "SELECT 1 FROM \(relation) WHERE \($0) AND \(others)" })
    record(
      "a condition that does something", subject,
      try differing(conditions, subject, then: "SELECT pg_sequence_last_value('pg_temp.bell')") {
        "SELECT 1 FROM \(relation) WHERE CASE WHEN \(others) AND \($0) THEN (SELECT nextval('pg_temp.bell') > 0) ELSE true END"
      })
  }

  /// What every value of a type is at least, and none is more than, as SQL.
  private static let bounds: [String: (String, String)] = [
    "bigint": ("'-9223372036854775808'::bigint", "'9223372036854775807'::bigint"), "integer": ("'-2147483648'::integer", "'2147483647'::integer"),
    "numeric": ("'-1e100'::numeric", "'1e100'::numeric"), "double precision": ("'-infinity'::float8", "'infinity'::float8"),
    "timestamp with time zone": ("'-infinity'::timestamptz", "'infinity'::timestamptz"),
    "text": ("''::text COLLATE \"C\"", "'~~~'::text COLLATE \"C\""),
  ]

  /// How often this session has looked into the tables that policies ask; what it counts goes on over transactions.
  private static let counters = """
    SELECT sum(pg_stat_get_xact_numscans(c.oid)) FROM pg_class c
     WHERE c.relkind IN ('r', 'i') AND c.relnamespace = 'access'::regnamespace
    """

  /// nil: both conditions look alike, without the numbers of rows, the conditions' own words and costs.
  /// - Parameter then: a number, of which is compared how far the statement moves it; nil: the statement's own answer is compared.
  private func differing(_ conditions: [String], _ subject: Subject, then: String? = nil, _ statement: (String) -> String) throws(PostgresError) -> String? {
    // The table may grow meanwhile, and a sleeping autovacuum wake up: what is not so each time is not of the condition.
    var last: [String] = []
    for _ in 0..<3 {
      last = try answers(conditions, subject, then, statement)
      if last[0] == last[1] { return nil }
    }
    return "\(conditions[0]) and \(conditions[1]) can be told apart: \(last[0]) / \(last[1])"
  }

  private func answers(_ conditions: [String], _ subject: Subject, _ then: String?, _ statement: (String) -> String) throws(PostgresError) -> [String] {
    var answers: [String] = []
    for condition in conditions {
      let setup = ["SET LOCAL enable_indexscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_indexonlyscan = off"]
      let number = then.map { [$0] } ?? []
      let said = try perform(["BEGIN"] + setup + ["CREATE TEMPORARY SEQUENCE bell"] + number + [statement(condition)] + number + ["ROLLBACK"], subject)
      let last = said[said.count - 2]
      answers.append(then == nil ? Self.shape(last) : "\((Int(last) ?? 0) - (Int(said[said.count - 4]) ?? 0))")
    }
    return answers
  }

  /// What a plan says besides the words of its conditions: which parts were executed, and estimates of rows.
  private static func shape(_ plan: String) -> String {
    plan.split(separator: "\n").compactMap { line in
      if line.contains("never executed") { return "never executed" }
      if line.contains("Plan Rows") { return line.trimmingPrefix { $0 == " " }.description }
      return line.hasPrefix("ERROR") ? String(line) : nil
    }.joined(separator: "; ")
  }
}
