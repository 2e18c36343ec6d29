/// What can go wrong in a world, or is out of the ordinary there. Each kind is counted when it has struck.
public enum Fault: String, CaseIterable, Sendable, Comparable {
  // Events.
  case late, duplicate, invalid, farFuture, strangeTimestamp, tombstone, misrouted, hotKeys, overflow
  // The log.
  case hole, emptyPartition, partitionAdded, retention, gapAccepted, brokerAway
  // The group.
  case eagerRebalance, cooperativeRebalance, staticReturn, reshuffle, sessionExpired, rebalanceTimeout, lostLate, lostTwice, revokedTwice
  case callRefused
  // The store.
  case lostBeforeStatement, lostAfterStatement, commitNotApplied, commitApplied, commitDelayed, deadlock, serializationFailure
  case statementTimeout, lockWait, storeRestart, longOutage, storeAway, slowStore, idleInTransaction, storeRefuses, rowRefused
  // The disk.
  case powerLoss, shortWrite, syncError, ioError, diskFull, diskHangs, flippedBit, flippedUnderWay, journalGone, journalOfOldTimes, noJournal
  // Scheduling.
  case crash, crashAtEffect, zombie, pause, pollerStands, clockJump, drain

  public static func < (a: Fault, b: Fault) -> Bool { a.index < b.index }

  static let indices = Dictionary(uniqueKeysWithValues: Fault.allCases.enumerated().map { ($1, $0) })
  var index: Int { Self.indices[self]! }

  /// Faults that a world may be without; the others belong to its make.
  static let optional = allCases.filter { ![.eagerRebalance, .cooperativeRebalance, .staticReturn, .noJournal, .emptyPartition, .hotKeys, .overflow].contains($0) }
}

/// How often each fault has struck.
public struct FaultCounts: Sendable, Equatable {
  private var counts = [Int](repeating: 0, count: Fault.allCases.count)
  public init() {}

  public subscript(fault: Fault) -> Int {
    get { counts[fault.index] }
    set { counts[fault.index] = newValue }
  }
  public mutating func add(_ other: FaultCounts) { for i in counts.indices { counts[i] += other.counts[i] } }
  public var total: Int { counts.reduce(0, +) }
  /// Kinds that never struck.
  public var missing: [Fault] { Fault.allCases.filter { self[$0] == 0 } }
}
