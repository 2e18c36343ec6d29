import Aggregation
import Postgres
import Testing
import Warehouse

/// What a flush leaves in the books for operators.
@Suite struct FiguresTests {
  private func request(_ id: UInt64, _ partition: AcquiredPartition, _ delta: Delta, _ figures: PartitionFigures) -> FlushRequest {
    FlushRequest(
      id: id,
      parts: [.init(partition: partition.partition, epoch: partition.epoch, watermarkBefore: nil, delta: delta, endOffset: Offset(50), figures: figures)])
  }

  @Test func aFlushLeavesThemWithItsOffset() throws {
    let fixture = try Fixture("figures")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    let books = Books(fixture.sql)
    let before = try books.status(topology: "shop-events")[0]
    #expect(before.flushedAt == nil && before.recordTime == nil && before.journalBytes == nil && before.stateBytes == nil && before.completeThrough == nil)
    #expect(before.aggregates.map(\.name) == ["by-shop", "overall"] && before.aggregates.allSatisfy { $0.groups == nil && $0.overflow == nil })

    let loads = [AggregateLoad(groups: 7, overflowed: 2), AggregateLoad(groups: 1, overflowed: 0)]
    let full = PartitionFigures(recordTime: 1_700_000_000_123, journalBytes: 4096, stateBytes: 99, loads: loads)
    #expect(warehouse.flush(request(1, partition, Fixture.delta(from: 0, count: 3), full)) == .committed)
    let after = try books.status(topology: nil)[0]
    #expect(after.recordTime == 1_700_000_000_123_000 && after.journalBytes == 4096 && after.stateBytes == 99)
    #expect(after.completeThrough?.microseconds == Fixture.base + 1_000_000 - Fixture.hour)
    #expect(
      after.aggregates == [
        .init(table: "by_shop", name: "by-shop", groups: 7, overflow: 2), .init(table: "overall", name: "overall", groups: 1, overflow: 0),
      ])
    #expect(try fixture.rows("SELECT p.flushed_at = l.flushed_at FROM tidemark.partition p, tidemark.ledger l") == [["t"]])

    // What is not known stays as it was; no journal is none. A timestamp that no calendar has is not known.
    #expect(warehouse.flush(request(2, partition, Fixture.delta(from: 3, count: 1), PartitionFigures(recordTime: .max))) == .committed)
    let kept = try books.status(topology: nil)[0]
    #expect(kept.recordTime == after.recordTime && kept.stateBytes == 99 && kept.journalBytes == nil && kept.aggregates == after.aggregates)
    // A takeover is no flush.
    _ = try fixture.warehouse("b").acquire([Fixture.id]) { _ in Offset(0) }
    let taken = try books.status(topology: nil)[0]
    #expect(taken.flushedAt == kept.flushedAt && taken.updatedAt > kept.updatedAt && taken.recordTime == kept.recordTime)
    #expect(try books.freshness(topologies: nil).allSatisfy { $0.freshAsOf == kept.flushedAt })
  }

  /// All aggregates are fresh as of the same moment; which of them had rows is told apart, and is `max(updated_at)`.
  @Test func freshnessTellsWhichRowsChanged() throws {
    let fixture = try Fixture("changes")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    #expect(warehouse.flush(Fixture.request(1, partition, Fixture.delta(from: 0, count: 3))) == .committed)
    var only = Fixture.delta(from: 3, count: 1)
    only.aggregates[0].groups = []
    #expect(warehouse.flush(Fixture.request(2, partition, only)) == .committed)
    var none = Fixture.delta(from: 4, count: 1)
    for a in 0..<2 { none.aggregates[a].groups = [] }
    #expect(warehouse.flush(Fixture.request(3, partition, none)) == .committed)
    #expect(
      try fixture.rows(
        """
        SELECT (SELECT max(updated_at) FROM analytics.by_shop) = (SELECT rows_changed_at FROM analytics.freshness WHERE aggregate = 'by_shop'),
               (SELECT max(updated_at) FROM analytics.overall) = (SELECT rows_changed_at FROM analytics.freshness WHERE aggregate = 'overall'),
               (SELECT count(DISTINCT rows_changed_at) FROM analytics.freshness), (SELECT count(DISTINCT fresh_as_of) FROM analytics.freshness),
               (SELECT min(fresh_as_of) > max(rows_changed_at) FROM analytics.freshness)
        """) == [["t", "t", "2", "1", "t"]])
  }

  /// Windows are complete up to the furthest partition where all are at their ends; a stopped one does not know its end any more.
  @Test func aStoppedPartitionHoldsCompletenessBack() throws {
    let fixture = try Fixture("stopped")
    let warehouse = fixture.warehouse()
    let ids = [Fixture.id, PartitionID(topic: Fixture.id.topic, partition: Fixture.id.partition + 1)]
    let acquired = try warehouse.acquire(ids) { _ in Offset(0) }.sorted { $0.partition < $1.partition }
    func complete() throws -> [String?] {
      let since = Fixture.base - Fixture.hour
      return try fixture.rows("SELECT (extract(epoch FROM complete_through) * 1000000)::bigint - \(since) FROM analytics.freshness WHERE aggregate = 'overall'")[0]
    }
    for (n, count) in [(0, Int64(3)), (1, 9)] {
      let part = FlushRequest.Part(
        partition: ids[n], epoch: acquired[n].epoch, watermarkBefore: nil, delta: Fixture.delta(from: 0, count: count, watermark: Fixture.base + count * 1_000_000),
        endOffset: Offset(count), figures: PartitionFigures())
      #expect(warehouse.flush(FlushRequest(id: UInt64(n), parts: [part])) == .committed)
    }
    let furthest = try complete()
    let least = try fixture.rows("SELECT (extract(epoch FROM min(watermark)) * 1000000)::bigint - \(Fixture.base) FROM tidemark.partition")[0]
    let most = try fixture.rows("SELECT (extract(epoch FROM max(watermark)) * 1000000)::bigint - \(Fixture.base) FROM tidemark.partition")[0]
    #expect(furthest == most && least != most)
    try warehouse.alert(ids[0], acquired[0].epoch, kind: "offset_out_of_range", "offset 3 is gone")
    #expect(try complete() == least)
    try fixture.sql.script("UPDATE tidemark.alert SET resolved_at = now()")
    #expect(try complete() == most)
    // Behind, and not one event accepted: what it holds may belong anywhere.
    try fixture.sql.script("UPDATE tidemark.partition SET watermark = NULL, end_offset = next_offset + 1 WHERE partition = \(ids[0].partition)")
    #expect(try complete() == [nil])
  }

  /// The offset row is updated in place, no index is touched, whatever the flush leaves in it: but for a page that is full while
  /// somebody still sees its old rows.
  @Test func theUpdateStaysHot() throws {
    let fixture = try Fixture("hot")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    for n in 0..<40 {
      let figures = PartitionFigures(
        recordTime: 1_700_000_000_000 + Int64(n), journalBytes: n << 20, stateBytes: n << 20,
        loads: [AggregateLoad(groups: n, overflowed: Int64(n)), AggregateLoad(groups: 1, overflowed: 0)])
      #expect(warehouse.flush(request(UInt64(n), partition, Fixture.delta(from: Int64(n), count: 1), figures)) == .committed)
    }
    // A backend that ends hands its statistics over.
    warehouse.disconnect()
    let query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = 'tidemark' AND relname = 'partition'"
    var found = try fixture.rows(query)
    let end = ContinuousClock.now + .seconds(20)
    while found[0][0] != "40", ContinuousClock.now < end { found = try fixture.rows(query) }
    #expect(found[0][0] == "40" && Int(found[0][1] ?? "") ?? 0 >= 36, "\(found)")
  }
}
