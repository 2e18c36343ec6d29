/// Runs of worlds, seed by seed.
public enum Simulator {
  /// How one seed's world went.
  public struct Report: Sendable {
    public var seed: UInt64
    /// nil: no difference.
    public var failure: String?
    public var faults: FaultCounts
    /// Virtual milliseconds, scheduler steps, offsets of the log.
    public var time: Int64
    /// Virtual milliseconds from the last possible fault until everything was in the store.
    public var settled: Int64
    public var steps: Int
    public var offsets: Int
    /// Events and effects in their order, if asked for.
    public var trace: [String]
  }

  /// Runs the world of a seed. Single-threaded; the same seed gives the same report, on any thread.
  /// - Complexity: some ten thousand steps, about 20 ms in a release build.
  public static func run(seed: UInt64, mutant: Mutant? = nil, _ restrictions: Restrictions = Restrictions(), traces: Bool = false) -> Report {
    let outcome = World.run(Scenario(seed: seed, restrictions), mutant: mutant, traces: traces)
    return Report(
      seed: seed, failure: outcome.failure, faults: outcome.faults, time: outcome.time, settled: outcome.settled, steps: outcome.steps, offsets: outcome.events,
      trace: outcome.trace)
  }

  /// A smaller world of the same seed that fails as well: fewer events, instances and partitions, then fault by fault.
  /// The difference found may be another one.
  /// - Complexity: at most about 80 worlds.
  public static func shrink(seed: UInt64, mutant: Mutant? = nil) -> Restrictions {
    var best = Restrictions()
    func attempt(_ change: (inout Restrictions) -> Void) -> Bool {
      var smaller = best
      change(&smaller)
      guard smaller != best, run(seed: seed, mutant: mutant, smaller).failure != nil else { return false }
      best = smaller
      return true
    }
    for events in [10, 20, 40, 80, 160, 320, 640] where attempt({ $0.events = events }) { break }
    for instances in 1...3 where attempt({ $0.instances = instances }) { break }
    for partitions in 1...3 where attempt({ $0.partitions = partitions }) { break }
    let scenario = Scenario(seed: seed)
    for fault in scenario.faults.sorted() { _ = attempt { $0.without.insert(fault) } }
    for events in [5, 10, 20, 40, 80] where events < best.events ?? .max && attempt({ $0.events = events }) { break }
    return best
  }
}
