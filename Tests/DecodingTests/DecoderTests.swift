import Aggregation
import Decoding
import Testing

@Suite struct DecoderTests {
  struct Seen: Equatable { var status: UInt8; var field: UInt8; var time: Int64; var amount: Int64?; var price: Int64?; var department: String }

  func decode(_ payload: String?, key: String? = "u1") -> Seen {
    let plan = Streams.plan()
    let decoder = Decoder(plan: plan, seed: 1)
    var batch = EventBatch(capacity: 1, fieldCount: plan.fields.count)
    let buffer = RecordBuffer([.init(offset: 0, timestamp: 0, key: key.map { Array($0.utf8) }, payload: payload.map { Array($0.utf8) })])
    return buffer.withRecords { records in
      decoder.decode(records, into: &batch)
      let ok = batch.status[0] == 0
      return Seen(
        status: batch.status[0], field: batch.failedField[0], time: batch.times[0],
        amount: ok && batch.fields[3].present[0] == 1 ? batch.fields[3].values[0] : nil,
        price: ok && batch.fields[4].present[0] == 1 ? batch.fields[4].values[0] : nil,
        department: ok ? String(decoding: UnsafeBufferPointer(start: batch.fields[2].texts[0], count: Int(batch.fields[2].lengths[0])), as: UTF8.self) : "")
    }
  }

  func event(_ middle: String = "", at: String = "\"2023-11-14T22:13:20Z\"") -> String {
    "{\"id\":\"a\",\"type\":\"view\",\"user\":\"u1\",\(middle)\"at\":\(at)}"
  }

  @Test func readsWhatThePlanNames() {
    let seen = decode(event("\"department\":\"sales\",\"properties\":{\"x\":[1,{\"amount\":9}],\"amount\":-12,\"price\":1.50e1},"))
    #expect(seen == Seen(status: 0, field: 255, time: Streams.base, amount: -12, price: 1500, department: "sales"))
  }

  @Test func absentAndNullReadAsTheDefault() {
    #expect(decode(event()).department == "none")
    #expect(decode(event("\"department\":null,")).department == "none")
    #expect(decode(event("\"properties\":{\"amount\":null},")).amount == nil)
  }

  @Test func theLastOfEqualKeysCounts() {
    #expect(decode(event("\"department\":\"a\",\"department\":\"b\",")).department == "b")
  }

  @Test func escapesAreResolvedInKeysAndValues() {
    #expect(decode(event("\"depart\\u006dent\":\"s\\u00e4l\\\"es\",")).department == "säl\"es")
  }

  @Test(arguments: [
    ("2023-11-14T22:13:20Z", 0), ("2023-11-14T22:13:20.5Z", 500_000), ("2023-11-14T22:13:20.123456789z", 123_456),
    ("2023-11-15T00:13:20+02:00", 0), ("2023-11-14t17:43:20-04:30", 0), ("2023-11-14 22:13:20Z", 0),
  ] as [(String, Int64)])
  func readsRFC3339(text: String, plus: Int64) {
    #expect(decode(event(at: "\"\(text)\"")).time == Streams.base + plus)
  }

  @Test(arguments: [
    "2023-02-29T00:00:00Z", "2023-11-14T24:00:00Z", "2023-11-14T22:13:20", "2023-11-14", "20231114T221320Z", "2023-11-14T22:13:20.Z",
    "2023-11-14T22:13:20+2:00", "2023-11-14T22:13:20Zx", "", "yesterday",
  ])
  func refusesWhatIsNotATime(text: String) {
    let seen = decode(event(at: "\"\(text)\""))
    #expect(seen.status == QuarantineReason.invalidTime.rawValue)
    #expect(seen.field == EventBatch.timeField)
  }

  @Test(arguments: [
    ("", QuarantineReason.emptyPayload), (" ", .invalidJSON), ("{\"id\":", .invalidJSON), ("{\"id\":\"a\"", .invalidJSON),
    ("nonsense", .invalidJSON), ("[1]", .notAnObject), ("7", .notAnObject), ("{}", .missingField),
    ("{\"id\":\"a\",\"type\":\"v\",\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\"} {}", .invalidJSON),
    ("{\"id\":\"a\",\"type\":7,\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\"}", .wrongType),
    ("{\"id\":\"a\",\"type\":{\"a\":1},\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\"}", .wrongType),
    ("{\"id\":\"a\",\"type\":\"\\u0000\",\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\"}", .nulCharacter),
    ("{\"id\":\"a\",\"type\":\"v\",\"user\":\"u\",\"at\":\"1969-12-31T23:59:59Z\"}", .timeOutOfRange),
    ("{\"id\":\"a\",\"type\":\"v\",\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\",\"properties\":{\"amount\":1e3}}", .wrongType),
    ("{\"id\":\"a\",\"type\":\"v\",\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\",\"properties\":{\"amount\":9223372036854775808}}", .numberOutOfRange),
    ("{\"id\":\"a\",\"type\":\"v\",\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\",\"properties\":{\"price\":0.001}}", .numberOutOfRange),
    ("{\"id\":\"a\",\"type\":\"v\",\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\",\"paid\":\"true\"}", .wrongType),
    ("{\"type\":\"v\",\"user\":\"u\",\"at\":\"2023-11-14T22:13:20Z\"}", .missingField),
  ] as [(String, QuarantineReason)])
  func refusesWithAReason(payload: String, reason: QuarantineReason) {
    #expect(decode(payload).status == reason.rawValue)
  }

  @Test func longGroupKeysAreRefusedAndTombstonesAreNot() {
    let long = String(repeating: "x", count: Limits.keyField + 1)
    #expect(decode(event("\"department\":\"\(long)\",")).status == QuarantineReason.oversizedField.rawValue)
    #expect(decode(nil).status == EventBatch.tombstone)
  }

  /// No input, however broken, may crash the decoder or be taken for an event when a byte of structure is missing.
  @Test func everyTruncationIsRefused() {
    let whole = event("\"department\":\"sales\",\"properties\":{\"amount\":-12,\"price\":1.5},")
    for n in 1..<whole.utf8.count {
      #expect(decode(String(whole.prefix(n))).status == QuarantineReason.invalidJSON.rawValue, "\(n) bytes")
    }
  }
}
