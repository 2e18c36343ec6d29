import Aggregation
import Postgres
import Testing
import Topologies
import Warehouse

/// The ledger, rolled up: what anybody reads of it stays the same, and nobody can change it that way.
@Suite struct LedgerRollUpTests {
  /// A ledger of one partition as weeks of flushes leave it: takeovers, gaps of all kinds, an operator's entry, refusals that
  /// were only counted, a landing that began later and was moved on. A row every 20 minutes; the newest is of now.
  static func fill(_ fixture: Fixture, days: Int, seed: Int = 1) throws {
    try fixture.sql.execute("SELECT setseed(\(Double(seed) / 1000))")
    try fixture.sql.script(
      """
      INSERT INTO tidemark.ledger (topology, topic, partition, from_offset, to_offset, applied, filtered, duplicate, late, quarantined, gap, tombstones,
        misrouted, quarantine_omitted, watermark_before, watermark_after, earliest, latest, epoch, instance, flushed_at)
      SELECT 'shop-events', 'shop', 0, f, f + n, a, n - a - CASE WHEN kind < 3 THEN 1 ELSE 0 END, 0, 0, CASE WHEN kind = 2 THEN 1 ELSE 0 END,
             CASE WHEN kind < 2 THEN 1 ELSE 0 END, 0, 0, CASE WHEN kind = 2 THEN 1 ELSE 0 END,
             lag(mark) OVER (ORDER BY s), mark, mark - interval '1 hour', mark, 1 + s / 50, 'i' || (s / 50) % 3, at
        FROM (SELECT s, n, kind, (n * r)::bigint AS a, at, at - interval '90 seconds' AS mark, sum(n) OVER (ORDER BY s) - n AS f
                FROM (SELECT s, 2 + (random() * 100)::bigint AS n, random() * 0.9 AS r, (random() * 60)::integer AS kind,
                             now() - interval '20 minutes' * (\(days) * 72 - 1 - s) AS at FROM generate_series(0, \(days) * 72 - 1) s OFFSET 0) x) y;
      -- Whole gaps: an instance's and an operator's.
      UPDATE tidemark.ledger SET applied = 0, filtered = 0, quarantined = 0, quarantine_omitted = 0, gap = to_offset - from_offset,
             instance = CASE WHEN from_offset % 2 = 0 THEN 'operator ada' ELSE instance END
       WHERE from_offset IN (SELECT from_offset FROM tidemark.ledger ORDER BY md5(from_offset::text) LIMIT 12);
      INSERT INTO tidemark.partition (topology, topic, partition, next_offset, epoch, watermark, end_offset)
      SELECT topology, topic, partition, max(to_offset), max(epoch), max(watermark_after), max(to_offset) FROM tidemark.ledger GROUP BY 1, 2, 3;
      INSERT INTO tidemark.landing_ledger (topology, topic, partition, from_offset, to_offset, landed, quarantined, hole_count, holes, offset_sum, epoch, instance)
      SELECT 'shop-events', 'shop', 0, f, f + n, 0, 0, n, int8multirange(int8range(f, f + n)), 0, 1, name
        FROM (VALUES (1003, 200, 'l'), (5000, 300, 'operator ada')) v(f, n, name);
      """)
  }

  @discardableResult
  private func rollUp(_ fixture: Fixture) throws -> LedgerRollUp.Outcome {
    let outcomes = try LedgerRollUp(BatchSession(target: fixture.target, name: "tests")).run(topology: nil) { _ in }
    return try #require(outcomes.count == 1 ? outcomes[0] : nil)
  }

  /// What has to be the same afterwards, whatever became one row: sums, joints, ranges with gaps, ranges that the reconciler
  /// leaves out of its recount, where a takeover begins, whose offsets are whose.
  private func meaning(_ fixture: Fixture) throws -> [[String?]] {
    let moved = "int8range(5000, 5300)"
    return try [
      """
      SELECT count(DISTINCT epoch), min(from_offset), max(to_offset), sum(applied), sum(filtered), sum(duplicate), sum(late), sum(quarantined), sum(gap),
             sum(tombstones), sum(misrouted), sum(quarantine_omitted), sum(flushes), min(earliest), max(latest),
             min(COALESCE(first_flushed_at, flushed_at)), max(flushed_at) FROM tidemark.ledger
      """,
      """
      SELECT from_offset, previous FROM (SELECT from_offset, watermark_before, lag(to_offset) OVER w AS previous, lag(watermark_after) OVER w AS mark
        FROM tidemark.ledger WINDOW w AS (ORDER BY from_offset)) l
       WHERE previous IS NOT NULL AND (previous, mark) IS DISTINCT FROM (from_offset, watermark_before)
      """,
      """
      SELECT epoch, instance, sum(to_offset - from_offset), range_agg(int8range(from_offset, to_offset)),
             range_agg(int8range(from_offset, to_offset)) FILTER (WHERE gap = to_offset - from_offset),
             range_agg(int8range(from_offset, to_offset)) FILTER (WHERE gap > 0 AND gap < to_offset - from_offset),
             range_agg(int8range(from_offset, to_offset)) FILTER (WHERE quarantine_omitted > 0),
             range_agg(int8range(from_offset, to_offset)) FILTER (WHERE int8range(from_offset, to_offset) && \(moved)),
             range_agg(int8range(from_offset, to_offset)) FILTER (WHERE from_offset < 1003)
        FROM tidemark.ledger GROUP BY 1, 2 ORDER BY 1, 2
      """,
      "SELECT * FROM tidemark.ledger WHERE instance LIKE 'operator %' OR flushed_at >= date_trunc('day', now(), 'UTC') - interval '48 hours' ORDER BY from_offset",
      "SELECT applied, filtered, gap, flushes FROM (SELECT date_trunc('day', flushed_at, 'UTC') AS day, sum(applied) AS applied, sum(filtered) AS filtered, sum(gap) AS gap, sum(flushes) AS flushes FROM tidemark.ledger GROUP BY 1) d ORDER BY day",
    ].flatMap { try fixture.rows($0) }
  }

  @Test func whatIsReadOfItStaysTheSame() throws {
    let fixture = try Fixture("rollup")
    try Self.fill(fixture, days: 45)
    let before = try meaning(fixture)
    let old = try fixture.rows("SELECT count(*) FROM tidemark.ledger WHERE flushed_at < date_trunc('day', now(), 'UTC') - interval '48 hours'")[0][0]
    let outcome = try rollUp(fixture)
    #expect(try meaning(fixture) == before)
    #expect(outcome.before > 2000 && outcome.after * 2 < outcome.before, "\(outcome) of \(old!)")
    // No row that could join another is left, and none is of more than its hour or day.
    #expect(
      try fixture.rows(
        """
        SELECT from_offset FROM tidemark.ledger
         WHERE date_trunc(CASE WHEN flushed_at < date_trunc('day', now(), 'UTC') - interval '840 hours' THEN 'day' ELSE 'hour' END, flushed_at, 'UTC')
             > COALESCE(first_flushed_at, flushed_at)
        """) == [])
    let again = try rollUp(fixture)
    #expect(again.before == 0 && again.after == 0 && again.held == nil)
    #expect(try fixture.rows("SELECT count(*) > 10 FROM tidemark.ledger WHERE flushes > 3") == [["t"]])
  }

  /// Weeks later rows of hours become rows of days: as if they had never been hours.
  @Test func hoursBecomeDays() throws {
    let (aged, at) = (try Fixture("rollupaged"), try Fixture("rollupatonce"))
    for fixture in [aged, at] {
      try Self.fill(fixture, days: 20)
      if fixture.name == "rollupaged" { try rollUp(fixture) }
      try fixture.sql.script("UPDATE tidemark.ledger SET flushed_at = flushed_at - interval '50 days', first_flushed_at = first_flushed_at - interval '50 days'")
      try rollUp(fixture)
    }
    // Both were filled by one seed; times differ by what lies between the two.
    let rows = "SELECT from_offset, to_offset, applied, filtered, gap, flushes, epoch, instance FROM tidemark.ledger ORDER BY from_offset"
    #expect(try aged.rows(rows) == at.rows(rows))
    #expect(try aged.rows("SELECT count(*) < 300 FROM tidemark.ledger") == [["t"]])
  }

  /// However small the parts, the same rows come out.
  @Test(arguments: [2, 3, 17, 1000]) func partsDoNotShow(_ most: Int) throws {
    let fixture = try Fixture("rolluppart\(most)")
    try Self.fill(fixture, days: 12)
    try fixture.sql.script("CREATE TABLE public.before AS SELECT * FROM tidemark.ledger")
    try rollUp(fixture)
    try fixture.sql.script(
      """
      CREATE TABLE public.whole AS SELECT * FROM tidemark.ledger;
      DELETE FROM tidemark.ledger;
      INSERT INTO tidemark.ledger SELECT * FROM public.before
      """)
    var position: Int64? = 0
    var calls = 0
    while let from = position {
      // Each merges something, or goes on.
      calls += 1
      try #require(calls < 2000)
      position = try fixture.sql.execute("SELECT next_position FROM tidemark.roll_up_ledger('shop-events', 'shop', 0, $1, \(most))", [.integer(from)]).integer(0, 0)
    }
    #expect(try fixture.rows("(TABLE public.whole EXCEPT TABLE tidemark.ledger) UNION ALL (TABLE tidemark.ledger EXCEPT TABLE public.whole)") == [])
  }

  /// A takeover reads again from where it would have begun, and not from the beginning of an hour or a day.
  @Test func aTakeoverBeginsWhereItDid() throws {
    let fixture = try Fixture("rolluphorizon")
    try Self.fill(fixture, days: 12)
    // An idle partition: its watermark, and with it the horizon of ten minutes, stands in the middle of what is old.
    try fixture.sql.script(
      "UPDATE tidemark.partition SET watermark = (SELECT watermark_after + interval '30 seconds' FROM tidemark.ledger ORDER BY from_offset OFFSET 301 LIMIT 1)")
    let before = try fixture.warehouse().acquire([Fixture.id]) { _ in Offset(0) }[0].horizon
    let expected = try fixture.rows("SELECT to_offset FROM tidemark.ledger ORDER BY from_offset OFFSET 300 LIMIT 1")[0][0]
    #expect(try #require(before).offset == Offset(Int64(expected!)!))
    try rollUp(fixture)
    #expect(try fixture.rows("SELECT count(*) < 200, max(to_offset) = \(expected!) FROM tidemark.ledger WHERE to_offset <= \(expected!)") == [["t", "t"]])
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.ledger WHERE from_offset >= \(expected!) AND flushes > 1") == [["0"]])
    #expect(try fixture.warehouse().acquire([Fixture.id]) { _ in Offset(0) }[0].horizon == before)
  }

  /// Merging is all that it does: who may call it can change nothing else, and whoever else may not call it.
  @Test func itCannotBeUsedToAlterTheBooks() throws {
    let fixture = try Fixture("rolluprights")
    try Self.fill(fixture, days: 6)
    let call = "SELECT tidemark.roll_up_ledger('shop-events', 'shop', 0, 0, 50000)"
    for role in ["tidemark_writer", "tidemark_reader", "tidemark_granter"] {
      try fixture.sql.script("SET ROLE \(role)")
      #expect(throws: PostgresError.self, "\(role)") { try fixture.sql.script(call) }
      try fixture.sql.script("RESET ROLE")
    }
    let before = try meaning(fixture)
    try fixture.sql.script("SET ROLE tidemark_batch")
    for forbidden in [
      "DELETE FROM tidemark.ledger", "UPDATE tidemark.ledger SET applied = 0", "INSERT INTO tidemark.ledger SELECT * FROM tidemark.ledger LIMIT 1",
      "CREATE OR REPLACE FUNCTION tidemark.roll_up_ledger(text, text, integer, bigint, integer) RETURNS void LANGUAGE sql AS ''",
      "SELECT tidemark.roll_up_ledger('shop-events', 'shop', 0, 0, 1)",
    ] {
      #expect(throws: PostgresError.self, "\(forbidden)") { try fixture.sql.script(forbidden) }
    }
    // Names that shadow the system's gain nothing: the function has a search path of its own.
    try fixture.sql.script(
      "CREATE TEMPORARY TABLE ledger (n int); SET search_path = pg_temp, public; SET timezone = 'Pacific/Apia'")
    try fixture.sql.script("CALL tidemark.roll_up_ledgers()")
    try fixture.sql.script("RESET ROLE; SET timezone = 'UTC'; SET search_path = public")
    #expect(try meaning(fixture) == before)
    #expect(try fixture.rows("SELECT count(*) > 0 FROM tidemark.ledger WHERE flushes > 1") == [["t"]])
  }

  /// A merge that would change a sum is not done: here something of somebody's alters what is inserted.
  @Test func aMergeThatIsNotTheSameFails() throws {
    let fixture = try Fixture("rollupproof")
    try Self.fill(fixture, days: 6)
    let before = try fixture.rows("SELECT * FROM tidemark.ledger ORDER BY from_offset")
    for change in ["applied = NEW.applied - 1, NEW.duplicate = NEW.duplicate + 1", "latest = NEW.latest + interval '1 day'", "watermark_after = NULL", "flushes = NEW.flushes + 1"] {
      try fixture.sql.script(
        """
        CREATE OR REPLACE FUNCTION public.alter_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          NEW.\(change.replacing(", NEW.", with: "; NEW.")); RETURN NEW; END $$;
        CREATE OR REPLACE TRIGGER alter_it BEFORE INSERT ON tidemark.ledger FOR EACH ROW EXECUTE FUNCTION public.alter_it()
        """)
      #expect { try rollUp(fixture) } throws: { "\($0)".contains("would not be the same") }
      #expect(try fixture.rows("SELECT * FROM tidemark.ledger ORDER BY from_offset") == before, "\(change)")
    }
    try fixture.sql.script("DROP TRIGGER alter_it ON tidemark.ledger")
    #expect(try rollUp(fixture).before > 0)
  }

  /// Instances flush and take over while a part is being merged; whoever dies in the middle of one has changed nothing.
  @Test func flushesAndCrashesInTheMiddleOfIt() throws {
    let fixture = try Fixture("rollupcrash")
    try Self.fill(fixture, days: 6)
    let before = try meaning(fixture)
    let other = try Connection(fixture.target, applicationName: "tests")
    try other.script("BEGIN; SELECT tidemark.roll_up_ledger('shop-events', 'shop', 0, 0, 50000)")
    let warehouse = fixture.warehouse("heir")
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    let delta = Fixture.delta(from: partition.nextOffset.value, count: 3, watermark: partition.watermark!.microseconds)
    #expect(warehouse.flush(Fixture.request(1, partition, delta)) == .committed)
    try fixture.sql.execute("SELECT pg_terminate_backend(\(other.backend), 10000)")
    try fixture.sql.script("DELETE FROM tidemark.ledger WHERE instance = 'heir'")
    #expect(try meaning(fixture) == before)
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.ledger WHERE flushes > 1") == [["0"]])
    // Two at once: the second finds what the first has left.
    let third = try Connection(fixture.target, applicationName: "tests")
    try third.script("BEGIN; SELECT tidemark.roll_up_ledger('shop-events', 'shop', 0, 0, 50)")
    third.deadline = 10_000
    try fixture.sql.script("SET lock_timeout = '100ms'")
    #expect(throws: PostgresError.self) { try fixture.sql.script("SELECT tidemark.roll_up_ledger('shop-events', 'shop', 0, 0, 50000)") }
    try third.script("COMMIT")
    try rollUp(fixture)
    #expect(try meaning(fixture) == before)
  }

  /// What was found wrong stays as it was found, and what is not known is not guessed.
  @Test func evidenceIsKept() throws {
    let fixture = try Fixture("rollupevidence")
    try Self.fill(fixture, days: 6)
    try fixture.sql.script(
      """
      INSERT INTO tidemark.reconciliation_run (topology, fingerprint, finished_at, outcome) VALUES ('shop-events', '', now(), 'different');
      INSERT INTO tidemark.reconciliation_difference (run, number, topic, partition, from_offset, to_offset, class, is_explained, reason)
      VALUES (1, 1, 'shop', 0, 100, 200, 'ledger_buckets', false, 'x')
      """)
    #expect(try rollUp(fixture).held?.contains("found its ledger wrong") == true)
    try fixture.sql.script("UPDATE tidemark.topology SET deduplicate_within = NULL; INSERT INTO tidemark.reconciliation_run (topology, fingerprint, finished_at, outcome) VALUES ('shop-events', '', now(), 'equal')")
    #expect(try rollUp(fixture).held?.contains("tidemark migrate") == true)
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.ledger WHERE flushes > 1") == [["0"]])
    try fixture.migrate()
    #expect(try rollUp(fixture).before > 0)
  }

  /// A database of before knows nothing of rows that are merged.
  @Test func anOlderLedgerIsMigrated() throws {
    let fixture = try Fixture("rollupold")
    try Self.fill(fixture, days: 6)
    try fixture.sql.script(
      """
      ALTER TABLE tidemark.ledger DROP COLUMN flushes, DROP COLUMN first_flushed_at;
      ALTER TABLE tidemark.topology DROP COLUMN deduplicate_within;
      DROP INDEX tidemark.ledger_by_flush; CREATE INDEX ledger_flushed ON tidemark.ledger USING brin (flushed_at)
      """)
    try fixture.migrate()
    #expect(try rollUp(fixture).before > 0)
    #expect(try fixture.rows("SELECT indexname FROM pg_indexes WHERE tablename = 'ledger' ORDER BY 1") == [["ledger_by_flush"], ["ledger_pkey"]])
  }
}
