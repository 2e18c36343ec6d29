import Aggregation
import Engine
import Kafka

/// What one landing instance of one topology is to do, and with what.
public struct LandingSettings: Sendable {
  public var plan: LandingPlan
  public var kafka: KafkaSettings
  /// A libpq connection string; may hold a password, so it is never printed.
  public var postgres: String
  /// Shown as the owner of partitions.
  public var instance: String
  public var group: String
  /// Days before today, UTC, that events are kept; nil: for ever.
  public var keepDays: Int64?
  /// End once all partitions have reached the end offsets that they had at the beginning.
  public var untilCaughtUp = false
  /// Longest time that an event waits for its transaction.
  public var interval: Milliseconds = 500
  /// Rows, and bytes of rows and refused payloads, that one transaction lands at least when there are as many.
  public var batchRows = 20_000
  public var batchBytes = 16 << 20
  /// How long a drain may take.
  public var drainTime = DrainTime()
  /// How long to wait for PostgreSQL at the beginning.
  public var patience: Milliseconds = 30_000

  public init(plan: LandingPlan, kafka: KafkaSettings, postgres: String, instance: String, group: String) {
    self.plan = plan
    self.kafka = kafka
    self.postgres = postgres
    self.instance = instance
    self.group = group
  }
}

/// What a landing instance has done.
public struct LandingStatus: Sendable {
  public var landed: Int64 = 0
  public var refused: Int64 = 0
  public var holes: Int64 = 0
  public var transactions: Int64 = 0
  public var partitions = 0
  /// Monotonic nanoseconds: the first records came, the last transaction was committed. 0: not yet.
  public var firstRecords: UInt64 = 0
  public var lastCommit: UInt64 = 0
  public init() {}
}
