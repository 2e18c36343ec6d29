import Aggregation
import Engine
import Kafka

/// What one instance of one topology is to do, and with what.
public struct RunSettings: Sendable {
  public var plan: Plan
  public var kafka: KafkaSettings
  /// A libpq connection string; may hold a password, so it is never printed.
  public var postgres: String
  /// Holds the journal; one process at a time uses it.
  public var dataDirectory: String
  /// Shown as the owner of partitions.
  public var instance: String
  public var group: String
  /// `group.instance.id`: static membership; nil: dynamic.
  public var staticMember: String?
  /// Budgets are shared out among the workers.
  public var limits = InstanceLimits()
  /// Threads that own partitions, 1 to 64.
  public var workers = 1
  public var journal = JournalSettings()
  /// End, with everything flushed, once all partitions have reached the end offsets that they had at the beginning.
  public var untilCaughtUp = false
  /// Whether somebody looks: ages of events and ends of partitions are noted.
  public var isObserved = false
  /// How long a drain may take; what it is for has shares of it.
  public var drainTime = DrainTime()
  /// How long to wait for PostgreSQL at the beginning, milliseconds.
  public var patience: Milliseconds = 30_000

  public struct JournalSettings: Sendable {
    public enum Sync: Sendable { case always, interval(Milliseconds), never }
    /// Bytes of a segment: the disk needs room for two at least.
    public var segmentBytes = 64 << 20
    /// false: no journal at all; a restart then takes over like another instance.
    public var isOn = true
    public var sync = Sync.interval(1000)
    public init() {}
  }

  public init(
    plan: Plan, kafka: KafkaSettings, postgres: String, dataDirectory: String, instance: String, group: String
  ) {
    self.plan = plan
    self.kafka = kafka
    self.postgres = postgres
    self.dataDirectory = dataDirectory
    self.instance = instance
    self.group = group
  }
}

/// How the time from SIGTERM to the end is shared out, so that an instance ends in time whatever does not answer. What a
/// share does not need goes to the next one. Not flushed in time is not lost: the next owner reads it again.
public struct DrainTime: Sendable {
  /// Milliseconds in all.
  public var total: Milliseconds
  public init(_ total: Milliseconds = 10_000) { self.total = total }

  /// Whether workers that have not answered a drain are to be left behind; `began` nil: there is no drain.
  func isOverForWorkers(_ began: Milliseconds?, now: Milliseconds) -> Bool { began.map { now > $0 + workers } ?? false }

  /// For each worker's last flush.
  public var flush: Milliseconds { total * 6 / 10 }
  /// For the landing's last batch, which PostgreSQL refuses or fails: it costs nothing to read it again.
  public var landing: Milliseconds { total * 3 / 10 }
  /// Until workers that do not answer (a disk that hangs) are left behind.
  public var workers: Milliseconds { total * 7 / 10 }
  /// Until PostgreSQL has heard what only tidies (owners, chunks).
  public var stores: Milliseconds { total * 8 / 10 }
  /// Until the group has heard that this member leaves.
  public var leave: Milliseconds { total * 9 / 10 }
  /// Until the process ends, whatever is still under way.
  public var process: Milliseconds { total * 97 / 100 }
}

/// Why a run ended before its time.
public struct RunError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Code: Sendable, Equatable {
    /// PostgreSQL or Kafka cannot be reached.
    case unreachable
    /// An operator has to act; the message says how.
    case refused
    /// This machine has a trouble that may pass (its disk): worth starting again.
    case again
  }
  public var code: Code
  public var message: String
  public var description: String { message }
  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }
}
