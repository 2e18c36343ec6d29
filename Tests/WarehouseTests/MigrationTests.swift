import Aggregation
import LocalServers
import Postgres
import Testing
import Topologies
import Warehouse

@Suite struct MigrationTests {
  @Test func runsTwiceAndSaysWhatItDid() throws {
    let fixture = try Fixture("twice", migrated: false)
    let first = try fixture.migrate()
    #expect(first.first?.contains("analytics.by_shop") == true)
    #expect(first.last == "topology shop-events is new")
    #expect(try fixture.migrate() == ["topology shop-events is up to date"])
  }

  @Test func anInstanceNeedsAMigratedDatabase() throws {
    let fixture = try Fixture("unmigrated", migrated: false)
    do {
      _ = try fixture.warehouse().open()
      Issue.record("it opened")
    } catch { #expect(error.code == .refused && error.message.contains("tidemark migrate")) }
  }

  @Test func aChangedTopologyIsRefusedOnceItHasConsumed() throws {
    let fixture = try Fixture("changed")
    let changed = try Topology.parse(yaml: Fixture.yaml.replacing("1h", with: "2h"), file: "shop.yaml")
    #expect(try Migration.run([changed], on: fixture.sql) { 1 } == ["topology shop-events is changed"])
    #expect(throws: WarehouseError.self) { try fixture.warehouse().open() }
    try fixture.migrate()
    _ = try fixture.warehouse().acquire([Fixture.id]) { _ in Offset(0) }
    do {
      _ = try Migration.run([changed], on: fixture.sql) { 1 }
      Issue.record("it was taken")
    } catch { #expect(error.message.contains("has consumed events already")) }
    // The seed outlives every migration: hashes in chunks and journals rest on it.
    #expect(try fixture.warehouse().open() == 4711)
  }

  @Test func aForeignTableOfTheNameIsNotTouched() throws {
    let fixture = try Fixture("foreign", migrated: false)
    try fixture.sql.script("CREATE SCHEMA analytics; CREATE TABLE analytics.by_shop (mine integer); INSERT INTO analytics.by_shop VALUES (1)")
    do {
      try fixture.migrate()
      Issue.record("it was taken")
    } catch let error as WarehouseError { #expect(error.code == .refused) }
    #expect(try fixture.rows("SELECT mine FROM analytics.by_shop") == [["1"]])
    #expect(try fixture.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'tidemark'") == [["0"]])
  }

  @Test func twoTopologiesCannotShareATable() throws {
    let fixture = try Fixture("shared")
    let other = try Topology.parse(yaml: Fixture.yaml.replacing("shop-events", with: "other-events"), file: "other.yaml")
    do {
      _ = try Migration.run([other], on: fixture.sql) { 1 }
      Issue.record("it was taken")
    } catch { #expect(error.message.contains("belongs to another topology")) }
  }

  @Test func withoutAGrantNobodySeesARow() throws {
    let fixture = try Fixture("rls")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    #expect(warehouse.flush(Fixture.request(1, partition, Fixture.delta(from: 0, count: 1))) == .committed)
    try fixture.sql.script("CREATE ROLE analyst_rls LOGIN IN ROLE tidemark_reader; CREATE ROLE stranger_rls LOGIN")
    let analyst = try Connection(try server.get().target(database: fixture.name, user: "analyst_rls"), applicationName: "tests")
    #expect(try analyst.query("SELECT count(*) FROM analytics.freshness") == [["2"]])
    for forbidden in [
      "SELECT * FROM analytics.by_shop", "SELECT * FROM tidemark.topology", "SELECT * FROM tidemark.quarantine", "SELECT * FROM tidemark.state_chunk",
      "INSERT INTO analytics.overall VALUES (now(), 1)", "ALTER TABLE analytics.overall DISABLE ROW LEVEL SECURITY", "SET ROLE tidemark_writer",
      "SET ROLE tidemark_owner", "CREATE TABLE analytics.mine (a int)",
    ] {
      do {
        try analyst.execute(forbidden)
        Issue.record("allowed: \(forbidden)")
      } catch { #expect(error.sqlState == "42501", "\(forbidden): \(error)") }
    }
    let stranger = try Connection(try server.get().target(database: fixture.name, user: "stranger_rls"), applicationName: "tests")
    #expect(throws: PostgresError.self) { try stranger.query("SELECT * FROM analytics.overall") }
    // Forced: not even the owner reads past the policies.
    try fixture.sql.script("SET ROLE tidemark_owner")
    #expect(try fixture.rows("SELECT count(*) FROM analytics.by_shop") == [["0"]])
    try fixture.sql.script("SET ROLE tidemark_writer")
    #expect(try fixture.rows("SELECT count(*) FROM analytics.by_shop") == [["1"]])
    #expect(throws: PostgresError.self) { try fixture.sql.script("DELETE FROM tidemark.ledger") }
    #expect(throws: PostgresError.self) { try fixture.sql.script("UPDATE tidemark.ledger SET applied = 0") }
  }

  @Test func aLoginWithoutTheWriterRoleIsToldTheWayOut() throws {
    let fixture = try Fixture("nowriter")
    try fixture.sql.script("CREATE ROLE nobody_writer LOGIN")
    let target = try server.get().target(database: fixture.name, user: "nobody_writer")
    do {
      _ = try Warehouse(target: target, instance: "a", plan: fixture.topology.plan()).open()
      Issue.record("it opened")
    } catch { #expect(error.message.contains("GRANT tidemark_writer TO \"nobody_writer\"")) }
  }

  /// A database of version 1: without the columns that flushes write for operators, with a view that takes takeovers for flushes.
  @Test func anEarlierDatabaseIsUpgradedAndNotUsedBefore() throws {
    let fixture = try Fixture("upgraded")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    #expect(warehouse.flush(Fixture.request(1, partition, Fixture.delta(from: 0, count: 3))) == .committed)
    try fixture.sql.script(
      """
      DROP VIEW analytics.freshness CASCADE;
      ALTER TABLE tidemark.partition DROP COLUMN record_time, DROP COLUMN journal_bytes, DROP COLUMN state_bytes, DROP COLUMN aggregates,
        DROP COLUMN changed_at, DROP COLUMN flushed_at;
      UPDATE tidemark.schema_version SET version = 1;
      UPDATE tidemark.partition SET updated_at = now() + interval '1 hour';
      CREATE VIEW analytics.freshness WITH (security_barrier) AS
      SELECT a.table_name AS aggregate, max(p.watermark) - t.allowed_lateness AS complete_through, max(p.updated_at) AS fresh_as_of, 0::bigint AS lag,
             (SELECT s.sealed_through FROM tidemark.sealed s WHERE s.table_name = a.table_name) AS sealed_through
        FROM tidemark.aggregate a JOIN tidemark.topology t ON t.name = a.topology LEFT JOIN tidemark.partition p ON p.topology = a.topology
       GROUP BY a.table_name, t.allowed_lateness;
      ALTER VIEW analytics.freshness OWNER TO tidemark_owner
      """)
    do {
      _ = try fixture.warehouse("new").open()
      Issue.record("it opened")
    } catch { #expect(error.code == .refused && error.message.contains("has version 1") && error.message.contains("tidemark migrate")) }
    do {
      _ = try Books(fixture.sql).status(topology: nil)
      Issue.record("it was read")
    } catch { #expect(error.code == .refused && error.message.contains("tidemark migrate"), "\(error)") }
    try fixture.migrate()
    #expect(try fixture.warehouse("new").open() == 4711)
    #expect(try fixture.rows("SELECT p.flushed_at = l.flushed_at FROM tidemark.partition p, tidemark.ledger l") == [["t"]])
    #expect(
      try fixture.rows("SELECT bool_and(fresh_as_of = flushed_at), bool_and(rows_changed_at IS NULL) FROM analytics.freshness, tidemark.partition")
        == [["t", "t"]])
    #expect(try Books(fixture.sql).status(topology: nil).map(\.nextOffset) == [3])
    #expect(warehouse.flush(Fixture.request(2, partition, Fixture.delta(from: 3, count: 1))) == .committed)
  }

  @Test func freshnessFollowsTheSlowestPartitionThatIsNotAtItsEnd() throws {
    let fixture = try Fixture("fresh")
    try fixture.sql.script(
      """
      INSERT INTO tidemark.partition (topology, topic, partition, next_offset, epoch, watermark, end_offset) VALUES
        ('shop-events', 'shop', 0, 5, 1, '2024-01-01 10:00Z', 5), ('shop-events', 'shop', 1, 5, 1, '2024-01-01 12:00Z', 9),
        ('shop-events', 'shop', 2, 5, 1, '2024-01-01 13:00Z', NULL)
      """)
    #expect(
      try fixture.rows("SELECT complete_through AT TIME ZONE 'UTC', lag FROM analytics.freshness WHERE aggregate = 'overall'")
        == [["2024-01-01 11:00:00", "4"]])
  }
}
