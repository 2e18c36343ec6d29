import Aggregation
import Postgres
import Topologies
import Warehouse

/// One aggregate's table against its nightly view.
struct Comparison {
  let aggregate: BatchAggregate
  let snapshot: Snapshot
  let run: Int64
  var report: AggregateReport
  let request: ReconciliationRequest
  var connection: Connection { snapshot.connection }
  /// Which windows are compared, as a condition on `window_start`; and which of them are closed.
  let range: String
  let closed: String
  private let isDefinitionChanged: Bool

  init(_ aggregate: BatchAggregate, _ snapshot: Snapshot, _ request: ReconciliationRequest, _ run: Int64) throws(PostgresError) {
    self.aggregate = aggregate
    self.snapshot = snapshot
    self.request = request
    self.run = run
    report = AggregateReport(table: aggregate.table)
    let rows = try snapshot.connection.execute(
      """
      SELECT c.relispopulated, COALESCE(r.fingerprint, ''), r.complete_through,
             NOT EXISTS (SELECT FROM pg_temp.tm_position p LEFT JOIN pg_temp.tm_view v ON v.view_name = $2 AND (v.topic, v.partition) = (p.topic, p.partition)
                          WHERE v.view_next IS DISTINCT FROM p.landing_next)
        FROM pg_class c LEFT JOIN LATERAL (SELECT * FROM tidemark.refresh WHERE view_name = $2 AND outcome = 'done' ORDER BY id DESC LIMIT 1) r ON true
       WHERE c.oid = to_regclass($1)
      """, [.text(aggregate.viewName), .text(aggregate.table)])
    guard rows.count == 1, rows.boolean(0, 0) == true else {
      throw PostgresError(.refused, message: "the view \(aggregate.viewName) has not been filled yet: run `tidemark nightly`")
    }
    // Filled by hand: nobody knows of which definition, and how far the landing was. That explains nothing.
    guard rows.text(0, 1) != "" else {
      throw PostgresError(.refused, message: "no refresh of the view \(aggregate.viewName) is on record: run `tidemark nightly`")
    }
    isDefinitionChanged = rows.text(0, 1) != aggregate.fingerprint
    var bounds: [String] = []
    if let from = request.from { bounds.append("window_start >= \(aggregate.dayStart(SQL.literal(from)))") }
    if let to = request.to { bounds.append("window_start < \(aggregate.dayStart("(\(SQL.literal(to))::date + 1)"))") }
    // A window of which landed events were dropped by age is not whole on the batch side any more.
    if let dropped = snapshot.droppedBefore { bounds.append("window_start >= \(Self.moment(dropped))") }
    if let through = snapshot.completeThrough {
      closed = "window_start < \(aggregate.windowStart(of: Self.moment(through)))"
    } else {
      closed = "false"
    }
    let isViewCurrent = rows.boolean(0, 3)!
    if !snapshot.standsEqual || (request.onlyWhatTheViewCovers && !isViewCurrent) { bounds.append(closed) }
    if request.onlyWhatTheViewCovers, !isViewCurrent {
      bounds.append(rows.timestamp(0, 2).map { "window_start < \(aggregate.windowStart(of: Self.moment($0)))" } ?? "false")
    }
    range = bounds.isEmpty ? "true" : bounds.joined(separator: " AND ")
  }

  /// A moment in microseconds as SQL.
  private static func moment(_ microseconds: Int64) -> String {
    "(timestamptz '1970-01-01 00:00:00+00' + interval '\(microseconds) microseconds')"
  }

  var keyColumns: [String] { aggregate.keys.map { SQL.identifier($0.column) } }
  var keyCount: Int { aggregate.keys.count }

  // MARK: Comparing

  mutating func run(_ writer: inout DifferenceWriter) throws(PostgresError) {
    try count()
    try findDifferences()
    let found = try connection.execute("SELECT count(*) FROM pg_temp.tm_difference").integer(0, 0)!
    guard found > 0 else { return }
    try connection.script("ANALYZE pg_temp.tm_difference")
    try gatherFacts()
    try classify(&writer)
    if found > Reconciler.mostStored {
      // Counted, not classified: they are no less different.
      report.differences += found - Reconciler.mostStored
      report.unexplained += found - Reconciler.mostStored
      report.classes["not classified", default: 0] += found - Reconciler.mostStored
    }
  }

  private mutating func count() throws(PostgresError) {
    try connection.script(
      """
      DROP TABLE IF EXISTS pg_temp.tm_window;
      CREATE TEMPORARY TABLE tm_window ON COMMIT DROP AS
      SELECT window_start, \(closed) AS is_closed, max(n) AS n FROM (
        SELECT window_start, count(*) AS n FROM \(aggregate.streamTable) WHERE \(range) GROUP BY 1
        UNION ALL SELECT window_start, count(*) FROM \(aggregate.viewName) WHERE \(range) GROUP BY 1) w GROUP BY 1
      """)
    let rows = try connection.execute(
      "SELECT count(*), count(*) FILTER (WHERE NOT is_closed), COALESCE(sum(n), 0)::bigint FROM pg_temp.tm_window")
    report.windows = rows.integer(0, 0)!
    report.open = rows.integer(0, 1)!
    report.rows = rows.integer(0, 2)!
  }

  private func findDifferences() throws(PostgresError) {
    let keys = keyColumns
    let measures = aggregate.measures.map { SQL.identifier($0.column) }
    let join = (["window_start"] + keys).map { "s.\($0) = b.\($0)" }.joined(separator: " AND ")
    let columns = (["window_start"] + keys + measures).joined(separator: ", ")
    let coalesced = keys.enumerated().map { "COALESCE(s.\($1), b.\($1)) AS k\($0)" }
    let values = measures.enumerated().flatMap { ["s.\($1)::text AS s\($0)", "b.\($1)::text AS b\($0)"] }
    let differs = measures.map { "s.\($0) IS DISTINCT FROM b.\($0)" } + ["s.window_start IS NULL", "b.window_start IS NULL"]
    try connection.script(
      """
      DROP TABLE IF EXISTS pg_temp.tm_difference, pg_temp.tm_fact;
      CREATE TEMPORARY TABLE tm_difference ON COMMIT DROP AS
      SELECT row_number() OVER () AS id, d.*, false AS is_repairable, \(closed.replacing("window_start <", with: "d.window_start <")) AS is_closed,
             r.repaired_at, r.new_row AS repaired_to FROM (
        SELECT COALESCE(s.window_start, b.window_start) AS window_start\(coalesced.map { ", " + $0 }.joined()),
               s.window_start IS NOT NULL AS in_stream, b.window_start IS NOT NULL AS in_batch, \(values.joined(separator: ", "))
          FROM (SELECT \(columns) FROM \(aggregate.streamTable) WHERE \(range)) s
          FULL JOIN (SELECT \(columns) FROM \(aggregate.viewName) WHERE \(range)) b ON \(join)
         WHERE \(differs.joined(separator: " OR "))) d
        LEFT JOIN (SELECT DISTINCT ON (window_start, key) window_start, key, repaired_at, new_row FROM tidemark.reconciliation_repair
                    WHERE aggregate = \(SQL.literal(aggregate.table)) ORDER BY window_start, key, run DESC) r
          ON r.window_start = d.window_start AND r.key = ARRAY[\((0..<keyCount).map { "d.k\($0)" }.joined(separator: ", "))]::text[]
      """)
  }

  // MARK: Facts

  /// What the landed events of the rows that differ say: predictions of both sides, and which events only one side counts.
  private func gatherFacts() throws(PostgresError) {
    let fields = aggregate.measuredColumns.map { ", e.\(SQL.identifier($0))" }.joined()
    let join = aggregate.keys.enumerated().map { " AND d.k\($0) = \($1.expression)" }.joined()
    let predicted = aggregate.measures.enumerated().flatMap {
      [
        "(\($1.expression(where: "e.streamed", apart: true)))::text AS p\($0)", "(\($1.expression(where: "e.covered", apart: true)))::text AS c\($0)",
        "(\($1.expression(where: "e.in_view")))::text AS q\($0)", "(\($1.expression(where: "e.in_view AND NOT e.is_foreign")))::text AS r\($0)",
      ]
    }
    let kinds = Self.eventClasses.map { kind -> String in
      let name = kind.rawValue
      return """
        count(*) FILTER (WHERE class = '\(name)') AS n_\(name),
        (array_agg(place ORDER BY place) FILTER (WHERE class = '\(name)'))[1:20] AS o_\(name)
        """
    }
    try connection.execute(
      """
      CREATE TEMPORARY TABLE tm_fact ON COMMIT DROP AS
      WITH events AS (
        SELECT d.id, e.topic, e.partition, e."offset"\(fields), q.reason, f."offset" IS NOT NULL AS is_foreign,
               e."offset" >= COALESCE(v.view_next, 0) AS is_after_view, e."offset" >= COALESCE(p.stream_next, 0) AS is_after_stream,
               COALESCE(e."offset" <@ p.holes, false) AS in_hole, COALESCE(e."offset" <@ p.gaps, false) AS in_gap,
               COALESCE(e.landed_at <= d.repaired_at, false) AS is_repaired, COALESCE(r.in_view, false) AS is_repeat, COALESCE(r.in_stream, false) AS is_stream_repeat,
               e.topic || '/' || e.partition || '@' || e."offset" AS place
          FROM \(aggregate.rawTable) e
          JOIN pg_temp.tm_difference d ON d.window_start = \(aggregate.windowStart(of: "e.event_time"))\(join)
          LEFT JOIN pg_temp.tm_position p ON (p.topic, p.partition) = (e.topic, e.partition)
          LEFT JOIN pg_temp.tm_view v ON v.view_name = \(SQL.literal(aggregate.table)) AND (v.topic, v.partition) = (e.topic, e.partition)
          LEFT JOIN pg_temp.tm_refused q ON (q.topic, q.partition, q."offset") = (e.topic, e.partition, e."offset")
          LEFT JOIN pg_temp.tm_repeat r ON (r.topic, r.partition, r."offset") = (e.topic, e.partition, e."offset")
          LEFT JOIN pg_temp.tm_foreign f ON (f.topic, f.partition, f."offset", f.event_time) = (e.topic, e.partition, e."offset", e.event_time)
         WHERE d.id <= \(Reconciler.mostStored)
           AND e.event_time >= (SELECT min(window_start) FROM pg_temp.tm_difference)
           AND e.event_time < (SELECT \(aggregate.windowEnd(of: "max(window_start)")) FROM pg_temp.tm_difference)\(aggregate.filter.map { " AND \($0)" } ?? "")),
      sides AS (
        SELECT *, NOT is_repeat AND (is_foreign OR NOT is_after_view) AS in_view,
               NOT is_foreign AND NOT is_after_stream AND reason IS NULL AND NOT is_stream_repeat AS covered,
               NOT is_foreign AND NOT is_after_stream AND NOT in_hole AND reason IS NULL AND NOT is_stream_repeat AS streamed
          FROM events),
      e AS (
        SELECT *, CASE
                 WHEN in_view = streamed OR is_repaired THEN NULL
                 WHEN is_foreign THEN 'raw_foreign'
                 WHEN streamed AND is_repeat THEN 'duplicate'
                 WHEN streamed THEN 'view_stale'
                 WHEN reason = 'late' THEN 'late'
                 WHEN reason IS NOT NULL THEN 'quarantined'
                 WHEN in_hole THEN 'missing_offsets'
                 WHEN is_after_stream THEN 'stream_behind'
                 ELSE 'duplicate' END AS class
          FROM sides)
      SELECT id, count(*) FILTER (WHERE streamed) AS n_streamed, count(*) FILTER (WHERE covered) AS n_covered, count(*) FILTER (WHERE in_view) AS n_viewed,
             count(*) FILTER (WHERE in_view AND NOT is_foreign) AS n_own,
             count(*) FILTER (WHERE in_gap) AS n_gap, (array_agg(place ORDER BY place))[1:20] AS o_all, \((predicted + kinds).joined(separator: ", "))
        FROM e GROUP BY id
      """)
    try connection.script("CREATE INDEX ON pg_temp.tm_fact (id); ANALYZE pg_temp.tm_fact")
  }

  /// Classes of single events.
  static let eventClasses: [DifferenceClass] = [.late, .duplicate, .quarantined, .missingOffsets, .streamBehind, .viewStale, .rawForeign]

  // MARK: Verdicts

  private mutating func classify(_ writer: inout DifferenceWriter) throws(PostgresError) {
    let keys = (0..<keyCount).map { "d.k\($0)" }
    let count = aggregate.measures.firstIndex { $0.kind == .count }
    let keyArray = "ARRAY[\(keys.joined(separator: ", "))]::text[]"
    try connection.script(unlanded)
    let overflow = keyCount == 0 ? "false" : "EXISTS (SELECT FROM \(aggregate.streamTable) o WHERE o.window_start = d.window_start AND "
      + keyColumns.map { "o.\($0) = '\(overflowKey)'" }.joined(separator: " AND ") + ")"
    let common = Self.common(aggregate)
    // Whoever does not count events knows only that there was an increment.
    let rejectedEvents = count.map { at in
      let name = SQL.literal(aggregate.measures[at].column)
      return "sum((SELECT sum(split_part(i, ' += ', 2)::bigint) FROM unnest(j.increments) i WHERE split_part(i, ' += ', 1) = \(name)))::bigint"
    } ?? "CASE WHEN count(*) > 0 THEN 9223372036854775807 END"
    // What one group lacks another has: the window's events are neither more nor less.
    let balanced = count.map { at in
      " AND d.window_start IN (SELECT b.window_start FROM pg_temp.tm_difference b LEFT JOIN pg_temp.tm_fact g USING (id) GROUP BY 1 "
        + "HAVING sum(COALESCE(b.s\(at)::bigint, 0) - COALESCE(CASE WHEN g.n_streamed > 0 THEN g.p\(at)::bigint END, 0)) = 0)"
    } ?? ""
    // Fixed columns first, then the key, the measures and the classes.
    let columns =
      [
        "d.id", "d.window_start", "d.in_stream", "d.in_batch", "d.is_closed", "COALESCE(f.n_streamed, 0)", "COALESCE(f.n_viewed, 0)", "COALESCE(f.n_gap, 0)",
        "array_to_string(f.o_all, ' ')",
        """
        COALESCE((SELECT l.late FROM tidemark.late_count l WHERE l.topology = \(common.topology) AND l.aggregate = \(common.table)
                   AND l.window_start = d.window_start AND l.key = \(keyArray)), 0)
        """,
        """
        (SELECT count(*) FROM pg_temp.tm_missing m
          WHERE m.earliest < \(aggregate.windowEnd(of: "d.window_start")) AND m.latest >= d.window_start)
        """,
        """
        COALESCE((SELECT \(rejectedEvents) FROM tidemark.rejected_row j WHERE j.topology = \(common.topology) AND j.aggregate = \(common.table)
                   AND j.window_start = d.window_start AND j.key = \(keyArray)), 0)
        """, overflow + balanced,
        """
        (SELECT string_agg(m.topic || '/' || m.partition || '@' || m."offset", ' ') FROM (
           SELECT * FROM pg_temp.tm_missing m WHERE m.earliest < \(aggregate.windowEnd(of: "d.window_start")) AND m.latest >= d.window_start
            ORDER BY topic, partition, "offset" LIMIT 20) m)
        """, "COALESCE(f.n_covered, 0)", "COALESCE(f.n_own, 0)", "d.repaired_at IS NOT NULL",
        "COALESCE((SELECT u.events FROM pg_temp.tm_unlanded_window u WHERE u.window_start = d.window_start), 0)",
      ] + keys
      + aggregate.measures.enumerated().flatMap {
        ["d.s\($0)", "d.b\($0)", "f.p\($0)", "f.c\($0)", "f.q\($0)", "f.r\($0)", "d.repaired_to->>\(SQL.literal($1.column))"]
      }
      + Self.eventClasses.flatMap { ["COALESCE(f.n_\($0.rawValue), 0)", "array_to_string(f.o_\($0.rawValue), ' ')"] }
    try connection.execute(
      """
      DECLARE differences NO SCROLL CURSOR FOR SELECT \(columns.joined(separator: ", "))
        FROM pg_temp.tm_difference d LEFT JOIN pg_temp.tm_fact f USING (id)
       WHERE d.id <= \(Reconciler.mostStored) ORDER BY d.window_start\(keys.map { ", " + $0 }.joined())
      """)
    let shared = try sharedFacts()
    while true {
      let rows = try connection.execute("FETCH 1000 FROM differences")
      if rows.count == 0 { break }
      var repairable: [Int64] = []
      for row in 0..<rows.count { if let id = try judge(rows, row, shared, &writer) { repairable.append(id) } }
      if !repairable.isEmpty {
        try connection.execute("UPDATE pg_temp.tm_difference SET is_repairable = true WHERE id = ANY ($1)", [.integers(repairable)])
      }
    }
    try connection.script("CLOSE differences")
  }

  private static func common(_ aggregate: BatchAggregate) -> (topology: String, table: String) {
    (SQL.literal(aggregate.topology), SQL.literal(aggregate.table))
  }

  /// Facts that are the same for every row.
  private func sharedFacts() throws(PostgresError) -> DifferenceFacts {
    var facts = DifferenceFacts()
    facts.isDefinitionChanged = isDefinitionChanged
    facts.countMeasure = aggregate.measures.firstIndex { $0.kind == .count }
    facts.boundMeasure = aggregate.measures.firstIndex { $0.kind == .present || $0.kind == .distinct }
    if case .within(let thousandths) = aggregate.tolerance { facts.tolerance = thousandths }
    let rows = try connection.execute(
      """
      SELECT EXISTS (SELECT FROM tidemark.ledger WHERE topology = $1 AND quarantine_omitted > 0),
             (SELECT count(*) FROM tidemark.landing_quarantine l WHERE topology = $1 AND NOT EXISTS (SELECT FROM pg_temp.tm_refused q
                WHERE (q.topic, q.partition, q."offset") = (l.topic, l.partition, l."offset")))
      """, [.text(aggregate.topology)])
    facts.lateOmitted = rows.boolean(0, 0)!
    facts.refusedByLanding = rows.integer(0, 1)!
    return facts
  }

  /// Judges one row, counts and stores it. - Returns: its id where the batch's row may replace it.
  private mutating func judge(_ rows: Rows, _ row: Int, _ shared: DifferenceFacts, _ writer: inout DifferenceWriter) throws(PostgresError) -> Int64? {
    var column = 18
    func next() -> Int {
      defer { column += 1 }
      return column
    }
    let key = (0..<keyCount).map { _ in rows.text(row, next()) ?? "" }
    var facts = shared
    facts.inStream = rows.boolean(row, 2)!
    facts.inBatch = rows.boolean(row, 3)!
    let isClosed = rows.boolean(row, 4) ?? false
    let hasStreamed = rows.integer(row, 5)! > 0, hasViewed = rows.integer(row, 6)! > 0
    facts.inGaps = rows.integer(row, 7)!
    facts.lateCounted = rows.integer(row, 9)!
    facts.goneFromRaw = rows.integer(row, 10)!
    facts.rejected = rows.integer(row, 11)!
    facts.isOverflowWindow = rows.boolean(row, 12)!
    facts.isOverflowRow = !key.isEmpty && key.allSatisfy { $0 == overflowKey }
    let hasCovered = rows.integer(row, 14)! > 0, hasOwn = rows.integer(row, 15)! > 0
    facts.isRepaired = rows.boolean(row, 16)!
    facts.landingBehind = rows.integer(row, 17)!
    for _ in aggregate.measures {
      facts.stream.append(rows.text(row, next()))
      facts.batch.append(rows.text(row, next()))
      let (stream, covered, batch, own) = (rows.text(row, next()), rows.text(row, next()), rows.text(row, next()), rows.text(row, next()))
      let repaired = rows.text(row, next())
      // What a repair wrote stands until the next one: the window was closed.
      facts.predictedStream.append(facts.isRepaired ? repaired : hasStreamed ? stream : nil)
      facts.predictedCovered.append(facts.isRepaired ? repaired : hasCovered ? covered : nil)
      facts.predictedBatch.append(hasViewed ? batch : nil)
      facts.predictedOwn.append(hasOwn ? own : nil)
    }
    var places: [String] = []
    for kind in Self.eventClasses {
      facts.counts[kind] = rows.integer(row, next())!
      places += rows.text(row, next())?.split(separator: " ").map { "\(kind.rawValue) \($0)" } ?? []
    }
    let verdict = Verdict(facts)
    if verdict.classes.contains(.missingOffsets), places.isEmpty {
      places = rows.text(row, 13)?.split(separator: " ").map { "missing_offsets \($0)" } ?? []
    }
    if places.isEmpty { places = rows.text(row, 8)?.split(separator: " ").map { "event \($0)" } ?? [] }
    // An open window's late events are no difference yet: it is not final.
    if !isClosed, verdict.classes.allSatisfy({ $0 == .late || $0 == .streamBehind || $0 == .landingBehind }) {
      report.pending += 1
      return nil
    }
    let isRepairable = verdict.isRepairable && isClosed
    let difference = Difference(
      aggregate: aggregate.table, windowStart: rows.timestamp(row, 1), key: key, columns: aggregate.measures.map(\.column),
      stream: facts.inStream ? facts.stream : nil, batch: facts.inBatch ? facts.batch : nil, classes: verdict.classes.map(\.rawValue),
      isExplained: verdict.isExplained, reason: isClosed ? verdict.reason : "\(verdict.reason) (the window is still open)", evidence: places,
      isRepaired: request.repairs && isRepairable)
    report.differences += 1
    if !verdict.isExplained, !difference.isRepaired { report.unexplained += 1 }
    report.classes[verdict.classes.map(\.rawValue).joined(separator: "+"), default: 0] += 1
    report.list(difference, most: request.listed)
    try writer.add(difference)
    return isRepairable ? rows.integer(row, 0) : nil
  }
}
