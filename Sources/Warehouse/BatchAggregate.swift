import Aggregation
import Engine
import Postgres
import Topologies

/// An aggregate as batch SQL over landed events computes it: the definition of the nightly view, and what a comparison with
/// the stream's table needs to know. Everything follows from the same `Plan` that the stream runs.
///
/// The batch side's rule for duplicates is its own, and plain: of events with one id in one partition of one topic, the first
/// offset counts. It knows no horizon.
public struct BatchAggregate: Sendable {
  /// A column that both sides have.
  public struct Measure: Sendable {
    public let column: String
    public let kind: Kind
    /// Column of the measured field in the raw table; nil for `count`.
    public let field: String?
    public enum Kind: Sendable, Equatable { case count, sum, minimum, maximum, present, distinct }

    /// An SQL aggregate over events `e`; `condition` restricts them. `apart`: as the stream counts distinct members, in each
    /// partition by itself.
    public func expression(where condition: String? = nil, apart: Bool = false) -> String {
      let column = field.map { "e.\(SQL.identifier($0))" } ?? ""
      let call =
        switch kind {
        case .count: "count(*)"
        case .sum: "sum(\(column))"
        case .minimum: "min(\(column))"
        case .maximum: "max(\(column))"
        case .present: "count(\(column))"
        case .distinct: apart ? "count(DISTINCT ROW(e.topic, e.partition, \(column)))" : "count(DISTINCT \(column))"
        }
      let conditions = [condition, kind == .distinct && apart ? "\(column) IS NOT NULL" : nil].compactMap { $0 }
      return conditions.isEmpty ? call : "\(call) FILTER (WHERE \(conditions.joined(separator: " AND ")))"
    }
  }

  public let topology: String
  public let fingerprint: String
  /// As the topology names it.
  public let name: String
  /// The name that the stream's table and the nightly view share.
  public let table: String
  /// Quoted, with its schema.
  public let rawTable: String
  public let identifierColumn: String?
  /// Columns of the key after `window_start`, and what each is of an event `e`.
  public let keys: [(column: String, expression: String)]
  public let measures: [Measure]
  public let tolerance: Topology.Reconciliation.Tolerance
  /// Whether an event `e` counts; nil: every one does.
  public let filter: String?
  private let window: WindowPlan

  init(_ aggregate: AggregatePlan, in plan: Plan, _ tolerance: Topology.Reconciliation.Tolerance) {
    let landing = LandingPlan(plan)
    let raw = RawTable(landing)
    func column(_ field: Int) -> String { "e.\(SQL.identifier(raw.fieldColumns[field]))" }
    topology = plan.topology
    fingerprint = plan.fingerprint
    name = aggregate.name
    table = Topology.sqlName(aggregate.name)
    rawTable = raw.qualifiedName
    identifierColumn = raw.identifierColumn
    keys = aggregate.by.map { (Topology.sqlName(plan.fields[$0].name), "\(column($0))::text COLLATE \"C\"") }
    measures = aggregate.measures.flatMap { measure -> [Measure] in
      let name = Topology.sqlName(measure.name)
      let field = measure.field.map { raw.fieldColumns[$0] }
      return switch measure.kind {
      case .count: [Measure(column: name, kind: .count, field: nil)]
      case .sum: [Measure(column: name, kind: .sum, field: field)]
      case .minimum: [Measure(column: name, kind: .minimum, field: field)]
      case .maximum: [Measure(column: name, kind: .maximum, field: field)]
      case .distinct: [Measure(column: name, kind: .distinct, field: field)]
      case .average:
        [Measure(column: "\(name)_sum", kind: .sum, field: field), Measure(column: "\(name)_count", kind: .present, field: field)]
      }
    }
    self.tolerance = tolerance
    let used = Set(aggregate.by + aggregate.filter.map(\.field) + aggregate.measures.compactMap(\.field))
    usedColumns = used.sorted().map { raw.fieldColumns[$0] }
    filter = BatchFilter.expression(aggregate.filter, plan, column)
    window = aggregate.window
  }

  public var viewName: String { "nightly.\(SQL.identifier(table))" }
  public var streamTable: String { "analytics.\(SQL.identifier(table))" }

  /// The first moment of the window that holds a moment.
  public func windowStart(of time: String) -> String {
    switch window {
    case .tumbling(let length): "date_bin(interval '\(length) microseconds', \(time), timestamptz '1970-01-01 00:00:00+00')"
    case .calendarDays(1, let zone) where !zone.hasRepeatedMidnights: "date_trunc('day', \(time), \(SQL.literal(zone.name)))"
    case .calendarDays(1, let zone): start(ofDay: "(\(time) AT TIME ZONE \(SQL.literal(zone.name)))::date", zone)
    case .calendarDays(let days, let zone):
      start(ofDay: "(date '1970-01-01' + ((\(time) AT TIME ZONE \(SQL.literal(zone.name)))::date - date '1970-01-01') / \(days) * \(days))", zone)
    }
  }

  /// The first moment after the window that begins at a moment.
  public func windowEnd(of start: String) -> String {
    switch window {
    case .tumbling(let length): "(\(start) + interval '\(length) microseconds')"
    case .calendarDays(let days, let zone):
      self.start(ofDay: "((\(start) AT TIME ZONE \(SQL.literal(zone.name)))::date + \(days))", zone)
    }
  }

  /// The first moment of a calendar day, `2024-01-31`, in the zone that the windows are cut in.
  public func dayStart(_ date: String) -> String {
    let zone = if case .calendarDays(_, let table) = window { table } else { ZoneTable.utc }
    return start(ofDay: "(\(date))::date", zone)
  }

  /// The first moment of a date in a zone. Of a midnight that comes twice PostgreSQL takes the second one, and the stream's day
  /// begins with the first, a microsecond after the day before; that in turn is no answer where the day before is none (Samoa).
  /// Newfoundland's clocks went back from 00:01 to 23:01 until 2011: the hours around those midnights differ by what a day is.
  private func start(ofDay date: String, _ zone: ZoneTable) -> String {
    let name = SQL.literal(zone.name)
    let midnight = "((\(date))::timestamp AT TIME ZONE \(name))"
    guard zone.hasRepeatedMidnights else { return midnight }
    return "LEAST(\(midnight), (((\(date))::timestamp - interval '1 microsecond') AT TIME ZONE \(name)) + interval '1 microsecond')"
  }

  /// Columns of the raw table that the measures read.
  public var measuredColumns: [String] { Set(measures.compactMap(\.field)).sorted() }

  /// The view's query.
  public var query: String {
    let columns =
      ["\(windowStart(of: "e.event_time")) AS window_start"] + keys.map { "\($0.expression) AS \(SQL.identifier($0.column))" }
      + measures.map { "\($0.expression()) AS \(SQL.identifier($0.column))" }
    let group = (1...(1 + keys.count)).map(String.init).joined(separator: ", ")
    return """
      SELECT \(columns.joined(separator: ",\n       "))
        FROM \(events) e\(filter.map { "\n WHERE \($0)" } ?? "")
       GROUP BY \(group)
      """
  }

  /// Landed events, each id once.
  private var events: String {
    guard let identifierColumn else { return rawTable }
    let id = SQL.identifier(identifierColumn)
    // Only what is needed goes through the sort.
    let columns = ["event_time"] + usedColumns
    return """
      (SELECT DISTINCT ON (topic, partition, \(id)) topic, partition, \(columns.map(SQL.identifier).joined(separator: ", "))
          FROM \(rawTable) ORDER BY topic, partition, \(id), "offset")
      """
  }
  /// Columns of the fields that key, filter and measures read.
  private let usedColumns: [String]
}

/// `where:` of an aggregate as SQL.
enum BatchFilter {
  static func expression(_ terms: [FilterTerm], _ plan: Plan, _ column: (Int) -> String) -> String? {
    guard !terms.isEmpty else { return nil }
    return terms.map { term -> String in
      let values = "ARRAY[\(term.values.map(SQL.literal).joined(separator: ", "))]::text[]"
      var text = "\(column(term.field))::text"
      // Values of decimals are written as integers of 10^-scale.
      if case .decimal(let scale) = plan.fields[term.field].kind { text = "(\(column(term.field)) * \(power(scale)))::bigint::text" }
      return "(\(text) = ANY (\(values))) IS \(term.negated ? "NOT TRUE" : "TRUE")"
    }.joined(separator: " AND ")
  }

  private static func power(_ scale: Int) -> Int64 { (0..<scale).reduce(Int64(1)) { n, _ in n * 10 } }
}

extension Topology {
  /// What the batch side computes of the topology: its aggregates under `reconcile:`, in that order.
  public func batchAggregates() -> [BatchAggregate] {
    let plan = plan()
    return reconciliations.compactMap { reconciliation in
      plan.aggregates.first { $0.name == reconciliation.aggregate }.map { BatchAggregate($0, in: plan, reconciliation.tolerance) }
    }
  }

  /// Whether an event `e` passes the filter of any aggregate, as SQL; nil: each does.
  public func anyFilter() -> String? {
    let plan = plan()
    let raw = RawTable(LandingPlan(plan))
    let filters = plan.aggregates.map { BatchFilter.expression($0.filter, plan) { "e.\(SQL.identifier(raw.fieldColumns[$0]))" } }
    return filters.contains(nil) ? nil : filters.map { "(\($0!))" }.joined(separator: " OR ")
  }

  /// Quoted name of the table of landed events, with its schema, and the column of the event id.
  public func rawTable() -> (name: String, identifier: String?) {
    let raw = RawTable(LandingPlan(plan()))
    return (raw.qualifiedName, raw.identifierColumn)
  }
}
