import Postgres

/// What a query tells about rows that it does not show: what of its plan was executed, what PostgreSQL counted or
/// estimated, what a condition did. Each is asked twice, once with a condition that every row of others meets, once with one that none
/// does; whoever can tell the two apart can find out any value by halving.
///
/// PostgreSQL asks cheaper conditions first, and of equals a policy before a query's own, but not of the branches of a UNION ALL.
/// At the least cost of an operator above zero, comparing with one element of an array costs nothing: half of it is rounded to zero.
extension AccessVerification {
  private static let nothing = "SET LOCAL cpu_operator_cost = '0x1p-1074'"
  private static func forNothing(_ column: String, _ least: String, _ most: String) -> [String] {
    ["\(column) >= ANY (ARRAY[\(least)])", "\(column) > ANY (ARRAY[\(most)])"]
  }

  func bySideChannels(_ subject: Subject) throws(PostgresError) {
    try byOtherDepartments(subject)
    try byOpenDays(subject)
  }

  /// Names and types of a relation's columns, and whether each is never NULL in the table.
  private func columns(_ relation: String) throws(PostgresError) -> [[String?]] {
    try admin.query(
      """
      SELECT quote_ident(a.attname), format_type(a.atttypid, NULL), EXISTS (
               SELECT FROM tidemark.access_rule r JOIN pg_attribute b ON b.attrelid = to_regclass(format('analytics.%I', r.table_name))
                WHERE to_regclass(format('analytics.%I', r.relation)) = a.attrelid AND b.attname = a.attname AND b.attnotnull)
        FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
      """, [.text(relation)])
  }

  private func byOtherDepartments(_ subject: Subject) throws(PostgresError) {
    for target in partial(subject) {
      let columns = try columns(target.relation)
      let others = foreign(target)
      // Whether a measure is NULL costs the planner nothing to ask, and so must what stands beside it.
      let own = try admin.query("SELECT quote_literal(COALESCE(jsonb_object_agg(d, '{}'::jsonb), '{}')) FROM unnest($1::text[]) d", [.texts(target.own)])
      let othersForNothing = "(\(own[0][0] ?? "'{}'")::jsonb)[\(target.column)] IS NULL"
      for column in columns {
        guard let name = column[0], let (least, most) = Self.bounds[column[1] ?? ""], name != target.column else { continue }
        let conditions = ["\(name) >= \(least)", "\(name) > \(most)"]
        try byConditions(conditions, subject, target.relation, others)
        let isNull = ["\(name) IS NOT NULL", "\(name) IS NULL"]
        if column[2] == "f" { try byConditions(isNull, subject, target.relation, othersForNothing) }
        // That rows are there, and when, is no secret; what they hold is.
        guard column[1] != "timestamp with time zone" || name == "updated_at", column[1] != "text" else { continue }
        record(
          "estimates of a condition", subject,
          try differing(conditions, subject) { "EXPLAIN (FORMAT JSON) SELECT 1 FROM \(target.relation) WHERE \($0)" })
        // A table cannot be kept from it: the catalogue's lint says who reads one.
        guard rules.contains(where: { $0.view != nil && target.relation == "analytics.\(SQL.identifier($0.relation))" }) else { continue }
        let branch = "(TABLE \(target.relation) UNION ALL SELECT * FROM \(target.relation) WHERE false) u"
        try byConditions(Self.forNothing(name, least, most), subject, branch, othersForNothing, [Self.nothing])
        if column[2] == "f" { try byConditions(isNull, subject, branch, othersForNothing) }
      }
    }
  }

  /// What a tier that sees complete days only learns of those that are not.
  private func byOpenDays(_ subject: Subject) throws(PostgresError) {
    let relations = try admin.query(
      """
      SELECT format('analytics.%I', r.relation) FROM tidemark.access_rule r JOIN tidemark.tier t ON t.name = r.tier
       WHERE t.complete_days AND t.name = ANY ($1::text[]) ORDER BY 1
      """, [.texts(subject.grants.map(\.tier))]
    ).compactMap { $0[0] }
    for relation in relations {
      let last = try subject.connection.query("SELECT COALESCE(max(window_start), '-infinity') FROM \(relation)")[0][0] ?? ""
      let open = "window_start > ANY (ARRAY[\(SQL.literal(last))::timestamptz])"
      for column in try columns(relation) {
        guard let name = column[0], let (least, most) = Self.bounds[column[1] ?? ""], column[1] != "text", name != "window_start" else { continue }
        try byConditions(Self.forNothing(name, least, most), subject, relation, open, [Self.nothing])
      }
    }
  }

  /// - Parameters:
  ///   - conditions: one that every hidden row meets, and one that none does.
  ///   - others: the condition of the rows that the subject must not see.
  private func byConditions(
    _ conditions: [String], _ subject: Subject, _ relation: String, _ others: String, _ settings: [String] = []
  ) throws(PostgresError) {
    record(
      "EXPLAIN ANALYZE of a condition", subject,
      try differing(conditions, subject, settings) {
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT 1 FROM \(relation) WHERE \($0) AND \(others)"
      })
    record(
      "counters after a condition", subject,
      try differing(conditions, subject, settings, then: Self.counters) { "SELECT 1 FROM \(relation) WHERE \($0) AND \(others)" })
    record(
      "a condition that does something", subject,
      try differing(conditions, subject, settings, then: "SELECT pg_sequence_last_value('pg_temp.bell')") {
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
  /// - Parameters:
  ///   - settings: of the transaction.
  ///   - then: a number, of which is compared how far the statement moves it; nil: the statement's own answer is compared.
  private func differing(
    _ conditions: [String], _ subject: Subject, _ settings: [String] = [], then: String? = nil, _ statement: (String) -> String
  ) throws(PostgresError) -> String? {
    // The table may grow meanwhile, and a sleeping autovacuum wake up: what is not so each time is not of the condition.
    var last: [String] = []
    for _ in 0..<3 {
      last = try answers(conditions, subject, settings, then, statement)
      if last[0] == last[1] { return nil }
    }
    return "\(conditions[0]) and \(conditions[1]) can be told apart: \(last[0]) / \(last[1])"
  }

  private func answers(
    _ conditions: [String], _ subject: Subject, _ settings: [String], _ then: String?, _ statement: (String) -> String
  ) throws(PostgresError) -> [String] {
    var answers: [String] = []
    for condition in conditions {
      let setup = ["SET LOCAL enable_indexscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_indexonlyscan = off"] + settings
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
