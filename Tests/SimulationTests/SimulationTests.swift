import Simulation
import Testing

@Suite struct SimulationTests {
  @Test func theSameSeedGivesTheSameWorld() {
    for seed in UInt64(1)...5 {
      let (a, b) = (Simulator.run(seed: seed, traces: true), Simulator.run(seed: seed, traces: true))
      #expect(a.trace == b.trace && a.trace.count > 100)
    }
  }
}
