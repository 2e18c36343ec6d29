// The port between deciding and the write-ahead log: what is asked of it, and what it gives back.

/// What goes to the journal.
public enum JournalEntry: Sendable {
  case opened(PartitionID, Epoch, Offset)
  case delta(PartitionID, Epoch, to: Offset, [UInt8])
  case flushed(PartitionID, Epoch, Offset)
  case dropped(PartitionID, Epoch)
  /// State after all that is in the journal; records up to `flushed` are no longer needed.
  case snapshot(PartitionID, Epoch, flushed: Offset, [UInt8])
}

/// What the journal of this instance holds of a partition.
public struct LocalState: Sendable {
  /// The epoch under which it was written.
  public var epoch: Epoch
  /// Encoded Deltas: the snapshot if there is one, then records, ascending.
  public var snapshot: [UInt8]?
  public var deltas: [[UInt8]]
  public init(epoch: Epoch, snapshot: [UInt8]?, deltas: [[UInt8]]) {
    self.epoch = epoch; self.snapshot = snapshot; self.deltas = deltas
  }
}
