import Aggregation
import Postgres
import Topologies

/// What Tidemark has in PostgreSQL, as statements. Every one can be run again without harm.
public enum Schema {
  /// Raised with every change of the books.
  public static let version = 2

  /// Roles. They and the schemas need CREATEROLE and CREATE on the database, or a superuser.
  ///
  /// `tidemark_owner` owns everything and logs in nowhere; `tidemark_writer` is what instances work as; `tidemark_reader`
  /// may see how fresh the schema `analytics` is. Who reads rows is said in `Access`.
  public static let roles: [String] =
    [mayGiveRoles] + ["tidemark_owner", "tidemark_writer", "tidemark_reader"].map { role in
      """
      DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '\(role)') THEN CREATE ROLE \(role) NOLOGIN; END IF;
      -- Roles belong to the whole server: another database may be migrated at this moment.
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END $$
      """
    } + [
      """
      DO $$ BEGIN
        IF NOT \(mayBecome("tidemark_owner")) THEN
          EXECUTE format('GRANT tidemark_owner TO %I', current_user);
        END IF;
      -- Another migration of this login has done it in the meantime.
      EXCEPTION WHEN unique_violation THEN NULL;
      END $$
      """
    ]

  /// SQL: whether a role may SET ROLE to another. Since PostgreSQL 16 who has made a role is its member, to give it, and may
  /// become it only once it has given it to itself.
  static func mayBecome(_ role: String, who: String = "current_user") -> String {
    "pg_has_role(\(who), '\(role)', CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END)"
  }

  /// Before PostgreSQL 16 CREATEROLE gives every role; since then those that the login has made, or was given for that.
  private static let mayGiveRoles = """
    DO $$ DECLARE v_roles text; BEGIN
      IF current_setting('server_version_num')::integer < 160000 THEN RETURN; END IF;
      SELECT string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname) INTO v_roles FROM pg_roles r
       WHERE (r.rolname IN ('tidemark_owner', 'tidemark_batch', 'tidemark_access', 'tidemark_audit', 'tidemark_gateway') OR starts_with(r.rolname, 'tidemark_view_')
              OR shobj_description(r.oid, 'pg_authid') = '\(Access.tierComment)')
         AND NOT pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION');
      IF v_roles IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '\(refusal)', MESSAGE =
          format('%s did not make the roles %s, so it may not give them (PostgreSQL 16 and later). As a superuser: '
            'GRANT %2$s TO %1$I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
            current_user, v_roles);
      END IF;
    END $$
    """

  /// Beside `tidemark`, which the migration's turn makes; run as the login that migrates.
  static let schemas = ["raw", "analytics"].map { "CREATE SCHEMA IF NOT EXISTS \($0) AUTHORIZATION tidemark_owner" }

  /// Tables of the schema `tidemark`; run as `tidemark_owner`.
  public static let books: [String] = [
    """
    CREATE TABLE IF NOT EXISTS tidemark.schema_version (
      version integer PRIMARY KEY,
      applied_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.topology (
      name text PRIMARY KEY,
      fingerprint text NOT NULL,
      hash_seed bigint NOT NULL,
      allowed_lateness interval NOT NULL,
      updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.aggregate (
      table_name text PRIMARY KEY,
      topology text NOT NULL REFERENCES tidemark.topology (name) ON DELETE CASCADE,
      name text NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.partition (
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
    CREATE TABLE IF NOT EXISTS tidemark.ledger (
      topology text NOT NULL,
      topic text NOT NULL,
      partition integer NOT NULL,
      from_offset bigint NOT NULL,
      to_offset bigint NOT NULL,
      applied bigint NOT NULL,
      filtered bigint NOT NULL,
      duplicate bigint NOT NULL,
      late bigint NOT NULL,
      quarantined bigint NOT NULL,
      gap bigint NOT NULL,
      tombstones bigint NOT NULL,
      misrouted bigint NOT NULL,
      quarantine_omitted bigint NOT NULL,
      watermark_before timestamptz,
      watermark_after timestamptz,
      earliest timestamptz,
      latest timestamptz,
      epoch bigint NOT NULL,
      instance text NOT NULL,
      flushed_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (topology, topic, partition, from_offset),
      CONSTRAINT every_offset_is_in_one_bucket
        CHECK (to_offset - from_offset = applied + filtered + duplicate + late + quarantined + gap AND to_offset > from_offset)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.state_chunk (
      topology text NOT NULL,
      topic text NOT NULL,
      partition integer NOT NULL,
      from_offset bigint NOT NULL,
      to_offset bigint NOT NULL,
      level smallint NOT NULL,
      last_window_end timestamptz NOT NULL,
      bytes bytea NOT NULL,
      PRIMARY KEY (topology, topic, partition, to_offset)
    )
    """,
    // Hashes do not compress: PostgreSQL need not try. Asked before it is done, since it takes the table's lock.
    """
    DO $$ BEGIN
      IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tidemark.state_chunk'::regclass AND attname = 'bytes' AND attstorage <> 'e') THEN
        ALTER TABLE tidemark.state_chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;
      END IF;
    END $$
    """,
    quarantine("tidemark.quarantine"),
    """
    ALTER TABLE tidemark.quarantine ADD COLUMN IF NOT EXISTS replayed_at timestamptz
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.late_count (
      topology text NOT NULL,
      aggregate text NOT NULL,
      window_start timestamptz NOT NULL,
      key text[] NOT NULL,
      late bigint NOT NULL,
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (topology, aggregate, window_start, key)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.rejected_row (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      topology text NOT NULL,
      aggregate text NOT NULL,
      window_start timestamptz NOT NULL,
      key text[] NOT NULL,
      increments text[] NOT NULL,
      sql_state text NOT NULL,
      message text NOT NULL,
      instance text NOT NULL,
      rejected_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.alert (
      topology text NOT NULL,
      topic text NOT NULL,
      partition integer NOT NULL,
      kind text NOT NULL,
      message text NOT NULL,
      raised_at timestamptz NOT NULL DEFAULT now(),
      last_seen_at timestamptz NOT NULL DEFAULT now(),
      seen bigint NOT NULL DEFAULT 1,
      resolved_at timestamptz,
      PRIMARY KEY (topology, topic, partition, kind, raised_at)
    )
    """,
    sealed,
    partitionFigures,
    freshness,
    "INSERT INTO tidemark.schema_version (version) VALUES (\(version)) ON CONFLICT DO NOTHING",
    "REVOKE ALL ON SCHEMA tidemark, raw, analytics FROM PUBLIC",
    "GRANT USAGE ON SCHEMA tidemark, analytics TO tidemark_writer",
    "GRANT USAGE ON SCHEMA analytics TO tidemark_reader",
    "GRANT SELECT ON analytics.freshness TO tidemark_reader, tidemark_writer",
    "GRANT SELECT ON tidemark.schema_version, tidemark.topology, tidemark.aggregate TO tidemark_writer",
    "GRANT SELECT, INSERT, UPDATE ON tidemark.partition, tidemark.late_count, tidemark.alert TO tidemark_writer",
    "GRANT SELECT, INSERT ON tidemark.ledger, tidemark.quarantine, tidemark.rejected_row TO tidemark_writer",
    "GRANT UPDATE (replayed_at) ON tidemark.quarantine TO tidemark_writer",
    "GRANT SELECT, INSERT, DELETE ON tidemark.state_chunk TO tidemark_writer",
  ]

  /// Refused events with their bytes: both sides of the proof keep them, each in a table of its own.
  static func quarantine(_ table: String) -> String {
    """
    CREATE TABLE IF NOT EXISTS \(table) (
      topology text NOT NULL,
      topic text NOT NULL,
      partition integer NOT NULL,
      "offset" bigint NOT NULL,
      reason text NOT NULL,
      field text NOT NULL,
      record_time timestamptz,
      event_time timestamptz,
      key bytea,
      payload bytea,
      payload_bytes bigint NOT NULL,
      quarantined_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (topology, topic, partition, "offset")
    )
    """
  }

  /// The tables of a topology's aggregates, with row-level security enabled and forced; run as `tidemark_owner`.
  /// Nobody but the writer has a policy here: without a grant a reader sees no row.
  public static func tables(of topology: Topology) -> [String] {
    let plan = topology.plan()
    return plan.aggregates.flatMap { aggregate -> [String] in
      let table = AggregateTable(aggregate, in: plan)
      let name = table.qualifiedName
      return [
        table.definition,
        // Asked before it is done: both would take the table's exclusive lock each time.
        """
        DO $$ BEGIN
          IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(\(SQL.literal(name))) AND NOT (relrowsecurity AND relforcerowsecurity)) THEN
            ALTER TABLE \(name) ENABLE ROW LEVEL SECURITY;
            ALTER TABLE \(name) FORCE ROW LEVEL SECURITY;
          END IF;
          IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = to_regclass(\(SQL.literal(name))) AND polname = 'tidemark_writer') THEN
            CREATE POLICY tidemark_writer ON \(name) TO tidemark_writer USING (true) WITH CHECK (true);
          END IF;
        END $$
        """,
        "GRANT SELECT, INSERT, UPDATE ON \(name) TO tidemark_writer",
      ]
    }
  }

  /// The statement by which a flush adds to each aggregate's table.
  public static func upserts(of topology: Topology) -> [(aggregate: String, statement: String)] {
    let plan = topology.plan()
    return plan.aggregates.map { ($0.name, AggregateTable($0, in: plan).upsert) }
  }
}
