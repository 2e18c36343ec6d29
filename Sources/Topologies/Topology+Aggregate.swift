import Aggregation

extension Topology {
  /// One aggregate: a window, a grouping and measures, kept in one table.
  public struct Aggregate: Sendable, Equatable {
    public let name: String
    public let window: Window
    /// Names of required or defaulted fields of type string, integer or boolean. Empty: one group a window.
    public let by: [String]
    /// All terms must hold. Empty: every event.
    public let filter: [Filter]
    /// In the file's order; at least one.
    public let measures: [Measure]
    /// nil: the file says nothing about who may read the table.
    public let access: Access?
    /// Most groups that one window of one partition may hold.
    public let maxGroups: Int
    /// Where the aggregate's name stands in the file; from 1.
    public let line: Int
    public let column: Int

    public init(
      name: String, window: Window, by: [String], filter: [Filter], measures: [Measure], access: Access?, maxGroups: Int,
      line: Int, column: Int
    ) {
      self.name = name
      self.window = window
      self.by = by
      self.filter = filter
      self.measures = measures
      self.access = access
      self.maxGroups = maxGroups
      self.line = line
      self.column = column
    }

    /// The table's name in PostgreSQL, without its schema.
    public var tableName: String { Topology.sqlName(name) }
  }

  /// How event time is cut.
  public enum Window: Sendable, Equatable {
    /// Whole days are calendar days in the topology's zone; other lengths are fixed and aligned to 1970-01-01T00:00:00Z.
    case tumbling(TimeSpan)

    /// Calendar days that a window spans; nil for fixed lengths.
    public var calendarDays: Int? {
      switch self {
      case .tumbling(let length): length.wholeDays
      }
    }
  }

  /// A term of `where:`: the field is one of, or none of, some values.
  public struct Filter: Sendable, Equatable {
    public let field: String
    public let negated: Bool
    /// Text of the values, as `FieldPlan.Presence.defaulted` writes them; at least one.
    public let values: [String]

    public init(field: String, negated: Bool, values: [String]) {
      self.field = field
      self.negated = negated
      self.values = values
    }
  }

  /// One measure and the column that it fills.
  public struct Measure: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
      case count
      case sum(String)
      case minimum(String)
      case maximum(String)
      case average(String)
      case distinct(String)
    }
    public let name: String
    public let kind: Kind

    public init(name: String, kind: Kind) {
      self.name = name
      self.kind = kind
    }

    /// Name of the field that the measure reads; nil for `count`.
    public var field: String? {
      switch kind {
      case .count: nil
      case .sum(let f), .minimum(let f), .maximum(let f), .average(let f), .distinct(let f): f
      }
    }

    /// As the file writes it: `count`, `sum amount_cents`.
    public var text: String {
      switch kind {
      case .count: "count"
      case .sum(let f): "sum \(f)"
      case .minimum(let f): "min \(f)"
      case .maximum(let f): "max \(f)"
      case .average(let f): "average \(f)"
      case .distinct(let f): "distinct \(f)"
      }
    }
  }
}
