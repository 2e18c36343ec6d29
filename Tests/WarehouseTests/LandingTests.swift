import Aggregation
import Engine
import Postgres
import Testing
import Topologies

@testable import Warehouse

/// Batches of events into `raw.events_<topology>`.
@Suite struct LandingTests {
  private static func record(_ offset: Int64, _ payload: String?, at time: Int64 = Fixture.base) -> RecordBuffer.Message {
    .init(offset: offset, timestamp: time / 1000, key: Array("u1".utf8), payload: payload.map { Array($0.utf8) })
  }

  private static func event(_ id: Int, more: String = "") -> String {
    #"{"id":"e\#(id)","at":"2023-11-14T22:0\#(id % 5):00Z","user":"u1","kind":"k","amount":\#(id),"price":1.25\#(more)}"#
  }

  private struct Desk {
    let store: LandingStore
    let reader: LandingReader
    var next: OffsetRow

    init(_ fixture: Fixture, _ instance: String = "a") throws {
      let plan = LandingPlan(fixture.topology.plan())
      store = LandingStore(target: fixture.target, instance: instance, plan: plan)
      reader = LandingReader(plan, capacity: 100)
      try store.open()
      next = try store.acquire([Fixture.id]) { _ in Offset(0) }[Fixture.id]!
    }

    func batch(_ messages: [RecordBuffer.Message]) -> LandingBatch {
      var batch = LandingBatch()
      RecordBuffer(messages).withRecords { records in
        batch.append(reader.read(records, from: next.next), of: Fixture.id, next.epoch, reader, records, table: store.table)
      }
      return batch
    }

    mutating func land(_ messages: [RecordBuffer.Message]) -> LandingOutcome {
      let batch = batch(messages)
      let outcome = store.land(batch)
      if outcome == .committed { next.next = batch.nextOffset(Fixture.id)! }
      return outcome
    }
  }

  @Test func everyOffsetIsLandedRefusedOrAHole() throws {
    let fixture = try Fixture("landing")
    var desk = try Desk(fixture)
    let outcome = desk.land([
      Self.record(0, Self.event(0)), Self.record(1, nil), Self.record(4, "not json"), Self.record(5, #"{"id":"x","at":"2023-11-14T22:00:00Z"}"#),
      Self.record(6, Self.event(6)), Self.record(7, Self.event(7), at: Fixture.base - 3 * Fixture.hour),
    ])
    #expect(outcome == .committed)
    #expect(
      try fixture.rows("SELECT \"offset\", event_id, \"user\", amount, price, payload->>'kind', shop FROM raw.events_shop_events ORDER BY 1")
        == [["0", "e0", "u1", "0", "1.25", "k", "none"], ["6", "e6", "u1", "6", "1.25", "k", "none"]])
    #expect(
      try fixture.rows("SELECT \"offset\", reason, field FROM tidemark.landing_quarantine ORDER BY 1")
        == [["4", "invalid_json", ""], ["5", "missing_field", "user"], ["7", "far_future", "at"]])
    #expect(
      try fixture.rows("SELECT from_offset, to_offset, landed, quarantined, hole_count, holes, offset_sum FROM tidemark.landing_ledger")
        == [["0", "8", "2", "3", "3", "{[1,4)}", "6"]])
    #expect(try fixture.rows("SELECT next_offset FROM tidemark.landing") == [["8"]])
    #expect(try fixture.rows("SELECT topology, count(*) FROM raw.events GROUP BY 1") == [["shop-events", "2"]])
  }

  @Test func nobodyWhoReadsCanKeepANewDayFromBeingLanded() throws {
    let fixture = try Fixture("landing_held")
    let reader = try Connection(fixture.target, applicationName: "reader")
    try reader.script("SET ROLE tidemark_reader")
    try reader.execute("SELECT pg_advisory_lock(hashtextextended('tidemark raw shop-events', 0))")
    #expect(throws: PostgresError.self) { try reader.script("BEGIN; LOCK TABLE tidemark.raw_partition IN ACCESS SHARE MODE") }
    var desk = try Desk(fixture)
    #expect(desk.land([Self.record(0, Self.event(0))]) == .committed)
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.raw_partition") == [["1"]])
  }

  /// Valid for a decoder that skips what it does not need, but nothing that jsonb can hold: kept as bytes, and the rest lands.
  @Test func whatIsNotJsonbIsKeptAsBytes() throws {
    let fixture = try Fixture("notjsonb")
    var desk = try Desk(fixture)
    let odd = [#","x":"a\u0000b""#, #","x":1e999999"#, #","x":"\ud800""#, #","x":tru"#]
    for round in 0..<2 {
      let messages = (0..<8).map { n in Self.record(Int64(round * 8 + n), Self.event(round * 8 + n, more: n < 4 ? odd[n] : "")) }
      #expect(desk.land(messages) == .committed)
    }
    #expect(
      try fixture.rows("SELECT count(payload), count(payload_bytes), count(*) FROM raw.events_shop_events") == [["8", "8", "16"]])
    #expect(
      try fixture.rows("SELECT convert_from(payload_bytes, 'UTF8') LIKE '%a\\\\u0000b%' FROM raw.events_shop_events WHERE \"offset\" IN (0, 8)") == [["t"], ["t"]])
    // Sound batches take the direct way again.
    #expect(desk.land([Self.record(16, Self.event(16))]) == .committed)
    #expect(desk.land([Self.record(17, Self.event(17))]) == .committed)
    #expect(try fixture.rows("SELECT count(*) FROM raw.events_shop_events") == [["18"]])
  }

  @Test func aZombieLandsNothing() throws {
    let fixture = try Fixture("landzombie")
    var zombie = try Desk(fixture)
    var heir = try Desk(fixture, "b")
    #expect(zombie.land([Self.record(0, Self.event(0))]) == .fenced([Fixture.id]))
    #expect(heir.land([Self.record(0, Self.event(0))]) == .committed)
    let again = heir.batch([Self.record(1, Self.event(1))])
    #expect(heir.store.land(again) == .committed)
    // The same batch once more: the offset row has moved, nothing is written twice.
    #expect(heir.store.land(again) == .committed)
    #expect(heir.store.resolve(again) == .committed)
    #expect(try fixture.rows("SELECT count(*) FROM raw.events_shop_events") == [["2"]])
  }

  @Test func oldTablesAreDroppedAndMadeAgain() throws {
    let fixture = try Fixture("retention")
    var desk = try Desk(fixture)
    let now = try Int(fixture.rows("SELECT floor(extract(epoch FROM now()))::bigint")[0][0]!)!
    let recent = #"{"id":"n","at":"\#(try fixture.rows("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")[0][0]!)","user":"u","kind":"k"}"#
    #expect(desk.land([Self.record(0, Self.event(0)), Self.record(1, recent, at: Int64(now) * 1_000_000)]) == .committed)
    #expect(try fixture.rows("SELECT is_month FROM tidemark.raw_partition ORDER BY from_day") == [["t"], ["f"]])
    let (dropped, kept) = try desk.store.dropTables(olderThan: 30)
    #expect(dropped == ["month_202311_shop_events"] && kept == nil)
    #expect(try fixture.rows("SELECT event_id FROM raw.events_shop_events") == [["n"]])
    #expect(try fixture.rows("SELECT dropped_before AT TIME ZONE 'UTC' FROM tidemark.raw_retention") == [["2023-12-01 00:00:00"]])
    #expect(desk.land([Self.record(2, Self.event(2))]) == .committed)
    #expect(try fixture.rows("SELECT count(*) FROM raw.events_shop_events") == [["2"]])
  }

  @Test func aTableDroppedBySomebodyElseIsMadeAgain() throws {
    let fixture = try Fixture("droppedelsewhere")
    var desk = try Desk(fixture)
    #expect(desk.land([Self.record(0, Self.event(0))]) == .committed)
    _ = try Desk(fixture, "b").store.dropTables(olderThan: 30)
    desk.next.epoch = Epoch(2)
    let batch = desk.batch([Self.record(1, Self.event(1))])
    guard case .failed = desk.store.land(batch) else {
      Issue.record("it did not notice")
      return
    }
    #expect(desk.store.land(batch) == .committed)
    #expect(try fixture.rows("SELECT \"offset\" FROM raw.events_shop_events") == [["1"]])
  }

  @Test func streamersCannotTouchLandedEvents() throws {
    let fixture = try Fixture("rawrights")
    try fixture.sql.script("SET ROLE tidemark_writer")
    for forbidden in ["SELECT * FROM raw.events", "DELETE FROM raw.events_shop_events", "UPDATE tidemark.landing SET next_offset = 0"] {
      #expect(throws: PostgresError.self, "\(forbidden)") { try fixture.sql.script(forbidden) }
    }
    try fixture.sql.script("RESET ROLE; SET ROLE tidemark_reader")
    #expect(throws: PostgresError.self) { try fixture.sql.script("SELECT * FROM raw.events") }
  }

  /// What an operator enters: the offsets are holes with a name, whoever lands them is fenced, and nothing else is touched.
  @Test func anAcceptedGapMovesTheLandingAndFencesItsOwner() throws {
    let fixture = try Fixture("landinggap")
    var desk = try Desk(fixture)
    #expect(desk.land([Self.record(0, Self.event(0)), Self.record(1, Self.event(1))]) == .committed)
    try desk.store.alert(Fixture.id, kind: "landing_offset_out_of_range", "gone")
    try desk.store.alert(PartitionID(topic: "shop", partition: 1), kind: "landing_offset_out_of_range", "another's")
    try desk.store.alert(Fixture.id, kind: "something_else", "stays")
    let books = Books(fixture.sql)
    #expect(try books.acceptLandingGap("shop-events", PartitionID(topic: "shop", partition: 7), to: 9, operator: "ada") == nil)
    #expect(try books.acceptLandingGap("other", Fixture.id, to: 9, operator: "ada") == nil)
    #expect(try books.acceptLandingGap("shop-events", Fixture.id, to: 9, operator: "ada") == 2)
    #expect(
      try fixture.rows("SELECT from_offset, to_offset, landed, quarantined, hole_count, holes, offset_sum, epoch, instance FROM tidemark.landing_ledger WHERE from_offset = 2")
        == [["2", "9", "0", "0", "7", "{[2,9)}", "0", "1", "operator ada"]])
    #expect(try fixture.rows("SELECT next_offset, epoch, owner FROM tidemark.landing") == [["9", "2", nil]])
    #expect(try fixture.rows("SELECT partition, kind FROM tidemark.alert WHERE resolved_at IS NULL ORDER BY 1, 2") == [["0", "something_else"], ["1", "landing_offset_out_of_range"]])
    // The one who had it does not write any more, at either place.
    #expect(desk.land([Self.record(2, Self.event(2))]) == .fenced([Fixture.id]))
    desk.next.next = Offset(9)
    #expect(desk.land([Self.record(9, Self.event(9))]) == .fenced([Fixture.id]))
    for _ in 0..<2 { #expect(try books.acceptLandingGap("shop-events", Fixture.id, to: 9, operator: "ada") == nil) }
    var heir = try Desk(fixture, "b")
    #expect(heir.next.next == Offset(9))
    #expect(heir.land([Self.record(9, Self.event(9))]) == .committed)
    #expect(try fixture.rows("SELECT range_agg(int8range(from_offset, to_offset)), sum(landed + hole_count) FROM tidemark.landing_ledger") == [["{[0,10)}", "10"]])
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.ledger") == [["0"]])
  }
}

@Suite struct RawPartitionTests {
  private func table(_ day: Int64, _ existing: [RawPartition] = []) -> RawPartition { .table(for: day, today: 20_000, existing: existing) }

  @Test func recentDaysAreApartAndOldOnesByMonth() {
    // 20,000 is 2024-10-04.
    #expect(table(19_999) == RawPartition(span: .day, from: 19_999, to: 20_000))
    #expect(table(20_100).span == .day)
    // Month over on 2024-09-01, 33 days ago: still days. July: a month.
    #expect(table(19_960).span == .day)
    let july = table(19_906)
    #expect(july.span == .month && july.to - july.from == 31)
    #expect(july.name("shop") == "month_202407_shop" && table(19_999).name("shop") == "day_20241003_shop")
    #expect(RawPartition.bound(july.to) == "2024-08-01 00:00:00+00")
  }

  @Test func tablesNeverOverlap() {
    var existing = [RawPartition(span: .day, from: 19_910, to: 19_911)]
    #expect(table(19_906, existing) == RawPartition(span: .day, from: 19_906, to: 19_907))
    #expect(table(19_910, existing) == existing[0])
    existing = []
    for day in stride(from: Int64(0), to: 20_400, by: 7) {
      let made = table(day, existing)
      #expect(made.from <= day && day < made.to)
      if !existing.contains(made) {
        #expect(!existing.contains { $0.from < made.to && made.from < $0.to })
        existing.append(made)
      }
    }
    // 54 years of weekly events: months, and days for what is recent.
    #expect(existing.count < 54 * 12 + 80)
  }
}
