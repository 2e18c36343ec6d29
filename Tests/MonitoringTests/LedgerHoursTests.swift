import Aggregation
import Alerting
import Postgres
import Testing
import Topologies
import Warehouse

/// `events_down` by the ledger compares with hours of earlier weeks, which are rows of hours by then.
@Suite struct LedgerHoursTests {
  @Test func hoursOfEarlierWeeksAreFoundInARolledUpLedger() throws {
    let m = try Monitored("ledger_hours", yaml: Monitored.yaml.replacing("tumbling: 1 minute", with: "tumbling: 1 day"))
    // A flush a minute for five weeks; a partition's rate goes up and down with the day.
    try m.sql.script(
      """
      INSERT INTO tidemark.ledger (topology, topic, partition, from_offset, to_offset, applied, filtered, duplicate, late, quarantined, gap, tombstones,
        misrouted, quarantine_omitted, watermark_after, watermark_before, epoch, instance, flushed_at)
      SELECT 'shop-events', 'shop', 0, f, f + n, n, 0, 0, 0, 0, 0, 0, 0, 0, at, lag(at) OVER (ORDER BY at), 1, 'a', at
        FROM (SELECT n, at, sum(n) OVER (ORDER BY at) - n AS f FROM (
          SELECT (600 + 400 * sin(2 * pi() * s / 1440))::bigint AS n, now() - interval '1 minute' * (35 * 1440 - s) AS at
            FROM generate_series(0, 35 * 1440) s) x) y;
      INSERT INTO tidemark.partition (topology, topic, partition, next_offset, epoch, watermark)
      SELECT topology, topic, partition, max(to_offset), 1, max(watermark_after) FROM tidemark.ledger GROUP BY 1, 2, 3
      """)
    func hours() throws -> [Int64] {
      let facts = try MonitorStore(target: m.target, topology: m.topology, name: "tests").facts(now: m.now, isRemembered: false)
      guard case .known(let hours) = facts.hours else { return [] }
      return hours.flatMap { [$0.current] + $0.weeks + $0.hours }
    }
    let before = try hours()
    #expect(before.count == 11 && before.allSatisfy { $0 > 10_000 })
    let outcome = try LedgerRollUp(BatchSession(target: m.target, name: "tests")).run(topology: nil) { _ in }
    #expect(outcome[0].after < outcome[0].before / 50)
    let after = try hours()
    #expect(after.count == before.count)
    // Of the last six hours nothing is rolled up; an hour of a week ago is put together of two rows.
    #expect(after[0] == before[0] && Array(after[5...]) == Array(before[5...]))
    for (was, found) in zip(before, after) { #expect(abs(was - found) * 50 < was, "\(was) became \(found)") }
  }
}
