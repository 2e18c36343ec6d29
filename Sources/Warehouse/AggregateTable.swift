import Aggregation
import Postgres
import Topologies

/// The table of one aggregate: its columns, and how increments reach them.
struct AggregateTable {
  /// Without its schema, `analytics`.
  let name: String
  let keyColumns: [String]
  let measures: [MeasureColumns]

  init(_ aggregate: AggregatePlan, in plan: Plan) {
    name = Topology.sqlName(aggregate.name)
    keyColumns = aggregate.by.map { Topology.sqlName(plan.fields[$0].name) }
    measures = aggregate.measures.map { MeasureColumns($0, fields: plan.fields) }
  }

  var qualifiedName: String { "analytics.\(SQL.identifier(name))" }

  /// Name and type of every column, in the table's order.
  var columns: [(name: String, type: String)] {
    [("window_start", "timestamp with time zone")] + keyColumns.map { ($0, "text") }
      + measures.flatMap { $0.columns.map { ($0.name, $0.type) } } + [("updated_at", "timestamp with time zone")]
  }

  /// CREATE TABLE; the table belongs to the role that runs it. Key texts compare by bytes, so that an upgrade of the
  /// operating system's collations never corrupts the index. There is room in each page and no index on measures, so
  /// that updates are heap-only.
  var definition: String {
    let keys = keyColumns.map { "  \(SQL.identifier($0)) text COLLATE \"C\" NOT NULL,\n" }.joined()
    let values = measures.flatMap(\.columns).map { "  \($0.definition),\n" }.joined()
    let primary = (["window_start"] + keyColumns.map(SQL.identifier)).joined(separator: ", ")
    return """
      CREATE TABLE IF NOT EXISTS \(qualifiedName) (
        window_start timestamptz NOT NULL,
      \(keys)\(values)  updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (\(primary))
      ) WITH (fillfactor = 70)
      """
  }

  /// INSERT … ON CONFLICT over arrays: `$1` window starts, then one array a key column, then the measures' arrays.
  var upsert: String {
    let inputs = measures.flatMap(\.inputs)
    let keys = keyColumns.map(SQL.identifier)
    var types = ["timestamptz[]"] + keys.map { _ in "text[]" } + inputs.map(\.arrayType)
    types = types.enumerated().map { "$\($0 + 1)::\($1)" }
    let names = ["w"] + keys.indices.map { "k\($0)" } + inputs.indices.map { "v\($0)" }
    let selected = ["w"] + keys.indices.map { "k\($0)" } + inputs.enumerated().map { "v\($0)\($1.cast)" }
    let targets = ["window_start"] + keys + inputs.map { SQL.identifier($0.column) }
    let updates = inputs.map { "\(SQL.identifier($0.column)) = \($0.merge)" } + ["updated_at = now()"]
    return """
      INSERT INTO \(qualifiedName) AS t (\(targets.joined(separator: ", ")), updated_at)
      SELECT \(selected.joined(separator: ", ")), now() FROM unnest(\(types.joined(separator: ", "))) AS i(\(names.joined(separator: ", ")))
      ON CONFLICT (\((["window_start"] + keys).joined(separator: ", "))) DO UPDATE SET \(updates.joined(separator: ", "))
      """
  }

  /// The upsert's parameters for some rows.
  func parameters(_ rows: ArraySlice<MergedRow>) -> [Parameter] {
    var parameters: [Parameter] = [.timestamps(rows.map { $0.key.windowStart.microseconds })]
    for k in keyColumns.indices { parameters.append(.texts(rows.map { $0.key.fields[k] })) }
    for (m, measure) in measures.enumerated() { parameters += measure.parameters(rows.map { $0.values[m] }) }
    return parameters
  }
}

/// The columns of one measure.
struct MeasureColumns {
  let name: String
  let kind: MeasurePlan.Kind
  /// Digits after the point of the measured field.
  let scale: Int

  struct Column {
    let name: String
    let type: String
    let definition: String
  }
  /// A column that the upsert fills.
  struct Input {
    let column: String
    let arrayType: String
    /// From the array's element to the column.
    let cast: String
    /// What the column becomes where the row exists.
    let merge: String
  }

  init(_ measure: MeasurePlan, fields: [FieldPlan]) {
    name = Topology.sqlName(measure.name)
    kind = measure.kind
    if let field = measure.field, case .decimal(let scale) = fields[field].kind { self.scale = scale } else { scale = 0 }
  }

  var columns: [Column] {
    let quoted = SQL.identifier(name)
    switch kind {
    case .count, .distinct: return [Column(name: name, type: "bigint", definition: "\(quoted) bigint NOT NULL")]
    case .sum: return [Column(name: name, type: "numeric", definition: "\(quoted) numeric")]
    case .minimum, .maximum:
      let type = scale == 0 ? "bigint" : "numeric"
      return [Column(name: name, type: type, definition: "\(quoted) \(type)")]
    case .average:
      let (sum, count) = (SQL.identifier("\(name)_sum"), SQL.identifier("\(name)_count"))
      return [
        Column(name: "\(name)_sum", type: "numeric", definition: "\(sum) numeric"),
        Column(name: "\(name)_count", type: "bigint", definition: "\(count) bigint NOT NULL"),
        Column(name: name, type: "numeric", definition: "\(quoted) numeric GENERATED ALWAYS AS (\(sum) / NULLIF(\(count), 0)) STORED"),
      ]
    }
  }

  var inputs: [Input] {
    switch kind {
    case .count, .distinct: return [added(name)]
    case .sum: return [summed(name)]
    case .minimum, .maximum:
      let function = if case .minimum = kind { "LEAST" } else { "GREATEST" }
      let quoted = SQL.identifier(name)
      return [
        Input(
          column: name, arrayType: scale == 0 ? "bigint[]" : "text[]", cast: scale == 0 ? "" : "::numeric",
          merge: "\(function)(t.\(quoted), excluded.\(quoted))")
      ]
    case .average: return [summed("\(name)_sum"), added("\(name)_count")]
    }
  }

  private func added(_ column: String) -> Input {
    let quoted = SQL.identifier(column)
    return Input(column: column, arrayType: "bigint[]", cast: "", merge: "t.\(quoted) + excluded.\(quoted)")
  }

  /// A sum without any value stays NULL, as SQL's does.
  private func summed(_ column: String) -> Input {
    let quoted = SQL.identifier(column)
    return Input(
      column: column, arrayType: "text[]", cast: "::numeric",
      merge: "COALESCE(t.\(quoted) + excluded.\(quoted), t.\(quoted), excluded.\(quoted))")
  }

  func parameters(_ values: [MergedValue]) -> [Parameter] {
    switch kind {
    case .count, .distinct: return [.integers(values.map { $0.number })]
    case .sum: return [.texts(values.map { $0.sumText(scale) })]
    case .minimum, .maximum:
      return scale == 0
        ? [.integers(values.map { $0.extreme })]
        : [.texts(values.map { $0.extreme.map { decimalText(Int128($0), scale: scale) } })]
    case .average: return [.texts(values.map { $0.sumText(scale) }), .integers(values.map { $0.number })]
    }
  }
}
