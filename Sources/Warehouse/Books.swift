import Aggregation
import Postgres
import Topologies

/// Tidemark's books as operators read them, and the one entry that they make themselves. Works with whatever rights the
/// connection's login has.
public struct Books {
  let connection: Connection

  public init(_ connection: Connection) { self.connection = connection }

  /// One refused event.
  public struct QuarantineRow: Sendable {
    public var topology: String
    public var partition: PartitionID
    public var offset: Int64
    public var reason: String
    public var field: String
    public var recordTime: EventTime?
    public var eventTime: EventTime?
    public var key: [UInt8]
    public var payload: [UInt8]
    public var payloadBytes: Int64
    /// When it was sent to Kafka again.
    public var replayedAt: EventTime?
  }

  /// What is asked of the quarantine; nil: anything.
  public struct QuarantineFilter: Sendable {
    public var topology: String?
    public var topic: String?
    public var partition: Int32?
    public var offset: Int64?
    public var reason: String?
    /// Most rows.
    public var limit = 100
    public init() {}
  }

  static let quarantineColumns =
    "topology, topic, partition, \"offset\", reason, field, record_time, event_time, key, payload, payload_bytes, replayed_at"

  static let quarantineCondition = """
    ($1::text IS NULL OR topology = $1) AND ($2::text IS NULL OR topic = $2) AND ($3::bigint IS NULL OR partition = $3)
      AND ($4::bigint IS NULL OR "offset" = $4) AND ($5::text IS NULL OR reason = $5)
    """

  func parameters(_ filter: QuarantineFilter) -> [Parameter] {
    [
      .text(filter.topology), .text(filter.topic), .integer(filter.partition.map(Int64.init)), .integer(filter.offset), .text(filter.reason),
    ]
  }

  /// Refused events by topic, partition and offset.
  public func quarantine(_ filter: QuarantineFilter) throws(WarehouseError) -> [QuarantineRow] {
    try reading { () throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT \(Self.quarantineColumns) FROM tidemark.quarantine WHERE \(Self.quarantineCondition)
         ORDER BY topology, topic, partition, "offset" LIMIT $6
        """, parameters(filter) + [.integer(Int64(filter.limit))])
      return (0..<rows.count).map { Self.quarantineRow(rows, $0) }
    }
  }

  /// A row of `quarantineColumns`.
  static func quarantineRow(_ rows: Rows, _ row: Int) -> QuarantineRow {
    QuarantineRow(
      topology: rows.text(row, 0)!, partition: PartitionID(topic: rows.text(row, 1)!, partition: Int32(rows.integer(row, 2)!)),
      offset: rows.integer(row, 3)!, reason: rows.text(row, 4)!, field: rows.text(row, 5)!,
      recordTime: rows.timestamp(row, 6).map(EventTime.init(microseconds:)), eventTime: rows.timestamp(row, 7).map(EventTime.init(microseconds:)),
      key: rows.bytes(row, 8) ?? [], payload: rows.bytes(row, 9) ?? [], payloadBytes: rows.integer(row, 10)!,
      replayedAt: rows.timestamp(row, 11).map(EventTime.init(microseconds:)))
  }

  /// How many refused events match, by reason.
  public func quarantineCounts(_ filter: QuarantineFilter) throws(WarehouseError) -> [(reason: String, count: Int64)] {
    try reading { () throws(PostgresError) in
      let rows = try connection.execute(
        "SELECT reason, count(*) FROM tidemark.quarantine WHERE \(Self.quarantineCondition) GROUP BY 1 ORDER BY 2 DESC, 1", parameters(filter))
      return (0..<rows.count).map { (rows.text($0, 0)!, rows.integer($0, 1)!) }
    }
  }

  /// Moves a partition past offsets that Kafka no longer has. The ledger says so, open alerts of the partition are
  /// resolved, and whoever owns the partition is fenced and takes it over anew.
  /// - Returns: the offset at which the partition stood; nil: it is there already, or beyond.
  public func acceptGap(_ topology: String, _ id: PartitionID, to offset: Int64, operator name: String) throws(WarehouseError) -> Int64? {
    let key: [Parameter] = [.text(topology), .text(id.topic), .integer(Int64(id.partition))]
    let moved: Int64? = try reading { () throws(PostgresError) in
      try connection.script("BEGIN")
      let rows = try connection.execute(
        """
        SELECT next_offset, epoch, watermark FROM tidemark.partition
         WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND next_offset < $4 FOR UPDATE
        """, key + [.integer(offset)])
      guard rows.count == 1, let from = rows.integer(0, 0), let epoch = rows.integer(0, 1) else {
        try connection.script("ROLLBACK")
        return nil
      }
      let watermark = Parameter.timestamp(rows.timestamp(0, 2))
      try connection.execute(
        """
        UPDATE tidemark.partition SET next_offset = $4, epoch = epoch + 1, owner = NULL, updated_at = now()
         WHERE topology = $1 AND topic = $2 AND partition = $3::bigint
        """, key + [.integer(offset)])
      try connection.execute(
        """
        INSERT INTO tidemark.ledger (topology, topic, partition, from_offset, to_offset, applied, filtered, duplicate, late, quarantined, gap,
          tombstones, misrouted, quarantine_omitted, watermark_before, watermark_after, epoch, instance)
        VALUES ($1, $2, $3::bigint, $4, $5, 0, 0, 0, 0, 0, $6, 0, 0, 0, $7, $7, $8, $9)
        """,
        key + [.integer(from), .integer(offset), .integer(offset - from), watermark, .integer(epoch), .text("operator \(name)")])
      try connection.execute(
        """
        UPDATE tidemark.alert SET resolved_at = now()
         WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND resolved_at IS NULL
        """, key)
      try connection.script("COMMIT")
      return from
    }
    return moved
  }

  func reading<R>(_ body: () throws(PostgresError) -> R) throws(WarehouseError) -> R {
    do throws(PostgresError) { return try body() } catch {
      if connection.isInTransaction { _ = try? connection.script("ROLLBACK") }
      if ["42P01", "3F000"].contains(error.sqlState) {
        throw WarehouseError(.refused, "PostgreSQL has no tables of Tidemark: run `tidemark migrate --topology FILE` first")
      }
      if error.sqlState == "42703" {
        throw WarehouseError(.refused, "PostgreSQL has tables of an earlier Tidemark (\(error.message)): run `tidemark migrate --topology FILE` first")
      }
      if error.sqlState == "42501" {
        throw WarehouseError(.refused, "\(error.message): connect as a superuser or as a member of tidemark_writer (of the landing: tidemark_batch)")
      }
      throw WarehouseError(error, "PostgreSQL")
    }
  }
}
