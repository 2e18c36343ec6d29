import Aggregation
import Engine
import Postgres
import Topologies

/// A batch that is landed as a whole: rows, and what each partition's run of offsets holds.
public struct LandingBatch {
  public private(set) var parts: [LandingPart] = []
  private(set) var rows = CopyBuffer()
  /// Days of event time, UTC, since 1970-01-01.
  private(set) var days: Set<Int64> = []
  private var refusedBytes = 0

  public init() {}
  public var rowCount: Int { rows.rowCount }
  /// Bytes held, about.
  public var bytes: Int { rows.bytes.count + refusedBytes }
  public var isEmpty: Bool { parts.isEmpty }

  /// The next offset of a partition within the batch; nil: it has no part in it.
  public func nextOffset(_ id: PartitionID) -> Offset? { parts.first { $0.partition == id }?.to }

  /// Adds what a reader has read; texts and payloads are copied. O(bytes).
  public mutating func append(
    _ reading: LandingReading, of id: PartitionID, _ epoch: Epoch, _ reader: LandingReader, _ records: Records, table: RawTable
  ) {
    let at = index(of: id, epoch, reading.from)
    var sum: Int128 = 0
    for i in reading.landed {
      let i = Int(i)
      table.append(i, reader.batch, records, id, to: &rows)
      days.insert(reader.batch.times[i] / 86_400_000_000)
      sum += Int128(records.offsets[i])
    }
    refusedBytes += reading.refused.reduce(0) { $0 + $1.payload.count + 200 }
    parts[at].append(reading, offsetSum: sum)
  }

  /// Accounts for offsets up to the partition's end that hold no message, and notes the end.
  public mutating func reachEnd(_ end: Offset, of id: PartitionID, _ epoch: Epoch, at next: Offset) {
    let at = index(of: id, epoch, next)
    parts[at].endOffset = end
    guard end > parts[at].to else { return }
    parts[at].holes.append(parts[at].to.value..<end.value)
    parts[at].to = end
  }

  private mutating func index(of id: PartitionID, _ epoch: Epoch, _ next: Offset) -> Int {
    if let at = parts.firstIndex(where: { $0.partition == id }) { return at }
    parts.append(LandingPart(id, epoch: epoch, at: next))
    return parts.count - 1
  }
}

/// PostgreSQL as landing sees it. One thread uses it; it works as the role `tidemark_batch`.
public final class LandingStore {
  let landing: LandingPlan
  public let table: RawTable
  let instance: String
  private let session: BatchSession
  /// What `tidemark.raw_partition` held when it was last read.
  private var partitions: [RawPartition] = []
  private var staged = false

  public init(target: String, instance: String, plan: LandingPlan) {
    landing = plan
    table = RawTable(plan)
    self.instance = instance
    session = BatchSession(target: target, name: "tidemark land \(plan.plan.topology) \(instance)")
  }

  private var topology: String { landing.plan.topology }

  /// - Throws: `refused` where the database was not migrated for this very topology.
  public func open() throws(WarehouseError) {
    try session.run { connection throws(WarehouseError) in try checkFingerprint(landing.plan, connection) }
  }

  // MARK: Partitions of the topic

  /// Takes partitions over: their epochs are raised, whoever had them is fenced.
  /// - Parameter firstOffset: where a partition that has no row yet begins.
  /// - Returns: epoch and next offset of each.
  public func acquire(_ partitions: [PartitionID], firstOffset: (PartitionID) throws -> Offset) throws
    -> [PartitionID: OffsetRow]
  {
    let known = try session.run { connection throws(PostgresError) in Set(try standing(partitions, connection).keys) }
    var first: [PartitionID: Offset] = [:]
    for id in partitions where !known.contains(id) { first[id] = try firstOffset(id) }
    return try session.run { connection throws(PostgresError) in
      var acquired: [PartitionID: OffsetRow] = [:]
      for id in partitions.sorted() {
        let rows = try connection.execute(
          """
          INSERT INTO tidemark.landing AS p (topology, topic, partition, next_offset, epoch, owner) VALUES ($1, $2, $3::bigint, $4, 1, $5)
          ON CONFLICT (topology, topic, partition) DO UPDATE SET epoch = p.epoch + 1, owner = excluded.owner, updated_at = now()
          RETURNING next_offset, epoch
          """,
          [.text(topology), .text(id.topic), .integer(Int64(id.partition)), .integer((first[id] ?? Offset(0)).value), .text(instance)])
        acquired[id] = OffsetRow(next: Offset(rows.integer(0, 0)!), epoch: Epoch(rows.integer(0, 1)!))
      }
      return acquired
    }
  }

  /// Notes that these have no owner any more, where they are still under those epochs.
  public func release(_ partitions: [PartitionID: Epoch]) throws(WarehouseError) {
    let ids = partitions.keys.sorted()
    try session.run { connection throws(PostgresError) in
      try connection.execute(
        """
        UPDATE tidemark.landing AS p SET owner = NULL FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS i(topic, partition, epoch)
         WHERE p.topology = $1 AND p.topic = i.topic AND p.partition = i.partition AND p.epoch = i.epoch
        """, keys(ids) + [.integers(ids.map { partitions[$0]!.value })])
    }
  }

  /// Where every partition stands.
  public func progress() throws(WarehouseError) -> [PartitionID: Offset] {
    try session.run { connection throws(PostgresError) in
      let rows = try connection.execute("SELECT topic, partition, next_offset FROM tidemark.landing WHERE topology = $1", [.text(topology)])
      return Dictionary(
        uniqueKeysWithValues: (0..<rows.count).map {
          (PartitionID(topic: rows.text($0, 0)!, partition: Int32(rows.integer($0, 1)!)), Offset(rows.integer($0, 2)!))
        })
    }
  }

  /// Raises an alert, or counts one that is open once more.
  public func alert(_ id: PartitionID, kind: String, _ message: String) throws(WarehouseError) {
    try session.run { connection throws(PostgresError) in
      try raiseAlert(topology, topic: id.topic, partition: id.partition, kind: kind, message, connection)
    }
  }

  // MARK: Batches

  /// Lands a batch, all of it or nothing. Tables for its days are made first.
  public func land(_ batch: LandingBatch) -> LandingOutcome {
    do {
      try session.run { connection throws(PostgresError) in
        for day in batch.days.sorted() where !hasTable(day) { try makeTable(day, connection) }
      }
    } catch {
      return error.code == .refused ? .fatal(error.message) : .failed(error.message)
    }
    var procedure = LandingProcedure(batch.parts, staged: staged)
    let outcome = run(&procedure, batch)
    if case .committed = outcome { staged = procedure.isStaged && lastStagedHadBytes }
    return outcome
  }

  private func hasTable(_ day: Int64) -> Bool { partitions.contains { $0.from <= day && day < $0.to } }

  /// Reads how a batch ended whose COMMIT got no answer.
  public func resolve(_ batch: LandingBatch) -> LandingOutcome {
    var procedure = LandingProcedure(resolving: batch.parts)
    return run(&procedure, batch)
  }

  /// Whether the last staged batch held a payload that is not jsonb: then the next one is staged at once.
  private var lastStagedHadBytes = false

  private func run(_ procedure: inout LandingProcedure, _ batch: LandingBatch) -> LandingOutcome {
    var step = procedure.begin()
    while true {
      switch step {
      case .ended(let outcome): return outcome
      case .perform(let statement):
        do throws(PostgresError) { step = procedure.next(after: try perform(statement, batch)) } catch {
          session.abandon(after: error)
          // 23514 on COPY: retention has dropped the day's table since it was looked up.
          let isMissing = error.sqlState == "23514"
          if isMissing { partitions = [] }
          step = procedure.next(after: .failed(StoreFailure(error), isMissingPartition: isMissing))
        }
      }
    }
  }

  private func perform(_ statement: LandingProcedure.Statement, _ batch: LandingBatch) throws(PostgresError) -> LandingProcedure.Result {
    let connection = try session.connection()
    switch statement {
    case .begin: try connection.script("BEGIN")
    case .moveOffsets: return .moved(try moveOffsets(batch.parts, connection))
    case .copyRows(staged: false): if batch.rows.rowCount > 0 { _ = try connection.copy(table.copyStatement, batch.rows) }
    case .copyRows(staged: true): try copyStaged(batch, connection)
    case .writeBooks: try writeBooks(batch.parts, connection)
    case .commit: try connection.script("COMMIT")
    case .rollback: try connection.script("ROLLBACK")
    case .readOffsets: return .standing(try standing(batch.parts.map(\.partition), connection))
    }
    return .done
  }

  private func copyStaged(_ batch: LandingBatch, _ connection: Connection) throws(PostgresError) {
    try connection.execute(table.stagingDefinition)
    _ = try connection.copy(table.stagingCopyStatement, batch.rows)
    try connection.execute(table.stagingInsert)
    let bytes = try connection.execute("SELECT count(*) FROM pg_temp.landing_staging WHERE tidemark.jsonb_or_null(substring(payload FROM 2)) IS NULL")
    lastStagedHadBytes = bytes.integer(0, 0)! > 0
  }

  private func keys(_ partitions: [PartitionID]) -> [Parameter] {
    [.text(topology), .texts(partitions.map(\.topic)), .integers(partitions.map { Int64($0.partition) })]
  }

  /// The fence: offsets move only from where this instance believes them to be, under the epochs that it was given.
  private func moveOffsets(_ parts: [LandingPart], _ connection: Connection) throws(PostgresError) -> Int {
    try connection.execute(
      """
      UPDATE tidemark.landing AS p
         SET next_offset = i.next, watermark = GREATEST(p.watermark, i.latest), end_offset = COALESCE(i.ending, p.end_offset), owner = $9,
             updated_at = now()
        FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::bigint[])
             AS i(topic, partition, from_offset, next, epoch, latest, ending)
       WHERE p.topology = $1 AND p.topic = i.topic AND p.partition = i.partition AND p.next_offset = i.from_offset AND p.epoch = i.epoch
      """,
      keys(parts.map(\.partition)) + [
        .integers(parts.map(\.from.value)), .integers(parts.map(\.to.value)), .integers(parts.map(\.epoch.value)),
        .timestamps(parts.map { $0.latest?.microseconds }), .integers(parts.map { $0.endOffset?.value }), .text(instance),
      ]).affected
  }

  private func standing(_ partitions: [PartitionID], _ connection: Connection) throws(PostgresError)
    -> [PartitionID: (next: Offset, epoch: Epoch)]
  {
    let rows = try connection.execute(
      """
      SELECT p.topic, p.partition, p.next_offset, p.epoch FROM tidemark.landing p
        JOIN unnest($2::text[], $3::bigint[]) AS i(topic, partition) ON p.topic = i.topic AND p.partition = i.partition
       WHERE p.topology = $1
      """, keys(partitions))
    var found: [PartitionID: (next: Offset, epoch: Epoch)] = [:]
    for row in 0..<rows.count {
      let id = PartitionID(topic: rows.text(row, 0)!, partition: Int32(rows.integer(row, 1)!))
      found[id] = (Offset(rows.integer(row, 2)!), Epoch(rows.integer(row, 3)!))
    }
    return found
  }

  private func writeBooks(_ all: [LandingPart], _ connection: Connection) throws(PostgresError) {
    let parts = all.filter { $0.from < $0.to }
    guard !parts.isEmpty else { return }
    try connection.execute(
      """
      INSERT INTO tidemark.landing_ledger (topology, topic, partition, from_offset, to_offset, landed, quarantined, hole_count, holes,
        offset_sum, earliest, latest, epoch, instance)
      SELECT $1, i.topic, i.partition, i.f, i.t, i.landed, i.refused, i.hole_count, i.holes::int8multirange, i.sum::numeric, i.earliest, i.latest,
             i.epoch, $14
        FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::text[],
               $11::timestamptz[], $12::timestamptz[], $13::bigint[])
             AS i(topic, partition, f, t, landed, refused, hole_count, holes, sum, earliest, latest, epoch)
      """,
      keys(parts.map(\.partition)) + [
        .integers(parts.map(\.from.value)), .integers(parts.map(\.to.value)), .integers(parts.map(\.landed)),
        .integers(parts.map { Int64($0.refused.count) }), .integers(parts.map(\.holeCount)),
        .texts(parts.map { "{\($0.holes.map { "[\($0.lowerBound),\($0.upperBound))" }.joined(separator: ","))}" }),
        .texts(parts.map { "\($0.offsetSum)" }), .timestamps(parts.map { $0.earliest?.microseconds }),
        .timestamps(parts.map { $0.latest?.microseconds }), .integers(parts.map(\.epoch.value)), .text(instance),
      ])
    for part in parts where !part.refused.isEmpty { try writeQuarantine(part, connection) }
  }

  private func writeQuarantine(_ part: LandingPart, _ connection: Connection) throws(PostgresError) {
    let events = part.refused
    try connection.execute(
      """
      INSERT INTO tidemark.landing_quarantine (topology, topic, partition, "offset", reason, field, record_time, event_time, key, payload,
        payload_bytes)
      SELECT $1, $2, $3::bigint, i.* FROM unnest($4::bigint[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::bytea[],
        $10::bytea[], $11::bigint[]) AS i
      """,
      [
        .text(topology), .text(part.partition.topic), .integer(Int64(part.partition.partition)), .integers(events.map(\.offset.value)),
        .texts(events.map(\.reason.name)), .texts(events.map(\.field)),
        .timestamps(events.map { EventTime(recordTimestamp: $0.timestamp)?.microseconds }), .timestamps(events.map { $0.eventTime?.microseconds }),
        .byteArrays(events.map(\.key)), .byteArrays(events.map(\.payload)), .integers(events.map { Int64($0.payloadBytes) }),
      ])
  }

  // MARK: Tables by day

  /// One instance makes a table at a time. It is made apart and attached: that lets queries of the whole table run on.
  private func makeTable(_ day: Int64, _ connection: Connection) throws(PostgresError) {
    do throws(PostgresError) {
      try connection.script("BEGIN")
      // Not an advisory lock: any login that reads one row could hold that, and the events of a new day would not be landed.
      try connection.script("LOCK TABLE tidemark.raw_partition IN SHARE ROW EXCLUSIVE MODE")
      let rows = try connection.execute(
        "SELECT from_day, to_day, is_month, (extract(epoch FROM now()) / 86400)::bigint FROM tidemark.raw_partition WHERE topology = $1",
        [.text(topology)])
      partitions = (0..<rows.count).map {
        RawPartition(span: rows.boolean($0, 2)! ? .month : .day, from: rows.integer($0, 0)!, to: rows.integer($0, 1)!)
      }
      let today = try connection.execute("SELECT floor(extract(epoch FROM now()) / 86400)::bigint").integer(0, 0)!
      let wanted = RawPartition.table(for: day, today: today, existing: partitions)
      if !partitions.contains(wanted) {
        let name = wanted.name(Topology.sqlName(topology))
        let quoted = "raw.\(SQL.identifier(name))"
        try connection.script(
          """
          CREATE TABLE \(quoted) (LIKE \(table.qualifiedName) INCLUDING ALL);
          ALTER TABLE \(table.qualifiedName) ATTACH PARTITION \(quoted)
            FOR VALUES FROM (\(SQL.literal(RawPartition.bound(wanted.from)))) TO (\(SQL.literal(RawPartition.bound(wanted.to))))
          """)
        try connection.execute(
          "INSERT INTO tidemark.raw_partition (topology, table_name, from_day, to_day, is_month) VALUES ($1, $2, $3, $4, $5)",
          [.text(topology), .text(name), .integer(wanted.from), .integer(wanted.to), .boolean(wanted.span == .month)])
      }
      try connection.script("COMMIT")
      if !partitions.contains(wanted) { partitions.append(wanted) }
    } catch {
      partitions = []
      throw error
    }
  }

  /// Drops the tables whose events are all older than `days` days before today, UTC. A table that a query holds is left for the
  /// next time.
  /// - Returns: names of what was dropped, and why the rest stayed.
  public func dropTables(olderThan days: Int64) throws(WarehouseError) -> (dropped: [String], kept: String?) {
    let old = try session.run { connection throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT table_name, to_day FROM tidemark.raw_partition
         WHERE topology = $1 AND to_day <= floor(extract(epoch FROM now()) / 86400)::bigint - $2 ORDER BY to_day
        """, [.text(topology), .integer(days)])
      return (0..<rows.count).map { (name: rows.text($0, 0)!, end: rows.integer($0, 1)!) }
    }
    var dropped: [String] = []
    for (name, end) in old {
      do throws(WarehouseError) {
        try session.run { connection throws(PostgresError) in
          try connection.script("BEGIN; SET LOCAL lock_timeout = '2s'; DROP TABLE IF EXISTS raw.\(SQL.identifier(name))")
          try connection.execute("DELETE FROM tidemark.raw_partition WHERE topology = $1 AND table_name = $2", [.text(topology), .text(name)])
          try connection.execute(
            """
            INSERT INTO tidemark.raw_retention AS r (topology, dropped_before) VALUES ($1, $2::text::timestamptz)
            ON CONFLICT (topology) DO UPDATE SET dropped_before = GREATEST(r.dropped_before, excluded.dropped_before), dropped_at = now()
            """, [.text(topology), .text(RawPartition.bound(end))])
          try connection.script("COMMIT")
        }
      } catch {
        guard error.code == .retry else { throw error }
        partitions = []
        return (dropped, "raw.\(name) is in use: \(error.message)")
      }
      dropped.append(name)
    }
    if !dropped.isEmpty { partitions = [] }
    return (dropped, nil)
  }
}
