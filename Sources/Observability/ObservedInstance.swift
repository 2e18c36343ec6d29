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
    public var status: @Sendable () -> RunStatus

    public init(
      name: String, topics: [String], aggregates: [Aggregate], allowedLateness: Int64, flushInterval: Int64, status: @escaping @Sendable () -> RunStatus
    ) {
      self.name = name; self.topics = topics; self.aggregates = aggregates; self.allowedLateness = allowedLateness
      self.flushInterval = flushInterval; self.status = status
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

/// How far a partition is behind.
struct Lag: Equatable {
  /// Offsets between what is in PostgreSQL and the end; nil: the end is not known.
  var events: Int64?
  /// Age of the newest record that is in PostgreSQL, 0 where all is; nil: not known.
  var seconds: Double?

  /// - Parameters:
  ///   - end: the next offset that Kafka will give.
  ///   - newest: when what is in PostgreSQL was written to Kafka, or else its watermark; milliseconds since the epoch.
  init(flushed: Int64, end: Int64?, newest: Int64?, now: Int64) {
    guard let end else { return }
    let behind = max(0, end - flushed)
    events = behind
    seconds = behind == 0 ? 0 : newest.map { Double(max(0, now - $0)) / 1000 }
  }

  init() {}

  /// Of several partitions together: events add up, of seconds the worst counts. One that is not known does not hide the others.
  static func worst(_ lags: [Lag]) -> Lag {
    var result = Lag()
    for lag in lags {
      if let events = lag.events { result.events = (result.events ?? 0) + events }
      if let seconds = lag.seconds { result.seconds = max(result.seconds ?? 0, seconds) }
    }
    return result
  }
}

extension RunStatus {
  /// The end of a partition in Kafka as far as anybody here knows.
  func end(of part: PartitionLoad) -> Int64? {
    switch (ends[part.id], part.end?.value) {
    case (let a?, let b?): return max(a, b)
    case (let a, let b): return a ?? b
    }
  }

  /// One an assigned partition.
  func lags(now: Int64) -> [Lag] {
    load.partitions.map { part in
      guard part.epoch.value > 0 else { return Lag() }
      return Lag(
        flushed: part.flushed.value, end: end(of: part), newest: part.flushedRecordTime ?? part.watermark.map { $0.microseconds / 1000 }, now: now)
    }
  }

  func lag(now: Int64) -> Lag { Lag.worst(lags(now: now)) }
}
