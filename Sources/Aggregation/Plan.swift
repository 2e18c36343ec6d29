/// What a topology compiles to: everything the core needs, and nothing that it does not.
public struct Plan: Sendable, Equatable {
  public var topology: String
  /// Hash of all that decides results: two plans with one fingerprint give the same rows. Hexadecimal text.
  public var fingerprint: String
  public var topics: [String]
  /// JSON path of the event id; nil without deduplication.
  public var idPath: [String]?
  public var timePath: [String]
  public var timeFormat: TimeFormat
  /// Columns of every `EventBatch`, in this order.
  public var fields: [FieldPlan]
  /// Index into `fields` of the field that is the Kafka key.
  public var partitionKey: Int?
  public var aggregates: [AggregatePlan]
  /// Microseconds.
  public var allowedLateness: Int64
  /// Microseconds; nil: events are not deduplicated. Always with an `idPath`.
  public var deduplicateWithin: Int64?
  /// Microseconds by which an event may lie after its record's Kafka timestamp.
  public var maxFutureSkew: Int64

  public init(
    topology: String, fingerprint: String, topics: [String], idPath: [String]?, timePath: [String], timeFormat: TimeFormat,
    fields: [FieldPlan], partitionKey: Int?, aggregates: [AggregatePlan], allowedLateness: Int64,
    deduplicateWithin: Int64?, maxFutureSkew: Int64
  ) {
    self.topology = topology; self.fingerprint = fingerprint; self.topics = topics; self.idPath = idPath
    self.timePath = timePath; self.timeFormat = timeFormat; self.fields = fields; self.partitionKey = partitionKey
    self.aggregates = aggregates; self.allowedLateness = allowedLateness
    self.deduplicateWithin = deduplicateWithin; self.maxFutureSkew = maxFutureSkew
  }
}

/// How the event's time is written.
public enum TimeFormat: String, Sendable, Equatable {
  case rfc3339 = "rfc3339"
  case epochSeconds = "epoch_seconds"
  case epochMilliseconds = "epoch_milliseconds"
  case epochMicroseconds = "epoch_microseconds"
}

/// One field that the topology reads out of an event.
public struct FieldPlan: Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    case string
    /// JSON integer, 64 bit.
    case integer
    /// JSON number, held exactly as an integer of 10^-scale; scale 0 to 9. More digits than that are refused.
    case decimal(scale: Int)
    case boolean
  }
  public enum Presence: Sendable, Equatable {
    case required
    case optional
    /// Absent and null read as this. Text of the value: `unassigned`, `0`, `true`; decimals already scaled.
    case defaulted(String)
  }
  public var name: String
  public var path: [String]
  public var kind: Kind
  public var presence: Presence
  public init(name: String, path: [String], kind: Kind, presence: Presence) {
    self.name = name; self.path = path; self.kind = kind; self.presence = presence
  }
}

/// One aggregate: a window, a grouping and measures, written to one table.
public struct AggregatePlan: Sendable, Equatable {
  public var name: String
  public var window: WindowPlan
  /// Indices into `Plan.fields`; string, integer or boolean fields, never optional. Empty: one group a window.
  public var by: [Int]
  /// All terms must hold. Empty: every event.
  public var filter: [FilterTerm]
  public var measures: [MeasurePlan]
  /// Most groups that one window of one partition may hold; later keys go to the `__overflow__` group.
  public var groupLimit: Int
  public init(name: String, window: WindowPlan, by: [Int], filter: [FilterTerm], measures: [MeasurePlan], groupLimit: Int) {
    self.name = name; self.window = window; self.by = by; self.filter = filter; self.measures = measures
    self.groupLimit = groupLimit
  }
}

/// `where:` of an aggregate: a field is one of (or none of) some values.
/// An absent optional field is none of any values.
public struct FilterTerm: Sendable, Equatable {
  public var field: Int
  public var negated: Bool
  /// Text of the values, as `FieldPlan.Presence.defaulted` writes them.
  public var values: [String]
  public init(field: Int, negated: Bool, values: [String]) { self.field = field; self.negated = negated; self.values = values }
}

/// One measure of an aggregate; `field` indexes `Plan.fields`.
public struct MeasurePlan: Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    case count
    case sum(field: Int)
    case minimum(field: Int)
    case maximum(field: Int)
    /// Mean of the present values; the table keeps its sum and its count.
    case average(field: Int)
    /// Exact count of distinct values; the field is the partition key.
    case distinct(field: Int)
  }
  public var name: String
  public var kind: Kind
  public init(name: String, kind: Kind) { self.name = name; self.kind = kind }

  /// The field that the measure reads, nil for `count`.
  public var field: Int? {
    switch kind {
    case .count: nil
    case .sum(let f), .minimum(let f), .maximum(let f), .average(let f), .distinct(let f): f
    }
  }
}

/// The group key that holds what exceeds `AggregatePlan.groupLimit`, in every `by` field.
public let overflowKey = "__overflow__"
