import Postgres

/// The ledger, rolled up: a row a flush and partition for two days, then a row an hour, after five weeks a row a day.
///
///     age of the flush         one row for each                      who needs it that fine
///     under 2 days             flush                                 takeovers (deduplication horizon), alerts of the last minutes
///     2 days to 5 weeks        hour, UTC                             `events_down`: the same hour of the last four weeks
///     older                    day, UTC
///
/// Rows become one only where nothing that anybody reads of them changes by it: they join (offsets and watermarks), are of
/// one epoch and instance, and are of one kind to the reconciler (see `ledgerMerge`). Such a row has the sums of all buckets, the
/// least and greatest event time, the first `from_offset` with its watermark, the last `to_offset` with its; `flushes` says
/// of how many flushes it is, `first_flushed_at` and `flushed_at` when they were. What an operator entered stays as it is,
/// and so does what a takeover might have to begin at: the rows behind which the deduplication horizon has not passed.
///
/// Instances cannot rewrite the ledger, nor can who calls this: `tidemark.roll_up_ledger` belongs to `tidemark_owner`, works
/// with its rights (SECURITY DEFINER), takes no values, only merges, and reads after each merge that the sums, the spans and
/// the count of flushes are what they were; else it fails, and with it the transaction. `tidemark_batch` may call it.
extension Schema {
  /// Run as `tidemark_owner`, after the tables of both sides.
  static let ledgerRollUp: [String] = [
    // Asked before it is done: it takes the table's lock. Rows that are there already are one flush each.
    """
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tidemark.ledger'::regclass AND attname = 'flushes' AND NOT attisdropped) THEN
        ALTER TABLE tidemark.ledger
          ADD COLUMN flushes bigint NOT NULL DEFAULT 1,
          ADD COLUMN first_flushed_at timestamptz,
          ADD CONSTRAINT a_merged_row_says_since_when
            CHECK (flushes = 1 AND first_flushed_at IS NULL OR flushes > 1 AND first_flushed_at <= flushed_at AND first_flushed_at IS NOT NULL) NOT VALID;
      END IF;
      IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tidemark.topology'::regclass AND attname = 'deduplicate_within' AND NOT attisdropped) THEN
        -- NULL: not known; zero: ids are not looked at.
        ALTER TABLE tidemark.topology ADD COLUMN deduplicate_within interval;
      END IF;
    END $$
    """,
    // Space of rows that were rolled up is used again, so rows do not lie in the order of flushes: a summary by blocks
    // (BRIN) would find everything everywhere.
    "CREATE INDEX IF NOT EXISTS ledger_by_flush ON tidemark.ledger (flushed_at)",
    "DROP INDEX IF EXISTS tidemark.ledger_flushed",
    landingRollUpColumns,
    rollUpFunction,
    landingRollUpFunction,
    rollUpProcedure,
  ] + [rollUpSignature, landingRollUpSignature].flatMap {
    ["REVOKE ALL ON FUNCTION \($0) FROM PUBLIC", "GRANT EXECUTE ON FUNCTION \($0) TO tidemark_batch"]
  }

  static let rollUpSignature = "tidemark.roll_up_ledger(text, text, integer, bigint, integer)"

  /// What the reconciler does with a row: it takes rows with gaps for ranges in which events may be missing, whole gaps for
  /// ranges without any, leaves rows with refusals that were only counted out of its recount, and those that the landing was
  /// moved past, or did not begin with.
  private static let ledgerMerge = LedgerMerge(
    table: "tidemark.ledger", at: "flushed_at", firstAt: "first_flushed_at", joints: [("watermark_after", "watermark_before")],
    kinds: [
      "CASE WHEN gap = 0 THEN 0 WHEN gap < to_offset - from_offset THEN 1 ELSE 2 END",
      "quarantine_omitted > 0",
      "int8range(from_offset, to_offset) && v_moved",
      "from_offset >= v_landed_from",
    ],
    sums: ["applied", "filtered", "duplicate", "late", "quarantined", "gap", "tombstones", "misrouted", "quarantine_omitted", "flushes"],
    others: [
      ("watermark_before", "(array_agg(watermark_before ORDER BY from_offset))[1]"),
      ("watermark_after", "(array_agg(watermark_after ORDER BY from_offset DESC))[1]"),
    ],
    condition: "to_offset <= v_behind")

  /// One bounded part of one partition. `next_position`: where the next part begins; NULL: that was the last. `held`: why
  /// nothing was done.
  ///
  /// Cost: a scan of `p_most` rows by key. Locks those rows and nothing else: flushes only add rows.
  static let rollUpFunction = """
    CREATE OR REPLACE FUNCTION tidemark.roll_up_ledger(p_topology text, p_topic text, p_partition integer, p_position bigint, p_most integer,
      OUT rows_before bigint, OUT rows_after bigint, OUT next_position bigint, OUT held text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
      v_watermark timestamptz; v_within interval; v_behind bigint; v_landed_from bigint; v_moved int8multirange;
      \(LedgerMerge.variables)
    BEGIN
      \(LedgerMerge.beginning("roll up"))
      SELECT p.watermark, t.deduplicate_within INTO v_watermark, v_within
        FROM tidemark.partition p JOIN tidemark.topology t ON t.name = p.topology WHERE \(LedgerMerge.key.replacing("topology =", with: "p.topology ="));
      IF v_within IS NULL THEN
        held := 'its deduplication horizon is not known: run `tidemark migrate --topology FILE`';
        RETURN;
      END IF;
      -- What was found wrong stays as it was found.
      IF EXISTS (SELECT FROM tidemark.reconciliation_difference d
                  WHERE d.run = (SELECT max(r.id) FROM tidemark.reconciliation_run r WHERE r.topology = p_topology AND r.outcome NOT IN ('running', 'failed'))
                    AND d.aggregate IS NULL AND d.topic = p_topic AND d.partition = p_partition AND NOT d.is_explained
                    AND (starts_with(d.class, 'ledger_') OR d.class = 'gap_with_events')) THEN
        held := 'the last reconciliation found its ledger wrong';
        RETURN;
      END IF;
      -- As a takeover finds where to read again from: of what is behind that, no part can be a beginning any more.
      IF v_within = '0' OR v_watermark IS NULL THEN
        v_behind := 9223372036854775807;
      ELSE
        SELECT to_offset INTO v_behind FROM tidemark.ledger
         WHERE \(LedgerMerge.key) AND watermark_after < date_trunc('second', v_watermark) - v_within ORDER BY from_offset DESC LIMIT 1;
      END IF;
      SELECT COALESCE(min(from_offset), 9223372036854775807),
             COALESCE(range_agg(int8range(from_offset, to_offset)) FILTER (WHERE instance LIKE 'operator %'), '{}')
        INTO v_landed_from, v_moved FROM tidemark.landing_ledger WHERE \(LedgerMerge.key);
      \(ledgerMerge.loop)
    END $$
    """

  /// All partitions, one transaction a part: for pg_cron. CALL it outside of any transaction.
  static let rollUpProcedure = """
    CREATE OR REPLACE PROCEDURE tidemark.roll_up_ledgers() LANGUAGE plpgsql AS $$
    DECLARE v_key record; v_position bigint;
    BEGIN
      FOR v_key IN SELECT topology, topic, partition FROM tidemark.partition ORDER BY 1, 2, 3 LOOP
        v_position := 0;
        WHILE v_position IS NOT NULL LOOP
          SELECT r.next_position INTO v_position
            FROM tidemark.roll_up_ledger(v_key.topology, v_key.topic, v_key.partition, v_position, \(LedgerRollUp.most)) r;
          COMMIT;
        END LOOP;
      END LOOP;
      FOR v_key IN SELECT topology, topic, partition FROM tidemark.landing ORDER BY 1, 2, 3 LOOP
        v_position := 0;
        WHILE v_position IS NOT NULL LOOP
          SELECT r.next_position INTO v_position
            FROM tidemark.roll_up_landing_ledger(v_key.topology, v_key.topic, v_key.partition, v_position, \(LedgerRollUp.most)) r;
          COMMIT;
        END LOOP;
      END LOOP;
    END $$
    """
}
