/// How a partition stands when a flush is asked for, for operators: it goes along with the offset and decides nothing.
public struct PartitionFigures: Sendable, Equatable {
  /// Kafka timestamp of the last consumed record that has one, milliseconds since the epoch; nil: none since the takeover.
  public var recordTime: Int64?
  /// Bytes that a restart reads of the local journal: the last snapshot and what came since; nil: none is kept.
  public var journalBytes: Int?
  /// Bytes of state, about, when last counted; nil: not yet.
  public var stateBytes: Int?
  /// One an aggregate, in the plan's order.
  public var loads: [AggregateLoad]

  public init(recordTime: Int64? = nil, journalBytes: Int? = nil, stateBytes: Int? = nil, loads: [AggregateLoad] = []) {
    self.recordTime = recordTime; self.journalBytes = journalBytes; self.stateBytes = stateBytes; self.loads = loads
  }
}
