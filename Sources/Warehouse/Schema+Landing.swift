import Engine
import Postgres
import Topologies

/// What landing has in PostgreSQL. It belongs to the role `tidemark_batch`, which nobody who streams works as: the two
/// sides of the proof cannot write each other's books.
extension Schema {
  /// Roles and schemas of the batch side; needs what `roles` needs.
  static let batchRoles: [String] = [
    """
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidemark_batch') THEN CREATE ROLE tidemark_batch NOLOGIN; END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$
    """,
    """
    DO $$ BEGIN
      IF NOT \(mayBecome("tidemark_batch")) THEN
        EXECUTE format('GRANT tidemark_batch TO %I', current_user);
        PERFORM set_config('tidemark.borrowed_batch', 'yes', true);
      END IF;
    END $$
    """,
    "CREATE SCHEMA IF NOT EXISTS nightly AUTHORIZATION tidemark_batch",
    "REVOKE ALL ON SCHEMA nightly FROM PUBLIC",
    "GRANT USAGE ON SCHEMA nightly TO tidemark_owner",
    operationalGrants,
  ]

  /// Gives back the membership that the migration took: the role reads every row. Run as the login that migrates, at the end.
  static let batchFarewell: [String] = [
    """
    DO $$ BEGIN
      IF current_setting('tidemark.borrowed_batch', true) = 'yes' THEN EXECUTE format('REVOKE tidemark_batch FROM %I', current_user); END IF;
    END $$
    """
  ]

  /// Books of the landing; run as `tidemark_owner`.
  static let landingBooks: [String] = [
    """
    CREATE TABLE IF NOT EXISTS tidemark.landing (
      topology text NOT NULL,
      topic text NOT NULL,
      partition integer NOT NULL,
      next_offset bigint NOT NULL,
      epoch bigint NOT NULL,
      owner text,
      watermark timestamptz,
      end_offset bigint,
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (topology, topic, partition)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.landing_ledger (
      topology text NOT NULL,
      topic text NOT NULL,
      partition integer NOT NULL,
      from_offset bigint NOT NULL,
      to_offset bigint NOT NULL,
      landed bigint NOT NULL,
      quarantined bigint NOT NULL,
      hole_count bigint NOT NULL,
      holes int8multirange NOT NULL,
      offset_sum numeric NOT NULL,
      earliest timestamptz,
      latest timestamptz,
      epoch bigint NOT NULL,
      instance text NOT NULL,
      landed_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (topology, topic, partition, from_offset),
      CONSTRAINT every_offset_is_landed_refused_or_a_hole
        CHECK (to_offset - from_offset = landed + quarantined + hole_count AND to_offset > from_offset)
    )
    """,
    quarantine("tidemark.landing_quarantine"),
    // Tables of landed events by event time; `to_time` excluded.
    """
    CREATE TABLE IF NOT EXISTS tidemark.raw_partition (
      topology text NOT NULL,
      table_name text NOT NULL,
      from_day bigint NOT NULL,
      to_day bigint NOT NULL,
      is_month boolean NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (topology, from_day)
    )
    """,
    // Events before `dropped_before` are not kept any more.
    """
    CREATE TABLE IF NOT EXISTS tidemark.raw_retention (
      topology text PRIMARY KEY,
      dropped_before timestamptz NOT NULL,
      dropped_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE OR REPLACE FUNCTION tidemark.jsonb_or_null(text bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
      SET search_path = pg_catalog AS $$
    BEGIN
      RETURN convert_from(text, 'UTF8')::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN RETURN NULL;
    END $$
    """,
    "GRANT USAGE ON SCHEMA tidemark, analytics TO tidemark_batch",
    "GRANT USAGE, CREATE ON SCHEMA raw TO tidemark_batch",
    // By name: tables that come later would be among all of them at the second migration, not at the first.
    """
    GRANT SELECT ON tidemark.schema_version, tidemark.topology, tidemark.aggregate, tidemark.partition, tidemark.ledger, tidemark.state_chunk,
      tidemark.quarantine, tidemark.late_count, tidemark.rejected_row, tidemark.alert, tidemark.sealed, tidemark.landing, tidemark.landing_ledger,
      tidemark.landing_quarantine, tidemark.raw_partition, tidemark.raw_retention TO tidemark_batch
    """,
    "GRANT INSERT, UPDATE ON tidemark.landing, tidemark.raw_retention, tidemark.alert TO tidemark_batch",
    "GRANT INSERT ON tidemark.landing_ledger, tidemark.landing_quarantine TO tidemark_batch",
    "GRANT INSERT, DELETE ON tidemark.raw_partition TO tidemark_batch",
    "GRANT SELECT, INSERT, UPDATE ON tidemark.turn TO tidemark_batch",
  ]

  /// The table of a topology's landed events; run as `tidemark_batch`.
  static func rawTable(of topology: Topology) -> [String] { [RawTable(LandingPlan(topology.plan())).definition] }

  /// `raw.events`: where the events of all topologies lie, with what all of them have. Typed fields are columns of
  /// `raw.events_<topology>`, since two topologies may give one name two types. Run as `tidemark_batch`.
  static let rawEvents = """
    DO $$ DECLARE parts text; BEGIN
      SELECT string_agg(format('SELECT %L::text AS topology, topic, partition, "offset", event_time, record_time, key, payload, payload_bytes, '
                 'landed_at FROM raw.%I', t.name, 'events_' || translate(t.name, '-', '_')), ' UNION ALL ' ORDER BY t.name)
        INTO parts FROM tidemark.topology t WHERE to_regclass(format('raw.%I', 'events_' || translate(t.name, '-', '_'))) IS NOT NULL;
      IF parts IS NOT NULL THEN EXECUTE 'CREATE OR REPLACE VIEW raw.events AS ' || parts; END IF;
    END $$
    """
}
