import Aggregation
import Postgres
import Testing
import Topologies
import Warehouse

/// The landing's ledger, rolled up: what anybody reads of it stays the same, and nobody can change it that way.
@Suite struct LandingRollUpTests {
  /// A ledger of one partition as weeks of landing leave it: takeovers, holes, refused events, batches without any event, some
  /// of hundreds of thousands of offsets, what an operator entered. A row every 20 minutes; the newest is of now.
  static func fill(_ fixture: Fixture, days: Int) throws {
    try fixture.sql.execute("SELECT setseed(0.001)")
    try fixture.sql.script(
      """
      INSERT INTO tidemark.landing_ledger (topology, topic, partition, from_offset, to_offset, landed, quarantined, hole_count, holes, offset_sum,
        earliest, latest, epoch, instance, landed_at)
      SELECT 'shop-events', 'shop', 0, f, f + n, n - h - q, q, h, CASE WHEN h = 0 THEN '{}' ELSE int8multirange(int8range(f, f + h)) END, f * 1000 + s,
             CASE WHEN h < n THEN at - interval '1 hour' * (kind % 30) END, CASE WHEN h < n THEN at END, 1 + s / 50, 'i' || (s / 50) % 3, at
        FROM (SELECT s, n, kind, CASE WHEN kind < 2 THEN n WHEN kind < 9 THEN 1 ELSE 0 END AS h, CASE WHEN kind = 12 THEN 1 ELSE 0 END AS q, at,
                     (sum(n) OVER (ORDER BY s) - n)::bigint AS f
                FROM (SELECT s, CASE WHEN s % 40 = 0 THEN 400000 ELSE 2 + (random() * 100)::bigint END AS n, (random() * 60)::integer AS kind,
                             now() - interval '20 minutes' * (\(days) * 72 - 1 - s) AS at FROM generate_series(0, \(days) * 72 - 1) s OFFSET 0) x) y;
      UPDATE tidemark.landing_ledger SET instance = 'operator ada' WHERE hole_count = to_offset - from_offset AND from_offset % 2 = 0;
      INSERT INTO tidemark.landing (topology, topic, partition, next_offset, epoch, end_offset)
      SELECT topology, topic, partition, max(to_offset), max(epoch), max(to_offset) FROM tidemark.landing_ledger GROUP BY 1, 2, 3;
      """)
  }

  @discardableResult
  private func rollUp(_ fixture: Fixture) throws -> LedgerRollUp.Outcome {
    let outcomes = try LedgerRollUp(BatchSession(target: fixture.target, name: "tests")).run(topology: nil) { _ in }
    #expect(outcomes.allSatisfy { $0.side == .landing })
    return try #require(outcomes.count == 1 ? outcomes[0] : nil)
  }

  private static let young = "landed_at >= date_trunc('day', now(), 'UTC') - interval '48 hours'"

  /// What has to be the same afterwards, whatever became one row: sums and holes, joints, whose offsets are whose, what an
  /// operator entered, what is young, what was landed on which day.
  private func meaning(_ fixture: Fixture) throws -> [[String?]] {
    try [
      """
      SELECT min(from_offset), max(to_offset), sum(to_offset - from_offset), sum(landed), sum(quarantined), sum(hole_count), sum(offset_sum), sum(batches),
             md5(range_agg(holes)::text), min(earliest), max(latest), min(COALESCE(first_landed_at, landed_at)), max(landed_at) FROM tidemark.landing_ledger
      """,
      "SELECT from_offset, previous FROM (SELECT from_offset, lag(to_offset) OVER (ORDER BY from_offset) AS previous FROM tidemark.landing_ledger) l WHERE previous <> from_offset",
      "SELECT from_offset FROM tidemark.landing_ledger WHERE hole_count <> (SELECT COALESCE(sum(upper(h) - lower(h)), 0) FROM unnest(holes) h)",
      """
      SELECT epoch, instance, sum(landed), sum(offset_sum), range_agg(int8range(from_offset, to_offset)), sum(batches)
        FROM tidemark.landing_ledger GROUP BY 1, 2 ORDER BY 1, 2
      """,
      "SELECT * FROM tidemark.landing_ledger WHERE instance LIKE 'operator %' OR \(Self.young) ORDER BY from_offset",
      "SELECT date_trunc('day', landed_at, 'UTC') AS day, sum(landed), sum(quarantined), sum(hole_count), sum(batches) FROM tidemark.landing_ledger GROUP BY 1 ORDER BY 1",
    ].flatMap { try fixture.rows($0) }
  }

  @Test func whatIsReadOfItStaysTheSame() throws {
    let fixture = try Fixture("landingrollup")
    try Self.fill(fixture, days: 45)
    let before = try meaning(fixture)
    let outcome = try rollUp(fixture)
    #expect(try meaning(fixture) == before)
    #expect(outcome.before > 2000 && outcome.after * 2 < outcome.before, "\(outcome)")
    // None is of more than its hour or day, and none that is merged begins in one million and goes on beyond the next.
    #expect(
      try fixture.rows(
        """
        SELECT from_offset FROM tidemark.landing_ledger
         WHERE date_trunc(CASE WHEN landed_at < date_trunc('day', now(), 'UTC') - interval '840 hours' THEN 'day' ELSE 'hour' END, landed_at, 'UTC')
             > COALESCE(first_landed_at, landed_at) OR to_offset - from_offset > 1400000
        """) == [])
    let again = try rollUp(fixture)
    #expect(again.before == 0 && again.after == 0 && again.held == nil)
    #expect(try fixture.rows("SELECT count(*) > 10 FROM tidemark.landing_ledger WHERE batches > 3") == [["t"]])
  }

  @Test func hoursBecomeDays() throws {
    let (aged, at) = (try Fixture("landingrollupaged"), try Fixture("landingrollupatonce"))
    for fixture in [aged, at] {
      try Self.fill(fixture, days: 20)
      if fixture.name == "landingrollupaged" { try rollUp(fixture) }
      try fixture.sql.script(
        "UPDATE tidemark.landing_ledger SET landed_at = landed_at - interval '50 days', first_landed_at = first_landed_at - interval '50 days'")
      try rollUp(fixture)
    }
    // Both were filled by one seed; times differ by what lies between the two.
    let rows = "SELECT from_offset, to_offset, landed, quarantined, holes, offset_sum, batches, epoch, instance FROM tidemark.landing_ledger ORDER BY from_offset"
    #expect(try aged.rows(rows) == at.rows(rows))
    #expect(try aged.rows("SELECT count(*) < 300 FROM tidemark.landing_ledger") == [["t"]])
  }

  /// However small the parts, the same rows come out.
  @Test(arguments: [2, 17, 1000]) func partsDoNotShow(_ most: Int) throws {
    let fixture = try Fixture("landingrolluppart\(most)")
    try Self.fill(fixture, days: 12)
    try fixture.sql.script("CREATE TABLE public.before AS SELECT * FROM tidemark.landing_ledger")
    try rollUp(fixture)
    try fixture.sql.script(
      """
      CREATE TABLE public.whole AS SELECT * FROM tidemark.landing_ledger;
      DELETE FROM tidemark.landing_ledger;
      INSERT INTO tidemark.landing_ledger SELECT * FROM public.before
      """)
    var position: Int64? = 0
    var calls = 0
    while let from = position {
      calls += 1
      try #require(calls < 2000)
      position = try fixture.sql.execute(
        "SELECT next_position FROM tidemark.roll_up_landing_ledger('shop-events', 'shop', 0, $1, \(most))", [.integer(from)]
      ).integer(0, 0)
    }
    #expect(try fixture.rows("(TABLE public.whole EXCEPT TABLE tidemark.landing_ledger) UNION ALL (TABLE tidemark.landing_ledger EXCEPT TABLE public.whole)") == [])
  }

  /// The reconciler leaves out a range of which something was dropped. Whatever day is dropped next: a merged row is left out
  /// exactly where all of it would have been.
  @Test func rangesThatAgeDiffersOverStayApart() throws {
    let fixture = try Fixture("landingrollupretention")
    try Self.fill(fixture, days: 20)
    try fixture.sql.script("INSERT INTO tidemark.raw_retention (topology, dropped_before) VALUES ('shop-events', date_trunc('day', now(), 'UTC') - interval '15 days')")
    func left() throws -> [[String?]] {
      try (0...15).flatMap { day in
        try fixture.rows(
          """
          SELECT \(day), range_agg(int8range(from_offset, to_offset)) FROM tidemark.landing_ledger
           WHERE earliest < date_trunc('day', now(), 'UTC') - interval '\(day) days'
          """)
      }
    }
    let before = try left()
    #expect(try rollUp(fixture).before > 400)
    #expect(try left() == before)
  }

  /// Merging is all that it does: who may call it can change nothing else, and whoever else may not call it.
  @Test func itCannotBeUsedToAlterTheBooks() throws {
    let fixture = try Fixture("landingrolluprights")
    try Self.fill(fixture, days: 6)
    let call = "SELECT tidemark.roll_up_landing_ledger('shop-events', 'shop', 0, 0, 50000)"
    for role in ["tidemark_writer", "tidemark_reader", "tidemark_granter"] {
      try fixture.sql.script("SET ROLE \(role)")
      #expect(throws: PostgresError.self, "\(role)") { try fixture.sql.script(call) }
      try fixture.sql.script("RESET ROLE")
    }
    let before = try meaning(fixture)
    try fixture.sql.script("SET ROLE tidemark_batch")
    for forbidden in [
      "DELETE FROM tidemark.landing_ledger", "UPDATE tidemark.landing_ledger SET landed = 0",
      "CREATE OR REPLACE FUNCTION tidemark.roll_up_landing_ledger(text, text, integer, bigint, integer) RETURNS void LANGUAGE sql AS ''",
      "SELECT tidemark.roll_up_landing_ledger('shop-events', 'shop', 0, 0, 1)",
    ] {
      #expect(throws: PostgresError.self, "\(forbidden)") { try fixture.sql.script(forbidden) }
    }
    // Names that shadow the system's gain nothing; the procedure for pg_cron rolls this ledger up, too.
    try fixture.sql.script("CREATE TEMPORARY TABLE landing_ledger (n int); SET search_path = pg_temp, public; SET timezone = 'Pacific/Apia'")
    try fixture.sql.script("CALL tidemark.roll_up_ledgers()")
    try fixture.sql.script("RESET ROLE; SET timezone = 'UTC'; SET search_path = public")
    #expect(try meaning(fixture) == before)
    #expect(try fixture.rows("SELECT count(*) > 0 FROM tidemark.landing_ledger WHERE batches > 1") == [["t"]])
  }

  /// A merge that would change something is not done: here a trigger of somebody's alters what is inserted.
  @Test func aMergeThatIsNotTheSameFails() throws {
    let fixture = try Fixture("landingrollupproof")
    try Self.fill(fixture, days: 6)
    let before = try fixture.rows("SELECT * FROM tidemark.landing_ledger ORDER BY from_offset")
    for change in [
      "landed = NEW.landed - 1, NEW.quarantined = NEW.quarantined + 1", "offset_sum = NEW.offset_sum + 1", "holes = '{}'", "latest = NULL", "batches = NEW.batches + 1",
      "first_landed_at = NEW.first_landed_at - interval '1 second'",
    ] {
      try fixture.sql.script(
        """
        CREATE OR REPLACE FUNCTION public.alter_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          NEW.\(change.replacing(", NEW.", with: "; NEW.")); RETURN NEW; END $$;
        CREATE OR REPLACE TRIGGER alter_it BEFORE INSERT ON tidemark.landing_ledger FOR EACH ROW EXECUTE FUNCTION public.alter_it()
        """)
      #expect { try rollUp(fixture) } throws: { "\($0)".contains("would not be the same") }
      #expect(try fixture.rows("SELECT * FROM tidemark.landing_ledger ORDER BY from_offset") == before, "\(change)")
    }
    try fixture.sql.script("DROP TRIGGER alter_it ON tidemark.landing_ledger")
    #expect(try rollUp(fixture).before > 0)
  }

  /// Who dies in the middle of a part has changed nothing; two at once do not meet; batches are landed meanwhile.
  @Test func batchesAndCrashesInTheMiddleOfIt() throws {
    let fixture = try Fixture("landingrollupcrash")
    try Self.fill(fixture, days: 6)
    let before = try meaning(fixture)
    let other = try Connection(fixture.target, applicationName: "tests")
    try other.script("BEGIN; SELECT tidemark.roll_up_landing_ledger('shop-events', 'shop', 0, 0, 50000)")
    let add = """
      INSERT INTO tidemark.landing_ledger (topology, topic, partition, from_offset, to_offset, landed, quarantined, hole_count, holes, offset_sum, epoch, instance)
      SELECT 'shop-events', 'shop', 0, next_offset, next_offset + 1, 0, 0, 1, int8multirange(int8range(next_offset, next_offset + 1)), 0, 99, 'heir' FROM tidemark.landing
      """
    try fixture.sql.script("SET lock_timeout = '2s'; \(add)")
    try fixture.sql.execute("SELECT pg_terminate_backend(\(other.backend), 10000)")
    try fixture.sql.script("DELETE FROM tidemark.landing_ledger WHERE instance = 'heir'")
    #expect(try meaning(fixture) == before)
    let third = try Connection(fixture.target, applicationName: "tests")
    try third.script("BEGIN; SELECT tidemark.roll_up_landing_ledger('shop-events', 'shop', 0, 0, 50)")
    try fixture.sql.script("SET lock_timeout = '100ms'")
    #expect(throws: PostgresError.self) { try fixture.sql.script("SELECT tidemark.roll_up_landing_ledger('shop-events', 'shop', 0, 0, 50000)") }
    try third.script("COMMIT")
    try rollUp(fixture)
    #expect(try meaning(fixture) == before)
  }

  /// What was found wrong stays as it was found.
  @Test(arguments: ["raw_missing", "raw_duplicate", "landing_hole"]) func evidenceIsKept(_ kind: String) throws {
    let fixture = try Fixture("landingrollup_\(kind)")
    try Self.fill(fixture, days: 6)
    try fixture.sql.script(
      """
      INSERT INTO tidemark.reconciliation_run (topology, fingerprint, finished_at, outcome) VALUES ('shop-events', '', now(), 'different');
      INSERT INTO tidemark.reconciliation_difference (run, number, topic, partition, from_offset, to_offset, class, is_explained, reason)
      VALUES (1, 1, 'shop', 0, 100, 200, '\(kind)', false, 'x')
      """)
    #expect(try rollUp(fixture).held?.contains("found its ledger or its landed events wrong") == true)
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.landing_ledger WHERE batches > 1") == [["0"]])
    try fixture.sql.script("INSERT INTO tidemark.reconciliation_run (topology, fingerprint, finished_at, outcome) VALUES ('shop-events', '', now(), 'equal')")
    #expect(try rollUp(fixture).before > 0)
  }

  /// A database of before has neither the columns nor the function; until it is migrated that is said, with the way out.
  @Test func anOlderLedgerIsMigrated() throws {
    let fixture = try Fixture("landingrollupold")
    try Self.fill(fixture, days: 6)
    try fixture.sql.script(
      """
      ALTER TABLE tidemark.landing_ledger DROP COLUMN batches, DROP COLUMN first_landed_at;
      DROP FUNCTION tidemark.roll_up_landing_ledger(text, text, integer, bigint, integer)
      """)
    #expect { try rollUp(fixture) } throws: { "\($0)".contains("run `tidemark migrate") }
    try fixture.migrate()
    #expect(try rollUp(fixture).before > 0)
    #expect(try fixture.migrate().isEmpty == false && rollUp(fixture).before == 0)
  }
}
