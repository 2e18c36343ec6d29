import Aggregation
import Postgres

/// What operators enter into the landing's books.
extension Books {
  /// Moves the landing of a partition past offsets that Kafka no longer has: its ledger says that they are holes, open alerts
  /// are resolved, and whoever owns the partition is fenced and takes it over anew.
  /// - Returns: the offset at which it stood; nil: it is there already, or beyond.
  public func acceptLandingGap(_ topology: String, _ id: PartitionID, to offset: Int64, operator name: String) throws(WarehouseError) -> Int64? {
    let key: [Parameter] = [.text(topology), .text(id.topic), .integer(Int64(id.partition))]
    let moved: Int64? = try reading { () throws(PostgresError) in
      try connection.script("BEGIN")
      let rows = try connection.execute(
        """
        SELECT next_offset, epoch FROM tidemark.landing
         WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND next_offset < $4 FOR UPDATE
        """, key + [.integer(offset)])
      guard rows.count == 1, let from = rows.integer(0, 0), let epoch = rows.integer(0, 1) else {
        try connection.script("ROLLBACK")
        return nil
      }
      try connection.execute(
        """
        UPDATE tidemark.landing SET next_offset = $4, epoch = epoch + 1, owner = NULL, updated_at = now()
         WHERE topology = $1 AND topic = $2 AND partition = $3::bigint
        """, key + [.integer(offset)])
      try connection.execute(
        """
        INSERT INTO tidemark.landing_ledger (topology, topic, partition, from_offset, to_offset, landed, quarantined, hole_count, holes, offset_sum,
          epoch, instance)
        VALUES ($1, $2, $3::bigint, $4, $5, 0, 0, $5 - $4, int8multirange(int8range($4, $5)), 0, $6, $7)
        """, key + [.integer(from), .integer(offset), .integer(epoch), .text("operator \(name)")])
      try connection.execute(
        """
        UPDATE tidemark.alert SET resolved_at = now()
         WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND kind = 'landing_offset_out_of_range' AND resolved_at IS NULL
        """, key)
      try connection.script("COMMIT")
      return from
    }
    return moved
  }
}
