import Aggregation
import Postgres
import Testing
import Topologies
import Warehouse

@Suite struct TakeoverTests {
  @Test func chunksRebuildTheStateAlsoWhenMerged() throws {
    let fixture = try Fixture("chunks")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    for n in 0..<40 {
      let delta = Fixture.delta(from: Int64(n * 2), count: 2, shop: "s\(n % 3)", members: [UInt64(n + 1), UInt64(1000 + n)])
      #expect(warehouse.flush(Fixture.request(UInt64(n), partition, delta)) == .committed)
      if n % 16 == 15 { try warehouse.compact(Fixture.id, partition.epoch) }
    }
    #expect(try fixture.rows("SELECT level, count(*) FROM tidemark.state_chunk GROUP BY 1 ORDER BY 1") == [["0", "8"], ["1", "2"]])
    let heir = try fixture.warehouse("b").acquire([Fixture.id]) { _ in Offset(0) }[0]
    #expect(heir.chunks.count == 10)
    let hash: TextHash = { UInt64($0.utf8.count) }
    var whole = PartitionProcessor(plan: fixture.topology.plan(), at: Offset(0), hash: hash)
    for chunk in heir.chunks { whole.restore(try DeltaCodec.decode(chunk)) }
    let members = whole.snapshot().aggregates[1].groups.map { group -> Int in
      if case .distinct(let hashes) = group.measures[0] { hashes.count } else { 0 }
    }
    #expect(members == [80])
    #expect(whole.snapshot().aggregates[0].groups.count == 3)
  }

  /// What an outage or a backlog leaves is flushed in large chunks: those after them were never merged again, one a flush
  /// and second, until their windows closed.
  @Test func largeChunksDoNotKeepSmallOnesApart() throws {
    let fixture = try Fixture("large")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    for n in 0..<200 {
      // Two of 100 members each, then some of one.
      let members = n < 2 ? (0..<100).map { UInt64(1 + n * 100 + $0) } : [UInt64(1000 + n)]
      #expect(warehouse.flush(Fixture.request(UInt64(n), partition, Fixture.delta(from: Int64(n), count: 1, members: members))) == .committed)
      if n % 16 == 15 { try warehouse.compact(Fixture.id, partition.epoch, longest: 1600) }
    }
    let heir = try fixture.warehouse("b").acquire([Fixture.id]) { _ in Offset(0) }[0]
    #expect(heir.chunks.count < 40)
    #expect(heir.chunks.allSatisfy { $0.count <= 1800 })
    var whole = PartitionProcessor(plan: fixture.topology.plan(), at: Offset(0), hash: { UInt64($0.utf8.count) })
    for chunk in heir.chunks { whole.restore(try DeltaCodec.decode(chunk)) }
    let members = whole.snapshot().aggregates[1].groups.map { group -> Int in
      if case .distinct(let hashes) = group.measures[0] { hashes.count } else { 0 }
    }
    #expect(members == [200 + 198])
  }

  @Test func compactionUnderAnOldEpochChangesNothing() throws {
    let fixture = try Fixture("oldepoch")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    for n in 0..<16 { _ = warehouse.flush(Fixture.request(UInt64(n), partition, Fixture.delta(from: Int64(n), count: 1))) }
    _ = try fixture.warehouse("b").acquire([Fixture.id]) { _ in Offset(0) }
    try warehouse.compact(Fixture.id, partition.epoch)
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.state_chunk") == [["16"]])
  }

  @Test func chunksOfFinalWindowsAreNeitherReadNorKept() throws {
    let fixture = try Fixture("final")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    _ = warehouse.flush(Fixture.request(1, partition, Fixture.delta(from: 0, count: 1)))
    let later = Fixture.base + 72 * Fixture.hour
    _ = warehouse.flush(Fixture.request(2, partition, Fixture.delta(from: 1, count: 1, watermark: later)))
    #expect(try fixture.warehouse("b").acquire([Fixture.id]) { _ in Offset(0) }[0].chunks.count == 1)
    try warehouse.compact(Fixture.id, Epoch(2))
    #expect(try fixture.rows("SELECT from_offset FROM tidemark.state_chunk") == [["1"]])
  }

  @Test func theHorizonBeginsWhereTheLedgerSays() throws {
    let fixture = try Fixture("horizon")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(7) }[0]
    let minute: Int64 = 60_000_000
    // One flush a minute; ids count for ten.
    for n in 0..<5 {
      let delta = Fixture.delta(from: 7 + Int64(n), count: 1, watermark: Fixture.base + Int64(n) * minute)
      _ = warehouse.flush(Fixture.request(UInt64(n), partition, delta))
    }
    let early = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    #expect(early.horizon == DeduplicationHorizon(offset: Offset(7), watermark: nil))
    for n in 5..<20 {
      let delta = Fixture.delta(from: 7 + Int64(n), count: 1, watermark: Fixture.base + Int64(n) * minute)
      _ = warehouse.flush(Fixture.request(UInt64(n), early, delta))
    }
    // The watermark is at minute 19: what was seen at minute 9 still counts, what was seen at 8 does not.
    let late = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    #expect(late.horizon == DeduplicationHorizon(offset: Offset(7 + 9), watermark: EventTime(microseconds: Fixture.base + 8 * minute)))
  }

  @Test func releaseShowsNoOwnerAndKeepsTheEpoch() throws {
    let fixture = try Fixture("release")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    try warehouse.release(Fixture.id, Epoch(9))
    #expect(try fixture.rows("SELECT owner, epoch FROM tidemark.partition") == [["a", "1"]])
    try warehouse.release(Fixture.id, partition.epoch)
    #expect(try fixture.rows("SELECT owner, epoch FROM tidemark.partition") == [[nil, "1"]])
  }

  @Test func anAlertIsRaisedOnceAndCounted() throws {
    let fixture = try Fixture("alerts")
    let warehouse = fixture.warehouse()
    let partition = try warehouse.acquire([Fixture.id]) { _ in Offset(0) }[0]
    for _ in 0..<3 { try warehouse.alert(Fixture.id, partition.epoch, kind: "offset_out_of_range", "gone") }
    #expect(try fixture.rows("SELECT kind, message, seen FROM tidemark.alert") == [["offset_out_of_range", "gone", "3"]])
  }

  /// An instance that was stopped while others went on, and Kafka dropped what it would read next: nothing is missing.
  @Test func whoWasFencedRaisesNoAlert() throws {
    let fixture = try Fixture("fencedalert")
    let zombie = fixture.warehouse()
    let partition = try zombie.acquire([Fixture.id]) { _ in Offset(0) }[0]
    _ = try fixture.warehouse("b").acquire([Fixture.id]) { _ in Offset(0) }
    try zombie.alert(Fixture.id, partition.epoch, kind: "offset_out_of_range", "gone")
    #expect(try fixture.rows("SELECT kind FROM tidemark.alert") == [])
    try zombie.alert(Fixture.id, Epoch(2), kind: "offset_out_of_range", "gone")
    try zombie.alert(Fixture.id, partition.epoch, kind: "offset_out_of_range", "gone")
    #expect(try fixture.rows("SELECT kind, seen FROM tidemark.alert") == [["offset_out_of_range", "1"]])
  }
}
