import Postgres

/// What alerts need beyond `tidemark.alert`; run as `tidemark_owner`, after all other tables.
extension Schema {
  static let alertBooks: [String] = [
    // A surrogate key, and what tells alerts of one kind and partition apart. Asked before it is done: it takes the table's lock.
    """
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tidemark.alert'::regclass AND attname = 'subject' AND NOT attisdropped) THEN
        ALTER TABLE tidemark.alert
          ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
          ADD COLUMN subject text NOT NULL DEFAULT '',
          ADD COLUMN severity text CHECK (severity IN ('warning', 'critical')),
          ADD COLUMN is_by_check boolean NOT NULL DEFAULT false,
          DROP CONSTRAINT alert_pkey,
          ADD PRIMARY KEY (topology, topic, partition, kind, subject, raised_at);
      END IF;
    END $$
    """,
    "CREATE INDEX IF NOT EXISTS alert_open ON tidemark.alert (topology) WHERE resolved_at IS NULL",
    // What each channel has been told of each alert.
    """
    CREATE TABLE IF NOT EXISTS tidemark.alert_delivery (
      alert bigint NOT NULL REFERENCES tidemark.alert (id) ON DELETE CASCADE,
      channel text NOT NULL,
      told_at timestamptz,
      told bigint NOT NULL DEFAULT 0,
      resolution_told_at timestamptz,
      PRIMARY KEY (alert, channel)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.alert_channel (
      topology text NOT NULL,
      channel text NOT NULL,
      failures bigint NOT NULL,
      next_attempt_at timestamptz,
      last_error text NOT NULL DEFAULT '',
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (topology, channel)
    )
    """,
    // Whose turn it is to check. Not an advisory lock: any login that reads one row could hold that, and nobody would be told of anything.
    """
    CREATE TABLE IF NOT EXISTS tidemark.monitor_turn (
      topology text NOT NULL,
      name text NOT NULL,
      pid integer NOT NULL,
      server_started timestamptz NOT NULL,
      until timestamptz NOT NULL,
      PRIMARY KEY (topology, name)
    ) WITH (fillfactor = 50)
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON tidemark.monitor_turn TO tidemark_writer",
    // What the checks have to remember: lag, epochs, sizes, counters of statements. Pruned at every pass.
    """
    CREATE TABLE IF NOT EXISTS tidemark.monitor_sample (
      topology text NOT NULL,
      kind text NOT NULL,
      subject text NOT NULL,
      taken_at timestamptz NOT NULL,
      value bigint NOT NULL,
      more bigint NOT NULL DEFAULT 0,
      PRIMARY KEY (topology, kind, subject, taken_at)
    )
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON tidemark.alert_delivery, tidemark.alert_channel, tidemark.monitor_sample TO tidemark_writer",
    // Of the batch side, where it is there.
    """
    DO $$ DECLARE name text; BEGIN
      FOREACH name IN ARRAY ARRAY['nightly_view', 'refresh', 'reconciliation_run', 'reconciliation_difference'] LOOP
        IF to_regclass('tidemark.' || name) IS NOT NULL THEN EXECUTE format('GRANT SELECT ON tidemark.%I TO tidemark_writer', name); END IF;
      END LOOP;
    END $$
    """,
  ]
}
