import Postgres
import Topologies

/// What a reconciliation leaves behind; run as `tidemark_owner`.
extension Schema {
  static let reconciliationBooks: [String] = [
    """
    CREATE TABLE IF NOT EXISTS tidemark.reconciliation_run (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      topology text NOT NULL,
      fingerprint text NOT NULL,
      from_time timestamptz,
      to_time timestamptz,
      complete_through timestamptz,
      started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      finished_at timestamptz,
      outcome text NOT NULL DEFAULT 'running' CHECK (outcome IN ('running', 'equal', 'explained', 'different', 'failed')),
      windows bigint NOT NULL DEFAULT 0,
      row_count bigint NOT NULL DEFAULT 0,
      differences bigint NOT NULL DEFAULT 0,
      unexplained bigint NOT NULL DEFAULT 0,
      repaired bigint NOT NULL DEFAULT 0,
      reason text,
      requested_by text NOT NULL DEFAULT session_user
    )
    """,
    // Of a row: window, key, both sides. Of the books: partition and offsets.
    """
    CREATE TABLE IF NOT EXISTS tidemark.reconciliation_difference (
      run bigint NOT NULL REFERENCES tidemark.reconciliation_run (id) ON DELETE CASCADE,
      number bigint NOT NULL,
      aggregate text,
      window_start timestamptz,
      key text[],
      columns text[],
      stream text[],
      batch text[],
      topic text,
      partition integer,
      from_offset bigint,
      to_offset bigint,
      class text NOT NULL,
      is_explained boolean NOT NULL,
      reason text NOT NULL,
      evidence text[] NOT NULL DEFAULT '{}',
      is_repaired boolean NOT NULL DEFAULT false,
      PRIMARY KEY (run, number)
    )
    """,
    // The stream's row before and after a repair; NULL: there was none.
    """
    CREATE TABLE IF NOT EXISTS tidemark.reconciliation_repair (
      run bigint NOT NULL REFERENCES tidemark.reconciliation_run (id),
      aggregate text NOT NULL,
      window_start timestamptz NOT NULL,
      key text[] NOT NULL,
      old_row jsonb,
      new_row jsonb,
      repaired_at timestamptz NOT NULL DEFAULT now(),
      repaired_by text NOT NULL DEFAULT session_user,
      PRIMARY KEY (run, aggregate, window_start, key)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.sealed_window (
      table_name text NOT NULL,
      window_start timestamptz NOT NULL,
      run bigint NOT NULL,
      sealed_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (table_name, window_start)
    )
    """,
    "GRANT SELECT ON tidemark.reconciliation_run, tidemark.reconciliation_difference, tidemark.reconciliation_repair TO tidemark_batch",
    "GRANT INSERT, UPDATE ON tidemark.reconciliation_run, tidemark.reconciliation_difference, tidemark.sealed TO tidemark_batch",
    "GRANT INSERT ON tidemark.reconciliation_repair TO tidemark_batch",
    "GRANT SELECT, INSERT, DELETE ON tidemark.sealed_window TO tidemark_batch",
    "GRANT SELECT ON tidemark.sealed TO tidemark_batch",
  ]

  /// How far each aggregate is proven: every window before `sealed_through` was checked and equal. Stands before
  /// `analytics.freshness`, which shows it.
  static let sealed = """
    CREATE TABLE IF NOT EXISTS tidemark.sealed (
      table_name text PRIMARY KEY,
      sealed_through timestamptz,
      updated_at timestamptz NOT NULL DEFAULT now()
    )
    """
}
