import Aggregation
import Engine
import Postgres
import Topologies

/// The table of landed events of one topology, `raw.events_<topology>`: where an event lay, its typed fields, and the whole
/// payload.
public struct RawTable: Sendable {
  public let topology: String
  /// Column of each of `LandingPlan.fields`, in their order.
  public let fieldColumns: [String]
  /// Column of the event id; nil where the topology does not deduplicate.
  public let identifierColumn: String?
  private let fields: [FieldPlan]

  private static let before = [
    ("topic", "text COLLATE \"C\" NOT NULL"), ("partition", "integer NOT NULL"), ("offset", "bigint NOT NULL"),
    ("event_time", "timestamptz NOT NULL"), ("record_time", "timestamptz"), ("key", "bytea"),
  ]
  private static let after = [("payload", "jsonb"), ("payload_bytes", "bytea"), ("landed_at", "timestamptz NOT NULL DEFAULT now()")]

  public init(_ landing: LandingPlan) {
    topology = landing.plan.topology
    fields = landing.fields
    // A field may bear the name of a column that every such table has, or another field's with - for _.
    var taken = Set((Self.before + Self.after).map(\.0))
    func free(_ name: String) -> String {
      var name = name
      while !taken.insert(name).inserted { name = "field_\(name)" }
      return name
    }
    let identifier = landing.identifier.map { _ in free("event_id") }
    identifierColumn = identifier
    fieldColumns = landing.fields.enumerated().map { index, field in
      index == landing.identifier ? identifier! : free(Topology.sqlName(field.name))
    }
  }

  public var name: String { "events_\(Topology.sqlName(topology))" }
  /// Quoted, with its schema.
  public var qualifiedName: String { "raw.\(SQL.identifier(name))" }

  /// Column names and types.
  var columns: [(name: String, type: String)] {
    Self.before + zip(fieldColumns, fields).map { column, field in
      let required = field.presence == .optional ? "" : " NOT NULL"
      let type =
        switch field.kind {
        case .string: "text COLLATE \"C\""
        case .integer: "bigint"
        case .decimal: "numeric"
        case .boolean: "boolean"
        }
      return (column, type + required)
    } + Self.after
  }

  /// CREATE TABLE, partitioned by event time. The key has to hold the partitioned column; that an offset comes once is
  /// what the fence is for.
  var definition: String {
    let lines = columns.map { "  \(SQL.identifier($0.name)) \($0.type),\n" }.joined()
    return """
      CREATE TABLE IF NOT EXISTS \(qualifiedName) (
      \(lines)  PRIMARY KEY (topic, partition, "offset", event_time)
      ) PARTITION BY RANGE (event_time)
      """
  }

  /// Columns that COPY fills, in the order of `append`.
  private var copied: [String] { Self.before.map(\.0) + fieldColumns + ["payload"] }

  var copyStatement: String { "COPY \(qualifiedName) (\(copied.map(SQL.identifier).joined(separator: ", "))) FROM STDIN (FORMAT binary)" }

  // MARK: Payloads that are not jsonb

  /// The same columns; the payload as COPY sends it for jsonb, a version byte and the text, taken as bytes.
  var stagingDefinition: String {
    let lines = columns.filter { copied.contains($0.name) }.map { "\(SQL.identifier($0.name)) \($0.name == "payload" ? "bytea" : $0.type)" }
    return "CREATE TEMPORARY TABLE IF NOT EXISTS landing_staging (\(lines.joined(separator: ", "))) ON COMMIT DELETE ROWS"
  }
  var stagingCopyStatement: String { "COPY pg_temp.landing_staging FROM STDIN (FORMAT binary)" }
  /// Payloads that PostgreSQL cannot hold as jsonb (an escaped U+0000, numbers out of its range) stay bytes.
  var stagingInsert: String {
    let names = copied.dropLast().map(SQL.identifier).joined(separator: ", ")
    return """
      INSERT INTO \(qualifiedName) (\(names), payload, payload_bytes)
      SELECT \(names), j, CASE WHEN j IS NULL THEN b END
        FROM (SELECT *, substring(payload FROM 2) AS b, tidemark.jsonb_or_null(substring(payload FROM 2)) AS j FROM pg_temp.landing_staging) s
      """
  }

  // MARK: Rows

  /// Adds the event at `i` as a row. O(payload).
  func append(_ i: Int, _ batch: borrowing EventBatch, _ records: Records, _ at: PartitionID, to rows: inout CopyBuffer) {
    rows.beginRow(fields: Self.before.count + fields.count + 1)
    var topic = at.topic
    topic.withUTF8 { rows.bytes($0) }
    rows.integer32(at.partition)
    rows.integer(records.offsets[i])
    rows.timestamp(batch.times[i])
    if let stamp = EventTime(recordTimestamp: records.timestamps[i]), stamp.microseconds <= Limits.latestTime {
      rows.timestamp(stamp.microseconds)
    } else {
      rows.null()
    }
    if let key = records.keys[i] { rows.bytes(UnsafeBufferPointer(start: key, count: Int(records.keyLengths[i]))) } else { rows.null() }
    for (f, field) in fields.enumerated() {
      guard batch.fields[f].present[i] != 0 else {
        rows.null()
        continue
      }
      switch field.kind {
      case .string: rows.bytes(UnsafeBufferPointer(start: batch.fields[f].texts[i], count: Int(batch.fields[f].lengths[i])))
      case .integer: rows.integer(batch.fields[f].values[i])
      case .decimal(let scale): rows.numeric(batch.fields[f].values[i], scale: scale)
      case .boolean: rows.boolean(batch.fields[f].values[i] != 0)
      }
    }
    rows.jsonb(UnsafeBufferPointer(start: records.payloads[i], count: Int(records.payloadLengths[i])))
  }
}
