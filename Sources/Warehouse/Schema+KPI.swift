import Aggregation
import Postgres
import Topologies

/// `analytics.kpi_snapshot`: a company's figures of the hour, where its operational tables are in the same database.
///
/// - monthly recurring revenue in cents: `public.subscriptions` with `status` active;
/// - new users of 30 days: `public.users` by `created_at`;
/// - daily active users: the newest row of the stream, not yesterday's batch.
extension Schema {
  /// Amounts are read from the first of these columns of `subscriptions` that there is.
  private static let cents = ["mrr_cents", "amount_cents", "monthly_cents", "price_cents"]

  /// Run by the login that migrates: it may have rights on the operational tables that no role of Tidemark has.
  static let operationalGrants = """
    DO $$ BEGIN
      IF to_regclass('public.subscriptions') IS NOT NULL THEN GRANT SELECT ON public.subscriptions TO tidemark_batch; END IF;
      IF to_regclass('public.users') IS NOT NULL THEN GRANT SELECT ON public.users TO tidemark_batch; END IF;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'no right to grant SELECT on public.subscriptions and public.users to tidemark_batch: there will be no kpi_snapshot';
    END $$
    """

  /// The column of the stream that says how many members a day has had: a distinct count over calendar days without groups.
  private static func dailyActive(_ topologies: [Topology]) -> (topology: Topology, table: String, column: String)? {
    for topology in topologies {
      for aggregate in topology.aggregates where aggregate.window.calendarDays == 1 && aggregate.by.isEmpty {
        for measure in aggregate.measures { if case .distinct = measure.kind { return (topology, aggregate.tableName, Topology.sqlName(measure.name)) } }
      }
    }
    return nil
  }

  /// The materialized view; run as `tidemark_batch`. Nothing where a table, a column or a right is missing.
  static func kpiSnapshot(_ topologies: [Topology]) -> [String] {
    guard let (topology, table, column) = dailyActive(topologies) else { return [] }
    let names = "ARRAY[\(cents.map(SQL.literal).joined(separator: ", "))]"
    return [
      """
      DO $$ DECLARE cents text; query text; BEGIN
        SELECT attname INTO cents FROM pg_attribute
         WHERE attrelid = to_regclass('public.subscriptions') AND NOT attisdropped AND attname::text = ANY (\(names))
         ORDER BY array_position(\(names), attname::text) LIMIT 1;
        IF cents IS NULL
           OR NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.subscriptions') AND attname = 'status' AND NOT attisdropped)
           OR NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.users') AND attname = 'created_at' AND NOT attisdropped)
           OR NOT has_table_privilege('public.subscriptions', 'SELECT') OR NOT has_table_privilege('public.users', 'SELECT') THEN
          RETURN;
        END IF;
        query := format('SELECT 1 AS id, now() AS snapshot_at, '
          '(SELECT COALESCE(sum(%I), 0)::bigint FROM public.subscriptions WHERE status = ''active'') AS mrr_cents, '
          '(SELECT count(*) FROM public.users WHERE created_at >= now() - interval ''30 days'') AS new_users_30d, '
          '(SELECT %I FROM analytics.%I ORDER BY window_start DESC LIMIT 1) AS dau', cents, \(SQL.literal(column)), \(SQL.literal(table)));
        IF to_regclass('nightly.kpi_snapshot') IS NOT NULL
           AND EXISTS (SELECT FROM tidemark.nightly_view WHERE view_name = 'kpi_snapshot' AND definition <> query) THEN
          DROP MATERIALIZED VIEW nightly.kpi_snapshot CASCADE;
        END IF;
        IF to_regclass('nightly.kpi_snapshot') IS NULL THEN
          EXECUTE 'CREATE MATERIALIZED VIEW nightly.kpi_snapshot AS ' || query || ' WITH NO DATA';
        END IF;
        CREATE UNIQUE INDEX IF NOT EXISTS kpi_snapshot_key ON nightly.kpi_snapshot (id);
        GRANT SELECT ON nightly.kpi_snapshot TO tidemark_owner;
        INSERT INTO tidemark.nightly_view (view_name, topology, fingerprint, definition, every)
        VALUES ('kpi_snapshot', \(SQL.literal(topology.name)), \(SQL.literal(topology.fingerprint)), query, 'hour')
        ON CONFLICT (view_name) DO UPDATE SET topology = excluded.topology, fingerprint = excluded.fingerprint, definition = excluded.definition;
      END $$
      """
    ]
  }

  /// What people query; run as `tidemark_owner`. Nobody is granted it here: revenue is not for everybody.
  static let kpiView = """
    DO $$ BEGIN
      IF to_regclass('nightly.kpi_snapshot') IS NOT NULL THEN
        CREATE OR REPLACE VIEW analytics.kpi_snapshot WITH (security_barrier) AS
          SELECT snapshot_at, mrr_cents, new_users_30d, dau FROM nightly.kpi_snapshot;
      END IF;
    END $$
    """
}
