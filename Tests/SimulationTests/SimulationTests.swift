import Simulation
import Testing

/// Worlds from seeds. CI runs ten thousand more of them in a release build (`scripts/simulate`).
@Suite struct SimulationTests {
  @Test(arguments: 0..<8) func worldsAgreeWithTheOracle(part: UInt64) {
    for seed in (1 + part * 25)...(25 + part * 25) {
      let report = Simulator.run(seed: seed)
      #expect(report.failure == nil, "tidemark-simulate --seed \(seed) --trace")
    }
  }

  @Test func aSeedGivesTheSameWorldEachTime() {
    for seed in [3, 17, 23] as [UInt64] {
      let (once, again) = (Simulator.run(seed: seed, traces: true), Simulator.run(seed: seed, traces: true))
      #expect(once.trace.count > 100)
      #expect(once.trace == again.trace)
      #expect(once.faults == again.faults && once.steps == again.steps)
    }
  }

  @Test func worldsDiffer() {
    let reports = (1...10).map { Simulator.run(seed: $0) }
    #expect(Set(reports.map(\.steps)).count == 10)
    #expect(reports.allSatisfy { $0.offsets > 0 && $0.time > 10_000 })
  }

  /// The checker is checked: a planted bug that no world finds would mean that nobody looks there.
  @Test(arguments: Mutant.allCases) func everyPlantedBugIsFound(mutant: Mutant) {
    let found = (1...1000).contains { Simulator.run(seed: $0, mutant: mutant).failure != nil }
    #expect(found, "\(mutant.text): survives 1,000 worlds")
  }

  @Test func aSmallerWorldFailsAsWell() {
    let mutant = Mutant.chunksNotLoaded
    let smaller = Simulator.shrink(seed: 1, mutant: mutant)
    #expect(smaller != Restrictions())
    #expect(Simulator.run(seed: 1, mutant: mutant, smaller).failure != nil)
    #expect(Simulator.run(seed: 1, smaller).failure == nil)
  }

  @Test func aFaultThatIsTakenAwayDoesNotStrike() {
    var restrictions = Restrictions()
    restrictions.without = [.crash, .crashAtEffect, .powerLoss, .shortWrite]
    for seed in UInt64(1)...10 {
      let faults = Simulator.run(seed: seed, restrictions).faults
      #expect(restrictions.without.allSatisfy { faults[$0] == 0 })
    }
  }
}
