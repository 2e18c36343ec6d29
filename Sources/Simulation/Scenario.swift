/// What is taken away from a seed's world, to find a smaller one that fails as well.
public struct Restrictions: Sendable, Equatable {
  public var without: Set<Fault> = []
  public var events: Int?
  public var instances: Int?
  public var partitions: Int?
  public init() {}

  /// For a person: what was taken away.
  public var text: String {
    var parts: [String] = []
    if let events { parts.append("at most \(events) events") }
    if let instances { parts.append("at most \(instances) instances") }
    if let partitions { parts.append("at most \(partitions) partitions") }
    if !without.isEmpty { parts.append("without \(without.sorted().map(\.rawValue).joined(separator: ", "))") }
    return parts.isEmpty ? "as it is" : parts.joined(separator: "; ")
  }
}

/// How a world is made: a function of its seed. Times are milliseconds of virtual time.
struct Scenario {
  let seed: UInt64
  let restrictions: Restrictions
  let instances: Int
  /// At the beginning; `addedPartitions` come later.
  let partitions: Int
  let addedPartitions: Int
  let events: Int
  /// Events are produced and faults strike until then.
  let duration: Int64
  let isCooperative: Bool
  /// Members keep their place over restarts (`group.instance.id`).
  let isStatic: Bool
  let faults: Set<Fault>
  /// How often faults strike: 1 to 6.
  let intensity: Int
  let sessionTimeout: Int64
  let rebalanceTimeout: Int64
  /// Chunks of one level that the store merges.
  let fanIn: Int

  /// By when a world without faults has to settle: session, rebalance, lock and idle timeouts, and the longest retry
  /// delays, several in a row.
  static let settling: Int64 = 120_000

  init(seed: UInt64, _ restrictions: Restrictions = Restrictions()) {
    self.seed = seed
    self.restrictions = restrictions
    var dice = Dice(seed, 1)
    instances = min(dice.pick([1, 2, 2, 3, 3, 4, 5]), restrictions.instances ?? .max)
    partitions = min(dice.pick([1, 2, 3, 3, 4, 6, 8]), restrictions.partitions ?? .max)
    let added = dice.chance(2500) ? dice.between(1, 2) : 0
    events = min(dice.pick([60, 150, 300, 500, 800, 1500]), restrictions.events ?? .max)
    duration = dice.milliseconds(15_000, 60_000)
    isCooperative = dice.chance(6500)
    isStatic = dice.chance(3000)
    intensity = dice.pick([1, 1, 2, 2, 3, 4, 6])
    sessionTimeout = dice.milliseconds(4_000, 8_000)
    rebalanceTimeout = dice.milliseconds(4_000, 12_000)
    fanIn = dice.pick([2, 3, 4, 16])
    let share = dice.pick([2000, 4000, 6000, 9000, 10_000])
    var faults: Set<Fault> = []
    for fault in Fault.optional {
      let isIn = dice.chance(share)
      if isIn, !restrictions.without.contains(fault) { faults.insert(fault) }
    }
    // Retention that destroys, and ids forgotten with it: which copies are recognised then depends on who takes over.
    if faults.contains(.gapAccepted) { faults.remove(.duplicate) }
    self.faults = faults
    addedPartitions = faults.contains(.partitionAdded) ? added : 0
  }
}
