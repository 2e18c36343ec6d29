import ArgumentParser
import Foundation
import Reconciliation
import Topologies
import Warehouse

/// What `reconcile` and `nightly` share.
struct ReconcileOptions: ParsableArguments {
  enum Format: String, ExpressibleByArgument, CaseIterable { case text, json }
  enum Acceptance: String, ExpressibleByArgument, CaseIterable { case explained }

  @Option(help: ArgumentHelp("Only this topology.", valueName: "name")) var topologyName: String?
  @Option(help: ArgumentHelp("explained: differences that are explained are no failure; the exit code is 0 then.", valueName: "what"))
  var accept: Acceptance?
  @Option(help: "text or json.") var format = Format.text
  @Option(help: ArgumentHelp("Most differences told one by one; tidemark.reconciliation_difference has them all.", valueName: "count")) var limit = 50
  @OptionGroup var postgres: PostgresOptions

  func validate() throws {
    if limit < 0 { throw ValidationError("--limit \(limit): expected 0 or more") }
  }

  /// Reconciles, prints what was found, and fails with 3 where that is asked for.
  func reconcile(_ request: ReconciliationRequest, _ session: BatchSession) throws {
    var request = request
    request.listed = limit
    let begin = DispatchTime.now().uptimeNanoseconds
    let reconciler = Reconciler(
      session, clock: { Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9 }, progress: { Console.note("tidemark: \($0)") })
    var reports: [ReconciliationReport] = []
    do throws(WarehouseError) {
      let topologies = try reconciler.topologies(named: topologyName).filter { !$0.reconciliations.isEmpty }
      guard !topologies.isEmpty else { throw WarehouseError(.refused, "no topology in PostgreSQL has a section reconcile: nothing to compare") }
      for topology in topologies { reports.append(try reconciler.reconcile(topology, request)) }
    } catch { throw Failure(error) }
    switch format {
    case .json: Console.write(Console.json(reports.map(ReconciliationJSON.init)))
    case .text: for report in reports { Console.write(ReconciliationText(report).text) }
    }
    let outcomes = reports.map(\.outcome)
    if outcomes.contains(.different) || (outcomes.contains(.explained) && accept != .explained) {
      throw Failure(.difference, outcomes.contains(.different) ? "stream and batch differ" : "stream and batch differ; all of it is explained (--accept explained)")
    }
  }
}

struct Reconcile: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare the stream's tables with the nightly views, and say why each difference is there.",
    discussion: """
      Compares windows that are complete on both sides, row by row, in one snapshot of the primary, and checks the books: the
      ledgers' ranges join, their buckets are what the landed events say, both sides cover the same offsets. Where both sides
      stand at the same offsets, windows that are still open are compared too; late events in them are no difference yet.

      Classes: late, duplicate, quarantined, missing_offsets, landing_behind, stream_behind, view_stale, raw_foreign,
      definition_changed, overflow, misrouted, rejected, approximate, unexplained. Everything found is kept in
      tidemark.reconciliation_run and tidemark.reconciliation_difference.

      Exit codes: 0 equal (or explained, with --accept explained), 3 different; books that do not add up are always different.

      EXAMPLES
        tidemark reconcile
        tidemark reconcile --from 2024-06-01 --to 2024-06-30 --format json | jq '.[].aggregates[].differences'
        tidemark reconcile --accept explained
        tidemark reconcile --from 2024-06-01 --to 2024-06-01 --repair   # old rows go to tidemark.reconciliation_repair
      """)
  @Option(help: ArgumentHelp("First day, in the zone of the windows (default: the first there is).", valueName: "day")) var from: String?
  @Option(help: ArgumentHelp("Last day, included (default: the last that is complete).", valueName: "day")) var to: String?
  @Flag(help: "Replace the stream's rows of closed windows by the batch's; the old ones are kept in an audit table.") var `repair` = false
  @OptionGroup var options: ReconcileOptions

  func validate() throws {
    for (name, day) in [("--from", from), ("--to", to)] {
      if let day, !isDay(day) { throw ValidationError("\(name) \(day): expected a day such as 2024-06-30") }
    }
    if let from, let to, from > to { throw ValidationError("--from \(from) is after --to \(to)") }
  }

  func run() throws {
    try reportingFailures {
      var request = ReconciliationRequest()
      request.from = from
      request.to = to
      request.repairs = self.repair
      try options.reconcile(request, BatchSession(target: options.postgres.target, name: "tidemark reconcile"))
    }
  }
}

struct Nightly: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Refresh the nightly views, reconcile, roll the ledgers up.",
    discussion: """
      Refreshes every materialized view of the schema nightly, without blocking its readers; each refresh is recorded in
      tidemark.refresh (started, finished, rows, why it failed). A view that cannot be refreshed keeps its old rows, raises an
      alert (refresh_failed), and the exit code is 75 where trying again may help (a lock, a full disk), 65 where not; nothing
      is reconciled then. Else the exit codes are those of reconcile.

      Put it into cron, `0 2 * * *  tidemark nightly`, or a systemd timer; `tidemark migrate --schedule pg_cron` has PostgreSQL
      itself do the refreshes.

      At last the ledgers of stream and landing are rolled up: rows of flushes and batches of more than two days ago become one
      an hour, of more than five weeks one a day, for each partition, epoch and instance. Sums, offsets and watermarks stay what
      they were, which is proved before a row goes; where the last reconciliation found a partition's ledger wrong, its rows stay
      as they are. Without a batch side, --roll-up-only does just that.

      EXAMPLES
        tidemark nightly
        tidemark nightly --roll-up-only
        tidemark nightly --date 2024-06-30 --accept explained
      """)
  @Option(help: ArgumentHelp("Reconcile this day only (default: all that is complete).", valueName: "day")) var date: String?
  @Option(help: ArgumentHelp("Longest wait for a view's lock.", valueName: "time")) var lockTimeout = Duration(milliseconds: 300_000)
  @Flag(help: "Only refresh.") var refreshOnly = false
  @Flag(help: "Only roll the ledgers up.") var rollUpOnly = false
  @Flag(help: "Leave the ledgers as they are.") var noRollUp = false
  @Option(help: ArgumentHelp("Refresh this view only; may be repeated.", valueName: "name")) var view: [String] = []
  @OptionGroup var options: ReconcileOptions

  func validate() throws {
    if let date, !isDay(date) { throw ValidationError("--date \(date): expected a day such as 2024-06-30") }
    if rollUpOnly, refreshOnly || noRollUp { throw ValidationError("--roll-up-only excludes --refresh-only and --no-roll-up") }
    if lockTimeout.milliseconds < 1 { throw ValidationError("--lock-timeout \(lockTimeout): expected more than nothing") }
  }

  func run() throws {
    try reportingFailures {
      let session = BatchSession(target: options.postgres.target, name: "tidemark nightly")
      if rollUpOnly { return try rollUp(session) }
      try refresh(session)
      guard !refreshOnly else { return }
      var request = ReconciliationRequest()
      (request.from, request.to) = (date, date)
      request.onlyWhatTheViewCovers = true
      // What is found decides what may be rolled up, and is told last.
      let comparison = Result { try options.reconcile(request, session) }
      if !noRollUp { try rollUp(session) }
      try comparison.get()
    }
  }

  private func refresh(_ session: BatchSession) throws {
    let nightly = NightlyViews(session)
    var failed: [NightlyViews.Refresh] = []
    do throws(WarehouseError) {
      let all = try nightly.all(topology: options.topologyName)
      for name in view where !all.contains(where: { $0.name == name }) { throw WarehouseError(.refused, "there is no view nightly.\(name)") }
      for view in all where self.view.isEmpty || self.view.contains(view.name) {
        let refresh = try nightly.refresh(view.name, lockWait: "\(lockTimeout.milliseconds)ms")
        if refresh.isDone {
          Console.note("tidemark: nightly.\(view.name): \(Console.grouped(refresh.rows ?? 0)) rows in \(String(format: "%.1f", refresh.seconds)) s")
        } else {
          failed.append(refresh)
          Console.note("tidemark: nightly.\(view.name) was not refreshed, its old rows stay: \(refresh.reason ?? "no reason given")")
        }
      }
    } catch { throw Failure(error) }
    guard failed.isEmpty else {
      let views = failed.map { "nightly.\($0.view)\($0.sqlState == "55000" ? " (run `tidemark migrate` if its unique index is missing)" : "")" }
      throw Failure(
        failed.allSatisfy(\.isWorthRetrying) ? .again : .data, "not refreshed: \(views.joined(separator: ", ")); tidemark.refresh says why")
    }
  }

  /// Rolls the ledgers up, and says what became of it; a line every few seconds while that goes on.
  private func rollUp(_ session: BatchSession) throws {
    var said = DispatchTime.now()
    do throws(WarehouseError) {
      let outcomes = try LedgerRollUp(session).run(topology: options.topologyName) { outcome in
        guard said + .seconds(5) < .now() else { return }
        said = .now()
        let merged = "\(Console.grouped(outcome.before)) rows so far became \(Console.grouped(outcome.after))"
        Console.note("tidemark: \(outcome.side.ledger) of \(outcome.topology) \(outcome.partition): \(merged)")
      }
      for topology in Set(outcomes.map(\.topology)).sorted() {
        for side in LedgerRollUp.Side.allCases { say(outcomes.filter { $0.side == side && $0.topology == topology }, "\(side.ledger) of \(topology)") }
      }
    } catch { throw Failure(error) }
  }

  private func say(_ outcomes: [LedgerRollUp.Outcome], _ ledger: String) {
    let (before, after) = outcomes.reduce((0, 0)) { ($0.0 + $1.before, $0.1 + $1.after) }
    if before > 0 { Console.note("tidemark: \(ledger): \(Console.grouped(before)) rows became \(Console.grouped(after))") }
    for outcome in outcomes { if let held = outcome.held { Console.note("tidemark: \(ledger) \(outcome.partition) is not rolled up: \(held)") } }
  }
}

/// `2024-06-30`, a day that there is.
func isDay(_ text: String) -> Bool {
  let formatter = DateFormatter()
  formatter.locale = Locale(identifier: "en_US_POSIX")
  formatter.timeZone = TimeZone(identifier: "UTC")
  formatter.dateFormat = "yyyy-MM-dd"
  formatter.isLenient = false
  return text.utf8.count == 10 && formatter.date(from: text) != nil
}
