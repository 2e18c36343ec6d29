import Aggregation
import Decoding
import Testing

/// Values at their edges.
@Suite struct ValueTests {
  /// A topology whose partition key is a number, with another number as a key of rows.
  static func numbered(_ time: TimeFormat = .epochSeconds) -> Plan {
    Plan(
      topology: "test", fingerprint: "f", topics: ["t"], idPath: nil, timePath: ["at"], timeFormat: time,
      fields: [
        FieldPlan(name: "member", path: ["member"], kind: .integer, presence: .optional),
        FieldPlan(name: "level", path: ["level"], kind: .integer, presence: .defaulted("0")),
        FieldPlan(name: "amount", path: ["cart", "amount"], kind: .integer, presence: .optional),
      ],
      partitionKey: 0,
      aggregates: [
        AggregatePlan(
          name: "days", window: .calendarDays(1, zone: .utc), by: [1], filter: [],
          measures: [
            MeasurePlan(name: "n", kind: .count), MeasurePlan(name: "users", kind: .distinct(field: 0)), MeasurePlan(name: "low", kind: .minimum(field: 2)),
            MeasurePlan(name: "total", kind: .sum(field: 2)),
          ], groupLimit: 10)
      ],
      allowedLateness: 600_000_000, deduplicateWithin: nil, maxFutureSkew: 300_000_000)
  }

  /// Decodes by a decoder that has decoded nothing before, and folds.
  private func fold(_ payloads: [String], key: String?, _ plan: Plan = numbered()) -> Delta {
    let messages = payloads.enumerated().map {
      RecordBuffer.Message(offset: Int64($0.offset), timestamp: 1_700_000_000_000, key: key.map { Array($0.utf8) }, payload: Array($0.element.utf8))
    }
    let decoder = Decoder(plan: plan, seed: 42)
    var batch = EventBatch(capacity: payloads.count, fieldCount: plan.fields.count)
    var processor = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
    return RecordBuffer(messages).withRecords { records in
      decoder.decode(records, into: &batch)
      return processor.apply(batch, records)
    }
  }

  /// The first text that a decoder keeps may be empty: it crashed upon that, and again with every restart.
  @Test func theFirstTextOfADecoderMayBeEmpty() {
    let event = #"{"department":"","type":"view","id":"a","user":"u1","at":"2023-11-14T22:13:20Z"}"#
    let delta = fold([event], key: "u1", Streams.plan())
    #expect(delta.ledger.applied == 1)
    #expect(delta.aggregates[0].groups.map(\.key.fields) == [["", "view"]])
  }

  /// Another number of the event was written over the partition key's text before it was compared.
  @Test func aNumberIsComparedWithTheKafkaKeyWhateverFollowsIt() {
    #expect(fold([#"{"at":1700000000,"member":77,"level":5}"#, #"{"at":1700000000,"level":55,"member":77}"#], key: "77").ledger.misrouted == 0)
    #expect(fold([#"{"at":1700000000,"member":5,"level":77}"#, #"{"at":1700000000,"member":7}"#], key: "77").ledger.misrouted == 2)
  }

  /// Nobody counts members of it, so it may be in any partition.
  @Test(arguments: [nil, "", "77"])
  func anEventWithoutTheOptionalPartitionKeyIsNotMisrouted(key: String?) {
    let delta = fold([#"{"at":1700000000,"level":5}"#, #"{"at":1700000000,"member":null}"#, #"{"at":1700000000,"member":8,"member":null}"#], key: key)
    #expect(delta.ledger.misrouted == 0)
    #expect(delta.ledger.applied == 3)
  }

  /// Of equal keys the last one counts, also when what it holds is nothing, or something else.
  @Test(arguments: ["{}", "null", "7", "{\"other\":1}", "{\"amount\":null}"])
  func theLastOfEqualObjectsCounts(last: String) {
    let delta = fold([#"{"at":1700000000,"cart":{"amount":5},"cart":\#(last)}"#], key: nil)
    #expect(delta.ledger.applied == 1)
    #expect(delta.aggregates[0].groups[0].measures == [.count(1), .distinct([]), .minimum(nil), .sum(0, present: 0)])
  }

  /// Both ends of 64 bits are integers; beyond them is refused.
  @Test func theWholeRangeOfIntegersCounts() {
    let amounts = ["-9223372036854775808", "9223372036854775807", "-9223372036854775809", "9223372036854775808", "-1"]
    let delta = fold(amounts.map { "{\"at\":1700000000,\"cart\":{\"amount\":\($0)}}" }, key: nil)
    #expect(delta.quarantine.map(\.reason) == [.numberOutOfRange, .numberOutOfRange])
    #expect(delta.aggregates[0].groups[0].measures == [.count(3), .distinct([]), .minimum(.min), .sum(-2, present: 3)])
  }

  /// What languages print of their clocks has more digits than a microsecond (Python's time.time(), JavaScript's
  /// performance.now()); those of RFC 3339 texts are cut off as well.
  @Test(arguments: [
    (.epochSeconds, "1700000000.1234567", 1_700_000_000_123_456), (.epochSeconds, "1.7000000001234567e9", 1_700_000_000_123_456),
    (.epochMilliseconds, "1700000000123.4567", 1_700_000_000_123_456), (.epochMicroseconds, "1700000000123456.8", 1_700_000_000_123_456),
    (.epochSeconds, "0.00000001", 0),
  ] as [(TimeFormat, String, Int64)])
  func aTimeFinerThanAMicrosecondIsCut(format: TimeFormat, text: String, time: Int64) {
    let delta = fold(["{\"at\":\(text)}"], key: nil, Self.numbered(format))
    #expect(delta.ledger.applied == 1)
    #expect(delta.watermark == EventTime(microseconds: time))
  }
}
