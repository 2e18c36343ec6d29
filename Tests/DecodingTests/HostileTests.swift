import Aggregation
import Decoding
import Foundation
import Testing

/// A topic that means harm: what it can cost is bounded, what is refused is quarantined, and everything is counted.
@Suite(.serialized) struct HostileTests {
  private static let valid = #""id":"a","type":"view","user":"u1","at":"2023-11-14T22:13:20Z""#

  private func fold(_ payloads: [[UInt8]], keys: [[UInt8]]? = nil, plan: Plan = Streams.plan()) -> Delta {
    let decoder = Decoder(plan: plan, seed: 42)
    var processor = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
    var batch = EventBatch(capacity: 256, fieldCount: plan.fields.count)
    var pending = PendingDelta(at: Offset(0), aggregateCount: plan.aggregates.count)
    for begin in stride(from: 0, to: payloads.count, by: 256) {
      let messages = (begin..<min(begin + 256, payloads.count)).map {
        RecordBuffer.Message(offset: Int64($0), timestamp: 1_700_000_000_000, key: keys?[$0] ?? Array("u1".utf8), payload: payloads[$0])
      }
      RecordBuffer(messages).withRecords { records in
        decoder.decode(records, into: &batch)
        pending.append(processor.apply(batch, records))
      }
    }
    return pending.take()
  }

  /// Resident bytes of this process.
  private var resident: Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return (Int(text.split(separator: " ").dropFirst().first ?? "") ?? 0) * 4096
  }

  /// Documents that parsers fall over: each is applied or refused with a reason, and the ledger accounts for every one.
  @Test func documentsThatMeanHarmAreCountedOneByOne() {
    let valid = Self.valid
    func nested(_ open: String, _ close: String, _ depth: Int) -> String { String(repeating: open, count: depth) + String(repeating: close, count: depth) }
    let documents: [(String, QuarantineReason?)] = [
      // Deep where nobody looks: skipped up to the parser's 1,024 levels.
      ("{\(valid),\"x\":\(nested("[", "]", 1000))}", nil),
      ("{\"x\":\(nested("{\"a\":", "}", 500).replacing("{\"a\":}", with: "{\"a\":1}")),\(valid)}", nil),
      (nested("[", "]", 100_000), .notAnObject),
      (String(repeating: "[", count: 1_000_000), .notAnObject),
      (String(repeating: "{\"a\":", count: 100_000), .invalidJSON),
      // Twenty thousand keys, twenty thousand times the same one.
      ("{\((0..<20_000).map { "\"k\($0)\":0," }.joined())\(valid)}", nil),
      ("{\(String(repeating: "\"type\":\"x\",", count: 20_000))\(valid)}", nil),
      // Huge texts: refused as a group's key, hashed as a member or an id, skipped elsewhere.
      ("{\(valid),\"department\":\"\(String(repeating: "d", count: 100_000))\"}", .oversizedField),
      ("{\(valid),\"id\":\"\(String(repeating: "i", count: 100_000))\"}", nil),
      ("{\(valid),\"id\":\"b\",\"note\":\"\(String(repeating: "\\u0041", count: 100_000))\"}", nil),
      // Numbers of a hundred thousand digits.
      ("{\(valid),\"properties\":{\"amount\":\(String(repeating: "9", count: 100_000))}}", .numberOutOfRange),
      ("{\(valid),\"properties\":{\"price\":1e999999999}}", .numberOutOfRange),
      ("{\(valid),\"properties\":{\"price\":0.\(String(repeating: "0", count: 100_000))1}}", .numberOutOfRange),
      ("{\(valid),\"at\":\"\(String(repeating: "2", count: 100_000))\"}", .invalidTime),
      (String(repeating: " ", count: Limits.payload + 1), .oversizedPayload),
      ("\u{0}\u{0}\u{0}", .invalidJSON),
    ]
    for (index, (document, reason)) in documents.enumerated() {
      let delta = fold([Array(document.utf8)])
      let kept = delta.quarantine.first
      #expect(delta.ledger.total == 1 && delta.quarantine.count == (reason == nil ? 0 : 1), "document \(index): \(delta.ledger)")
      #expect(kept?.reason == reason, "document \(index): \(String(describing: kept?.reason))")
      if let kept { #expect(kept.payload.count <= Limits.quarantinePayload && kept.payloadBytes == document.utf8.count) }
    }
  }

  /// The same 20 MB of refused documents again and again: memory does not follow what came.
  @Test func whatIsRefusedDoesNotAddUp() {
    let plan = Streams.plan()
    let decoder = Decoder(plan: plan, seed: 42)
    var batch = EventBatch(capacity: 20, fieldCount: plan.fields.count)
    let document = [UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)
    let buffer = RecordBuffer((0..<20).map { .init(offset: Int64($0), timestamp: 0, key: nil, payload: document) })
    func round() {
      var processor = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
      buffer.withRecords { records in
        decoder.decode(records, into: &batch)
        #expect(processor.apply(batch, records).ledger.quarantined == 20)
      }
    }
    round()
    let before = resident
    for _ in 0..<20 { round() }
    #expect(resident - before < 60 << 20, "grew by \((resident - before) >> 20) MiB")
  }

  /// Keys count as payloads do: 50,000 refused events with keys of 64 KiB would be 3 GB.
  @Test func theQuarantineOfAFlushIsBoundedByEverythingItHolds() {
    let key = [UInt8](repeating: 7, count: 65_536)
    let delta = fold(Array(repeating: [UInt8(ascii: "x")], count: 600), keys: Array(repeating: key, count: 600))
    let held = delta.quarantine.reduce(0) { $0 + $1.payload.count + $1.key.count }
    #expect(held <= Limits.quarantineBytes && delta.quarantine.count > 400)
    #expect(delta.ledger.quarantined == 600 && delta.quarantine.count + delta.quarantineOmitted == 600)
  }

  /// The budget on what waits for PostgreSQL sees the texts of rows: eight of 256 bytes are ten times a row without.
  @Test func longKeysWeighWhatTheyWeigh() {
    func waiting(_ department: (Int) -> String) -> Int {
      let plan = Streams.plan(groupLimit: 1_000_000)
      let decoder = Decoder(plan: plan, seed: 42)
      var processor = PartitionProcessor(plan: plan, at: Offset(0), hash: Decoder.hash(seed: 42))
      var batch = EventBatch(capacity: 1000, fieldCount: plan.fields.count)
      var pending = PendingDelta(at: Offset(0), aggregateCount: plan.aggregates.count)
      let messages = (0..<1000).map { n in
        RecordBuffer.Message(
          offset: Int64(n), timestamp: 1_700_000_000_000, key: Array("u1".utf8),
          payload: Array("{\(Self.valid),\"id\":\"\(n)\",\"department\":\"\(department(n))\"}".utf8))
      }
      RecordBuffer(messages).withRecords { records in
        decoder.decode(records, into: &batch)
        pending.append(processor.apply(batch, records))
      }
      return pending.bytes
    }
    let short = waiting { "\($0)" }, long = waiting { String(repeating: "x", count: 240) + "\($0)" }
    #expect(long - short >= 1000 * 240)
  }

  /// A key for every event: groups stay at the cap, the rest is one visible row, and no event is lost in it.
  @Test func cardinalityIsCappedAndCounted() throws {
    let plan = Streams.plan(groupLimit: 1_000)
    let payloads = (0..<4_000).map { Array("{\(Self.valid),\"id\":\"\($0)\",\"department\":\"d\($0)\"}".utf8) }
    let delta = fold(payloads, plan: plan)
    #expect(delta.ledger.applied == 4_000)
    for (index, aggregate) in plan.aggregates.enumerated() where aggregate.by.contains(2) {
      let groups = delta.aggregates[index].groups
      #expect(groups.count <= 1_001)
      let counted = groups.reduce(Int64(0)) { sum, group in
        if case .count(let n)? = group.measures.first { sum + n } else { sum }
      }
      let overflow = try #require(groups.first { $0.key.fields.contains("__overflow__") })
      if case .count(let n)? = overflow.measures.first { #expect(n == 3_000) }
      if case .count? = groups.first?.measures.first { #expect(counted == 4_000) }
    }
  }
}
