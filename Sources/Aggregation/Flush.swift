/// What the engine asks of the store and what the store answers: the port between deciding and PostgreSQL.

/// A partition as the store hands it over: the epoch is already raised in the store.
public struct AcquiredPartition: Sendable, Equatable {
  public var partition: PartitionID
  public var epoch: Epoch
  /// The epoch before: a local journal is usable only if it was written under this one.
  public var previousEpoch: Epoch
  public var nextOffset: Offset
  public var watermark: EventTime?
  /// Encoded Deltas of open windows, ascending, together `[first known, nextOffset)`.
  public var chunks: [[UInt8]]
  /// Where the deduplication horizon begins, by the ledger; nil: nothing to rebuild.
  public var horizon: DeduplicationHorizon?
  /// The first offset that Kafka still has; nil: not known.
  public var beginning: Offset?
  public init(
    partition: PartitionID, epoch: Epoch, previousEpoch: Epoch, nextOffset: Offset, watermark: EventTime?, chunks: [[UInt8]],
    horizon: DeduplicationHorizon?
  ) {
    self.partition = partition; self.epoch = epoch; self.previousEpoch = previousEpoch; self.nextOffset = nextOffset
    self.watermark = watermark; self.chunks = chunks; self.horizon = horizon
  }
}

/// The offset from which re-reading the topic gives all ids that the horizon still holds.
public struct DeduplicationHorizon: Sendable, Equatable {
  public var offset: Offset
  /// The partition's watermark when `offset` was the next one to read.
  public var watermark: EventTime?
  public init(offset: Offset, watermark: EventTime?) { self.offset = offset; self.watermark = watermark }
}

/// One transaction: these partitions move from `delta.from` to `delta.to`, all or none.
public struct FlushRequest: Sendable, Equatable {
  public struct Part: Sendable, Equatable {
    public var partition: PartitionID
    public var epoch: Epoch
    /// The watermark before the Delta.
    public var watermarkBefore: EventTime?
    public var delta: Delta
    /// The partition's end offset in Kafka as last seen; nil: not known yet.
    public var endOffset: Offset?
    public var figures: PartitionFigures
    public init(
      partition: PartitionID, epoch: Epoch, watermarkBefore: EventTime?, delta: Delta, endOffset: Offset?, figures: PartitionFigures = PartitionFigures()
    ) {
      self.partition = partition; self.epoch = epoch; self.watermarkBefore = watermarkBefore; self.delta = delta
      self.endOffset = endOffset; self.figures = figures
    }
  }
  public var id: UInt64
  /// Ascending by partition.
  public var parts: [Part]
  public init(id: UInt64, parts: [Part]) { self.id = id; self.parts = parts }
}

/// How a flush ended.
public enum FlushOutcome: Sendable, Equatable {
  case committed
  /// These partitions belong to another epoch; nothing was written for any partition of the request.
  case fenced([PartitionID])
  /// Nothing was written; worth trying again (connection, deadlock, serialization, timeout, server starting).
  case failed(String)
  /// The connection died during COMMIT: only the offset rows know. Ask `resolve`.
  case unknown(String)
  /// Nothing was written and trying again cannot help (schema missing, permission denied).
  case fatal(String)
}
