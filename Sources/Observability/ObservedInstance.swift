import Aggregation
import Engine
import Runtime

/// What the HTTP service shows: one process with its topologies. Everything is read as snapshots; nothing waits.
public struct ObservedInstance: Sendable {
  public struct Topology: Sendable {
    public struct Aggregate: Sendable {
      public var name: String
      /// In the schema `analytics`.
      public var table: String
      /// As the topology's file says it: `1 day`.
      public var window: String
      public init(name: String, table: String, window: String) { self.name = name; self.table = table; self.window = window }
    }
    public var name: String
    public var topics: [String]
    /// In the plan's order.
    public var aggregates: [Aggregate]
    /// Microseconds.
    public var allowedLateness: Int64
    /// Milliseconds.
    public var flushInterval: Int64
    /// Seconds from a Kafka record to its row that are as good as promised.
    public var freshnessTarget: Double
    public var status: @Sendable () -> RunStatus

    public init(
      name: String, topics: [String], aggregates: [Aggregate], allowedLateness: Int64, flushInterval: Int64, freshnessTarget: Double,
      status: @escaping @Sendable () -> RunStatus
    ) {
      self.name = name; self.topics = topics; self.aggregates = aggregates; self.allowedLateness = allowedLateness
      self.flushInterval = flushInterval; self.freshnessTarget = freshnessTarget; self.status = status
    }
  }

  public var version: String
  /// The name that PostgreSQL shows as owner.
  public var name: String
  public var topologies: [Topology]
  /// nil: the books cannot be read (tests).
  public var books: @Sendable () -> BooksWatch.State
  /// Milliseconds since the epoch, and monotonic ones.
  public var clock: @Sendable () -> Int64
  public var monotonic: @Sendable () -> Int64
  /// CPU seconds, resident bytes, open files of this process.
  public var process: @Sendable () -> ProcessLoad

  public init(
    version: String, name: String, topologies: [Topology], books: @escaping @Sendable () -> BooksWatch.State,
    clock: @escaping @Sendable () -> Int64 = WallClock.milliseconds, monotonic: @escaping @Sendable () -> Int64 = WallClock.monotonicMilliseconds,
    process: @escaping @Sendable () -> ProcessLoad = ProcessLoad.now
  ) {
    self.version = version; self.name = name; self.topologies = topologies; self.books = books; self.clock = clock
    self.monotonic = monotonic; self.process = process
  }
}
