import Aggregation
import Engine
import Postgres

/// The flush: one transaction that moves offsets and writes everything that moving them means.
extension Warehouse {
  /// Writes a request, all of it or nothing.
  ///
  /// Row by row errors (a value that does not fit its column) do not stop the rest: the transaction is run a second time
  /// with savepoints, and what is refused goes to `tidemark.rejected_row` in the same transaction.
  public func flush(_ request: FlushRequest) -> FlushOutcome { run(FlushProcedure(request, aggregates: tables.count), request) }

  /// Reads how a flush ended whose COMMIT got no answer.
  public func resolve(_ request: FlushRequest) -> FlushOutcome { run(FlushProcedure(resolving: request), request) }

  private func run(_ procedure: FlushProcedure, _ request: FlushRequest) -> FlushOutcome {
    var procedure = procedure
    var step = procedure.begin()
    var transaction: Connection?
    while true {
      switch step {
      case .ended(let outcome): return outcome
      case .perform(let statement): step = procedure.next(after: perform(statement, request, &transaction))
      }
    }
  }

  /// Performs one statement; after a failure the transaction is over, and so is a connection that gave no answer.
  private func perform(_ statement: FlushStatement, _ request: FlushRequest, _ transaction: inout Connection?) -> StatementResult {
    let connection: Connection
    do throws(PostgresError) {
      if let transaction { connection = transaction } else { connection = try self.connection() }
    } catch {
      disconnect()
      return .failed(StoreFailure(error))
    }
    do throws(PostgresError) {
      switch statement {
      case .begin:
        try connection.script("BEGIN")
        transaction = connection
      case .moveOffsets: return .moved(try moveOffsets(request, connection))
      case .addRows(let index, let isolating): try upsert(index, request, connection, isolating)
      case .writeBooks: try writeBooks(request, connection)
      case .commit: try connection.script("COMMIT")
      case .rollback:
        try connection.script("ROLLBACK")
        transaction = nil
      case .readOffsets: return .standing(try standing(request, connection))
      }
      return .done
    } catch {
      transaction = nil
      abandon(connection, after: error)
      return .failed(StoreFailure(error))
    }
  }

  private func keys(_ request: FlushRequest) -> [Parameter] {
    [
      .text(plan.topology), .texts(request.parts.map { $0.partition.topic }), .integers(request.parts.map { Int64($0.partition.partition) }),
    ]
  }

  /// Moves the offsets of all parts; how many rows that were. The heart of exactly-once: an offset moves only from where
  /// this instance believes it to be, under the epoch that it was given.
  private func moveOffsets(_ request: FlushRequest, _ connection: Connection) throws(PostgresError) -> Int {
    return try connection.execute(
      """
      UPDATE tidemark.partition AS p
         SET next_offset = i.next, watermark = COALESCE(i.watermark, p.watermark), end_offset = COALESCE(i.ending, p.end_offset),
             owner = $9, updated_at = now(), flushed_at = now(),
             record_time = COALESCE(i.record_time, p.record_time), journal_bytes = i.journal, state_bytes = COALESCE(i.state, p.state_bytes),
             aggregates = COALESCE(i.aggregates::jsonb, p.aggregates),
             changed_at = COALESCE(p.changed_at, '{}') || COALESCE(
               (SELECT jsonb_object_agg(name, now()) FROM jsonb_array_elements_text(i.changed::jsonb) AS name), '{}')
        FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::bigint[],
                    $10::timestamptz[], $11::bigint[], $12::bigint[], $13::text[], $14::text[])
             AS i(topic, partition, from_offset, next, epoch, watermark, ending, record_time, journal, state, aggregates, changed)
       WHERE p.topology = $1 AND p.topic = i.topic AND p.partition = i.partition
         AND p.next_offset = i.from_offset AND p.epoch = i.epoch
      """,
      keys(request) + [
        .integers(request.parts.map { $0.delta.from.value }), .integers(request.parts.map { $0.delta.to.value }),
        .integers(request.parts.map { $0.epoch.value }), .timestamps(request.parts.map { $0.delta.watermark?.microseconds }),
        .integers(request.parts.map { $0.endOffset?.value }), .text(instance),
        .timestamps(request.parts.map { $0.figures.recordTime.flatMap { EventTime(recordTimestamp: $0)?.microseconds } }),
        .integers(request.parts.map { $0.figures.journalBytes.map(Int64.init) }), .integers(request.parts.map { $0.figures.stateBytes.map(Int64.init) }),
        .texts(request.parts.map { loads($0.figures.loads) }), .texts(request.parts.map { changed($0.delta) }),
      ]).affected
  }

  /// By table, as JSON; names of tables need no quoting there. nil: not known.
  private func loads(_ loads: [AggregateLoad]) -> String? {
    guard loads.count == tables.count else { return nil }
    let texts = zip(tables, loads).map { "\"\($0.name)\":{\"groups\":\($1.groups),\"overflow\":\($1.overflowed)}" }
    return "{\(texts.joined(separator: ","))}"
  }

  /// The tables that it has rows for, as a JSON array.
  private func changed(_ delta: Delta) -> String {
    "[\(zip(tables, delta.aggregates).filter { !$1.groups.isEmpty }.map { "\"\($0.0.name)\"" }.joined(separator: ","))]"
  }

  /// The offset rows of a request's partitions.
  private func standing(_ request: FlushRequest, _ connection: Connection) throws(PostgresError) -> [PartitionID: OffsetRow] {
    let rows = try connection.execute(
      """
      SELECT p.topic, p.partition, p.next_offset, p.epoch FROM tidemark.partition p
        JOIN unnest($2::text[], $3::bigint[]) AS i(topic, partition) ON p.topic = i.topic AND p.partition = i.partition
       WHERE p.topology = $1
      """, keys(request))
    var found: [PartitionID: OffsetRow] = [:]
    for row in 0..<rows.count {
      let id = PartitionID(topic: rows.text(row, 0)!, partition: Int32(rows.integer(row, 1)!))
      found[id] = OffsetRow(next: Offset(rows.integer(row, 2)!), epoch: Epoch(rows.integer(row, 3)!))
    }
    return found
  }

  // MARK: Rows

  private func upsert(_ index: Int, _ request: FlushRequest, _ connection: Connection, _ isolating: Bool) throws(PostgresError) {
    let rows = MergedRow.merge(request.parts, aggregate: index)
    // Bounded statements: a flush after a long absence of PostgreSQL may hold a million rows.
    var begin = 0
    while begin < rows.count {
      let end = min(begin + 50_000, rows.count)
      if isolating {
        try upsertIsolated(index, rows[begin..<end], connection)
      } else {
        try connection.execute(tables[index].upsert, tables[index].parameters(rows[begin..<end]))
      }
      begin = end
    }
  }

  /// Halves what is refused until the single rows that do not fit are found.
  private func upsertIsolated(_ index: Int, _ rows: ArraySlice<MergedRow>, _ connection: Connection) throws(PostgresError) {
    try connection.script("SAVEPOINT rows")
    do throws(PostgresError) {
      try connection.execute(tables[index].upsert, tables[index].parameters(rows))
      try connection.script("RELEASE SAVEPOINT rows")
    } catch {
      guard error.consequence == .data else { throw error }
      try connection.script("ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows")
      if rows.count > 1 {
        let middle = rows.startIndex + rows.count / 2
        try upsertIsolated(index, rows[..<middle], connection)
        try upsertIsolated(index, rows[middle...], connection)
      } else if let row = rows.first {
        let increments = zip(tables[index].measures, row.values).map { "\($0.name) += \($1.text($0.scale))" }
        try connection.execute(
          """
          INSERT INTO tidemark.rejected_row (topology, aggregate, window_start, key, increments, sql_state, message, instance)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
          """,
          [
            .text(plan.topology), .text(tables[index].name), .timestamp(row.key.windowStart.microseconds), .texts(row.key.fields),
            .texts(increments), .text(error.sqlState), .text(error.message), .text(instance),
          ])
      }
    }
  }

  // MARK: Books

  private func writeBooks(_ request: FlushRequest, _ connection: Connection) throws(PostgresError) {
    try writeLedger(request, connection)
    try writeChunks(request, connection)
    for part in request.parts where !part.delta.quarantine.isEmpty { try writeQuarantine(part, connection) }
    for index in tables.indices { try writeLateCounts(index, request, connection) }
    try connection.script("NOTIFY tidemark")
  }

  private func writeLedger(_ request: FlushRequest, _ connection: Connection) throws(PostgresError) {
    let parts = request.parts
    func counts(_ count: (LedgerCounts) -> Int64) -> Parameter { .integers(parts.map { count($0.delta.ledger) }) }
    try connection.execute(
      """
      INSERT INTO tidemark.ledger (topology, topic, partition, from_offset, to_offset, applied, filtered, duplicate, late, quarantined, gap,
        tombstones, misrouted, quarantine_omitted, watermark_before, watermark_after, earliest, latest, epoch, instance)
      SELECT $1, i.*, $20 FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::timestamptz[], $16::timestamptz[],
        $17::timestamptz[], $18::timestamptz[], $19::bigint[]) AS i
      """,
      keys(request) + [
        .integers(parts.map { $0.delta.from.value }), .integers(parts.map { $0.delta.to.value }), counts(\.applied), counts(\.filtered),
        counts(\.duplicate), counts(\.late), counts(\.quarantined), counts(\.gap), counts(\.tombstones), counts(\.misrouted),
        .integers(parts.map { Int64($0.delta.quarantineOmitted) }), .timestamps(parts.map { $0.watermarkBefore?.microseconds }),
        .timestamps(parts.map { $0.delta.watermark?.microseconds ?? $0.watermarkBefore?.microseconds }),
        .timestamps(parts.map { $0.delta.ledger.earliest?.microseconds }), .timestamps(parts.map { $0.delta.ledger.latest?.microseconds }),
        .integers(parts.map { $0.epoch.value }), .text(instance),
      ])
  }

  private func writeChunks(_ request: FlushRequest, _ connection: Connection) throws(PostgresError) {
    for part in request.parts {
      guard let last = part.delta.aggregates.lazy.flatMap(\.groups).map(\.windowEnd).max() else { continue }
      var state = part.delta
      for a in state.aggregates.indices { state.aggregates[a].late = [] }
      state.quarantine = []
      try writeChunk(part.partition, from: state.from, to: state.to, level: 0, last, DeltaCodec.encode(state, .state), connection)
    }
  }

  func writeChunk(
    _ id: PartitionID, from: Offset, to: Offset, level: Int64, _ lastWindowEnd: EventTime, _ bytes: [UInt8], _ connection: Connection
  ) throws(PostgresError) {
    try connection.execute(
      """
      INSERT INTO tidemark.state_chunk (topology, topic, partition, from_offset, to_offset, level, last_window_end, bytes)
      VALUES ($1, $2, $3::bigint, $4, $5, $6::bigint, $7, $8)
      """,
      [
        .text(plan.topology), .text(id.topic), .integer(Int64(id.partition)), .integer(from.value), .integer(to.value), .integer(level),
        .timestamp(lastWindowEnd.microseconds), .bytes(bytes),
      ])
  }

  private func writeQuarantine(_ part: FlushRequest.Part, _ connection: Connection) throws(PostgresError) {
    let events = part.delta.quarantine
    try connection.execute(
      """
      INSERT INTO tidemark.quarantine (topology, topic, partition, "offset", reason, field, record_time, event_time, key, payload, payload_bytes)
      SELECT $1, $2, $3::bigint, i.* FROM unnest($4::bigint[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::bytea[],
        $10::bytea[], $11::bigint[]) AS i
      ON CONFLICT DO NOTHING
      """,
      [
        .text(plan.topology), .text(part.partition.topic), .integer(Int64(part.partition.partition)), .integers(events.map(\.offset.value)),
        .texts(events.map(\.reason.name)), .texts(events.map(\.field)),
        .timestamps(events.map { EventTime(recordTimestamp: $0.timestamp)?.microseconds }), .timestamps(events.map { $0.eventTime?.microseconds }),
        .byteArrays(events.map(\.key)), .byteArrays(events.map(\.payload)), .integers(events.map { Int64($0.payloadBytes) }),
      ])
  }

  private func writeLateCounts(_ index: Int, _ request: FlushRequest, _ connection: Connection) throws(PostgresError) {
    var counts: [RowKey: Int64] = [:]
    for part in request.parts { for late in part.delta.aggregates[index].late { counts[late.key, default: 0] += late.count } }
    guard !counts.isEmpty else { return }
    let rows = counts.sorted { $0.key.precedes($1.key) }
    // One array for each field of the key: PostgreSQL finds an element of one long array of texts by walking there.
    let fields = tables[index].keyColumns.indices
    try connection.execute(
      """
      INSERT INTO tidemark.late_count AS t (topology, aggregate, window_start, key, late)
      SELECT $1, $2, i.w, ARRAY[\(fields.map { "i.k\($0)" }.joined(separator: ", "))]::text[], i.late
        FROM unnest($3::timestamptz[], $4::bigint[]\(fields.map { ", $\($0 + 5)::text[]" }.joined()))
             AS i(w, late\(fields.map { ", k\($0)" }.joined()))
      ON CONFLICT (topology, aggregate, window_start, key) DO UPDATE SET late = t.late + excluded.late, updated_at = now()
      """,
      [
        .text(plan.topology), .text(tables[index].name), .timestamps(rows.map { $0.key.windowStart.microseconds }),
        .integers(rows.map(\.value)),
      ] + fields.map { f in .texts(rows.map { $0.key.fields[f] }) })
  }
}

extension StoreFailure {
  init(_ error: PostgresError) {
    let consequence: Consequence =
      switch error.consequence {
      case .connectionLost: .connectionLost
      case .unreachable, .retry: .retry
      case .data: .data
      case .refused: .refused
      }
    self.init(consequence, "\(error)")
  }
}
