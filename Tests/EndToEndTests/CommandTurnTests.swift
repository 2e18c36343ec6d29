import Foundation
import LocalServers
import Postgres
import Testing

/// Commands of which one runs at a time wait for each other, and for nobody else.
@Suite(.serialized) struct CommandTurnTests {
  private let topology = Repository.topology("product-events")

  /// A login without any privilege that holds the locks by which these commands once took turns.
  private func stranger(_ world: World, _ keys: [String]) throws -> Connection {
    let sql = try Connection(world.target, applicationName: "tests")
    try sql.script(
      "DO $$ BEGIN CREATE ROLE stranger_of_locks LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    let stranger = try Connection(world.server.target(database: world.database, user: "stranger_of_locks"), applicationName: "stranger")
    for key in keys { try stranger.execute("SELECT pg_advisory_lock(\(key))") }
    #expect(try sql.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = \(stranger.backend)") == [["\(keys.count)"]])
    return stranger
  }

  private func key(_ text: String) -> String { "hashtextextended('tidemark \(text)', 0)" }

  /// Whoever may log in may take advisory locks, in any number and for as long as it likes.
  @Test func noCommandWaitsForALoginThatHoldsAdvisoryLocks() throws {
    let world = try World("advisory", partitions: 1)
    let migration = "\(0x7469_6465_6D61_726B)"
    var first: Connection? = try stranger(world, [migration])
    try world.tidemark("migrate", "--topology", topology)
    withExtendedLifetime(first) {}
    first = nil

    try world.tidemark("generate", "--topic", "product.events", "--events", "2000", "--users", "300", "--payload-bytes", "0")
    try world.tidemark("land", "--topology", topology, "--until-caught-up")
    try world.tidemark("run", "--topology", topology, "--until-caught-up", "--data-dir", world.directory.path + "/data")
    let views = try world.rows("SELECT view_name FROM tidemark.nightly_view ORDER BY 1").map { $0[0]! }
    #expect(views == ["daily_active_users", "daily_metrics", "events_per_minute"])
    let second = try stranger(world, [migration, key("reconcile product-events"), key("roll up product-events product.events 0")] + views.map { key("refresh \($0)") })

    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("nightly")
    try world.tidemark("reconcile")
    try world.tidemark("nightly", "--roll-up-only")
    // As pg_cron calls them.
    let sql = try Connection(world.target, applicationName: "tests")
    try sql.script("SET lock_timeout = '5s'")
    for call in views.map({ "refresh_view('\($0)')" }) + ["roll_up_ledgers()"] { try sql.script("CALL tidemark.\(call)") }
    #expect(try sql.query("SELECT view_name, count(*) FROM tidemark.refresh WHERE outcome = 'done' GROUP BY 1 ORDER BY 1") == views.map { [$0, "2"] })
    #expect(try sql.query("SELECT outcome FROM tidemark.reconciliation_run") == [["equal"], ["equal"]])
    // What they wait for instead it can neither take nor see.
    for forbidden in [
      "SELECT * FROM tidemark.turn FOR UPDATE", "LOCK TABLE tidemark.turn IN ACCESS SHARE MODE", "INSERT INTO tidemark.turn (name) VALUES ('migrate')",
      "CREATE SCHEMA tidemark", "CALL tidemark.refresh_view('daily_metrics')",
    ] {
      do {
        try second.script("BEGIN; \(forbidden)")
        Issue.record("allowed: \(forbidden)")
      } catch { #expect(error.sqlState == "42501", "\(forbidden): \(error)") }
      try second.script("ROLLBACK")
    }
    // All of it was done while they were held.
    let held = try sql.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = \(second.backend)")
    #expect(held == [["\(3 + views.count)"]])
  }

  /// The second waits for the first, up to its lock timeout, and goes on where the first dies; what the first began is on record as failed.
  @Test func reconciliationsOfATopologyTakeTurns() throws {
    let world = try World("turns", partitions: 1)
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("generate", "--topic", "product.events", "--events", "500", "--users", "300", "--payload-bytes", "0")
    try world.tidemark("land", "--topology", topology, "--until-caught-up")
    try world.tidemark("run", "--topology", topology, "--until-caught-up", "--data-dir", world.directory.path + "/data")
    try world.tidemark("nightly", "--refresh-only")
    let sql = try Connection(world.target, applicationName: "tests")
    // What both sides have on record it reads in the midst of its transaction.
    let holder = try Connection(world.target, applicationName: "holder")
    try holder.script("BEGIN; LOCK TABLE tidemark.landing_ledger IN ACCESS EXCLUSIVE MODE")
    func waiting() -> [Int32] {
      let rows = try? sql.query(
        """
        SELECT pid FROM pg_stat_activity WHERE application_name = 'tidemark reconcile' AND datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
         ORDER BY backend_start
        """)
      return (rows ?? []).compactMap { $0[0].flatMap { Int32($0) } }
    }
    let first = try TidemarkProcess(["reconcile"], world: world, name: "first")
    try #require(awaitTrue { waiting().count == 1 }, "\(first.messages)")
    let pid = waiting()[0]
    // Stopped there, it keeps its transaction, and with it its turn.
    first.send(SIGSTOP)
    try holder.script("COMMIT")
    let second = try TidemarkProcess(["reconcile"], world: world, name: "second")
    try #require(awaitTrue { !waiting().isEmpty && waiting() != [pid] }, "\(second.messages)")
    #expect(try sql.query("SELECT pg_blocking_pids(\(waiting()[0]))") == [["{\(pid)}"]])
    #expect(try sql.query("SELECT count(*) FROM tidemark.reconciliation_run") == [["1"]])
    first.kill9()
    let ended = second.wait()
    #expect(ended.code == 0, "\(ended.messages)\(ended.output)")
    #expect(try sql.query("SELECT outcome, reason FROM tidemark.reconciliation_run ORDER BY id") == [["failed", "interrupted"], ["equal", nil]])

    // Between its two transactions another may come in: nobody fails by that.
    let many = try (0..<4).map { try TidemarkProcess(["reconcile"], world: world, name: "many-\($0)") }
    for process in many {
      let ended = process.wait()
      #expect(ended.code == 0, "\(ended.messages)\(ended.output)")
    }
    #expect(try sql.query("SELECT outcome, reason, count(*) FROM tidemark.reconciliation_run WHERE id > 2 GROUP BY 1, 2") == [["equal", nil, "4"]])

    try holder.script("BEGIN; SET LOCAL ROLE tidemark_batch; INSERT INTO tidemark.turn (name) VALUES ('reconcile product-events') ON CONFLICT (name) DO UPDATE SET taken_at = now()")
    let late = try world.tidemark("reconcile", code: 75)
    #expect(late.messages.contains("canceling statement due to lock timeout"), "\(late.messages)")
    #expect(try sql.query("SELECT count(*) FROM tidemark.reconciliation_run") == [["6"]])
    try holder.script("ROLLBACK")
  }
}
