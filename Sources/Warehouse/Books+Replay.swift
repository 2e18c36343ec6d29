import Aggregation
import Postgres

/// Refused events go back into Kafka.
extension Books {
  /// What one batch of a replay did.
  public struct ReplayBatch: Sendable {
    /// Events that were handed over and marked.
    public var sent = 0
    /// Where the quarantine holds less than what came: these cannot be sent.
    public var cut: [(partition: PartitionID, offset: Int64)] = []
    /// The last event that was looked at; nil: there are no more.
    public var last: (topic: String, partition: Int32, offset: Int64)?
  }

  /// SQL: whether the quarantine holds all of an event; longer payloads and keys are cut there.
  private static let isWhole = "octet_length(payload) = payload_bytes AND octet_length(key) < \(Limits.quarantinePayload)"

  /// Locks the next refused events of a topology, hands those that are held whole over, and marks them as replayed, for every
  /// topology that refused them: one transaction, so that two replays at once send none twice. What `send` throws ends it with
  /// nothing marked.
  /// - Parameters:
  ///   - again: also those that were replayed before.
  ///   - last: where the batch before ended.
  ///   - send: has to come back when Kafka has all of them. A crash between that and the mark sends them again next time.
  public func replayBatch(
    _ filter: QuarantineFilter, again: Bool, after last: (topic: String, partition: Int32, offset: Int64)?,
    send: ([QuarantineRow]) throws -> Void
  ) throws -> ReplayBatch {
    let found = try reading { () throws(PostgresError) in
      try connection.script("BEGIN")
      return try connection.execute(
        """
        SELECT \(Self.quarantineColumns), \(Self.isWhole)
          FROM tidemark.quarantine
         WHERE \(Self.quarantineCondition) AND ($6 OR replayed_at IS NULL)
           AND ($7::text IS NULL OR (topic, partition, "offset") > ($7, $8::bigint, $9::bigint))
         ORDER BY topology, topic, partition, "offset" LIMIT $10 FOR UPDATE SKIP LOCKED
        """,
        parameters(filter) + [
          .boolean(again), .text(last?.topic), .integer(last.map { Int64($0.partition) }), .integer(last?.offset), .integer(Int64(filter.limit)),
        ])
    }
    do {
      var batch = ReplayBatch()
      var whole: [QuarantineRow] = []
      for row in 0..<found.count {
        let event = Self.quarantineRow(found, row)
        batch.last = (event.partition.topic, event.partition.partition, event.offset)
        if found.boolean(row, 12) == true { whole.append(event) } else { batch.cut.append((event.partition, event.offset)) }
      }
      if !whole.isEmpty { try send(whole) }
      try reading { () throws(PostgresError) in
        try connection.execute(
          """
          UPDATE tidemark.quarantine q SET replayed_at = now()
            FROM tidemark.topology t, unnest($1::text[], $2::bigint[], $3::bigint[]) AS e (topic, partition, "offset")
           WHERE q.topology = t.name AND q.topic = e.topic AND q.partition = e.partition AND q."offset" = e."offset"
          """,
          [.texts(whole.map(\.partition.topic)), .integers(whole.map { Int64($0.partition.partition) }), .integers(whole.map(\.offset))])
        try connection.script("COMMIT")
      }
      batch.sent = whole.count
      return batch
    } catch {
      _ = try? connection.script("ROLLBACK")
      throw error
    }
  }

  /// How many events of the quarantine a replay would send, and how many of them are not held whole.
  public func replayable(_ filter: QuarantineFilter, again: Bool) throws(WarehouseError) -> (whole: Int64, cut: Int64) {
    try reading { () throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT count(*) FILTER (WHERE is_whole), count(*) FILTER (WHERE NOT is_whole) FROM (
          SELECT \(Self.isWhole) AS is_whole
            FROM tidemark.quarantine WHERE \(Self.quarantineCondition) AND ($6 OR replayed_at IS NULL)) q
        """, parameters(filter) + [.boolean(again)])
      return (rows.integer(0, 0)!, rows.integer(0, 1)!)
    }
  }
}
