import Aggregation

/// Monotonic milliseconds, as the runtime (or the simulator) counts them.
public typealias Milliseconds = Int64

/// What happens to an instance. Records are borrowed: they are valid only while `handle` runs.
public enum InstanceEvent {
  /// The group gave these partitions to the instance.
  case assigned([PartitionID])
  /// The store handed a partition over; `local` is what the journal held of it.
  case acquired(AcquiredPartition, local: LocalState?)
  /// The store will not hand these over now (unreachable) …
  case acquireFailed([PartitionID], String)
  /// … or not until an operator acts: the partition is stopped.
  case acquireRefused(PartitionID, String)
  /// The start of that number is done, and all that was fetched before it has been delivered …
  case started(PartitionID, number: UInt64)
  /// … or the consumer would not.
  case startFailed(PartitionID, number: UInt64, String)
  /// The group wants these back after a last flush.
  case revoked([PartitionID])
  /// The group has given these to somebody else already.
  case lost([PartitionID])
  case records(PartitionID, Records)
  /// Everything below `offset` has been delivered.
  case endOfPartition(PartitionID, Offset)
  /// Kafka no longer has the offset that was asked for.
  case offsetOutOfRange(PartitionID, String)
  case flushFinished(UInt64, FlushOutcome)
  /// The journal cannot take records now (disk full); it keeps those it was given.
  case journalBlocked(String)
  case journalReady
  /// Flush everything, give everything back.
  case drain
  case tick
}

/// What the runtime is to do. Effects are performed in order.
public enum Effect: Sendable {
  case acquire([PartitionID])
  /// Fetch from this offset on; to be answered by `started` or `startFailed`.
  case start(PartitionID, Offset, number: UInt64)
  /// Its revocation can be answered.
  case release(PartitionID, Epoch?)
  case journal(JournalEntry)
  case flush(FlushRequest)
  /// Read the offset rows of a flush whose end is unknown.
  case resolve(FlushRequest)
  case pause([PartitionID])
  case resume([PartitionID])
  /// Kafka's committed offsets, for lag tools only.
  case acknowledge([PartitionID: Offset])
  /// Merge state chunks if there are many.
  case compact(PartitionID, Epoch)
  case say(Severity, String)
  /// An alert that an operator must see, kept in the store; `stops`: the partition goes no further.
  case alert(PartitionID, Epoch, kind: String, stops: Bool, String)
  /// The instance cannot go on.
  case fail(String)
  /// `drain` is done.
  case drained
}

public enum Severity: Sendable { case info, warning, error }
