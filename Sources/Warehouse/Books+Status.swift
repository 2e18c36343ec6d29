import Aggregation
import Postgres

/// Where partitions stand, as all instances together have left it in the books.
extension Books {
  /// One partition of one topology.
  public struct PartitionStatus: Sendable {
    public var topology: String
    public var partition: PartitionID
    public var nextOffset: Int64
    /// The partition's end in Kafka when it was last seen; nil: never reached.
    public var endOffset: Int64?
    public var epoch: Int64
    /// nil: nobody has it.
    public var owner: String?
    public var watermark: EventTime?
    /// Windows that end by then are final as far as this partition goes: watermark − allowed lateness.
    public var completeThrough: EventTime?
    /// Microseconds since the epoch: the last flush, takeover or accepted gap.
    public var updatedAt: Int64
    /// Microseconds since the epoch; nil: never flushed.
    public var flushedAt: Int64?
    /// Kafka timestamp of the last consumed record, microseconds since the epoch; nil: not known.
    public var recordTime: Int64?
    /// Of the owner at its last flush; nil: not known, or no journal is kept.
    public var journalBytes: Int64?
    public var stateBytes: Int64?
    /// By table.
    public var aggregates: [AggregateStatus] = []
    /// Offsets accounted for in the ledger, by bucket.
    public var ledger: LedgerCounts
    /// Open alerts, as `kind: message`.
    public var alerts: [String]
  }

  /// What one aggregate holds in one partition, at its last flush.
  public struct AggregateStatus: Sendable, Equatable {
    /// The table's name in the schema `analytics`.
    public var table: String
    /// The aggregate's name in its topology.
    public var name: String
    /// Rows of open windows; nil: not known.
    public var groups: Int64?
    /// Events that went to the overflow row since the partition was taken over.
    public var overflow: Int64?
    public init(table: String, name: String, groups: Int64?, overflow: Int64?) {
      self.table = table; self.name = name; self.groups = groups; self.overflow = overflow
    }
  }

  /// All partitions, or those of one topology, by topology, topic and number.
  /// - Complexity: O(rows of the ledger).
  public func status(topology: String?) throws(WarehouseError) -> [PartitionStatus] {
    try reading { () throws(PostgresError) in
      let aggregates = try aggregateStatus(topology)
      let rows = try connection.execute(
        """
        SELECT p.topology, p.topic, p.partition, p.next_offset, p.end_offset, p.epoch, p.owner, p.watermark, p.updated_at,
               COALESCE(l.applied, 0)::bigint, COALESCE(l.filtered, 0)::bigint, COALESCE(l.duplicate, 0)::bigint,
               COALESCE(l.late, 0)::bigint, COALESCE(l.quarantined, 0)::bigint, COALESCE(l.gap, 0)::bigint, a.messages,
               p.watermark - t.allowed_lateness, p.flushed_at, p.record_time, p.journal_bytes, p.state_bytes
          FROM tidemark.partition p
          LEFT JOIN tidemark.topology t ON t.name = p.topology
          LEFT JOIN (SELECT topology, topic, partition, sum(applied) AS applied, sum(filtered) AS filtered, sum(duplicate) AS duplicate,
                            sum(late) AS late, sum(quarantined) AS quarantined, sum(gap) AS gap
                       FROM tidemark.ledger GROUP BY 1, 2, 3) l USING (topology, topic, partition)
          LEFT JOIN (SELECT topology, topic, partition, string_agg(kind || ': ' || message, E'\\n' ORDER BY raised_at) AS messages
                       FROM tidemark.alert WHERE resolved_at IS NULL GROUP BY 1, 2, 3) a USING (topology, topic, partition)
         WHERE $1::text IS NULL OR p.topology = $1
         ORDER BY 1, 2, 3
        """, [.text(topology)])
      return (0..<rows.count).map { row in
        var ledger = LedgerCounts()
        ledger.applied = rows.integer(row, 9)!
        ledger.filtered = rows.integer(row, 10)!
        ledger.duplicate = rows.integer(row, 11)!
        ledger.late = rows.integer(row, 12)!
        ledger.quarantined = rows.integer(row, 13)!
        ledger.gap = rows.integer(row, 14)!
        let id = PartitionID(topic: rows.text(row, 1)!, partition: Int32(rows.integer(row, 2)!))
        return PartitionStatus(
          topology: rows.text(row, 0)!, partition: id, nextOffset: rows.integer(row, 3)!, endOffset: rows.integer(row, 4), epoch: rows.integer(row, 5)!,
          owner: rows.text(row, 6), watermark: rows.timestamp(row, 7).map(EventTime.init(microseconds:)),
          completeThrough: rows.timestamp(row, 16).map(EventTime.init(microseconds:)), updatedAt: rows.timestamp(row, 8)!,
          flushedAt: rows.timestamp(row, 17), recordTime: rows.timestamp(row, 18), journalBytes: rows.integer(row, 19),
          stateBytes: rows.integer(row, 20), aggregates: aggregates[rows.text(row, 0)!]?[id] ?? [], ledger: ledger,
          alerts: rows.text(row, 15)?.split(separator: "\n").map(String.init) ?? [])
      }
    }
  }

  /// By topology and partition.
  private func aggregateStatus(_ topology: String?) throws(PostgresError) -> [String: [PartitionID: [AggregateStatus]]] {
    let rows = try connection.execute(
      """
      SELECT p.topology, p.topic, p.partition, a.table_name, a.name,
             (p.aggregates -> a.table_name ->> 'groups')::bigint, (p.aggregates -> a.table_name ->> 'overflow')::bigint
        FROM tidemark.partition p JOIN tidemark.aggregate a ON a.topology = p.topology
       WHERE $1::text IS NULL OR p.topology = $1 ORDER BY 1, 2, 3, 4
      """, [.text(topology)])
    var found: [String: [PartitionID: [AggregateStatus]]] = [:]
    for row in 0..<rows.count {
      let id = PartitionID(topic: rows.text(row, 1)!, partition: Int32(rows.integer(row, 2)!))
      found[rows.text(row, 0)!, default: [:]][id, default: []].append(
        AggregateStatus(table: rows.text(row, 3)!, name: rows.text(row, 4)!, groups: rows.integer(row, 5), overflow: rows.integer(row, 6)))
    }
    return found
  }
}
