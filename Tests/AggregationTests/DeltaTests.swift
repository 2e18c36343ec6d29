import Testing

@testable import Aggregation

@Suite struct DeltaTests {
  static func sample(_ from: Int64, _ to: Int64) -> Delta {
    var delta = Delta(from: Offset(from), to: Offset(to), aggregateCount: 2)
    delta.watermark = EventTime(microseconds: 1_700_000_000_000_000 + to)
    delta.ledger.applied = to - from - 2
    delta.ledger.gap = 1
    delta.ledger.late = 1
    delta.ledger.earliest = EventTime(microseconds: from)
    delta.ledger.latest = EventTime(microseconds: to)
    delta.aggregates[0].groups = [
      GroupIncrement(
        key: RowKey(windowStart: EventTime(microseconds: 86_400_000_000), fields: ["kafka", "größe"]),
        windowEnd: EventTime(microseconds: 2 * 86_400_000_000), keyHash: 7,
        measures: [.count(3), .sum(-(Int128(1) << 90), present: 2), .minimum(-5), .maximum(nil), .distinct([1, 2, UInt64(to) << 40])])
    ]
    delta.aggregates[1].late = [LateIncrement(key: RowKey(windowStart: EventTime(microseconds: 0), fields: []), count: 1)]
    delta.quarantine = [
      QuarantinedEvent(
        offset: Offset(from), reason: .late, field: "created_at", timestamp: -1, eventTime: nil, payload: [0, 255], payloadBytes: 2,
        key: [1])
    ]
    delta.identifiers = [SeenIdentifier(hash: 1, seconds: 2), SeenIdentifier(hash: .max, seconds: .max)]
    return delta
  }

  @Test func roundTrip() throws {
    let delta = Self.sample(10, 20)
    #expect(try DeltaCodec.decode(DeltaCodec.encode(delta, .all)) == delta)
    var bare = delta
    bare.identifiers = []
    bare.quarantine = []
    #expect(try DeltaCodec.decode(DeltaCodec.encode(delta, .state)) == bare)
  }

  @Test func everyTruncationIsRefused() {
    let bytes = DeltaCodec.encode(Self.sample(10, 20), .all)
    for n in 0..<bytes.count {
      #expect(throws: DeltaCodec.DecodingError.self) { try DeltaCodec.decode(Array(bytes[..<n])) }
    }
    #expect(throws: DeltaCodec.DecodingError.self) { try DeltaCodec.decode(bytes + [0]) }
  }

  /// Whatever a byte is changed to, decoding ends with a Delta or an error and takes no absurd memory.
  @Test func anyFlippedByteIsSurvived() {
    let bytes = DeltaCodec.encode(Self.sample(10, 20), .all)
    for n in 0..<bytes.count {
      for flip: UInt8 in [0x01, 0x80, 0xFF] {
        var broken = bytes
        broken[n] ^= flip
        _ = try? DeltaCodec.decode(broken)
      }
    }
  }

  @Test func compositionIsAssociative() {
    let (a, b, c) = (Self.sample(10, 20), Self.sample(20, 31), Self.sample(31, 47))
    func compose(_ deltas: [Delta]) -> Delta {
      var pending = PendingDelta(at: deltas[0].from, aggregateCount: 2)
      for delta in deltas { pending.append(delta) }
      return pending.take()
    }
    var left = compose([compose([a, b]), c])
    let right = compose([a, compose([b, c])])
    #expect(left.canonical() == right.canonical())
    #expect(left.ledger.total == 37)
    #expect(left.from == Offset(10) && left.to == Offset(47))
    left.identifiers = []
    #expect(compose([a, b, c]).canonical() == left.canonical())
  }

  @Test func chunksComposeAndLoseClosedWindows() throws {
    let chunks = [Self.sample(10, 20), Self.sample(25, 31)].map { DeltaCodec.encode($0, .state) }
    let whole = try #require(try DeltaCodec.compose(chunks, dropping: nil))
    let delta = try DeltaCodec.decode(whole)
    #expect(delta.to == Offset(26) || delta.to == Offset(31))
    #expect(delta.aggregates[0].groups.count == 1)
    #expect(try DeltaCodec.compose(chunks, dropping: EventTime(microseconds: 2 * 86_400_000_000)) == nil)
  }

  /// "é" can be one character or two, and Swift calls both equal; PostgreSQL and the hashes of groups do not.
  @Test func keysThatOnlyLookAlikeStayApart() {
    let start = EventTime(microseconds: 0), end = EventTime(microseconds: 60_000_000)
    let looks = ["caf\u{E9}", "cafe\u{301}"]
    var delta = Delta(from: Offset(0), to: Offset(2), aggregateCount: 1)
    delta.ledger.applied = 2
    for (n, text) in looks.enumerated() {
      let key = RowKey(windowStart: start, fields: [text])
      delta.aggregates[0].groups.append(GroupIncrement(key: key, windowEnd: end, keyHash: UInt64(n), measures: [.distinct([7])]))
      delta.aggregates[0].late.append(LateIncrement(key: key, count: 1))
    }
    let part = FlushRequest.Part(
      partition: PartitionID(topic: "t", partition: 0), epoch: Epoch(1), watermarkBefore: nil, delta: delta, endOffset: nil)
    #expect(MergedRow.merge([part, part], aggregate: 0).map(\.values) == [[.number(2)], [.number(2)]])
    #expect(MergedRow.merge([part], aggregate: 0).map { Array($0.key.fields[0].utf8) } == [Array("cafe\u{301}".utf8), Array("caf\u{E9}".utf8)])
    var pending = PendingDelta(at: Offset(0), aggregateCount: 1)
    pending.append(delta)
    #expect(pending.delta.aggregates[0].late.map(\.count) == [1, 1])
  }
}
