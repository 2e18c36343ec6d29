import Aggregation

/// A row of `tidemark.alert`.
public struct StoredAlert: Sendable, Equatable {
  public var id: Int64
  public var key: AlertKey
  public var severity: AlertSeverity
  public var message: String
  /// Microseconds since the epoch, like all times here.
  public var raisedAt: Int64
  public var lastSeenAt: Int64
  public var resolvedAt: Int64?
  /// false: an instance, or the batch side, raised it.
  public var isByCheck: Bool

  public init(
    id: Int64, key: AlertKey, severity: AlertSeverity, message: String, raisedAt: Int64, lastSeenAt: Int64, resolvedAt: Int64? = nil, isByCheck: Bool
  ) {
    self.id = id
    self.key = key
    self.severity = severity
    self.message = message
    self.raisedAt = raisedAt
    self.lastSeenAt = lastSeenAt
    self.resolvedAt = resolvedAt
    self.isByCheck = isByCheck
  }
}

/// What a pass changes in the book of alerts.
///
///                    finding                  finding
///     no open row ─────────────► open row ◄────────────┐
///          ▲                      │  │  └──────────────┘
///          │                      │  │ not known: nothing happens
///          │   gone for `settle`, │  │
///          └── or the check is ◄──┘  │ (a row that an instance raised is resolved once its partition flushes again,
///              off: resolved         │  an event of the past a day after it was seen last; others by whoever raised them)
///                                    ▼
///     A resolved row stays; the next finding of its key is a new row.
public enum AlertBook {
  public enum Change: Sendable, Equatable {
    case raise(Finding)
    /// The condition still holds. nil: the words of whoever raised it stay.
    case see(Int64, Finding?)
    case resolve(Int64)
  }

  /// Alerts of instances that stop a partition.
  static let stops: Set<String> = ["offset_out_of_range", "state_unreadable", "topic_ends_early", "state_over_budget"]
  /// Alerts of instances that tell of something that has happened and is over.
  static let events: Set<String> = ["horizon_incomplete"]
  /// A flush that was under way when the partition stopped may still end; microseconds.
  private static let underWay: Int64 = 60_000_000
  private static let day: Int64 = 86_400_000_000

  /// - Parameters:
  ///   - open: all open rows of the topology.
  ///   - settle: microseconds for which a condition has to be gone.
  /// - Complexity: O(open + findings).
  public static func changes(open: [StoredAlert], _ assessments: [Assessment], _ facts: MonitorFacts, settle: Int64) -> [Change] {
    var rows: [AlertKey: StoredAlert] = [:]
    for row in open where rows[row.key] == nil { rows[row.key] = row }
    var changes: [Change] = []
    var seen: Set<AlertKey> = []
    var kept: Set<String> = []
    var off: Set<String> = []
    for assessment in assessments {
      switch assessment.verdict {
      case .unknown: kept.insert(assessment.kind.rawValue)
      case .off: off.insert(assessment.kind.rawValue)
      case .findings(let findings):
        for finding in findings where seen.insert(finding.key).inserted {
          if let row = rows[finding.key] {
            changes.append(.see(row.id, row.isByCheck ? finding : nil))
          } else if finding.raises {
            changes.append(.raise(finding))
          }
        }
      }
    }
    let checked = Set(assessments.map(\.kind.rawValue))
    for row in open where !seen.contains(row.key) {
      let isOver =
        if kept.contains(row.key.kind) {
          false
        } else if off.contains(row.key.kind) {
          row.isByCheck
        } else if checked.contains(row.key.kind) {
          facts.now - row.lastSeenAt >= settle
        } else {
          isOver(row, facts)
        }
      if isOver { changes.append(.resolve(row.id)) }
    }
    return changes
  }

  private static func isOver(_ row: StoredAlert, _ facts: MonitorFacts) -> Bool {
    if events.contains(row.key.kind) { return facts.now - row.lastSeenAt >= day }
    guard stops.contains(row.key.kind) else { return false }
    let id = PartitionID(topic: row.key.topic, partition: row.key.partition)
    guard let flushed = facts.partitions.first(where: { $0.id == id })?.flushedAt else { return false }
    return flushed - row.lastSeenAt >= underWay
  }
}
