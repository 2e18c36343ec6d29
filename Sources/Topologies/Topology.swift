import Aggregation

/// One topology file, validated: where events come from, what is read out of them, and what is kept of them.
///
/// A value of this type is consistent: every name resolves, every type fits. `parse(yaml:file:)` is the way in.
public struct Topology: Sendable, Equatable {
  /// The path that messages name; as given to `parse` or `load`.
  public let file: String
  public let name: String
  /// Kafka topics, in the file's order, without repetition; at least one.
  public let topics: [String]
  public let format: PayloadFormat
  /// The field whose value is the Kafka key; nil where no measure counts distinct members.
  public let partitionKey: String?
  /// JSON path of the event id; nil where the file names none.
  public let idPath: [String]?
  public let timePath: [String]
  public let timeFormat: TimeFormat
  /// In the file's order.
  public let fields: [Field]
  /// How far behind its partition's watermark an event may lie.
  public let allowedLateness: TimeSpan
  /// IANA name of the zone that calendar days are counted in.
  public let zone: String
  /// How far after its record's Kafka timestamp an event may lie.
  public let maxFutureSkew: TimeSpan
  /// nil: events are not deduplicated. Never without `idPath`.
  public let deduplicateWithin: TimeSpan?
  /// Kinds of readers: the standard ones, then the file's own.
  public let tiers: [Tier]
  /// In the file's order; at least one.
  public let aggregates: [Aggregate]
  /// In the file's order; empty where nothing is reconciled.
  public let reconciliations: [Reconciliation]
  /// The file's text: the database keeps it, so that commands without the file know what they check.
  public internal(set) var text = ""
  /// When somebody is to be told.
  public internal(set) var monitor = Monitor()

  /// How payloads are written.
  public enum PayloadFormat: String, Sendable, Equatable, CaseIterable {
    case json
  }

  /// One value that is read out of every event.
  public struct Field: Sendable, Equatable {
    public let name: String
    /// Keys from the event's root.
    public let path: [String]
    public let kind: FieldPlan.Kind
    public let presence: FieldPlan.Presence

    public init(name: String, path: [String], kind: FieldPlan.Kind, presence: FieldPlan.Presence) {
      self.name = name
      self.path = path
      self.kind = kind
      self.presence = presence
    }
  }

  /// `reconcile:` of one aggregate.
  public struct Reconciliation: Sendable, Equatable {
    public enum Against: String, Sendable, Equatable, CaseIterable {
      /// The landed events, `raw.events`.
      case raw
    }
    public enum Tolerance: Sendable, Equatable {
      case exact
      /// Values may differ by so many thousandths of a percent of the batch's.
      case within(thousandths: Int)
    }
    public let aggregate: String
    public let against: Against
    public let tolerance: Tolerance

    public init(aggregate: String, against: Against, tolerance: Tolerance) {
      self.aggregate = aggregate
      self.against = against
      self.tolerance = tolerance
    }
  }

  /// The field of that name. O(fields).
  public func field(named name: String) -> Field? { fields.first { $0.name == name } }

  /// The aggregate of that name. O(aggregates).
  public func aggregate(named name: String) -> Aggregate? { aggregates.first { $0.name == name } }
}
