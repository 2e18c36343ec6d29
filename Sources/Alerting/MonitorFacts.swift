import Aggregation

/// What is known about one topology at one moment: all that the checks judge by. Times are microseconds since the epoch.
public struct MonitorFacts: Sendable, Equatable {
  /// The database's clock, or whatever a test says the time is.
  public var now: Int64
  public var topology: String
  public var partitions: [Partition] = []
  /// What has to be waited for beyond Kafka's ends: sums over partitions, ascending by time.
  public var lag: [Sample] = []
  public var takeovers: [Takeover] = []
  public var refused = Refused()
  public var hours: Known<[EventHours]> = .known([])
  public var refreshes: Known<[Refresh]> = .known([])
  /// The newest finished run; nil: there was none.
  public var reconciliation: Known<Reconciliation?> = .known(nil)
  public var queries: Known<[Query]> = .known([])
  /// Bytes of the database, ascending by time; the last one is now's.
  public var storage: [Sample] = []
  public var channels: [ChannelState] = []

  public init(now: Int64, topology: String) {
    self.now = now
    self.topology = topology
  }

  public struct Partition: Sendable, Equatable {
    public var id: PartitionID
    public var nextOffset: Int64
    /// nil: never seen.
    public var endOffset: Int64?
    /// Kafka was asked just now; otherwise the end is what an instance saw at its last flush.
    public var endIsCurrent = false
    /// nil: nothing was flushed yet.
    public var flushedAt: Int64?
    /// When it was taken over or flushed last.
    public var takenAt: Int64?
    public var owner: String?
    public init(id: PartitionID, nextOffset: Int64) {
      self.id = id
      self.nextOffset = nextOffset
    }

    /// Events that wait; nil: not known.
    public var lag: Int64? { endOffset.map { max(0, $0 - nextOffset) } }
  }

  public struct Sample: Sendable, Equatable {
    public var at: Int64
    public var value: Int64
    public init(at: Int64, value: Int64) {
      self.at = at
      self.value = value
    }
  }

  /// How often a partition was taken over within `monitor.fenced.within`.
  public struct Takeover: Sendable, Equatable {
    public var id: PartitionID
    public var times: Int64
    public init(id: PartitionID, times: Int64) {
      self.id = id
      self.times = times
    }
  }

  /// What the ledger says of `monitor.quarantine.within`.
  public struct Refused: Sendable, Equatable {
    public var offsets: Int64 = 0
    public var quarantined: Int64 = 0
    /// The most frequent reasons among those kept, most frequent first.
    public var reasons: [String] = []
    public init() {}
  }

  /// Events of the last 60 minutes and of hours like it.
  public struct EventHours: Sendable, Equatable {
    /// The event's type; nil: all of them.
    public var type: String?
    public var current: Int64
    /// The same hour one, two, three, four weeks ago; only weeks of which there is history.
    public var weeks: [Int64]
    /// The hours before this one, newest first; only hours of which there is history.
    public var hours: [Int64]
    public init(type: String?, current: Int64, weeks: [Int64], hours: [Int64]) {
      self.type = type
      self.current = current
      self.weeks = weeks
      self.hours = hours
    }
  }

  public struct Refresh: Sendable, Equatable {
    public var view: String
    public var isHourly: Bool
    public var createdAt: Int64
    public var doneAt: Int64?
    /// Why the newest ended refresh failed; nil: it did not.
    public var failure: String?
    public init(view: String, isHourly: Bool, createdAt: Int64) {
      self.view = view
      self.isHourly = isHourly
      self.createdAt = createdAt
    }
  }

  public struct Reconciliation: Sendable, Equatable {
    public var run: Int64
    public var differences: Int64 = 0
    public var unexplained: Int64 = 0
    /// nil: it did not fail.
    public var failure: String?
    /// Some of the unexplained differences, in words.
    public var examples: [String] = []
    public init(run: Int64) { self.run = run }
  }

  /// A statement over analytics tables, by somebody who is not Tidemark, within `monitor.queries.within`.
  public struct Query: Sendable, Equatable {
    public var id: String
    public var user: String
    public var text: String
    public var calls: Int64
    public var meanMilliseconds: Double
    public init(id: String, user: String, text: String, calls: Int64, meanMilliseconds: Double) {
      self.id = id
      self.user = user
      self.text = text
      self.calls = calls
      self.meanMilliseconds = meanMilliseconds
    }
  }

  public struct ChannelState: Sendable, Equatable {
    public var name: String
    /// In a row; 0: the last message went through.
    public var failures: Int
    public var nextAttemptAt: Int64?
    public var lastError: String
    public init(name: String, failures: Int, nextAttemptAt: Int64? = nil, lastError: String = "") {
      self.name = name
      self.failures = failures
      self.nextAttemptAt = nextAttemptAt
      self.lastError = lastError
    }
  }
}

/// A fact, or why there is none: what is not known resolves no alert.
public enum Known<Value: Sendable & Equatable>: Sendable, Equatable {
  case known(Value)
  case unknown(String)
}
