import Aggregation
import Testing

@Suite struct FreshnessTallyTests {
  @Test func everyTimeIsKeptNearWhereItWas() {
    let reference: Int64 = 1_700_000_000_000
    for distance: Int64 in [0, 1, 63, 64, 65, 1000, 86_400_000, 3_000_000_000_000, -1, -63, -64, -999, -172_800_000, -1_700_000_000_000] {
      var tally = TimeTally(reference: reference)
      tally.add(reference + distance)
      var found: [(Int64, Int64)] = []
      tally.forEach { found.append(($0, $1)) }
      #expect(found.count == 1 && found[0].1 == 1)
      #expect(abs(found[0].0 - reference - distance) <= abs(distance) / 32, "\(distance) became \(found[0].0 - reference)")
    }
  }

  /// Producers set any timestamp: two near the end of 64 bits ended every instance that was looked at.
  @Test(arguments: [Int64.max - 100, Int64.max, Int64.min, Int64.max / 1000 - 70]) func timesNearTheEndOf64BitsAreSurvived(reference: Int64) {
    let now: Int64 = 1_700_000_000_000
    var tally = TimeTally(reference: reference)
    for time in [Int64.max, Int64.max - 1, Int64.max - 100, Int64.min, 0, now, reference] { tally.add(time) }
    var ages: [Int64] = []
    tally.forEach { time, count in for _ in 0..<count { ages.append(now - time) } }
    #expect(ages.count == 7)
  }

  @Test func countsAddUpWhateverTheTimes() {
    var random = SystemRandomNumberGenerator()
    var tally = TimeTally(reference: 0)
    for _ in 0..<10_000 { tally.add(Int64.random(in: .min ... .max, using: &random)) }
    var sum: Int64 = 0
    tally.forEach { sum += $1 }
    #expect(sum == 10_000 && tally.count == 10_000)
  }

  @Test func onlyRecordsFromTheOffsetOnCountAndLateEventsDoNot() {
    let messages = (0..<10).map { RecordBuffer.Message(offset: Int64($0), timestamp: 1_000_000 + Int64($0), key: nil, payload: [0]) }
    var batch = EventBatch(capacity: 16, fieldCount: 0)
    batch.count = 10
    for i in 0..<10 {
      batch.status[i] = i == 9 ? QuarantineReason.invalidJSON.rawValue : EventBatch.decoded
      batch.times[i] = Int64(i) * 1000
    }
    var tally = FreshnessTally()
    RecordBuffer(messages).withRecords { tally.add(batch, $0, from: Offset(4), lateBefore: 6000) }
    #expect(tally.records?.count == 6)
    // 6, 7 and 8: 4 and 5 are late, 9 cannot be read.
    #expect(tally.events?.count == 3)
  }
}
