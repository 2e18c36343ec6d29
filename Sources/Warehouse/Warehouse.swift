import Aggregation
import Postgres
import Topologies

/// PostgreSQL as an instance sees it: takes partitions over, flushes, and knows after an unknown COMMIT.
///
/// One thread uses it. It connects when it has to, works as the role `tidemark_writer`, and drops a connection that gave
/// no answer; callers decide about trying again.
public final class Warehouse {
  let plan: Plan
  let instance: String
  let tables: [AggregateTable]
  private let target: String
  private var current: Connection?
  public private(set) var connections = 0

  /// - Parameters:
  ///   - target: a libpq connection string.
  ///   - instance: the name that rows show as owner.
  public init(target: String, instance: String, plan: Plan) {
    self.target = target
    self.instance = instance
    self.plan = plan
    tables = plan.aggregates.map { AggregateTable($0, in: plan) }
  }

  /// Sessions end by themselves when their client stops in the middle of a transaction: its row locks would keep the
  /// next owner of its partitions waiting.
  private static let session = """
    SET search_path = pg_catalog; SET timezone = 'UTC'; SET statement_timeout = '60s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s'; SET client_min_messages = warning
    """

  func connection() throws(PostgresError) -> Connection {
    if let current, current.isUsable, !current.isInTransaction { return current }
    current = nil
    let made = try Connection(target, applicationName: "tidemark \(plan.topology) \(instance)")
    try made.script(Self.session)
    do { try made.script("SET ROLE tidemark_writer") } catch {
      guard error.consequence == .refused || error.consequence == .data else { throw error }
      let way =
        error.sqlState == "42501" ? "as a superuser or the login that migrates: GRANT tidemark_writer TO \(SQL.identifier(made.user))" : "run `tidemark migrate` first"
      throw PostgresError(.refused, sqlState: error.sqlState, message: "\(error.message); \(way)")
    }
    current = made
    connections += 1
    return made
  }

  /// Closes the connection; the next use makes a new one.
  public func disconnect() { current = nil }

  func transaction<R>(_ body: (Connection) throws(PostgresError) -> R) throws(PostgresError) -> R {
    let connection = try connection()
    do throws(PostgresError) {
      try connection.script("BEGIN")
      let result = try body(connection)
      try connection.script("COMMIT")
      return result
    } catch {
      abandon(connection, after: error)
      throw error
    }
  }

  func abandon(_ connection: Connection, after error: PostgresError) {
    if error.consequence == .connectionLost || !connection.isUsable {
      current = nil
    } else if connection.isInTransaction {
      do { try connection.script("ROLLBACK") } catch { current = nil }
    }
  }

  // MARK: Beginning

  /// The keyed hash's seed of the topology.
  /// - Throws: `refused` where the database was not migrated for this very topology.
  public func open() throws(WarehouseError) -> UInt64 {
    do {
      let connection = try connection()
      let version = try connection.execute("SELECT COALESCE(max(version), 0)::bigint FROM tidemark.schema_version").integer(0, 0) ?? 0
      guard version >= Schema.version else {
        throw WarehouseError(
          .refused, "PostgreSQL has version \(version) of Tidemark's tables, this program needs \(Schema.version): run `tidemark migrate --topology FILE` first")
      }
      let rows = try connection.execute("SELECT fingerprint, hash_seed FROM tidemark.topology WHERE name = $1", [.text(plan.topology)])
      guard rows.count == 1, let fingerprint = rows.text(0, 0), let seed = rows.integer(0, 1) else {
        throw WarehouseError(.refused, "PostgreSQL does not know topology \(plan.topology): run `tidemark migrate --topology FILE` first")
      }
      guard fingerprint == plan.fingerprint else {
        throw WarehouseError(
          .refused,
          "topology \(plan.topology) is another one in PostgreSQL (fingerprint \(fingerprint), the file has \(plan.fingerprint)): run "
            + "`tidemark migrate --topology FILE`, which says what can be done")
      }
      return UInt64(bitPattern: seed)
    } catch let error as PostgresError {
      if ["42P01", "3F000"].contains(error.sqlState) {
        throw WarehouseError(.refused, "PostgreSQL has no tables of Tidemark: run `tidemark migrate --topology FILE` first")
      }
      throw WarehouseError(error, "PostgreSQL")
    } catch let error as WarehouseError {
      throw error
    } catch {
      throw WarehouseError(.refused, "\(error)")
    }
  }

  // MARK: Partitions

  /// How long a takeover waits for a row that a former owner's transaction has locked, one that was stopped in the middle of a
  /// flush. The thread that waits also flushes what the instance has, so it asks again later rather than wait on.
  private static let longestTakeoverWait = "1s"

  /// Takes partitions over: their epochs are raised, whoever had them is fenced.
  /// - Parameter firstOffset: where a partition that has no row yet begins; asked before the transaction.
  /// - Throws: `retry` or `unreachable`; nothing has changed then.
  public func acquire(_ partitions: [PartitionID], firstOffset: (PartitionID) throws -> Offset) throws -> [AcquiredPartition] {
    let sorted = partitions.sorted()
    do {
      let known = Set(try offsets().keys)
      var first: [PartitionID: Offset] = [:]
      for id in sorted where !known.contains(id) { first[id] = try firstOffset(id) }
      return try transaction { connection throws(PostgresError) in
        try connection.script("SET LOCAL lock_timeout = '\(Self.longestTakeoverWait)'")
        var acquired: [AcquiredPartition] = []
        for id in sorted { acquired.append(try acquire(id, first[id] ?? Offset(0), connection)) }
        return acquired
      }
    } catch let error as PostgresError {
      throw WarehouseError(error, "PostgreSQL")
    }
  }

  private func acquire(_ id: PartitionID, _ first: Offset, _ connection: Connection) throws(PostgresError) -> AcquiredPartition {
    let rows = try connection.execute(
      """
      INSERT INTO tidemark.partition AS p (topology, topic, partition, next_offset, epoch, owner) VALUES ($1, $2, $3::bigint, $4, 1, $5)
      ON CONFLICT (topology, topic, partition) DO UPDATE SET epoch = p.epoch + 1, owner = excluded.owner, updated_at = now()
      RETURNING next_offset, epoch, watermark
      """,
      [.text(plan.topology), .text(id.topic), .integer(Int64(id.partition)), .integer(first.value), .text(instance)])
    let next = Offset(rows.integer(0, 0)!)
    let epoch = Epoch(rows.integer(0, 1)!)
    let watermark = rows.timestamp(0, 2).map(EventTime.init(microseconds:))
    let bound = watermark.map { $0.microseconds - plan.allowedLateness }
    let chunks = try connection.execute(
      """
      SELECT bytes FROM tidemark.state_chunk
       WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND last_window_end > COALESCE($4, '-infinity') ORDER BY to_offset
      """, [.text(plan.topology), .text(id.topic), .integer(Int64(id.partition)), .timestamp(bound)])
    return AcquiredPartition(
      partition: id, epoch: epoch, previousEpoch: Epoch(epoch.value - 1), nextOffset: next, watermark: watermark,
      chunks: (0..<chunks.count).compactMap { chunks.bytes($0, 0) }, horizon: try horizon(id, watermark, connection))
  }

  /// Where the deduplication horizon begins: the end of the newest flush after which every id seen before it is too old
  /// to matter, or the partition's first flush.
  private func horizon(_ id: PartitionID, _ watermark: EventTime?, _ connection: Connection) throws(PostgresError) -> DeduplicationHorizon? {
    guard let within = plan.deduplicateWithin, let watermark else { return nil }
    let bound = (watermark.seconds - within / 1_000_000) * 1_000_000
    let key: [Parameter] = [.text(plan.topology), .text(id.topic), .integer(Int64(id.partition))]
    let old = try connection.execute(
      """
      SELECT to_offset, watermark_after FROM tidemark.ledger
       WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND watermark_after < $4 ORDER BY from_offset DESC LIMIT 1
      """, key + [.timestamp(bound)])
    if old.count == 1 {
      return DeduplicationHorizon(offset: Offset(old.integer(0, 0)!), watermark: old.timestamp(0, 1).map(EventTime.init(microseconds:)))
    }
    let first = try connection.execute(
      """
      SELECT from_offset, watermark_before FROM tidemark.ledger
       WHERE topology = $1 AND topic = $2 AND partition = $3::bigint ORDER BY from_offset LIMIT 1
      """, key)
    guard first.count == 1 else { return nil }
    return DeduplicationHorizon(offset: Offset(first.integer(0, 0)!), watermark: first.timestamp(0, 1).map(EventTime.init(microseconds:)))
  }

  /// Gives a partition back: rows show no owner any more. Its epoch stays.
  public func release(_ id: PartitionID, _ epoch: Epoch) throws(WarehouseError) {
    try wrapped { connection throws(PostgresError) in
      try connection.execute(
        "UPDATE tidemark.partition SET owner = NULL WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND epoch = $4",
        [.text(plan.topology), .text(id.topic), .integer(Int64(id.partition)), .integer(epoch.value)])
    }
  }

  /// Where every partition of the topology stands.
  func offsets() throws(PostgresError) -> [PartitionID: Offset] {
    let rows = try connection().execute("SELECT topic, partition, next_offset FROM tidemark.partition WHERE topology = $1", [.text(plan.topology)])
    var result: [PartitionID: Offset] = [:]
    for row in 0..<rows.count {
      result[PartitionID(topic: rows.text(row, 0)!, partition: Int32(rows.integer(row, 1)!))] = Offset(rows.integer(row, 2)!)
    }
    return result
  }

  /// Where every partition of the topology stands.
  public func progress() throws(WarehouseError) -> [PartitionID: Offset] {
    do throws(PostgresError) { return try offsets() } catch {
      if error.consequence == .connectionLost { disconnect() }
      throw WarehouseError(error, "PostgreSQL")
    }
  }

  /// Raises an alert, or counts one that is open once more. Only the partition's owner raises any: what an instance meets
  /// that was fenced without knowing it yet would ask an operator for something that nobody needs, and stay open for ever.
  public func alert(_ id: PartitionID, _ epoch: Epoch, kind: String, _ message: String) throws(WarehouseError) {
    try wrapped { connection throws(PostgresError) in
      let parameters: [Parameter] = [
        .text(plan.topology), .text(id.topic), .integer(Int64(id.partition)), .text(kind), .text(message), .integer(epoch.value),
      ]
      let isMine = "EXISTS (SELECT FROM tidemark.partition WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND epoch = $6)"
      let open = try connection.execute(
        """
        UPDATE tidemark.alert SET last_seen_at = now(), seen = seen + 1, message = $5
         WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND kind = $4 AND resolved_at IS NULL AND \(isMine)
        """, parameters)
      if open.affected == 0 {
        try connection.execute(
          "INSERT INTO tidemark.alert (topology, topic, partition, kind, message) SELECT $1, $2, $3::bigint, $4, $5 WHERE \(isMine)", parameters)
      }
    }
  }

  func wrapped(_ body: (Connection) throws(PostgresError) -> Void) throws(WarehouseError) {
    do throws(PostgresError) {
      let connection = try connection()
      do throws(PostgresError) { try body(connection) } catch {
        abandon(connection, after: error)
        throw error
      }
    } catch {
      throw WarehouseError(error, "PostgreSQL")
    }
  }
}
