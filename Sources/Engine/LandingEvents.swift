import Aggregation

/// Tunables of a landing instance. Times are milliseconds.
public struct LandingLimits: Sendable {
  /// Longest time that an event waits for its transaction.
  public var interval: Milliseconds = 500
  /// Rows, and bytes of rows and refused payloads, at which a batch is landed before its time.
  public var batchRows = 20_000
  public var batchBytes = 16 << 20
  /// How long a batch that PostgreSQL does not take is tried for once partitions of it are revoked: the group waits.
  public var revokeTime: Milliseconds = 8000
  /// The same once the instance is to end.
  public var drainTime: Milliseconds = 3000
  /// How long a stopped or fenced partition that is still assigned waits until it is taken over anew. More than a heartbeat: a
  /// zombie must hear that it has lost the partition before it takes it from its owner.
  public var reacquireAfter: Milliseconds = 10_000
  /// A partition that stays stopped is spoken of again after this time.
  public var remindAfter: Milliseconds = 3_600_000
  /// Between two looks for tables that are older than what is kept; nil: all is kept.
  public var retentionEvery: Milliseconds?
  /// Whether the run ends by itself, caught up or not able to.
  public var hasGoal = false
  public init() {}
}

/// What happens to a landing instance.
public enum LandingEvent: Sendable, Equatable {
  /// The group gave these partitions to the instance …
  case assigned([PartitionID])
  /// … wants these back once what is in hand has landed …
  case revoked([PartitionID])
  /// … has given these to somebody else already.
  case lost([PartitionID])
  /// The store has handed these over, to go on where they stand.
  case acquired([PartitionID: OffsetRow])
  case acquireFailed([PartitionID], String)
  /// The store does not hand partitions over until an operator acts.
  case acquireRefused(String)
  /// What comes of the partition from here on is fetched by the start of that number …
  case started(PartitionID, number: UInt64)
  /// … which the consumer would not take.
  case startFailed(PartitionID, number: UInt64, String)
  /// Records up to `to` were added to the batch, which now has so many rows and bytes.
  case read(PartitionID, to: Offset, rows: Int, bytes: Int)
  /// Everything below `end` was delivered; the batch accounts for it.
  case reachedEnd(PartitionID, Offset)
  /// Kafka no longer has the next offset; its first one, where that is known.
  case offsetOutOfRange(PartitionID, String, first: Offset?)
  /// How an attempt to land the batch ended, or a look at its offset rows.
  case ended(LandingOutcome)
  case caughtUp
  /// Land what there is, give everything back.
  case drain
  /// Time went on. `isIdle`: and nothing came meanwhile.
  case tick(isIdle: Bool)
}

/// What a landing instance is to do, in order.
public enum LandingEffect: Sendable, Equatable {
  /// Polling thread: the assignment of these is known here.
  case heard([PartitionID])
  /// Store: hand these over. Answered by `acquired`, `acquireFailed`, or `acquireRefused`.
  case acquire([PartitionID])
  /// Consumer: fetch from there on. Answered by `started` or `startFailed`, in the order of records.
  case start(PartitionID, Offset, number: UInt64)
  case pause([PartitionID])
  /// Store: these have no owner any more.
  case giveBack([PartitionID: Epoch])
  /// Polling thread: the revocation of the partition can be answered.
  case release(PartitionID)
  /// Land the batch. Answered by `ended`.
  case land
  /// Read how the last attempt ended. Answered by `ended`.
  case resolve
  /// The batch is in PostgreSQL: count it, and tell Kafka, for lag tools.
  case acknowledge
  /// Nothing is in hand any more.
  case discard
  /// Look whether the goal is reached. Answered by `caughtUp`, or not.
  case lookForGoal
  case dropOldTables
  case say(Severity, String)
  /// An alert that an operator must see, kept in the store; one that is open is counted once more.
  case alert(PartitionID, kind: String, String)
  /// The run ends, because an operator has to act.
  case fail(String)
  /// `drain` is done.
  case drained
}
