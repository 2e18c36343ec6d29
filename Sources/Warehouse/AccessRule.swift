import Aggregation
import Postgres
import Topologies

/// What one tier reads of one aggregate, as SQL: a relation, the policy that guards it, and the view if it is one.
struct AccessRule {
  let table: String
  let tier: String
  /// Table or view in `analytics`.
  let relation: String
  let rows: Topology.Reader.Rows
  /// Columns that the tier sees, in the relation's order.
  let columns: [String]
  /// Columns of the table that the view needs; nil where the relation is the table.
  let sources: [String]?
  /// The view's SELECT; nil where the relation is the table.
  let view: String?
  /// The restrictive policy that keeps conditions of a query's own from rows of others; nil where the tier sees all rows. It is there
  /// where there is no operator (`Access+Operator`).
  private(set) var scope: String? = nil

  init(_ reader: Topology.Reader, of aggregate: Topology.Aggregate, _ topology: Topology, _ table: AggregateTable) {
    self.table = table.name
    tier = reader.tier.role
    relation = reader.relation
    rows = reader.rows
    let seen = table.measures.filter { measure in reader.measures.contains { Topology.sqlName($0) == measure.name } }
    let keys = rows == .totals ? [] : table.keyColumns
    columns = ["window_start"] + keys + seen.flatMap { $0.columns.map(\.name) } + ["updated_at"]
    guard relation != table.name else {
      (sources, view) = (nil, nil)
      return
    }
    sources = columns
    let complete = reader.tier.completeDays ? Self.completeDays(aggregate, topology, table) : nil
    let selected =
      switch (rows, complete) {
      case (.totals, _): ["window_start"] + seen.flatMap(\.totals) + ["max(updated_at) AS updated_at"]
      case (_, nil): columns.map(SQL.identifier)
      // A query's own condition may be asked before the view's: it finds nothing in windows that are not shown.
      case (_, let complete?):
        columns.map { name in
          let column = SQL.identifier(name)
          return name == "window_start" || keys.contains(name) ? column : "CASE WHEN \(complete) THEN \(column) END AS \(column)"
        }
      }
    view = """
      SELECT \(selected.joined(separator: ", "))
        FROM \(table.qualifiedName)\(complete.map { "\n WHERE \($0)" } ?? "")\(rows == .totals ? "\n GROUP BY window_start" : "")
      """
  }

  /// Windows that end by the end of the last calendar day whose events are all in. The bound is computed once a query, so
  /// that the key's index serves it.
  private static func completeDays(_ aggregate: Topology.Aggregate, _ topology: Topology, _ table: AggregateTable) -> String {
    let zone = SQL.literal(topology.zone)
    let day = "date_trunc('day', f.complete_through, \(zone))"
    let bound =
      switch aggregate.window {
      case .tumbling(let length):
        aggregate.window.calendarDays.map { "(\(day) AT TIME ZONE \(zone) - interval '\($0) days') AT TIME ZONE \(zone)" }
          ?? "\(day) - interval '\(length.microseconds) microseconds'"
      }
    return "window_start <= (SELECT \(bound) FROM analytics.freshness f WHERE f.aggregate = \(SQL.literal(table.name)))"
  }

  var qualifiedRelation: String { "analytics.\(SQL.identifier(relation))" }
  var qualifiedTable: String { "analytics.\(SQL.identifier(table))" }

  /// The role that the policy is for: the tier, or the owner of its views.
  var policyRole: String { view == nil ? tier : Access.viewRole(tier) }

  /// The policy's condition where there is no operator (`Access+Operator`), as PostgreSQL 15 to 18 would print it: what stands
  /// there already is recognised by its text.
  var condition: String {
    guard let column = departmentColumn else { return Self.holds(tier) }
    return "(\(Self.plainIdentifier(column)) = ANY (( SELECT access.departments('\(tier)'::text) AS departments)::text[]))"
  }

  /// The policy's condition where there is the operator.
  var conditionByOperator: String {
    guard let column = departmentColumn else { return Self.holds(tier) }
    return "(\(Self.plainIdentifier(column)) OPERATOR(access.=) ANY (( SELECT access.own('\(tier)'::text) AS own)::character varying[]))"
  }

  private static func holds(_ tier: String) -> String { "( SELECT access.holds('\(tier)'::text) AS holds)" }

  /// Quoted only where PostgreSQL would: so that conditions compare as texts. Names are `[a-z][a-z0-9_]*`; a keyword that
  /// PostgreSQL quotes and this does not only makes a migration set the policy anew.
  private static func plainIdentifier(_ name: String) -> String {
    ["user", "group", "order", "table", "column", "default", "end", "primary", "references", "select", "session_user", "current_user"].contains(name)
      ? SQL.identifier(name) : name
  }

  /// The policy that `scope` is; those who read the table itself share one.
  var scopeName: String { view == nil ? "tidemark_scope" : "tidemark_scope_\(tier)" }

  /// A row's department must be one of the person's, said so that PostgreSQL asks it before anything else of the row: a
  /// subscript of jsonb costs the planner nothing (see `Access+Operator`). `condition` stays beside it: it finds the index.
  /// - Parameter rules: those of the tiers that share the policy. Who holds a tier with all rows as well must not lose them.
  private static func scope(_ rules: [AccessRule]) -> String? {
    let own = rules.filter { $0.departmentColumn != nil }
    guard !own.isEmpty else { return nil }
    let terms = (own + rules.filter { $0.departmentColumn == nil }).map { rule in
      guard let column = rule.departmentColumn else { return holds(rule.tier) }
      return "((( SELECT access.scope('\(rule.tier)'::text) AS scope))[\(plainIdentifier(column))] IS NOT NULL)"
    }
    return terms.count == 1 ? terms[0] : "(\(terms.joined(separator: " OR ")))"
  }

  var rowsWord: String {
    switch rows {
    case .all: "all"
    case .own: "own"
    case .totals: "totals"
    }
  }

  var departmentColumn: String? { if case .own(let field) = rows { Topology.sqlName(field) } else { nil } }
}

extension AccessRule {
  /// Every rule of a topology.
  static func all(of topology: Topology) -> [AccessRule] {
    let plan = topology.plan()
    return zip(topology.aggregates, plan.aggregates).flatMap { aggregate, compiled in
      let table = AggregateTable(compiled, in: plan)
      var rules = topology.readers(of: aggregate).map { AccessRule($0, of: aggregate, topology, table) }
      let direct = scope(rules.filter { $0.view == nil })
      for i in rules.indices where rules[i].departmentColumn != nil { rules[i].scope = rules[i].view == nil ? direct : scope([rules[i]]) }
      return rules
    }
  }
}

extension MeasureColumns {
  /// What the measure's columns are over several rows. Distinct counts do not add up: they have no total.
  var totals: [String] {
    let quoted = SQL.identifier(name)
    switch kind {
    case .distinct: return []
    case .count: return ["sum(\(quoted))::bigint AS \(quoted)"]
    case .sum: return ["sum(\(quoted)) AS \(quoted)"]
    case .minimum: return ["min(\(quoted)) AS \(quoted)"]
    case .maximum: return ["max(\(quoted)) AS \(quoted)"]
    case .average:
      let (sum, count) = (SQL.identifier("\(name)_sum"), SQL.identifier("\(name)_count"))
      return ["sum(\(sum)) AS \(sum)", "sum(\(count))::bigint AS \(count)", "sum(\(sum)) / NULLIF(sum(\(count)), 0) AS \(quoted)"]
    }
  }
}
