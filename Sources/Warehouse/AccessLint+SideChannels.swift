import Postgres

/// What gives rows away without showing them: the order in which conditions are asked, and statistics.
extension AccessLint {
  /// Where somebody sees a part of a table, the policy that is asked before conditions of a query must be there.
  /// - Parameters:
  ///   - wanted: table, role, condition and scope of every rule.
  ///   - found: policies as `policies` reads them.
  func scopes(_ wanted: [[String?]], _ found: [[String?]]) throws(PostgresError) -> [AccessFinding] {
    var findings: [AccessFinding] = []
    for rule in wanted {
      guard let role = rule[1], let scope = rule[3] else { continue }
      let policies = found.filter { $0[5] == rule[0] }
      guard let root = policies.first?[6] else { continue }
      let condition = try canonical(scope, on: root)
      for table in Set(policies.compactMap { $0[0] }).sorted() {
        let isThere = policies.contains { policy in
          policy[0] == table && policy[3] == "f" && ["r", "*"].contains(policy[2]) && policy[4] == condition
            && (policy[7] ?? "").split(separator: ", ").contains(Substring(role))
        }
        guard !isThere else { continue }
        findings.append(
          AccessFinding(
            .leak, "policy", "\(role) on \(table)",
            "is asked after conditions of the query, which EXPLAIN ANALYZE shows: values of others can be found out; run `tidemark migrate`"))
      }
    }
    return findings
  }

  /// Where policies rest on the operator, it must cost nothing and be what it is taken for.
  func operators(_ wanted: [[String?]]) throws(PostgresError) -> [AccessFinding] {
    guard wanted.contains(where: { $0[2]?.contains("OPERATOR(access.=)") == true }), try connection.query("SELECT \(Access.hasOperator)")[0][0] == "f" else {
      return []
    }
    return [
      AccessFinding(
        .leak, "operator", Access.equals,
        "costs something (after pg_restore it does), is another function, or has no operator class: conditions of a query are asked before policies, "
          + "and values of others can be found out; run `tidemark migrate` as a superuser")
    ]
  }

  /// Who sees a part of a table and reads the table itself, which no policy makes a barrier.
  func directReaders() throws(PostgresError) -> [AccessFinding] {
    try connection.query(
      "SELECT tier, table_name FROM tidemark.access_rule WHERE rows = 'own' AND relation = table_name ORDER BY 2, 1"
    ).map { row in
      AccessFinding(
        .note, "policy", "\(row[0] ?? "") on analytics.\(row[1] ?? "")",
        "who can write any SQL may find out values of others by branches of a UNION ALL; `access: { barrier: true }` gives this tier a view, which keeps them")
    }
  }

  /// Statistics of measures: EXPLAIN's estimates are made of them, also for who sees none of the rows.
  func statistics() throws(PostgresError) -> [AccessFinding] {
    let tables = """
      (SELECT c.oid FROM pg_class c WHERE c.oid IN \(Self.guarded)
          AND (c.relname IN (SELECT table_name FROM tidemark.aggregate) OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)))
      """
    let kept = try connection.query(
      "SELECT a.attrelid::regclass, a.attname FROM pg_attribute a WHERE a.attrelid IN \(tables) AND \(Access.isMeasured) ORDER BY 1, 2")
    var findings = leak("statistics", kept) { "statistics are kept of \($0[1]), and EXPLAIN shows them to everybody: run `tidemark migrate`" }
    // Only a superuser sees them; others find out by the attack.
    guard try connection.query("SELECT has_table_privilege('pg_catalog.pg_statistic', 'SELECT')")[0][0] == "t" else { return findings }
    let old = try connection.query(
      """
      SELECT DISTINCT a.attrelid::regclass, a.attname FROM pg_statistic s
        JOIN pg_attribute a ON a.attrelid = s.starelid AND a.attnum = s.staattnum
       WHERE a.attstattarget = 0 AND a.attrelid IN \(tables) ORDER BY 1, 2
      """)
    findings += leak("statistics", old) {
      "there are old statistics of \($0[1]), and EXPLAIN shows them to everybody: run `tidemark migrate` as a superuser"
    }
    return findings
  }
}
