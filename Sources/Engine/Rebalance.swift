import Aggregation

/// Answers to the group's assignments and revocations, gathered until each is complete: librdkafka wants one answer for
/// all partitions of a callback, the engine decides about each when the store has spoken.
public struct Rebalance {
  /// What the polling thread is to tell librdkafka.
  public enum Answer: Equatable {
    /// Fetch these; offsets below 0 are not fetched, the partition stays paused.
    case assign([PartitionID: Int64])
    case unassign([PartitionID])
    /// Not part of an assignment that waits: go there within what is assigned already.
    case seek(PartitionID, Int64)
  }
  public static let leftOut: Int64 = -1

  private var assigning: [PartitionID: Int64?]?
  /// Assignments of a partition that its worker has not heard of: what it says until then answers an earlier one.
  private var unheard: [PartitionID: Int] = [:]
  private var revoking: (all: [PartitionID], waiting: Set<PartitionID>)?
  /// Paused in an assignment that waits: librdkafka forgets the pause of what is not assigned yet.
  private var paused: Set<PartitionID> = []

  public init() {}

  /// The group assigns. An assignment of nothing is complete at once.
  public mutating func assigned(_ partitions: [PartitionID]) -> Answer? {
    for id in partitions { unheard[id, default: 0] += 1 }
    paused = []
    assigning = Dictionary(uniqueKeysWithValues: partitions.map { ($0, nil) })
    return completeAssignment()
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
    assigning = nil
    if revoking?.all.contains(where: partitions.contains) == true { revoking = nil }
  }

  public mutating func start(_ id: PartitionID, _ offset: Int64) -> Answer? {
    guard assigning?[id] != nil else { return .seek(id, offset) }
    guard unheard[id] == nil else { return nil }
    assigning?[id] = offset
    return completeAssignment()
  }

  public mutating func pause(_ partitions: [PartitionID]) {
    paused.formUnion(partitions.filter { unheard[$0] == nil && assigning?[$0] != nil })
  }

  public mutating func resume(_ partitions: [PartitionID]) { paused.subtract(partitions) }

  /// What is to be paused right after an assignment has been answered.
  public mutating func takePaused() -> [PartitionID] {
    defer { paused = [] }
    return paused.sorted()
  }

  public mutating func leaveOut(_ id: PartitionID) -> Answer? {
    guard unheard[id] == nil, assigning?[id] != nil else { return nil }
    assigning?[id] = Self.leftOut
    return completeAssignment()
  }

  public mutating func release(_ id: PartitionID) -> Answer? {
    revoking?.waiting.remove(id)
    // A partition that is given up before its assignment was answered is not fetched.
    if assigning?[id] != nil { return leaveOut(id) }
    return completeRevocation()
  }

  private mutating func completeAssignment() -> Answer? {
    guard let assigning, assigning.values.allSatisfy({ $0 != nil }) else { return nil }
    self.assigning = nil
    return .assign(assigning.mapValues { $0! })
  }

  private mutating func completeRevocation() -> Answer? {
    guard let revoking, revoking.waiting.isEmpty else { return nil }
    self.revoking = nil
    return .unassign(revoking.all)
  }
}
