import Postgres

/// The landing's ledger, rolled up as the stream's is (see `Schema.ledgerRollUp`): a row a batch and partition for two days, then
/// a row an hour, after five weeks a row a day, and no more than a million offsets a row.
///
/// The reconciler counts the landed rows of each range and sums their offsets: counts, sums and holes of ranges that join add
/// up, so what it finds in one row is what it found in several. What it looks at beside that stays apart or is kept: what
/// an operator entered; ranges of which rows were dropped by age, or will be by another day than the others (`earliest`, once
/// days are dropped); the times between which the rows were landed (`first_landed_at` to `landed_at`), by which a row that
/// the landing did not write is told from its own. Offsets of a range with a fault are looked at one by one, and the
/// more offsets a row has, the more there are: that is what the million is for.
extension Schema {
  /// Asked before it is done: it takes the table's lock. Rows that are there already are one batch each.
  static let landingRollUpColumns = """
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tidemark.landing_ledger'::regclass AND attname = 'batches' AND NOT attisdropped) THEN
        ALTER TABLE tidemark.landing_ledger
          ADD COLUMN batches bigint NOT NULL DEFAULT 1,
          ADD COLUMN first_landed_at timestamptz,
          ADD CONSTRAINT a_merged_row_says_since_when
            CHECK (batches = 1 AND first_landed_at IS NULL OR batches > 1 AND first_landed_at <= landed_at AND first_landed_at IS NOT NULL) NOT VALID;
      END IF;
    END $$
    """

  static let landingRollUpSignature = "tidemark.roll_up_landing_ledger(text, text, integer, bigint, integer)"

  private static let landingMerge = LedgerMerge(
    table: "tidemark.landing_ledger", at: "landed_at", firstAt: "first_landed_at", joints: [],
    kinds: [
      "CASE WHEN v_dropped_before IS NULL THEN NULL WHEN earliest < v_dropped_before THEN '-infinity' ELSE date_trunc('day', earliest, 'UTC') END",
      "from_offset / 1000000",
    ],
    sums: ["landed", "quarantined", "hole_count", "offset_sum", "batches"], others: [("holes", "range_agg(holes)")])

  /// As `rollUpFunction`, of the landing's ledger.
  static let landingRollUpFunction = """
    CREATE OR REPLACE FUNCTION tidemark.roll_up_landing_ledger(p_topology text, p_topic text, p_partition integer, p_position bigint, p_most integer,
      OUT rows_before bigint, OUT rows_after bigint, OUT next_position bigint, OUT held text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
      v_dropped_before timestamptz;
      \(LedgerMerge.variables)
    BEGIN
      \(LedgerMerge.beginning("roll up landing"))
      -- What was found wrong stays as it was found.
      IF EXISTS (SELECT FROM tidemark.reconciliation_difference d
                  WHERE d.run = (SELECT max(r.id) FROM tidemark.reconciliation_run r WHERE r.topology = p_topology AND r.outcome NOT IN ('running', 'failed'))
                    AND d.aggregate IS NULL AND d.topic = p_topic AND d.partition = p_partition AND NOT d.is_explained
                    AND (starts_with(d.class, 'landing_') OR starts_with(d.class, 'raw_'))) THEN
        held := 'the last reconciliation found its ledger or its landed events wrong';
        RETURN;
      END IF;
      SELECT dropped_before INTO v_dropped_before FROM tidemark.raw_retention WHERE topology = p_topology;
      \(landingMerge.loop)
    END $$
    """
}
