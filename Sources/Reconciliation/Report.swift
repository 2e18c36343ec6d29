import Aggregation

/// What is asked of a reconciliation.
public struct ReconciliationRequest: Sendable {
  /// Calendar days, `2024-01-31`, both included, in the zone of each aggregate's windows; nil: no bound.
  public var from: String?
  public var to: String?
  /// Replace the stream's rows by the batch's where a window is closed and the batch can be trusted.
  public var repairs = false
  /// Leave out windows that were completed after the view was read: right after a refresh, that is no neglect.
  public var onlyWhatTheViewCovers = false
  /// Differences that are told one by one; all up to `Reconciler.mostStored` are stored.
  public var listed = 50
  public init() {}
}

/// A row that differs, or a finding in the books, as it is stored and shown.
public struct Difference: Sendable, Equatable {
  /// nil: a finding in the books.
  public var aggregate: String?
  /// Microseconds.
  public var windowStart: Int64?
  public var key: [String] = []
  public var columns: [String] = []
  /// nil: there is no row.
  public var stream: [String?]?
  public var batch: [String?]?
  public var partition: PartitionID?
  public var from: Int64?
  public var to: Int64?
  public var classes: [String]
  public var isExplained: Bool
  public var reason: String
  /// `topic/partition@offset`, or ranges `topic/partition@from..<to`; of each class the first ones.
  public var evidence: [String] = []
  public var isRepaired = false
}

/// What was found about one aggregate.
public struct AggregateReport: Sendable, Equatable {
  public var table: String
  /// Windows and rows compared; `open`: windows that are not final yet, compared because both sides stand at the same offsets.
  public var windows: Int64 = 0
  public var open: Int64 = 0
  public var rows: Int64 = 0
  public var differences: Int64 = 0
  /// Not explained, and not repaired.
  public var unexplained: Int64 = 0
  public var repaired: Int64 = 0
  /// Differences by class.
  public var classes: [String: Int64] = [:]
  /// Rows of open windows that differ by late events only so far: no difference until the window is final.
  public var pending: Int64 = 0
  /// Microseconds; nil: nothing is sealed.
  public var sealedThrough: Int64?
  /// Seconds that the comparison took.
  public var seconds = 0.0
  /// The first ones.
  public var listed: [Difference] = []
  public init(table: String) { self.table = table }

  /// Lists a difference while there is room; one that nothing explains takes the place of one that is explained.
  mutating func list(_ difference: Difference, most: Int) {
    if listed.count >= most {
      guard !difference.isExplained, let last = listed.lastIndex(where: \.isExplained) else { return }
      listed.remove(at: last)
    }
    listed.append(difference)
  }
}

/// What a reconciliation of one topology found.
public struct ReconciliationReport: Sendable, Equatable {
  public var topology: String
  public var run: Int64
  /// Microseconds; nil: nothing is complete on both sides.
  public var completeThrough: Int64?
  public var aggregates: [AggregateReport] = []
  public var books: [BooksFinding] = []
  /// Seconds that checking the books took.
  public var booksSeconds = 0.0
  public init(topology: String, run: Int64) {
    self.topology = topology
    self.run = run
  }

  public enum Outcome: String, Sendable { case equal, explained, different }

  public var outcome: Outcome {
    let open = aggregates.reduce(0) { $0 + $1.differences - $1.repaired }
    if books.contains(where: { !$0.isExplained }) || aggregates.contains(where: { $0.unexplained > 0 }) { return .different }
    return open > 0 || !books.isEmpty ? .explained : .equal
  }
}
