import Postgres
import Topologies

/// The nightly views and the record of their refreshes.
extension Schema {
  /// Run as `tidemark_owner`.
  static let nightlyBooks: [String] = [
    // The files that the database was migrated for: nightly commands find there what they check.
    """
    CREATE TABLE IF NOT EXISTS tidemark.definition (
      topology text PRIMARY KEY,
      fingerprint text NOT NULL,
      yaml text NOT NULL,
      updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.nightly_view (
      view_name text PRIMARY KEY,
      topology text NOT NULL,
      fingerprint text NOT NULL,
      definition text NOT NULL,
      every text NOT NULL CHECK (every IN ('day', 'hour')),
      created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    // `positions`: [topic, partition, next offset] of the landing when the view was read; `complete_through`: how far it was
    // complete then.
    """
    CREATE TABLE IF NOT EXISTS tidemark.refresh (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      view_name text NOT NULL,
      topology text NOT NULL,
      fingerprint text NOT NULL,
      started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      finished_at timestamptz,
      outcome text NOT NULL DEFAULT 'running' CHECK (outcome IN ('running', 'done', 'failed')),
      row_count bigint,
      sql_state text,
      reason text,
      positions jsonb,
      complete_through timestamptz
    )
    """,
    "CREATE INDEX IF NOT EXISTS refresh_by_view ON tidemark.refresh (view_name, id)",
    refreshProcedure,
    "GRANT SELECT ON tidemark.definition, tidemark.nightly_view, tidemark.refresh TO tidemark_batch",
    "GRANT INSERT, UPDATE ON tidemark.definition, tidemark.refresh TO tidemark_batch",
    "GRANT INSERT, UPDATE, DELETE ON tidemark.nightly_view TO tidemark_batch",
  ]

  /// Refreshes one view and records how that went: what went wrong is no error of the call, it is in `tidemark.refresh`
  /// and an alert. The view keeps its old rows then. Ends and begins transactions: CALL it outside of any.
  private static let refreshProcedure = """
    CREATE OR REPLACE PROCEDURE tidemark.refresh_view(wanted text, lock_wait text DEFAULT '5min') LANGUAGE plpgsql AS $$
    DECLARE
      known record; run bigint; found_rows bigint; stood jsonb; through timestamptz; state text; words text;
    BEGIN
      SELECT v.topology, v.fingerprint INTO known FROM tidemark.nightly_view v WHERE v.view_name = wanted;
      IF NOT FOUND THEN RAISE EXCEPTION 'there is no nightly view %', wanted; END IF;
      \(turn("'refresh ' || wanted"));
      UPDATE tidemark.refresh SET outcome = 'failed', finished_at = clock_timestamp(), reason = 'interrupted: the session that refreshed is gone'
       WHERE view_name = wanted AND outcome = 'running';
      INSERT INTO tidemark.refresh (view_name, topology, fingerprint) VALUES (wanted, known.topology, known.fingerprint) RETURNING id INTO run;
      COMMIT;
      LOOP
        -- One snapshot for what the landing had and what the view reads; it shows what another refresh did that came in between.
        SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
        BEGIN
          \(turn("'refresh ' || wanted"));
          EXIT;
        EXCEPTION WHEN serialization_failure THEN NULL;
        END;
        ROLLBACK;
      END LOOP;
      BEGIN
        PERFORM set_config('lock_timeout', lock_wait, true);
        SELECT COALESCE(jsonb_agg(jsonb_build_array(topic, partition, next_offset)), '[]'),
               COALESCE(min(watermark) FILTER (WHERE end_offset IS NULL OR next_offset < end_offset), max(watermark))
                 - (SELECT allowed_lateness FROM tidemark.topology WHERE name = known.topology)
          INTO stood, through FROM tidemark.landing WHERE topology = known.topology;
        IF (SELECT relispopulated FROM pg_class WHERE oid = format('nightly.%I', wanted)::regclass) THEN
          EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY nightly.%I', wanted);
        ELSE
          EXECUTE format('REFRESH MATERIALIZED VIEW nightly.%I', wanted);
        END IF;
        EXECUTE format('SELECT count(*) FROM nightly.%I', wanted) INTO found_rows;
      EXCEPTION WHEN query_canceled OR OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, words = MESSAGE_TEXT;
      END;
      UPDATE tidemark.refresh
         SET outcome = CASE WHEN state IS NULL THEN 'done' ELSE 'failed' END, finished_at = clock_timestamp(), row_count = found_rows,
             sql_state = state, reason = words, positions = stood, complete_through = through
       WHERE id = run;
      IF state IS NULL THEN
        UPDATE tidemark.alert SET resolved_at = now()
         WHERE topology = known.topology AND topic = 'nightly.' || wanted AND kind = 'refresh_failed' AND resolved_at IS NULL;
      ELSE
        UPDATE tidemark.alert SET last_seen_at = now(), seen = seen + 1, message = words
         WHERE topology = known.topology AND topic = 'nightly.' || wanted AND kind = 'refresh_failed' AND resolved_at IS NULL;
        IF NOT FOUND THEN
          INSERT INTO tidemark.alert (topology, topic, partition, kind, message)
          VALUES (known.topology, 'nightly.' || wanted, -1, 'refresh_failed', words);
        END IF;
      END IF;
      -- Which one it was: the newest may be another's by now.
      PERFORM set_config('tidemark.refreshed', run::text, false);
      COMMIT;
    END $$
    """

  /// The views of a topology, and its file's text; run as `tidemark_batch`. A view whose definition changed is made anew,
  /// empty until it is refreshed.
  static func nightlyViews(of topology: Topology) -> [String] {
    let aggregates = topology.batchAggregates()
    let names = "ARRAY[\(aggregates.map { SQL.literal($0.table) }.joined(separator: ", "))]::text[]"
    return [
      """
      INSERT INTO tidemark.definition AS d (topology, fingerprint, yaml)
      VALUES (\(SQL.literal(topology.name)), \(SQL.literal(topology.fingerprint)), \(SQL.literal(topology.text)))
      ON CONFLICT (topology) DO UPDATE SET fingerprint = excluded.fingerprint, yaml = excluded.yaml, updated_at = now()
       WHERE (d.fingerprint, d.yaml) IS DISTINCT FROM (excluded.fingerprint, excluded.yaml)
      """,
      // Views that the topology no longer asks for.
      """
      DO $$ DECLARE gone text; BEGIN
        FOR gone IN SELECT view_name FROM tidemark.nightly_view
                     WHERE topology = \(SQL.literal(topology.name)) AND every = 'day' AND view_name <> ALL (\(names)) LOOP
          EXECUTE format('DROP MATERIALIZED VIEW IF EXISTS nightly.%I', gone);
          DELETE FROM tidemark.nightly_view WHERE view_name = gone;
        END LOOP;
      END $$
      """,
    ] + aggregates.flatMap { aggregate in
      nightlyView(
        aggregate.table, topology: topology, query: aggregate.query, every: "day", key: ["window_start"] + aggregate.keys.map(\.column))
    }
  }

  /// A materialized view with the unique index that REFRESH … CONCURRENTLY needs.
  static func nightlyView(_ name: String, topology: Topology, query: String, every: String, key: [String]) -> [String] {
    let qualified = "nightly.\(SQL.identifier(name))"
    return [
      """
      DO $$ BEGIN
        IF EXISTS (SELECT FROM tidemark.nightly_view WHERE view_name = \(SQL.literal(name))
                    AND (definition, fingerprint) IS DISTINCT FROM (\(SQL.literal(query)), \(SQL.literal(topology.fingerprint)))) THEN
          DROP MATERIALIZED VIEW IF EXISTS \(qualified);
        END IF;
      END $$
      """,
      "CREATE MATERIALIZED VIEW IF NOT EXISTS \(qualified) AS\n\(query)\nWITH NO DATA",
      "CREATE UNIQUE INDEX IF NOT EXISTS \(SQL.identifier("\(name)_key")) ON \(qualified) (\(key.map(SQL.identifier).joined(separator: ", ")))",
      """
      INSERT INTO tidemark.nightly_view (view_name, topology, fingerprint, definition, every)
      VALUES (\(SQL.literal(name)), \(SQL.literal(topology.name)), \(SQL.literal(topology.fingerprint)), \(SQL.literal(query)), \(SQL.literal(every)))
      ON CONFLICT (view_name) DO UPDATE
        SET topology = excluded.topology, fingerprint = excluded.fingerprint, definition = excluded.definition, every = excluded.every
      """,
    ]
  }
}
