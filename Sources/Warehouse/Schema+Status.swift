/// What operators see of partitions beyond where they stand; run as `tidemark_owner`.
extension Schema {
  /// Columns of `tidemark.partition` that a flush writes in the UPDATE that moves the offset: no statement and no row more, and
  /// none of them is indexed, so that the update stays HOT.
  ///
  /// `record_time`: Kafka timestamp of the last consumed record. `journal_bytes`, `state_bytes`: the owner's, at its last flush.
  /// `aggregates`: by table, `{"groups": …, "overflow": …}` of this partition. `changed_at`: by table, the last flush that had rows
  /// for it. `flushed_at`: the last flush; `updated_at` is that of a takeover as well.
  ///
  /// Asked before it is done: it takes the table's lock. A database of version 1 has its last flushes in the ledger.
  static let partitionFigures = """
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tidemark.partition'::regclass AND attname = 'record_time' AND NOT attisdropped) THEN
        ALTER TABLE tidemark.partition
          ADD COLUMN record_time timestamptz,
          ADD COLUMN journal_bytes bigint,
          ADD COLUMN state_bytes bigint,
          ADD COLUMN aggregates jsonb,
          ADD COLUMN changed_at jsonb,
          ADD COLUMN flushed_at timestamptz;
        UPDATE tidemark.partition p SET flushed_at = (
          SELECT l.flushed_at FROM tidemark.ledger l
           WHERE l.topology = p.topology AND l.topic = p.topic AND l.partition = p.partition ORDER BY l.from_offset DESC LIMIT 1);
      END IF;
    END $$
    """

  /// How fresh each aggregate is.
  ///
  /// `complete_through` and `fresh_as_of` are the same for all aggregates of a topology, and that is right. Whether an event is
  /// late is one verdict for all of them, by the watermark of its partition, and a flush writes the rows of all of them in one
  /// transaction. An aggregate whose `where` let nothing through is as fresh as the others: that there was nothing for it is known
  /// up to the same moment. What differs is `rows_changed_at`, the last flush that had rows for it: `max(updated_at)` of its table,
  /// without reading it. Windows are final when they end at or before `complete_through`.
  ///
  /// A partition at its end holds nothing back, unless an instance has stopped it: the end that it saw last is old then. One that
  /// is behind and has accepted no event yet may hold anything: nothing is complete.
  static let freshness = """
    CREATE OR REPLACE VIEW analytics.freshness WITH (security_barrier) AS
    SELECT a.table_name AS aggregate,
           CASE WHEN bool_or(p.next_offset < p.end_offset AND p.watermark IS NULL) THEN NULL
                ELSE COALESCE(min(p.watermark) FILTER (WHERE p.end_offset IS NULL OR p.next_offset < p.end_offset OR p.is_stopped), max(p.watermark))
                       - t.allowed_lateness END AS complete_through,
           max(p.flushed_at) AS fresh_as_of,
           sum(GREATEST(p.end_offset - p.next_offset, 0))::bigint AS lag,
           (SELECT s.sealed_through FROM tidemark.sealed s WHERE s.table_name = a.table_name) AS sealed_through,
           max((p.changed_at ->> a.table_name)::timestamptz) AS rows_changed_at
      FROM tidemark.aggregate a
      JOIN tidemark.topology t ON t.name = a.topology
      LEFT JOIN (
        SELECT q.*, EXISTS (SELECT FROM tidemark.alert o WHERE (o.topology, o.topic, o.partition) = (q.topology, q.topic, q.partition)
                             AND o.resolved_at IS NULL
                             AND o.kind IN ('offset_out_of_range', 'topic_ends_early', 'state_unreadable', 'state_over_budget')) AS is_stopped
          FROM tidemark.partition q) p ON p.topology = a.topology
     GROUP BY a.table_name, t.allowed_lateness
    """
}
