/// What the state of one partition holds, about.
public struct StateMemory: Sendable, Equatable {
  /// Bytes of open windows and groups, with their sets of members.
  public var groups = 0
  /// Bytes of the dictionary of members.
  public var members = 0
  /// Bytes of event ids for deduplication.
  public var identifiers = 0
  public var bytes: Int { groups + members + identifiers }
  public init() {}
}

/// What one aggregate holds in one partition.
public struct AggregateLoad: Sendable, Equatable {
  /// Rows of open windows.
  public var groups: Int
  /// Events that went to the overflow row since the partition was taken over.
  public var overflowed: Int64
  public init(groups: Int, overflowed: Int64) { self.groups = groups; self.overflowed = overflowed }
}

extension PartitionProcessor {
  /// Bytes held, about. O(groups).
  public var memory: StateMemory {
    var memory = StateMemory()
    for a in 0..<aggregateCount { memory.groups += aggregates[a].bytes }
    memory.members = members.bytes
    memory.identifiers = identifiers.bytes
    return memory
  }

  /// One an aggregate, in the plan's order. O(aggregates).
  public var loads: [AggregateLoad] {
    (0..<aggregateCount).map { AggregateLoad(groups: aggregates[$0].slotCount, overflowed: aggregates[$0].overflowed) }
  }
}
