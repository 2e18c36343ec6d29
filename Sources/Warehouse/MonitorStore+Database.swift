import Alerting
import Postgres
import Topologies

/// Facts about the batch side, statements and storage. What is not there is no fact, and says why.
extension MonitorStore {
  /// nil: all of the tables can be read; otherwise why not. `missing`: a table is not there at all.
  private func obstacle(_ tables: [String]) throws(WarehouseError) -> (missing: Bool, reason: String)? {
    try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT t, to_regclass('tidemark.' || t) IS NULL FROM unnest($1::text[]) AS t
         WHERE to_regclass('tidemark.' || t) IS NULL OR NOT has_table_privilege('tidemark.' || t, 'SELECT') ORDER BY 2 DESC, 1
        """, [.texts(tables)])
      guard rows.count > 0, let name = rows.text(0, 0) else { return nil }
      return rows.boolean(0, 1)! ? (true, "there is no tidemark.\(name)") : (false, "tidemark.\(name) cannot be read: run `tidemark migrate` again")
    }
  }

  func refreshes() throws(WarehouseError) -> Known<[MonitorFacts.Refresh]> {
    if let obstacle = try obstacle(["nightly_view", "refresh"]) { return obstacle.missing ? .known([]) : .unknown(obstacle.reason) }
    return try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT v.view_name, v.every = 'hour', v.created_at,
               (SELECT max(r.finished_at) FROM tidemark.refresh r WHERE r.view_name = v.view_name AND r.outcome = 'done'), n.outcome, n.reason
          FROM tidemark.nightly_view v
          LEFT JOIN LATERAL (SELECT r.outcome, r.reason FROM tidemark.refresh r
                              WHERE r.view_name = v.view_name AND r.outcome <> 'running' ORDER BY r.id DESC LIMIT 1) n ON true
         WHERE v.topology = $1 ORDER BY 1
        """, [.text(topology.name)])
      return .known(
        (0..<rows.count).map { row in
          var refresh = MonitorFacts.Refresh(view: rows.text(row, 0)!, isHourly: rows.boolean(row, 1)!, createdAt: rows.timestamp(row, 2)!)
          refresh.doneAt = rows.timestamp(row, 3)
          if rows.text(row, 4) == "failed" { refresh.failure = rows.text(row, 5) ?? "no reason given" }
          return refresh
        })
    }
  }

  func reconciliation() throws(WarehouseError) -> Known<MonitorFacts.Reconciliation?> {
    if let obstacle = try obstacle(["reconciliation_run", "reconciliation_difference"]) {
      return obstacle.missing ? .known(nil) : .unknown(obstacle.reason)
    }
    return try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT id, outcome, differences, unexplained, reason FROM tidemark.reconciliation_run
         WHERE topology = $1 AND outcome <> 'running' ORDER BY id DESC LIMIT 1
        """, [.text(topology.name)])
      guard rows.count == 1 else { return .known(nil) }
      var run = MonitorFacts.Reconciliation(run: rows.integer(0, 0)!)
      if rows.text(0, 1) == "failed" { run.failure = rows.text(0, 4) ?? "no reason given" }
      run.differences = rows.integer(0, 2)!
      guard rows.text(0, 1) == "different" else { return .known(run) }
      // Differences in the books count as those in rows do.
      let found = try connection.execute(
        "SELECT count(*) FROM tidemark.reconciliation_difference WHERE run = $1 AND NOT is_explained", [.integer(run.run)])
      run.unexplained = max(rows.integer(0, 3)!, found.integer(0, 0)!)
      let examples = try connection.query(
        """
        SELECT concat_ws(' ', COALESCE(aggregate, topic || '/' || partition), to_char(window_start, 'YYYY-MM-DD HH24:MI'), class) || ': ' || reason
          FROM tidemark.reconciliation_difference WHERE run = $1 AND NOT is_explained ORDER BY number LIMIT 3
        """, [.integer(run.run)])
      run.examples = examples.compactMap { $0[0] }
      return .known(run)
    }
  }

  // MARK: Statements

  /// The counters of a statement, as pg_stat_statements has them.
  struct Statement {
    var subject: String
    var calls: Int64
    var microseconds: Int64
  }

  /// Reads over analytics tables by roles that are not Tidemark's: their mean time since the oldest sample of the window.
  func queries(_ now: Int64, within: Int64) throws(WarehouseError) -> (Known<[MonitorFacts.Query]>, [Statement]) {
    let place: (schema: String?, mayRead: Bool) = try asking { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT (SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'),
               pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
        """)
      return (rows.text(0, 0), rows.boolean(0, 1)!)
    }
    guard let schema = place.schema else { return (.unknown("the extension pg_stat_statements is not in this database"), []) }
    guard place.mayRead else {
      return (.unknown("statements of others cannot be read: as a superuser, GRANT pg_read_all_stats TO tidemark_writer"), [])
    }
    let before = try oldest("statement", since: now - within, before: now)
    let firstPass = try samples("pass", "", since: now - within, before: now).first?.at
    let names = (topology.aggregates.map(\.tableName) + ["analytics\\."]).joined(separator: "|")
    do {
      return try asking { connection throws(PostgresError) in
        let rows = try connection.execute(
          """
          SELECT s.queryid::text, pg_get_userbyid(s.userid)::text, left(s.query, 1000), s.calls, (s.total_exec_time * 1000)::bigint
            FROM \(SQL.identifier(schema)).pg_stat_statements s
           WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.toplevel
             AND pg_get_userbyid(s.userid) !~ '^tidemark_'
             AND s.query ~* '^\\s*(/\\*.*?\\*/\\s*)*(select|with|table|declare|fetch)\\M' AND s.query ~ ('\\m(' || $1 || ')')
           ORDER BY s.total_exec_time DESC LIMIT 200
          """, [.text(names)])
        var queries: [MonitorFacts.Query] = []
        var statements: [Statement] = []
        for row in 0..<rows.count {
          guard let id = rows.text(row, 0), let user = rows.text(row, 1) else { continue }
          let now = Statement(subject: "\(user) \(id)", calls: rows.integer(row, 3)!, microseconds: rows.integer(row, 4)!)
          statements.append(now)
          // Without an earlier pass nobody knows when it was slow. What the first pass of the window did not see was not there
          // yet; after a reset of the counters they begin at zero.
          guard let firstPass else { continue }
          let base = before[now.subject].flatMap { $0.at > firstPass || $0.value > now.calls ? nil : $0 }
          let calls = now.calls - (base?.value ?? 0)
          guard calls > 0 else { continue }
          let milliseconds = Double(now.microseconds - (base?.more ?? 0)) / Double(calls) / 1000
          queries.append(.init(id: id, user: user, text: rows.text(row, 2) ?? "", calls: calls, meanMilliseconds: milliseconds))
        }
        return (.known(queries), statements)
      }
    } catch where error.code == .refused {
      return (.unknown("pg_stat_statements does not answer: \(error.message)"), [])
    }
  }

  /// Bytes; nil: the role may not ask.
  func databaseSize() throws(WarehouseError) -> Int64? {
    try asking { connection throws(PostgresError) in
      try connection.execute(
        """
        SELECT CASE WHEN has_database_privilege(current_database(), 'CONNECT') OR pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
                    THEN pg_database_size(current_database()) END
        """).integer(0, 0)
    }
  }
}
