import Aggregation
import Runtime
import Warehouse

/// One aggregate: what one partition holds of it, and how its table stands, which is the same whichever partition says it.
public struct StatusAggregate: Encodable, Sendable {
  public var name: String
  /// In the schema `analytics`.
  public var table: String
  /// Rows of open windows that are held.
  public var groups: Int64?
  /// Events that went to `__overflow__` since the partition was taken over.
  public var overflow: Int64?
  /// Rows of the table, about: as PostgreSQL's statistics have them. Nothing is counted.
  public var rows: Int64?
  /// As `analytics.freshness` has them.
  public var completeThrough: String?
  public var freshAsOf: String?
  public var rowsChangedAt: String?

  init(name: String, table: String) {
    self.name = name
    self.table = table
  }

  init(_ status: Books.AggregateStatus, _ freshness: Books.Freshness?) {
    self.init(name: status.name, table: status.table)
    (groups, overflow) = (status.groups, status.overflow)
    if let freshness { take(freshness) }
  }

  fileprivate mutating func take(_ freshness: Books.Freshness) {
    rows = freshness.estimatedRows
    completeThrough = freshness.completeThrough.map(TimeText.rfc3339)
    freshAsOf = freshness.freshAsOf.map(TimeText.rfc3339)
    rowsChangedAt = freshness.rowsChangedAt.map(TimeText.rfc3339)
  }
}

/// An open alert.
public struct StatusAlert: Encodable, Sendable {
  public var topology: String
  /// Absent: it concerns the topology.
  public var topic: String?
  public var partition: Int32?
  public var kind: String
  /// Absent: an instance raised it, not a check.
  public var severity: String?
  /// A view, an event type; absent: nothing in particular.
  public var subject: String?
  public var message: String
  public var since: String
  public var lastSeen: String
  public var seen: Int64

  init(_ alert: Books.Alert) {
    topology = alert.topology
    topic = alert.partition < 0 ? nil : alert.topic
    partition = alert.partition < 0 ? nil : alert.partition
    kind = alert.kind
    severity = alert.severity
    subject = alert.subject.isEmpty ? nil : alert.subject
    message = alert.message
    since = TimeText.rfc3339(alert.raisedAt)
    lastSeen = TimeText.rfc3339(alert.lastSeenAt)
    seen = alert.seen
  }
}

/// All that `tidemark status` shows, of all instances.
public struct StatusReport: Sendable {
  /// Milliseconds since the epoch at which the books were read.
  public var at: Int64
  public var rows: [StatusRow]
  /// By topology and table; groups and overflow of all partitions together.
  public var aggregates: [(topology: String, aggregate: StatusAggregate)]
  /// Open ones, the newest first; those of topologies without any partition, too.
  public var alerts: [StatusAlert]

  /// - Parameters:
  ///   - topology: only this one; nil: all.
  ///   - ends: where partitions end in Kafka, as far as that is known.
  ///   - now: milliseconds since the epoch.
  public init(_ books: BooksSnapshot, topology: String? = nil, ends: [PartitionID: Int64] = [:], now: Int64) {
    at = books.at
    let rows = StatusRow.rows(books, ends: ends, now: now).filter { topology == nil || $0.topology == topology }
    self.rows = rows
    aggregates = books.freshness.filter { topology == nil || $0.topology == topology }.map { freshness in
      var sum = StatusAggregate(name: freshness.aggregate, table: freshness.table)
      sum.take(freshness)
      for row in rows where row.topology == freshness.topology {
        guard let part = row.aggregates.first(where: { $0.table == freshness.table }) else { continue }
        if let groups = part.groups { sum.groups = (sum.groups ?? 0) + groups }
        if let overflow = part.overflow { sum.overflow = (sum.overflow ?? 0) + overflow }
      }
      return (freshness.topology, sum)
    }
    alerts = books.alerts.filter { $0.resolvedAt == nil && (topology == nil || $0.topology == topology) }.map(StatusAlert.init)
  }
}
