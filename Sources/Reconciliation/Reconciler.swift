import Aggregation
import Postgres
import Topologies
import Warehouse

/// Compares stream with batch inside one snapshot of the primary, and says why each difference is there.
///
/// The rows are compared in the database; differences are streamed through this process, one after the other. Readers and
/// writers are not blocked: the snapshot reads, and a repair writes rows of closed windows only.
public struct Reconciler {
  let session: BatchSession
  /// Monotonic seconds.
  let clock: () -> Double
  let progress: (String) -> Void

  /// Differences of one aggregate that are classified and stored; more are only counted.
  public static let mostStored: Int64 = 100_000

  /// - Parameters:
  ///   - clock: monotonic seconds; only differences are used.
  ///   - progress: takes a line about what goes on.
  public init(_ session: BatchSession, clock: @escaping () -> Double, progress: @escaping (String) -> Void) {
    self.session = session
    self.clock = clock
    self.progress = progress
  }

  /// The topologies that the database was migrated for, as their files say.
  public func topologies(named name: String?) throws(WarehouseError) -> [Topology] {
    let texts = try session.run { connection throws(PostgresError) in
      try connection.query("SELECT topology, yaml FROM tidemark.definition WHERE $1::text IS NULL OR topology = $1 ORDER BY 1", [.text(name)])
    }
    var topologies: [Topology] = []
    for row in texts {
      do throws(TopologyErrors) { topologies.append(try Topology.parse(yaml: row[1] ?? "", file: "topology \(row[0] ?? "")")) } catch {
        throw WarehouseError(.refused, "the definition in PostgreSQL cannot be read: \(error); run `tidemark migrate --topology FILE` again")
      }
    }
    if let name, topologies.isEmpty {
      throw WarehouseError(.refused, "PostgreSQL does not know topology \(name): run `tidemark migrate --topology FILE` first")
    }
    return topologies
  }

  /// Reconciles one topology: one run, one snapshot, one transaction; what it finds is stored with it.
  /// - Throws: `retry` where the stream changed a row that was to be repaired: nothing was done then.
  public func reconcile(_ topology: Topology, _ request: ReconciliationRequest) throws(WarehouseError) -> ReconciliationReport {
    let run = try begin(topology)
    do throws(WarehouseError) {
      return try session.run { connection throws(PostgresError) in
        let patience = connection.deadline
        connection.deadline = .max
        defer { connection.deadline = patience }
        try takeSnapshot(topology, connection)
        let report = try compare(topology, request, run, connection)
        try finish(report, connection)
        try connection.script("COMMIT")
        return report
      }
    } catch {
      _ = try? session.run { connection throws(PostgresError) in
        try connection.execute(
          "UPDATE tidemark.reconciliation_run SET outcome = 'failed', finished_at = clock_timestamp(), reason = $2 WHERE id = $1",
          [.integer(run), .text(error.message)])
      }
      throw error
    }
  }

  /// A run is on record before it looks at anything.
  private func begin(_ topology: Topology) throws(WarehouseError) -> Int64 {
    let standby = try session.run { connection throws(PostgresError) in
      try connection.execute("SELECT pg_is_in_recovery()").boolean(0, 0)!
    }
    guard !standby else {
      throw WarehouseError(.refused, "this server is a standby, which may show what never was: name the primary")
    }
    return try session.run { connection throws(PostgresError) in
      // One run of a topology at a time: when it is this one's turn, a run that is on record as running is over.
      try connection.script("BEGIN")
      try connection.execute(Self.turn, [.text(topology.name)])
      try connection.execute(
        """
        UPDATE tidemark.reconciliation_run SET outcome = 'failed', finished_at = clock_timestamp(), reason = 'interrupted'
         WHERE topology = $1 AND outcome = 'running'
        """, [.text(topology.name)])
      let run = try connection.execute(
        "INSERT INTO tidemark.reconciliation_run (topology, fingerprint) VALUES ($1, $2) RETURNING id",
        [.text(topology.name), .text(topology.fingerprint)]
      ).integer(0, 0)!
      try connection.script("COMMIT")
      return run
    }
  }

  private static let turn = Schema.turn("'reconcile ' || $1::text")

  /// Begins the transaction that compares. Its snapshot shows all that another run did that came in between.
  private func takeSnapshot(_ topology: Topology, _ connection: Connection) throws(PostgresError) {
    while true {
      // Every join here is of whole tables by equality; one wrong guess of a planner without statistics must not make one quadratic.
      try connection.script(
        """
        BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
        SET LOCAL work_mem = '256MB'; SET LOCAL enable_nestloop = off
        """)
      do throws(PostgresError) {
        try connection.execute(Self.turn, [.text(topology.name)])
        return
      } catch {
        guard error.sqlState == "40001" else { throw error }
        try connection.script("ROLLBACK")
      }
    }
  }

  private func compare(_ topology: Topology, _ request: ReconciliationRequest, _ run: Int64, _ connection: Connection) throws(PostgresError)
    -> ReconciliationReport
  {
    var report = ReconciliationReport(topology: topology.name, run: run)
    let snapshot = try Snapshot(topology, connection)
    report.completeThrough = snapshot.completeThrough
    progress("\(topology.name): checking the books")
    let begin = clock()
    report.books = try snapshot.checkBooks()
    report.booksSeconds = clock() - begin
    var writer = DifferenceWriter(run: run, connection: connection)
    for finding in report.books { try writer.add(Difference(finding)) }
    for aggregate in topology.batchAggregates() {
      progress("\(topology.name): comparing \(aggregate.streamTable) with \(aggregate.viewName)")
      let begin = clock()
      var comparison = try Comparison(aggregate, snapshot, request, run)
      try comparison.run(&writer)
      if request.repairs { try comparison.repair(&writer) }
      try comparison.seal(isProven: report.books.allSatisfy(\.isExplained))
      comparison.report.seconds = clock() - begin
      report.aggregates.append(comparison.report)
    }
    try writer.flush()
    return report
  }

  private func finish(_ report: ReconciliationReport, _ connection: Connection) throws(PostgresError) {
    func sum(_ count: (AggregateReport) -> Int64) -> Parameter { .integer(report.aggregates.reduce(0) { $0 + count($1) }) }
    let findings = Int64(report.books.count)
    try connection.execute(
      """
      UPDATE tidemark.reconciliation_run
         SET outcome = $2, finished_at = clock_timestamp(), complete_through = $3, windows = $4, row_count = $5, differences = $6 + $9,
             unexplained = $7, repaired = $8, reason = NULL
       WHERE id = $1
      """,
      [
        .integer(report.run), .text(report.outcome.rawValue), .timestamp(report.completeThrough), sum(\.windows), sum(\.rows), sum(\.differences),
        sum(\.unexplained), sum(\.repaired), .integer(findings),
      ])
    let place = "nightly"
    if report.outcome == .different {
      let text = "run \(report.run): stream and batch differ; SELECT * FROM tidemark.reconciliation_difference WHERE run = \(report.run)"
      try raiseAlert(report.topology, topic: place, partition: -1, kind: "reconciliation_difference", text, connection)
    } else {
      try resolveAlert(report.topology, topic: place, partition: -1, kind: "reconciliation_difference", connection)
    }
  }
}

extension Difference {
  init(_ finding: BooksFinding) {
    self.init(
      partition: finding.partition, from: finding.from, to: finding.to, classes: [finding.kind.rawValue], isExplained: finding.isExplained,
      reason: finding.reason, evidence: ["\(finding.partition)@\(finding.from)..<\(finding.to)"])
  }
}

/// Stores differences, many with one statement.
struct DifferenceWriter {
  let run: Int64
  let connection: Connection
  private var waiting: [Difference] = []
  private var number: Int64 = 0

  init(run: Int64, connection: Connection) {
    self.run = run
    self.connection = connection
  }

  /// - Returns: the number under which it is stored.
  @discardableResult
  mutating func add(_ difference: Difference) throws(PostgresError) -> Int64 {
    waiting.append(difference)
    if waiting.count >= 1000 { try flush() }
    return number + Int64(waiting.count)
  }

  mutating func flush() throws(PostgresError) {
    guard !waiting.isEmpty else { return }
    // PostgreSQL's arrays are rectangular: inner lists go as array literals.
    func lists(_ list: (Difference) -> [String?]?) -> Parameter { .texts(waiting.map { list($0).map(Self.literal) }) }
    try connection.execute(
      """
      INSERT INTO tidemark.reconciliation_difference (run, number, aggregate, window_start, key, columns, stream, batch, topic, partition,
        from_offset, to_offset, class, is_explained, reason, evidence, is_repaired)
      SELECT $1, $2 + row_number() OVER (), a, w, k::text[], c::text[], s::text[], b::text[], t, p, f, u, class, explained <> 0, reason, e::text[], repaired <> 0
        FROM unnest($3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[],
               $12::bigint[], $13::text[], $14::bigint[], $15::text[], $16::text[], $17::bigint[])
             AS i(a, w, k, c, s, b, t, p, f, u, class, explained, reason, e, repaired)
      """,
      [
        .integer(run), .integer(number), .texts(waiting.map(\.aggregate)), .timestamps(waiting.map(\.windowStart)),
        lists { $0.aggregate == nil ? nil : $0.key }, lists { $0.aggregate == nil ? nil : $0.columns }, lists(\.stream), lists(\.batch),
        .texts(waiting.map { $0.partition?.topic }), .integers(waiting.map { $0.partition.map { Int64($0.partition) } }),
        .integers(waiting.map(\.from)), .integers(waiting.map(\.to)), .texts(waiting.map { $0.classes.joined(separator: "+") }),
        .integers(waiting.map { $0.isExplained ? 1 : 0 }), .texts(waiting.map(\.reason)), lists(\.evidence),
        .integers(waiting.map { $0.isRepaired ? 1 : 0 }),
      ])
    number += Int64(waiting.count)
    waiting.removeAll(keepingCapacity: true)
  }

  /// `{"a","b",NULL}`.
  static func literal(_ values: [String?]) -> String {
    "{" + values.map { $0.map { "\"" + $0.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\"" } ?? "NULL" }.joined(separator: ",") + "}"
  }
}
