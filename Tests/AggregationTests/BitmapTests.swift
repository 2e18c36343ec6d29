import Testing

@testable import Aggregation

@Suite struct BitmapTests {
  /// Sparse, dense and across pages: the same as a plain set.
  @Test(arguments: [(50, 300_000), (5_000, 6_000), (40_000, 200_000), (3, 4_000_000)])
  func agreesWithASet(inserts: Int, span: Int) {
    var random = SystemRandomNumberGenerator()
    var bitmap = Bitmap()
    var set: Set<UInt32> = []
    for _ in 0..<inserts {
      let id = UInt32.random(in: 0..<UInt32(span), using: &random)
      let isNew = bitmap.insert(id)
      #expect(isNew == set.insert(id).inserted)
    }
    var listed: [UInt32] = []
    bitmap.forEach { listed.append($0) }
    #expect(listed == set.sorted())
    #expect(bitmap.count == set.count)
  }

  @Test func dictionaryGivesDenseIDsThatSurviveGrowth() {
    var dictionary = MemberDictionary()
    let hashes = (0..<50_000).map { mix(UInt64($0) &+ 77) }
    for _ in 0..<2 {
      for (i, h) in hashes.enumerated() {
        let id = dictionary.id(of: h)
        #expect(id == UInt32(i))
      }
    }
    let count = dictionary.count
    #expect(count == 50_000)
  }

  @Test func identifiersAreForgottenBeyondTheHorizonAndRefreshedBySight() {
    var table = IdentifierTable(horizon: 10)
    var verdicts: [Bool] = []
    for second in [100, 110, 120, 131] as [Int64] { verdicts.append(table.note(5, now: second)) }
    #expect(verdicts == [false, true, true, false])
  }

  @Test func identifierTableStaysBounded() {
    var table = IdentifierTable(horizon: 100)
    for second in Int64(0)..<20_000 {
      for k in 0..<10 { _ = table.note(mix(UInt64(second) &* 10 &+ UInt64(k)) | 1, now: second) }
    }
    let bytes = table.bytes
    let live = table.live(now: 19_999).count
    #expect(bytes < 200_000)
    #expect(live == 1010)
  }
}
