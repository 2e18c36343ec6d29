import Testing

@testable import Reconciliation

/// Facts in, classes out.
@Suite struct VerdictTests {
  /// A row with one count and one sum: the stream has `stream` events of 10 each.
  private func facts(_ stream: Int?, _ batch: Int?, predictedStream: Int, predictedBatch: Int, _ counts: [DifferenceClass: Int64] = [:]) -> DifferenceFacts {
    func values(_ n: Int?) -> [String?] { n.map { $0 == 0 ? [nil, nil] : ["\($0)", "\($0 * 10)"] } ?? [nil, nil] }
    var facts = DifferenceFacts()
    facts.inStream = stream != nil
    facts.inBatch = batch != nil
    facts.stream = values(stream)
    facts.batch = values(batch)
    facts.predictedStream = values(predictedStream)
    facts.predictedCovered = values(predictedStream)
    facts.predictedBatch = values(predictedBatch)
    facts.predictedOwn = values(predictedBatch)
    facts.counts = counts
    facts.countMeasure = 0
    return facts
  }

  @Test func lateEventsThatExplainTheRowExactly() {
    let verdict = Verdict(facts(7, 10, predictedStream: 7, predictedBatch: 10, [.late: 3]))
    #expect(verdict == Verdict(facts(7, 10, predictedStream: 7, predictedBatch: 10, [.late: 3])))
    #expect(verdict.classes == [.late] && verdict.isExplained && verdict.isRepairable && verdict.reason == "3 late")
    let absent = Verdict(facts(nil, 2, predictedStream: 0, predictedBatch: 2, [.late: 2]))
    #expect(absent.classes == [.late] && absent.isRepairable)
  }

  /// Three late events do not excuse a row that is four too low.
  @Test func whatIsMoreThanTheLateEventsIsUnexplained() {
    let verdict = Verdict(facts(6, 10, predictedStream: 7, predictedBatch: 10, [.late: 3]))
    #expect(verdict.classes == [.late, .unexplained] && !verdict.isExplained && verdict.isRepairable)
    #expect(verdict.reason.contains("should hold (7, 70)"))
  }

  @Test func theRightCountWithAWrongSumIsUnexplained() {
    var changed = facts(10, 10, predictedStream: 10, predictedBatch: 10)
    changed.stream[1] = "101"
    #expect(Verdict(changed).classes == [.unexplained])
  }

  @Test func severalReasonsAreNamedTogether() {
    let verdict = Verdict(facts(9, 10, predictedStream: 9, predictedBatch: 10, [.late: 3, .duplicate: 2]))
    #expect(verdict.classes == [.late, .duplicate] && verdict.reason == "3 late, 2 beyond the deduplication horizon")
  }

  @Test func aRowThatNoEventMakesIsUnexplained() {
    let verdict = Verdict(facts(4, nil, predictedStream: 0, predictedBatch: 0))
    #expect(verdict.classes == [.unexplained] && verdict.reason == "no event makes the stream's row" && verdict.isRepairable)
  }

  @Test func skippedOffsetsAreMissingAndCountedOnesAreNot() {
    #expect(Verdict(facts(6, 10, predictedStream: 6, predictedBatch: 10, [.missingOffsets: 4])).classes == [.missingOffsets])
    // The ledger's range is gone, its events are in the row: only late ones make the difference.
    var covered = facts(9, 10, predictedStream: 5, predictedBatch: 10, [.missingOffsets: 4, .late: 1])
    covered.predictedCovered = ["9", "90"]
    #expect(Verdict(covered).classes == [.late])
  }

  @Test func landedEventsThatAreGoneExplainAtMostTheirNumber() {
    var gone = facts(10, 9, predictedStream: 9, predictedBatch: 9)
    gone.goneFromRaw = 1
    let verdict = Verdict(gone)
    #expect(verdict.classes == [.missingOffsets] && !verdict.isRepairable)
    gone.stream = ["11", "110"]
    #expect(!Verdict(gone).isExplained)
  }

  @Test func aViewThatIsBehindIsStaleAndRepairsNothing() {
    let verdict = Verdict(facts(10, 6, predictedStream: 10, predictedBatch: 6, [.viewStale: 4]))
    #expect(verdict.classes == [.viewStale] && verdict.isExplained && !verdict.isRepairable)
    let changed = Verdict(facts(10, 8, predictedStream: 10, predictedBatch: 10))
    #expect(changed.classes == [.viewStale, .unexplained] && !changed.isRepairable)
  }

  @Test func foreignRowsAreNamedWhetherTheViewHasThemOrNot() {
    var foreign = facts(10, 11, predictedStream: 10, predictedBatch: 11, [.rawForeign: 1])
    foreign.predictedOwn = ["10", "100"]
    #expect(Verdict(foreign).classes == [.rawForeign] && !Verdict(foreign).isRepairable)
    foreign.batch = ["10", "100"]
    foreign.stream = ["9", "90"]
    #expect(Verdict(foreign).classes == [.unexplained])
  }

  @Test func offsetsThatOnlyOneSideHasYet() {
    var behind = facts(10, 8, predictedStream: 8, predictedBatch: 8)
    behind.landingBehind = 5
    #expect(Verdict(behind).classes == [.landingBehind] && !Verdict(behind).isRepairable)
    #expect(Verdict(facts(8, 10, predictedStream: 8, predictedBatch: 10, [.streamBehind: 2])).classes == [.streamBehind])
    var refused = facts(10, 9, predictedStream: 9, predictedBatch: 9)
    refused.refusedByLanding = 1
    #expect(Verdict(refused).classes == [.quarantined])
  }

  @Test func capsGapsAndRefusedRows() {
    var capped = facts(nil, 3, predictedStream: 3, predictedBatch: 3)
    capped.isOverflowWindow = true
    #expect(Verdict(capped).classes == [.overflow])
    var rejected = facts(2, 3, predictedStream: 3, predictedBatch: 3)
    rejected.rejected = 1
    #expect(Verdict(rejected).classes == [.rejected])
    var gap = facts(2, 3, predictedStream: 3, predictedBatch: 3)
    gap.inGaps = 1
    #expect(Verdict(gap).classes == [.missingOffsets])
    var omitted = facts(2, 5, predictedStream: 4, predictedBatch: 5, [.late: 1])
    omitted.lateOmitted = true
    omitted.lateCounted = 3
    #expect(Verdict(omitted).classes == [.late])
    omitted.lateCounted = 2
    #expect(!Verdict(omitted).isExplained)
  }

  /// What may have happened to some rows is no excuse for whatever another holds.
  @Test func reasonsExplainNothingThatTheyCannotHaveDone() {
    // The number of events is right and the sum is not: none is missing, none is too many.
    var sum = facts(10, 10, predictedStream: 10, predictedBatch: 10)
    sum.stream[1] = "1000"
    (sum.landingBehind, sum.isOverflowWindow, sum.rejected, sum.refusedByLanding, sum.inGaps) = (5, true, 3, 2, 4)
    #expect(!Verdict(sum).isExplained)
    sum.stream[1] = "1"
    #expect(!Verdict(sum).isExplained)
    // A refused increment makes a row lower by its events, and never higher.
    var rejected = facts(8, 10, predictedStream: 10, predictedBatch: 10)
    rejected.rejected = 1
    #expect(!Verdict(rejected).isExplained)
    rejected.stream = ["11", "110"]
    #expect(!Verdict(rejected).isExplained)
    // Beyond the cap a group lacks what the group of all others has.
    var capped = facts(12, 10, predictedStream: 10, predictedBatch: 10)
    capped.isOverflowWindow = true
    #expect(!Verdict(capped).isExplained)
    capped.isOverflowRow = true
    #expect(Verdict(capped).classes == [.overflow])
    capped.stream = ["9", "90"]
    #expect(!Verdict(capped).isExplained)
    // An old view says nothing of the stream's row.
    var stale = facts(99, 8, predictedStream: 10, predictedBatch: 7, [.viewStale: 3])
    #expect(Verdict(stale).classes == [.viewStale, .unexplained] && !Verdict(stale).isRepairable)
    stale.stream = ["10", "100"]
    #expect(Verdict(stale).classes == [.viewStale])
    // Where members are counted and not events, each event is one at most.
    var people = facts(20, 10, predictedStream: 10, predictedBatch: 10)
    (people.countMeasure, people.boundMeasure, people.landingBehind) = (nil, 0, 5)
    #expect(!Verdict(people).isExplained)
    people.landingBehind = 10
    #expect(Verdict(people).classes == [.landingBehind])
  }

  @Test func withinAStatedBoundOnly() {
    var near = facts(995, 1000, predictedStream: 1000, predictedBatch: 1000)
    near.tolerance = 500
    #expect(Verdict(near).classes == [.approximate])
    near.tolerance = 499
    #expect(!Verdict(near).isExplained)
  }

  @Test func aRepairedRowWhoseBatchChangedSince() {
    var repaired = facts(10, 9, predictedStream: 10, predictedBatch: 9)
    repaired.isRepaired = true
    #expect(Verdict(repaired).classes == [.unexplained])
    repaired.goneFromRaw = 1
    #expect(Verdict(repaired).classes == [.missingOffsets])
    #expect(Verdict(facts(10, 9, predictedStream: 10, predictedBatch: 9)).classes == [.misrouted])
  }

  @Test func anotherDefinitionIsSaidFirst() {
    var changed = facts(1, 2, predictedStream: 2, predictedBatch: 2)
    changed.isDefinitionChanged = true
    #expect(Verdict(changed).classes == [.definitionChanged])
  }
}

@Suite struct LedgerJointsTests {
  private static let id = Difference.testPartition

  private func findings(_ ranges: [(Int64, Int64)], next: Int64?, other: Int64? = nil, marks: [Int64?]? = nil) -> [String] {
    var joints = LedgerJoints(.stream, Self.id, next: next)
    for (i, range) in ranges.enumerated() {
      let before = marks.map { i == 0 ? nil : $0[i - 1] } ?? nil
      joints.add(LedgerRange(from: range.0, to: range.1, watermarkBefore: before, watermarkAfter: marks?[i]))
    }
    joints.finish(otherFirst: other)
    return joints.findings.map { "\($0.kind.rawValue) \($0.from)..<\($0.to)" }
  }

  @Test func rangesThatJoinAreSound() {
    #expect(findings([(0, 5), (5, 9)], next: 9, other: 0) == [])
    #expect(findings([], next: 0, other: nil) == [])
  }

  @Test func holesOverlapsAndEnds() {
    #expect(findings([(0, 5), (7, 9)], next: 9) == ["ledger_hole 5..<7"])
    #expect(findings([(0, 5), (3, 9)], next: 9) == ["ledger_overlap 3..<5"])
    #expect(findings([(0, 9), (2, 4), (9, 10)], next: 10) == ["ledger_overlap 2..<4"])
    #expect(findings([(0, 5)], next: 9) == ["ledger_hole 5..<9"])
    #expect(findings([(0, 9)], next: 5) == ["ledger_end 5..<9"])
    #expect(findings([], next: 9, other: 2) == ["ledger_hole 2..<9"])
  }

  @Test func aFirstRangeWithAWatermarkHasLostTheOneBefore() {
    var joints = LedgerJoints(.stream, Self.id, next: 9)
    joints.add(LedgerRange(from: 4, to: 9, watermarkBefore: 7, watermarkAfter: 8))
    joints.finish(otherFirst: 0)
    #expect(joints.findings.map(\.kind) == [.ledgerHole] && joints.findings[0].to == 4)
    #expect(findings([(4, 9)], next: 9, other: 0) == ["coverage 0..<4"])
  }

  @Test func aBrokenChainOfWatermarks() {
    var joints = LedgerJoints(.stream, Self.id, next: 9)
    joints.add(LedgerRange(from: 0, to: 4, watermarkBefore: nil, watermarkAfter: 5))
    joints.add(LedgerRange(from: 4, to: 9, watermarkBefore: 6, watermarkAfter: 8))
    joints.finish(otherFirst: nil)
    #expect(joints.findings.map(\.kind) == [.ledgerWatermark])
  }
}
