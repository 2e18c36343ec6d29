import Postgres

/// Every operation on every relation, as every login.
extension AccessVerification {
  /// SQLSTATEs of a refusal: no privilege, no right to look into the schema, a view that cannot be written to.
  private static let refusals: Set<String> = ["42501", "55000", "0A000", "42809"]

  func tryRelations(_ subject: Subject) throws(PostgresError) {
    for relation in relations {
      let own = rules.filter { rule in
        "analytics.\(rule.relation)" == relation.name.replacing("\"", with: "") && subject.grants.contains { $0.tier == rule.tier }
      }
      try tryReading(relation, own, subject)
      try tryWriting(relation, subject)
    }
  }

  private func tryReading(_ relation: Relation, _ own: [Rule], _ subject: Subject) throws(PostgresError) {
    guard own.isEmpty else { return try compare(relation, own, subject) }
    let isOpen = relation.name == "analytics.freshness" && !subject.grants.isEmpty
    do throws(PostgresError) {
      try subject.connection.execute("SELECT * FROM \(relation.name) LIMIT 1")
      if isOpen {
        report.allowed += 1
        if subject.grants.count == 1 {
          report.lines.append(
            Report.Line(tier: subject.title, relation: relation.name, rows: "no values", seen: 0, expected: 0, columns: []))
        }
      } else if relation.isProtected {
        leak("matrix", relation.name, "\(subject.title) may SELECT from it")
      }
    } catch {
      guard Self.refusals.contains(error.sqlState) else { throw error }
      report.refused += 1
    }
  }

  /// What a login sees and what it should see, in one snapshot: instances go on writing meanwhile.
  private func compare(_ relation: Relation, _ own: [Rule], _ subject: Subject) throws(PostgresError) {
    let digest = "count(*)::text, COALESCE(sum(hashtextextended(x::text, 0)::numeric), 0)::text"
    let columns = own[0].columns
    let list = columns.map(SQL.identifier).joined(separator: ", ")
    let expectedQuery = "SELECT \(digest) FROM (SELECT \(list) FROM (\(expectedRows(own, subject))) u) x"
    var snapshot = "", expected: [[String?]] = [], seen: [[String?]] = []
    var visible: [String] = []
    try asReader { () throws(PostgresError) in
      try admin.script("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL extra_float_digits = 1; SET LOCAL timezone = 'UTC'")
      defer { _ = try? admin.script("ROLLBACK") }
      snapshot = try admin.query("SELECT pg_export_snapshot()")[0][0] ?? ""
      expected = try admin.query(expectedQuery)
      let connection = subject.connection
      try connection.script("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT \(SQL.literal(snapshot)); SET LOCAL timezone = 'UTC'")
      defer { _ = try? connection.script("ROLLBACK") }
      do throws(PostgresError) {
        visible = try connection.execute("SELECT * FROM \(relation.name) LIMIT 0").columnNames
        seen = try connection.query("SELECT \(digest) FROM (SELECT \(list) FROM \(relation.name)) x")
      } catch { if error.consequence != .refused { throw error } }
    }
    guard let count = seen.first?[0].flatMap({ Int64($0) }) else {
      leak("matrix", relation.name, "\(subject.title) cannot read it, although the topology grants it: run `tidemark migrate`")
      return
    }
    let due = expected.first?[0].flatMap { Int64($0) } ?? 0
    if visible != columns {
      leak("matrix", relation.name, "\(subject.title) sees the columns \(visible.joined(separator: ", ")), granted are \(columns.joined(separator: ", "))")
    }
    if seen != expected { leak("matrix", relation.name, "\(subject.title) sees \(count) rows that are not just the \(due) granted") }
    report.allowed += 1
    if subject.grants.count == 1 {
      report.lines.append(
        Report.Line(tier: subject.title, relation: relation.name, rows: words(own[0], subject), seen: count, expected: due, columns: columns))
    }
  }

  private func words(_ rule: Rule, _ subject: Subject) -> String {
    switch rule.rows {
    case "own": "own \(rule.department ?? "")"
    case "totals": "totals"
    default: "every row"
    }
  }

  /// The union of what the subject's grants give, from the table itself; in no other way than the topology says it.
  private func expectedRows(_ own: [Rule], _ subject: Subject) -> String {
    var conditions: [String] = []
    for rule in own {
      let departments = subject.grants.filter { $0.tier == rule.tier }.flatMap(\.departments)
      if rule.rows == "own", let column = rule.department {
        conditions.append("\(SQL.identifier(column)) IN (\(departments.map(SQL.literal).joined(separator: ", ")))")
      } else {
        conditions.append("true")
      }
    }
    let condition = conditions.joined(separator: " OR ")
    // A view of one tier: its SELECT, held to the condition as its policy holds it.
    if let view = own[0].view {
      return own[0].rows == "own" ? "SELECT * FROM (\(view)) v WHERE \(condition)" : view
    }
    return "SELECT * FROM analytics.\(SQL.identifier(own[0].table)) WHERE \(condition)"
  }

  /// Readers write nothing, wherever.
  private func tryWriting(_ relation: Relation, _ subject: Subject) throws(PostgresError) {
    guard relation.isProtected else { return }
    let column = try admin.query(
      """
      SELECT quote_ident(attname) FROM pg_attribute
       WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = '' ORDER BY attnum LIMIT 1
      """, [.text(relation.name)]
    ).first?[0] ?? "x"
    var operations = [
      ("INSERT", "INSERT INTO \(relation.name) DEFAULT VALUES"),
      ("INSERT … ON CONFLICT", "INSERT INTO \(relation.name) DEFAULT VALUES ON CONFLICT DO NOTHING RETURNING *"),
      ("UPDATE", "UPDATE \(relation.name) SET \(column) = \(column) WHERE false"), ("DELETE", "DELETE FROM \(relation.name) WHERE false"),
      ("TRUNCATE", "TRUNCATE \(relation.name)"), ("LOCK", "LOCK TABLE \(relation.name) IN ACCESS EXCLUSIVE MODE"),
    ]
    if relation.kind == "S" {
      let name = SQL.literal(relation.name)
      operations = [("setval", "SELECT setval(\(name), 1)"), ("nextval", "SELECT nextval(\(name))")]
    }
    for (operation, statement) in operations {
      do throws(PostgresError) {
        try subject.connection.script("BEGIN")
        try subject.connection.execute(statement)
        try subject.connection.script("ROLLBACK")
        leak("matrix", relation.name, "\(subject.title) may \(operation)")
      } catch {
        if subject.connection.isInTransaction { try subject.connection.script("ROLLBACK") }
        if Self.refusals.contains(error.sqlState) {
          report.refused += 1
        } else {
          guard error.consequence != .connectionLost else { throw error }
          leak("matrix", relation.name, "\(subject.title) may \(operation): it failed only by \(error)")
        }
      }
    }
  }
}
