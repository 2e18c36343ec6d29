import Aggregation
import Foundation
import Postgres
import Testing
import Warehouse

@Suite struct FlushTests {
  private func acquire(_ warehouse: Warehouse, _ ids: [PartitionID] = [Fixture.id], at first: Int64 = 0) throws -> [AcquiredPartition] {
    try warehouse.acquire(ids) { _ in Offset(first) }
  }

  @Test func increments_add_up_and_absent_values_stay_null() throws {
    let fixture = try Fixture("adds")
    let warehouse = fixture.warehouse()
    #expect(try warehouse.open() == 4711)
    let partition = try acquire(warehouse, at: 100)[0]
    #expect(partition.nextOffset == Offset(100))
    #expect(partition.epoch == Epoch(1))
    #expect(partition.horizon == nil)
    #expect(warehouse.flush(Fixture.request(1, partition, Fixture.delta(from: 100, count: 3, amount: nil))) == .committed)
    let query = "SELECT shop, kind, n, users, total, low, high, mean_sum, mean_count, mean::numeric(9,3) FROM analytics.by_shop"
    #expect(try fixture.rows(query) == [["s", "k", "3", "1", nil, nil, nil, nil, "0", nil]])
    #expect(warehouse.flush(Fixture.request(2, partition, Fixture.delta(from: 103, count: 2, members: [2, 3], amount: 7))) == .committed)
    #expect(try fixture.rows(query) == [["s", "k", "5", "3", "7", "0.70", "7", "0.07", "1", "0.070"]])
    #expect(warehouse.flush(Fixture.request(3, partition, Fixture.delta(from: 105, count: 1, members: [], amount: -9))) == .committed)
    #expect(try fixture.rows(query) == [["s", "k", "6", "3", "-2", "-0.90", "7", "-0.02", "2", "-0.010"]])
    #expect(try fixture.rows("SELECT dau FROM analytics.overall") == [["3"]])
    #expect(
      try fixture.rows("SELECT from_offset, to_offset, applied FROM tidemark.ledger ORDER BY 1")
        == [["100", "103", "3"], ["103", "105", "2"], ["105", "106", "1"]])
  }

  @Test func aSecondOwnerFencesTheFirst() throws {
    let fixture = try Fixture("fences")
    let zombie = fixture.warehouse("zombie"), heir = fixture.warehouse("heir")
    let old = try acquire(zombie)[0]
    #expect(zombie.flush(Fixture.request(1, old, Fixture.delta(from: 0, count: 4))) == .committed)
    let new = try acquire(heir)[0]
    #expect(new.epoch == Epoch(2))
    #expect(new.previousEpoch == old.epoch)
    #expect(new.nextOffset == Offset(4))
    #expect(zombie.flush(Fixture.request(2, old, Fixture.delta(from: 4, count: 1))) == .fenced([Fixture.id]))
    #expect(try fixture.rows("SELECT n FROM analytics.by_shop") == [["4"]])
    #expect(heir.flush(Fixture.request(1, new, Fixture.delta(from: 4, count: 1))) == .committed)
    #expect(try fixture.rows("SELECT n, (SELECT owner FROM tidemark.partition) FROM analytics.by_shop") == [["5", "heir"]])
  }

  @Test func oneFencedPartKeepsTheWholeRequestOut() throws {
    let fixture = try Fixture("partly")
    let a = fixture.warehouse("a"), b = fixture.warehouse("b")
    let other = PartitionID(topic: "shop", partition: 1)
    let mine = try acquire(a, [Fixture.id, other])
    _ = try acquire(b, [other])
    let request = FlushRequest(
      id: 1,
      parts: mine.map {
        FlushRequest.Part(partition: $0.partition, epoch: $0.epoch, watermarkBefore: nil, delta: Fixture.delta(from: 0, count: 1), endOffset: nil)
      })
    #expect(a.flush(request) == .fenced([other]))
    #expect(try fixture.rows("SELECT count(*) FROM analytics.by_shop") == [["0"]])
    #expect(a.flush(FlushRequest(id: 2, parts: [request.parts[0]])) == .committed)
  }

  @Test func aRepeatedFlushIsWrittenOnce() throws {
    let fixture = try Fixture("repeats")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    let request = Fixture.request(1, partition, Fixture.delta(from: 0, count: 3))
    #expect(warehouse.resolve(request) == .failed("the flush was not committed"))
    #expect(warehouse.flush(request) == .committed)
    #expect(warehouse.resolve(request) == .committed)
    #expect(warehouse.flush(request) == .committed)
    #expect(try fixture.rows("SELECT n FROM analytics.by_shop") == [["3"]])
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.ledger") == [["1"]])
  }

  @Test func aConnectionCutBeforeCommitWritesNothing() throws {
    let fixture = try Fixture("cut")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    // A table lock holds the flush in its middle, where its backend is ended.
    let blocker = try Connection(fixture.target, applicationName: "blocker")
    try blocker.script("BEGIN; LOCK TABLE tidemark.ledger IN ACCESS EXCLUSIVE MODE")
    let target = fixture.target
    let killing = Thread {
      guard let killer = try? Connection(target, applicationName: "killer") else { return }
      let end = ContinuousClock.now + .seconds(30)
      var killed = false
      while !killed, ContinuousClock.now < end {
        let rows = try? killer.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark%' AND wait_event_type = 'Lock'")
        killed = rows?.isEmpty == false
      }
    }
    killing.start()
    guard case .failed = warehouse.flush(Fixture.request(1, partition, Fixture.delta(from: 0, count: 3))) else {
      Issue.record("the flush did not fail")
      return
    }
    try blocker.script("ROLLBACK")
    #expect(try fixture.rows("SELECT count(*) FROM analytics.by_shop") == [["0"]])
    #expect(warehouse.flush(Fixture.request(1, partition, Fixture.delta(from: 0, count: 3))) == .committed)
  }

  @Test func aRowThatDoesNotFitIsSetAsideAndTheRestIsWritten() throws {
    let fixture = try Fixture("rejects")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    try fixture.sql.script("ALTER TABLE analytics.by_shop ADD CONSTRAINT no_shop_x CHECK (shop <> 'x')")
    var delta = Fixture.delta(from: 0, count: 1, shop: "a")
    for shop in ["b", "x", "c", "d"] {
      delta.aggregates[0].groups += Fixture.delta(from: 0, count: 1, shop: shop).aggregates[0].groups
    }
    delta.to = Offset(5)
    delta.ledger.applied = 5
    #expect(warehouse.flush(Fixture.request(1, partition, delta)) == .committed)
    #expect(try fixture.rows("SELECT string_agg(shop, '' ORDER BY shop) FROM analytics.by_shop") == [["abcd"]])
    #expect(
      try fixture.rows("SELECT aggregate, key[1], increments[1], increments[3], sql_state FROM tidemark.rejected_row")
        == [["by_shop", "x", "n += 1", "total += 5 over 1", "23514"]])
  }

  @Test func refusedEventsAndLateCountsAreRows() throws {
    let fixture = try Fixture("books")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    var delta = Fixture.delta(from: 0, count: 1)
    delta.to = Offset(4)
    delta.ledger.quarantined = 1
    delta.ledger.late = 2
    delta.quarantine = [
      QuarantinedEvent(
        offset: Offset(2), reason: .invalidJSON, field: "", timestamp: 1_700_000_000_000, eventTime: nil, payload: [0, 1, 2], payloadBytes: 9,
        key: [65])
    ]
    let key = RowKey(windowStart: EventTime(microseconds: Fixture.base), fields: ["s", "k"])
    let other = RowKey(windowStart: EventTime(microseconds: Fixture.base), fields: ["t", "l"])
    delta.aggregates[0].late = [LateIncrement(key: key, count: 2), LateIncrement(key: other, count: 5)]
    delta.aggregates[1].late = [LateIncrement(key: RowKey(windowStart: EventTime(microseconds: 0), fields: []), count: 2)]
    #expect(warehouse.flush(Fixture.request(1, partition, delta)) == .committed)
    #expect(
      try fixture.rows("SELECT \"offset\", reason, encode(payload, 'hex'), payload_bytes, encode(key, 'escape') FROM tidemark.quarantine")
        == [["2", "invalid_json", "000102", "9", "A"]])
    var again = delta
    (again.from, again.to) = (Offset(4), Offset(8))
    again.quarantine[0].offset = Offset(6)
    #expect(warehouse.flush(Fixture.request(2, partition, again)) == .committed)
    #expect(
      try fixture.rows("SELECT aggregate, key, late FROM tidemark.late_count ORDER BY 1, 2")
        == [["by_shop", "{s,k}", "4"], ["by_shop", "{t,l}", "10"], ["overall", "{}", "4"]])
  }

  @Test func anUnbalancedLedgerIsRefusedByTheDatabase() throws {
    let fixture = try Fixture("unbalanced")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    var delta = Fixture.delta(from: 0, count: 3)
    delta.ledger.applied = 2
    guard case .fatal(let reason) = warehouse.flush(Fixture.request(1, partition, delta)) else {
      Issue.record("a flush that loses an offset was written")
      return
    }
    #expect(reason.contains("every_offset_is_in_one_bucket"))
    #expect(try fixture.rows("SELECT next_offset FROM tidemark.partition") == [["0"]])
  }

  /// A backfill of old events is late to the last one, each in a row of its own. What takes longer than the statement's
  /// timeout is tried again for ever.
  @Test func manyLateCountsAreWrittenInReasonableTime() throws {
    let fixture = try Fixture("manylate")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    let count = 100_000
    var delta = Delta(from: Offset(0), to: Offset(Int64(count)), aggregateCount: 2)
    delta.ledger.late = Int64(count)
    delta.aggregates[0].late = (0..<count).map {
      LateIncrement(key: RowKey(windowStart: EventTime(microseconds: Int64($0 / 10) * Fixture.hour), fields: ["shop \($0 % 10)", "kind"]), count: 1)
    }
    delta.aggregates[1].late = [LateIncrement(key: RowKey(windowStart: EventTime(microseconds: 0), fields: []), count: Int64(count))]
    let begin = ContinuousClock.now
    #expect(warehouse.flush(Fixture.request(1, partition, delta)) == .committed)
    #expect(begin.duration(to: .now) < .seconds(15))
    #expect(
      try fixture.rows("SELECT aggregate, count(*), count(DISTINCT key), sum(late) FROM tidemark.late_count GROUP BY 1 ORDER BY 1")
        == [["by_shop", "\(count)", "10", "\(count)"], ["overall", "1", "1", "\(count)"]])
  }

  @Test func aRecordTimestampBeyondTheCalendarIsNone() throws {
    let fixture = try Fixture("recordtimes")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    let stamps = [-1, 1_700_000_000_000, 9_223_372_036_854_775, 1_700_000_000_000_000_000, Int64.max]
    var delta = Delta(from: Offset(0), to: Offset(Int64(stamps.count)), aggregateCount: 2)
    delta.ledger.quarantined = Int64(stamps.count)
    delta.quarantine = stamps.enumerated().map { n, stamp in
      QuarantinedEvent(
        offset: Offset(Int64(n)), reason: .invalidJSON, field: "", timestamp: stamp, eventTime: nil, payload: [], payloadBytes: 0, key: [])
    }
    #expect(warehouse.flush(Fixture.request(1, partition, delta)) == .committed)
    #expect(
      try fixture.rows("SELECT record_time IS NULL FROM tidemark.quarantine ORDER BY \"offset\"").map { $0[0] } == ["t", "f", "f", "t", "t"])
  }

  /// The connection is gone, the COMMIT still on its way: the offset row says "not yet", and the repeated flush waits for
  /// the row's lock until the first one's end is certain.
  @Test(arguments: [true, false]) func aCommitThatArrivesAfterItWasAskedForIsNotRepeated(arrives: Bool) throws {
    let fixture = try Fixture("straggler\(arrives)")
    let warehouse = fixture.warehouse()
    let partition = try acquire(warehouse)[0]
    let request = Fixture.request(1, partition, Fixture.delta(from: 0, count: 3))
    // Safety: the thread alone uses it from its start on.
    nonisolated(unsafe) let straggler = try Connection(fixture.target, applicationName: "straggler")
    try straggler.script("BEGIN; UPDATE tidemark.partition SET next_offset = 3")
    #expect(warehouse.resolve(request) == .failed("the flush was not committed"))
    let target = fixture.target
    let ending = Thread {
      guard let watcher = try? Connection(target, applicationName: "watcher") else { return }
      let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark%' AND wait_event_type = 'Lock'"
      let end = ContinuousClock.now + .seconds(30)
      while (try? watcher.query(waiting))?.isEmpty != false, ContinuousClock.now < end {}
      _ = try? straggler.script(arrives ? "COMMIT" : "ROLLBACK")
    }
    ending.start()
    #expect(warehouse.flush(request) == .committed)
    #expect(try fixture.rows("SELECT next_offset FROM tidemark.partition") == [["3"]])
    #expect(try fixture.rows("SELECT count(*) FROM tidemark.ledger") == [[arrives ? "0" : "1"]])
  }
}
