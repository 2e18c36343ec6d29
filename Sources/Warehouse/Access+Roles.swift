import Postgres

extension Access {
  /// Roles, the schema `access` and pgcrypto; run as the login that migrates, before any SET ROLE.
  /// - Parameter tiers: role names of all tiers.
  static func roleStatements(_ tiers: [String]) -> [String] {
    roles.map { create($0, otherwise: "") }
      + tiers.flatMap { tier in
        [create(tier, otherwise: foreignRole(tier)), create(viewRole(tier), otherwise: "")]
      }
      + [
        membership("tidemark_access"), membership("tidemark_audit"), grant("tidemark_gateway", to: "tidemark_access", admin: true),
      ]
      + tiers.flatMap { [grant($0, to: "tidemark_access", admin: true), grant(viewRole($0), to: "tidemark_owner", admin: false)] }
      + [
        "CREATE SCHEMA IF NOT EXISTS access AUTHORIZATION tidemark_access",
        // Where another schema has it already, it is used there.
        "CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA tidemark",
      ]
  }

  /// Gives back what `membership` took; run as the login that migrates, at the end.
  static let farewell: [String] = ["tidemark_access", "tidemark_audit"].map { role in
    """
    DO $$ BEGIN
      IF EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member JOIN pg_roles r ON r.oid = m.roleid
                  WHERE r.rolname = '\(role)' AND u.rolname = current_user) THEN
        EXECUTE format('REVOKE \(role) FROM %I', current_user);
      END IF;
    END $$
    """
  }

  /// Roles belong to the whole server: another database may be migrated at this moment.
  private static func create(_ role: String, otherwise: String) -> String {
    let name = SQL.identifier(role)
    let mark = otherwise.isEmpty ? "" : " COMMENT ON ROLE \(name) IS \(SQL.literal(tierComment));"
    return """
      DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = \(SQL.literal(role))) THEN
          CREATE ROLE \(name) NOLOGIN;\(mark)
      \(otherwise)  END IF;
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END $$
      """
  }

  private static func foreignRole(_ tier: String) -> String {
    """
      ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = \(SQL.literal(tier))
                    AND (rolcanlogin OR rolsuper OR shobj_description(oid, 'pg_authid') IS DISTINCT FROM \(SQL.literal(tierComment)))) THEN
        RAISE EXCEPTION 'the server has a role \(tier) already that is not a tier of Tidemark: name the tier otherwise (tiers: of the topology)'
          USING HINT = \(SQL.literal("if that role is meant: COMMENT ON ROLE \(SQL.identifier(tier)) IS '\(tierComment)'"));

    """
  }

  /// Lets the login that migrates act as a role; superusers can without.
  private static func membership(_ role: String) -> String {
    """
    DO $$ BEGIN
      IF NOT \(Schema.mayBecome(role)) THEN EXECUTE format('GRANT \(role) TO %I', current_user); END IF;
    END $$
    """
  }

  private static func grant(_ role: String, to member: String, admin: Bool) -> String {
    """
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
                      WHERE r.rolname = \(SQL.literal(role)) AND u.rolname = '\(member)'\(admin ? " AND m.admin_option" : "")) THEN
        GRANT \(SQL.identifier(role)) TO \(member)\(admin ? " WITH ADMIN OPTION" : "");
      END IF;
    EXCEPTION WHEN unique_violation OR internal_error THEN NULL;
    END $$
    """
  }

  /// The schema's tables. Each group says as whom it runs.
  static let tables: [String] = [
    "SET LOCAL ROLE tidemark_access",
    "REVOKE ALL ON SCHEMA access FROM PUBLIC",
    "GRANT USAGE, CREATE ON SCHEMA access TO tidemark_audit",
    """
    CREATE TABLE IF NOT EXISTS access.member (
      login text NOT NULL CHECK (login <> ''),
      tier text NOT NULL,
      department text CHECK (department <> '' AND department <> '__overflow__'),
      granted_at timestamptz NOT NULL DEFAULT now(),
      granted_by text NOT NULL DEFAULT session_user,
      UNIQUE NULLS NOT DISTINCT (login, tier, department)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS access.key (
      id integer PRIMARY KEY,
      secret bytea NOT NULL CHECK (length(secret) >= 32),
      created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    // One row a transaction that has shown a token. Its xid is never used again, and the row goes with a rollback.
    """
    CREATE TABLE IF NOT EXISTS access.assumed (
      nonce text PRIMARY KEY,
      xid xid8 NOT NULL UNIQUE,
      person text NOT NULL,
      gateway text NOT NULL,
      expires_at timestamptz NOT NULL
    )
    """,
    "SET LOCAL ROLE tidemark_audit",
    """
    CREATE TABLE IF NOT EXISTS access.audit (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      at timestamptz NOT NULL DEFAULT clock_timestamp(),
      actor text NOT NULL,
      action text NOT NULL,
      login text,
      tier text,
      department text,
      detail text,
      client inet,
      application text
    )
    """,
    """
    CREATE OR REPLACE FUNCTION access.note(action text, login text, tier text, department text, detail text) RETURNS void
    LANGUAGE sql VOLATILE \(definer) AS $$
      INSERT INTO access.audit (actor, action, login, tier, department, detail, client, application)
      VALUES (session_user, $1, $2, $3, $4, $5, inet_client_addr(), current_setting('application_name', true))
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.record() RETURNS trigger LANGUAGE plpgsql \(definer) AS $$
    BEGIN
      IF TG_OP IN ('UPDATE', 'DELETE') THEN PERFORM access.note('revoke', OLD.login, OLD.tier, OLD.department, NULL); END IF;
      IF TG_OP IN ('UPDATE', 'INSERT') THEN PERFORM access.note('grant', NEW.login, NEW.tier, NEW.department, NULL); END IF;
      IF TG_OP = 'TRUNCATE' THEN PERFORM access.note('revoke all', NULL, NULL, NULL, 'TRUNCATE'); END IF;
      RETURN NULL;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.keep() RETURNS trigger LANGUAGE plpgsql \(definer) AS $$
    BEGIN
      RAISE EXCEPTION 'the audit of access is only ever added to' USING ERRCODE = '42501';
    END $$
    """,
    "REVOKE ALL ON FUNCTION access.note(text, text, text, text, text), access.record(), access.keep() FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION access.note(text, text, text, text, text), access.record() TO tidemark_access",
    trigger("audit", "tidemark_keep", "BEFORE UPDATE OR DELETE OR TRUNCATE", "STATEMENT", "keep"),
    closing("audit", to: "tidemark_audit"),
    "SET LOCAL ROLE tidemark_access",
    closing("key", to: "tidemark_access"),
    closing("assumed", to: "tidemark_access"),
    closing("member", to: "tidemark_access"),
    "REVOKE CREATE ON SCHEMA access FROM tidemark_audit",
    trigger("member", "tidemark_record", "AFTER INSERT OR UPDATE OR DELETE", "ROW", "record"),
    trigger("member", "tidemark_record_all", "AFTER TRUNCATE", "STATEMENT", "record"),
  ]

  /// Tables of `access` that row-level security closes to all but their own role, and for reading to who grants: a login
  /// that may read every table (`pg_read_all_data`) finds no key there.
  static let closed = ["audit", "key", "assumed", "member"]

  private static func closing(_ table: String, to role: String) -> String {
    let name = "access.\(table)"
    let shown = ["audit", "member"].contains(table) ? "CREATE POLICY tidemark_granter ON \(name) FOR SELECT TO tidemark_granter USING (true);" : ""
    return """
      DO $$ DECLARE v_policy name; BEGIN
        IF EXISTS (SELECT FROM pg_class WHERE oid = '\(name)'::regclass AND NOT (relrowsecurity AND relforcerowsecurity))
           OR (SELECT count(*) FROM pg_policy WHERE polrelid = '\(name)'::regclass) <> \(shown.isEmpty ? 1 : 2) THEN
          FOR v_policy IN SELECT polname FROM pg_policy WHERE polrelid = '\(name)'::regclass LOOP
            EXECUTE format('DROP POLICY %I ON \(name)', v_policy);
          END LOOP;
          CREATE POLICY \(role) ON \(name) TO \(role) USING (true) WITH CHECK (true);
          \(shown)
          ALTER TABLE \(name) ENABLE ROW LEVEL SECURITY;
          ALTER TABLE \(name) FORCE ROW LEVEL SECURITY;
        END IF;
      END $$
      """
  }

  /// Fires whatever `session_replication_role` says.
  private static func trigger(_ table: String, _ name: String, _ when: String, _ each: String, _ function: String) -> String {
    """
    DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'access.\(table)'::regclass AND tgname = '\(name)' AND tgenabled = 'A') THEN
        DROP TRIGGER IF EXISTS \(name) ON access.\(table);
        CREATE TRIGGER \(name) \(when) ON access.\(table) FOR EACH \(each) EXECUTE FUNCTION access.\(function)();
        ALTER TABLE access.\(table) ENABLE ALWAYS TRIGGER \(name);
      END IF;
    END $$
    """
  }
}
