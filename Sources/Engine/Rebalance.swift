import Aggregation

/// Answers to the group's assignments and revocations.
///
/// An assignment is answered at once, with nothing: librdkafka pauses the partitions that an instance keeps until it has its
/// answer, and the whole group waits for it with the next change. What was assigned is fetched partition by partition, as
/// the store hands them over. A revocation is answered when the last flush of all its partitions is in.
public struct Rebalance {
  /// What the polling thread is to tell librdkafka.
  public enum Answer: Equatable {
    /// Fetch these as well, from these offsets; none: the assignment is taken note of.
    case assign([PartitionID: Int64])
    case unassign([PartitionID])
    /// It is fetched already: go there.
    case seek(PartitionID, Int64)
  }

  /// The group has assigned these, and they are not fetched yet.
  private var offered: Set<PartitionID> = []
  /// Assignments of a partition that its worker has not heard of: what it says until then answers an earlier one.
  private var unheard: [PartitionID: Int] = [:]
  private var revoking: (all: [PartitionID], waiting: Set<PartitionID>)?

  public init() {}

  /// The group assigns.
  public mutating func assigned(_ partitions: [PartitionID]) -> Answer {
    for id in partitions { unheard[id, default: 0] += 1 }
    offered.formUnion(partitions)
    return .assign([:])
  }

  /// A worker has been told of an assignment of these; what it says from here on knows of it.
  public mutating func heard(_ partitions: [PartitionID]) {
    for id in partitions {
      let left = (unheard[id] ?? 1) - 1
      unheard[id] = left > 0 ? left : nil
    }
  }

  public mutating func revoked(_ partitions: [PartitionID]) -> Answer? {
    revoking = (partitions, Set(partitions))
    return completeRevocation()
  }

  /// Lost partitions need no answer any more.
  public mutating func lost(_ partitions: [PartitionID]) {
    offered.subtract(partitions)
    if revoking?.all.contains(where: partitions.contains) == true { revoking = nil }
  }

  public mutating func start(_ id: PartitionID, _ offset: Int64) -> Answer? {
    guard offered.contains(id) else { return .seek(id, offset) }
    guard unheard[id] == nil else { return nil }
    offered.remove(id)
    return .assign([id: offset])
  }

  /// The consumer would not take the answer `assign`: the partition is to be fetched yet, and the next start says so again.
  mutating func notTaken(_ id: PartitionID) { offered.insert(id) }

  public mutating func release(_ id: PartitionID) -> Answer? {
    if unheard[id] == nil { offered.remove(id) }
    revoking?.waiting.remove(id)
    return completeRevocation()
  }

  private mutating func completeRevocation() -> Answer? {
    guard let revoking, revoking.waiting.isEmpty else { return nil }
    self.revoking = nil
    return .unassign(revoking.all)
  }
}
