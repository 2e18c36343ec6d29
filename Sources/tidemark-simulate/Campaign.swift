import Dispatch
import Simulation
import Synchronization

/// Many worlds, over some threads. What is found does not depend on how many: each world is a function of its seed.
struct Campaign {
  struct Failure {
    var seed: UInt64
    var reason: String
  }
  /// What some worlds came to.
  struct Totals {
    var worlds = 0
    var faults = FaultCounts()
    /// Virtual milliseconds, scheduler steps, offsets.
    var time: Int64 = 0
    var steps = 0
    var offsets = 0
    /// The world that took longest to settle after its faults, virtual milliseconds.
    var slowest: (seed: UInt64, time: Int64) = (0, -1)
    /// Ascending by seed.
    var failures: [Failure] = []

    mutating func add(_ report: Simulator.Report) {
      worlds += 1
      faults.add(report.faults)
      time += report.time
      steps += report.steps
      offsets += report.offsets
      if report.settled > slowest.time { slowest = (report.seed, report.settled) }
      if let reason = report.failure { failures.append(Failure(seed: report.seed, reason: reason)) }
    }

    mutating func add(_ other: Totals) {
      worlds += other.worlds
      faults.add(other.faults)
      time += other.time
      steps += other.steps
      offsets += other.offsets
      if other.slowest.time > slowest.time { slowest = other.slowest }
      failures += other.failures
    }
  }

  let threads: Int
  let restrictions: Restrictions

  private struct Pieces {
    var next = 0
    var done: [Int: Totals] = [:]
    var told = 0
    var toldFailures = 0
    var totals = Totals()
  }
  private static let piece: UInt64 = 100

  /// Runs the worlds of all seeds; `tell` gets the totals after each thousand and the failures in it, in order, from any
  /// thread but one at a time.
  func run(_ seeds: ClosedRange<UInt64>, tell: @Sendable (Totals, ArraySlice<Failure>) -> Void) -> Totals {
    let count = Int((UInt64(seeds.count) + Self.piece - 1) / Self.piece)
    let pieces = Mutex(Pieces())
    DispatchQueue.concurrentPerform(iterations: threads) { thread in
      while let number = pieces.withLock({ (p: inout Pieces) -> Int? in
        guard p.next < count else { return nil }
        p.next += 1
        return p.next - 1
      }) {
        let first = seeds.lowerBound + UInt64(number) * Self.piece
        var totals = Totals()
        for seed in first...min(seeds.upperBound, first + Self.piece - 1) {
          CrashNote.running(seed, on: thread)
          totals.add(Simulator.run(seed: seed, restrictions))
        }
        pieces.withLock { p in
          p.done[number] = totals
          while let next = p.done.removeValue(forKey: p.told) {
            p.told += 1
            p.totals.add(next)
            guard p.told % 10 == 0 || p.told == count else { continue }
            tell(p.totals, p.totals.failures[p.toldFailures...])
            p.toldFailures = p.totals.failures.count
          }
        }
      }
    }
    return pieces.withLock { $0.totals }
  }

  /// The first seed that finds a mutant, from `first` on and after at most `most` worlds; nil: it survives.
  static func hunt(_ mutant: Mutant, from first: UInt64, most: Int) -> Failure? {
    for seed in first..<first + UInt64(most) {
      if let reason = Simulator.run(seed: seed, mutant: mutant).failure { return Failure(seed: seed, reason: reason) }
    }
    return nil
  }

  /// Hunts for mutants over some threads; in the order of `mutants`.
  func hunt(_ mutants: [Mutant], from first: UInt64, most: Int) -> [(mutant: Mutant, found: Failure?)] {
    let state = Mutex((next: 0, found: [Int: Failure]()))
    DispatchQueue.concurrentPerform(iterations: threads) { _ in
      while let number = state.withLock({ (s: inout (next: Int, found: [Int: Failure])) -> Int? in
        guard s.next < mutants.count else { return nil }
        s.next += 1
        return s.next - 1
      }) {
        if let found = Self.hunt(mutants[number], from: first, most: most) { state.withLock { $0.found[number] = found } }
      }
    }
    let found = state.withLock { $0.found }
    return mutants.enumerated().map { ($1, found[$0]) }
  }
}
