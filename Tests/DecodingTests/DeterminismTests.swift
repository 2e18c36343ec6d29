import Aggregation
import Decoding
import Testing

/// Invariant 3: a partition's state after offset n is a pure function of its log below n.
@Suite struct DeterminismTests {
  /// 40 streams, each folded whole and then in 75 random cuts: 3,000 cuts, one result.
  @Test(arguments: 0..<40)
  func anyCutIntoBatchesGivesTheSameDelta(seed: Int) {
    let plan = Streams.plan(groupLimit: seed % 3 == 0 ? 4 : 100_000)
    let messages = Streams.messages(300, seed: UInt64(seed))
    let (whole, state) = Streams.fold(plan, messages, cuts: [])
    #expect(whole.ledger.total == whole.to.value)
    #expect(whole.ledger.applied > 0 && whole.ledger.gap > 0)
    var dice = Dice(UInt64(seed) &* 31)
    for _ in 0..<75 {
      let cuts = (0..<Int(dice.below(20))).map { _ in Int(dice.below(300)) }.sorted()
      let (cut, cutState) = Streams.fold(plan, messages, cuts: cuts)
      #expect(cut == whole, "cut at \(cuts)")
      #expect(cutState == state, "state after cuts at \(cuts)")
    }
  }

  /// State restored from Deltas, at any point and through the codec, goes on exactly as the original does.
  @Test(arguments: 0..<40)
  func aRestoredPartitionGoesOnAsTheOriginal(seed: Int) throws {
    let plan = Streams.plan(groupLimit: seed % 2 == 0 ? 5 : 100_000)
    let messages = Streams.messages(300, seed: UInt64(seed) &+ 1000)
    let (whole, _) = Streams.fold(plan, messages, cuts: [])
    var dice = Dice(UInt64(seed))
    let split = Int(dice.below(300))
    let decoder = Decoder(plan: plan, seed: 42)
    var batch = EventBatch(capacity: 300, fieldCount: plan.fields.count)
    var first = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
    var pending = PendingDelta(at: Offset(0), aggregateCount: plan.aggregates.count)
    RecordBuffer(messages[..<split]).withRecords { records in
      decoder.decode(records, into: &batch)
      pending.append(first.apply(batch, records))
    }
    let bytes = DeltaCodec.encode(first.snapshot(), .all)
    var second = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
    second.restore(try DeltaCodec.decode(bytes))
    second.resume(at: first.nextOffset, watermark: first.watermark)
    RecordBuffer(messages[split...]).withRecords { records in
      decoder.decode(records, into: &batch)
      pending.append(second.apply(batch, records))
    }
    #expect(pending.take().canonical() == whole)
  }

  /// A takeover without ids rebuilds them by re-reading from where the horizon begins.
  @Test(arguments: 0..<40)
  func identifiersAreRebuiltFromTheLog(seed: Int) throws {
    let plan = Streams.plan()
    let messages = Streams.messages(300, seed: UInt64(seed) &+ 5000)
    let (whole, _) = Streams.fold(plan, messages, cuts: [])
    let decoder = Decoder(plan: plan, seed: 42)
    var batch = EventBatch(capacity: 300, fieldCount: plan.fields.count)
    var first = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
    var pending = PendingDelta(at: Offset(0), aggregateCount: plan.aggregates.count)
    // Flushes of 20 records; the ledger remembers offset and watermark before each.
    var ledger: [(offset: Offset, before: EventTime?, after: EventTime?)] = []
    for begin in stride(from: 0, to: 200, by: 20) {
      let before = (first.nextOffset, first.watermark)
      RecordBuffer(messages[begin..<(begin + 20)]).withRecords { records in
        decoder.decode(records, into: &batch)
        pending.append(first.apply(batch, records))
      }
      ledger.append((before.0, before.1, first.watermark))
    }
    var chunk = first.snapshot()
    chunk.identifiers = []
    var second = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
    second.restore(chunk)
    second.resume(at: first.nextOffset, watermark: first.watermark)
    let mark0 = first.watermark
    let bound = try #require(mark0).microseconds - 120_000_000
    let horizon = try #require(ledger.first { ($0.after?.microseconds ?? .min) >= bound })
    var mark = horizon.before
    let again = messages.filter { $0.offset >= horizon.offset.value }
    var reached = false
    RecordBuffer(again).withRecords { records in
      decoder.decode(records, into: &batch)
      reached = second.rebuildIdentifiers(batch, records, below: first.nextOffset, mark: &mark)
      if reached { pending.append(second.apply(batch, records)) }
    }
    #expect(reached)
    #expect(pending.take().canonical() == whole)
  }

  /// A producer sets the record's timestamp to whatever it likes: nanoseconds, or no time at all. A trap here would come
  /// back with every restart.
  @Test(arguments: [-1, Int64.min, 1_700_000_000_000_000_000, Int64.max / 1000, Int64.max])
  func anyRecordTimestampIsSurvived(timestamp: Int64) {
    var messages = Streams.messages(50, seed: 3)
    for i in messages.indices { messages[i].timestamp = timestamp }
    let (whole, _) = Streams.fold(Streams.plan(), messages, cuts: [20])
    #expect(whole.ledger.total == whole.to.value)
    #expect(whole.ledger.applied > 0)
    #expect(!whole.quarantine.contains { $0.reason == .farFuture })
  }
}
