import Aggregation
import Topologies

/// A topology in this room's own words, so that what is expected shares no type with the engine.
/// This file is the only one that reads the vocabulary of the core.
struct Shape: Sendable {
  enum Kind: Sendable, Equatable {
    case string, integer, boolean
    /// An integer of 10^-scale.
    case decimal(scale: Int)

    var isNumber: Bool { self != .string && self != .boolean }
    /// Digits after the point.
    var scale: Int { if case .decimal(let scale) = self { scale } else { 0 } }
  }
  enum Presence: Sendable, Equatable {
    case required, optional
    case defaulted(String)
  }
  struct Field: Sendable {
    var name: String
    var path: [String]
    var kind: Kind
    var presence: Presence
    /// Whether an aggregate groups by it: its texts are limited then.
    var isKey: Bool
  }
  enum TimeNotation: Sendable { case rfc3339, seconds, milliseconds, microseconds }
  enum Window: Sendable {
    /// Microseconds, aligned to the epoch.
    case fixed(Int64)
    /// Calendar days of the zone, counted from 1970-01-01.
    case days(Int)
  }
  struct Term: Sendable {
    var field: Int
    var negated: Bool
    var values: [String]
  }
  enum Measure: Sendable {
    case count
    case sum(Int), minimum(Int), maximum(Int), average(Int), distinct(Int)

    var field: Int? {
      switch self {
      case .count: nil
      case .sum(let f), .minimum(let f), .maximum(let f), .average(let f), .distinct(let f): f
      }
    }
  }
  struct Aggregate: Sendable {
    var name: String
    var window: Window
    var by: [Int]
    var terms: [Term]
    var measures: [(name: String, kind: Measure)]
    var maxGroups: Int
  }

  var topology: String
  var fields: [Field]
  /// Index of the partition key.
  var key: Int?
  /// Written wherever the topology names one; read only where ids are compared (`horizon`).
  var idPath: [String]?
  var timePath: [String]
  var time: TimeNotation
  var aggregates: [Aggregate]
  /// Microseconds.
  var lateness: Int64
  /// Microseconds.
  var skew: Int64
  /// Whole seconds; nil: no deduplication.
  var horizon: Int64?
  var zone: String

  /// A topology is consistent: every name in it resolves.
  init(_ topology: Topology) {
    self.topology = topology.name
    let index = Dictionary(uniqueKeysWithValues: topology.fields.enumerated().map { ($1.name, $0) })
    let keys = Set(topology.aggregates.flatMap(\.by))
    fields = topology.fields.map { field in
      let kind: Kind =
        switch field.kind {
        case .string: .string
        case .integer: .integer
        case .decimal(let scale): .decimal(scale: scale)
        case .boolean: .boolean
        }
      let presence: Presence =
        switch field.presence {
        case .required: .required
        case .optional: .optional
        case .defaulted(let text): .defaulted(text)
        }
      return Field(name: field.name, path: field.path, kind: kind, presence: presence, isKey: keys.contains(field.name))
    }
    key = topology.partitionKey.flatMap { index[$0] }
    horizon = topology.deduplicateWithin.map { $0.microseconds / 1_000_000 }
    idPath = topology.idPath
    timePath = topology.timePath
    time =
      switch topology.timeFormat {
      case .rfc3339: .rfc3339
      case .epochSeconds: .seconds
      case .epochMilliseconds: .milliseconds
      case .epochMicroseconds: .microseconds
      }
    aggregates = topology.aggregates.map { Self.aggregate($0, index) }
    lateness = topology.allowedLateness.microseconds
    skew = topology.maxFutureSkew.microseconds
    zone = topology.zone
  }

  private static func aggregate(_ aggregate: Topology.Aggregate, _ index: [String: Int]) -> Aggregate {
    let window: Window =
      switch aggregate.window {
      case .tumbling(let length): aggregate.window.calendarDays.map { .days($0) } ?? .fixed(length.microseconds)
      }
    let measures = aggregate.measures.map { measure -> (name: String, kind: Measure) in
      let kind: Measure =
        switch measure.kind {
        case .count: .count
        case .sum(let f): .sum(index[f]!)
        case .minimum(let f): .minimum(index[f]!)
        case .maximum(let f): .maximum(index[f]!)
        case .average(let f): .average(index[f]!)
        case .distinct(let f): .distinct(index[f]!)
        }
      return (measure.name, kind)
    }
    return Aggregate(
      name: aggregate.name, window: window, by: aggregate.by.map { index[$0]! },
      terms: aggregate.filter.map { Term(field: index[$0.field]!, negated: $0.negated, values: $0.values) },
      measures: measures, maxGroups: aggregate.maxGroups)
  }
}
