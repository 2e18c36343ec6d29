/// Tokens by which a gateway proves for whom a transaction asks.
///
///     tidemark1 . key . person . gateway . issued . expires . nonce . MAC
///
/// Numbers in decimal (times in seconds since 1970), texts as the hexadecimal digits of their UTF-8, the MAC HMAC-SHA-256
/// over everything before its dot, in hexadecimal digits. There is no field for an algorithm, so there is no other one. A
/// token is good at one gateway, until it expires, for one transaction: its nonce is kept in the transaction that shows it,
/// beside the transaction's 64-bit id, which no other transaction ever has. Whoever rolls back could show a token again
/// until it expires, which is no more than going on with the transaction would have given.
extension Access {
  /// Longest life of a token, seconds.
  static let longestToken = 3600

  /// Run as `tidemark_access`.
  static let tokens: [String] = [
    // The extension may stand in any schema.
    """
    DO $do$ DECLARE v_schema name; BEGIN
      SELECT n.nspname INTO STRICT v_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pgcrypto';
      EXECUTE format($format$
        CREATE OR REPLACE FUNCTION access.mac(message text, secret bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT \(definer) AS
        'SELECT encode(%I.hmac(convert_to($1, ''UTF8''), $2, ''sha256''::text), ''hex'')' $format$, v_schema);
      EXECUTE format($format$
        CREATE OR REPLACE FUNCTION access.random(bytes integer) RETURNS bytea LANGUAGE sql VOLATILE STRICT \(definer) AS
        'SELECT %I.gen_random_bytes($1)' $format$, v_schema);
    END $do$
    """,
    """
    CREATE OR REPLACE FUNCTION access.rotate_key() RETURNS integer LANGUAGE plpgsql \(definer) AS $$
    DECLARE v_id integer;
    BEGIN
      LOCK TABLE access.key IN SHARE ROW EXCLUSIVE MODE;
      INSERT INTO access.key (id, secret) SELECT COALESCE(max(k.id), 0) + 1, access.random(32) FROM access.key k RETURNING id INTO v_id;
      DELETE FROM access.key k WHERE k.id < v_id - 1;
      PERFORM access.note('key', NULL, NULL, NULL, 'key ' || v_id);
      RETURN v_id;
    END $$
    """,
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM access.key) THEN PERFORM access.rotate_key(); END IF; END $$",
    """
    CREATE OR REPLACE FUNCTION access.issue(p_person text, p_gateway text, p_seconds integer) RETURNS text LANGUAGE plpgsql \(definer) AS $$
    DECLARE v_key access.key; v_token text; v_now bigint := floor(extract(epoch FROM clock_timestamp()));
    BEGIN
      IF p_seconds IS NULL OR p_seconds NOT BETWEEN 1 AND \(longestToken) THEN
        RAISE EXCEPTION 'a token lives 1 to \(longestToken) seconds' USING ERRCODE = '22023';
      ELSIF NOT EXISTS (SELECT FROM access.member m WHERE m.login = p_person) THEN
        RAISE EXCEPTION 'nothing is granted to "%"', p_person USING ERRCODE = '22023';
      ELSIF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = p_gateway AND NOT r.rolsuper
                          AND pg_has_role(r.oid, 'tidemark_gateway', 'MEMBER')) THEN
        RAISE EXCEPTION '"%" is not a gateway', p_gateway USING ERRCODE = '22023';
      END IF;
      SELECT * INTO STRICT v_key FROM access.key k ORDER BY k.id DESC LIMIT 1;
      v_token := concat_ws('.', 'tidemark1', v_key.id, encode(convert_to(p_person, 'UTF8'), 'hex'), encode(convert_to(p_gateway, 'UTF8'), 'hex'),
        v_now, v_now + p_seconds, encode(access.random(16), 'hex'));
      RETURN v_token || '.' || access.mac(v_token, v_key.secret);
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.assume(token text) RETURNS text LANGUAGE plpgsql \(definer) AS $$
    DECLARE v_part text[]; v_secret bytea; v_person text; v_expires timestamptz; v_constraint text;
    BEGIN
      IF token IS NULL OR length(token) > 4096
         OR token !~ '^tidemark1[.][0-9]{1,9}([.]([0-9a-f]{2})+){2}([.][0-9]{1,11}){2}[.][0-9a-f]{32}[.][0-9a-f]{64}$' THEN
        RAISE EXCEPTION 'the token is not valid' USING ERRCODE = '28000';
      END IF;
      v_part := string_to_array(token, '.');
      SELECT k.secret INTO v_secret FROM access.key k WHERE k.id = v_part[2]::integer;
      -- Compared under a second MAC: how long the comparison takes says nothing about the first.
      IF NOT FOUND OR access.mac(access.mac(array_to_string(v_part[1:7], '.'), v_secret), v_secret)
                      IS DISTINCT FROM access.mac(v_part[8], v_secret) THEN
        RAISE EXCEPTION 'the token is not valid' USING ERRCODE = '28000';
      END IF;
      v_person := convert_from(decode(v_part[3], 'hex'), 'UTF8');
      v_expires := to_timestamp(v_part[6]::bigint);
      IF convert_from(decode(v_part[4], 'hex'), 'UTF8') <> session_user::text
         OR NOT pg_has_role(session_user, 'tidemark_gateway', 'MEMBER') THEN
        RAISE EXCEPTION 'the token is for another gateway' USING ERRCODE = '28000';
      ELSIF v_expires <= clock_timestamp() OR v_expires > clock_timestamp() + interval '\(longestToken + 60) seconds' THEN
        RAISE EXCEPTION 'the token has expired' USING ERRCODE = '28000';
      END IF;
      DELETE FROM access.assumed a WHERE a.nonce IN (
        SELECT o.nonce FROM access.assumed o WHERE o.expires_at < clock_timestamp() - interval '1 minute' LIMIT 100 FOR UPDATE SKIP LOCKED);
      INSERT INTO access.assumed (nonce, xid, person, gateway, expires_at)
      VALUES (v_part[7], pg_current_xact_id(), v_person, session_user::text, v_expires);
      RETURN v_person;
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
      RAISE EXCEPTION '%', CASE v_constraint WHEN 'assumed_pkey' THEN 'the token was used in another transaction'
        ELSE 'the transaction speaks for somebody already' END USING ERRCODE = '28000';
    END $$
    """,
  ]

  /// Who may call what; run as `tidemark_access` after every function is there.
  static func execution(_ tiers: [String]) -> [String] {
    [
      """
      DO $$ DECLARE f record; BEGIN
        FOR f IN SELECT p.oid::regprocedure AS name, a.grantee FROM pg_proc p CROSS JOIN LATERAL aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a
                  WHERE p.pronamespace = 'access'::regnamespace AND a.grantee <> p.proowner AND p.proowner = 'tidemark_access'::regrole
                    AND NOT EXISTS (SELECT FROM tidemark.tier t JOIN pg_roles r ON r.rolname = t.name WHERE r.oid = a.grantee
                                     AND p.proname IN ('holds', 'own', 'equals', 'departments', 'scope', 'whoami')) LOOP
          EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', f.name, CASE f.grantee WHEN 0 THEN 'PUBLIC' ELSE f.grantee::regrole::text END);
        END LOOP;
      END $$
      """,
      "GRANT USAGE ON SCHEMA access TO \((callerRoles + tiers).map { "\"\($0)\"" }.joined(separator: ", "))",
    ]
      + callers.map { "GRANT EXECUTE ON FUNCTION \($0.function) TO \($0.role)" }
      + ["GRANT SELECT ON access.member TO tidemark_granter"]
      + (tiers + ["tidemark_owner"]).map { role in "GRANT EXECUTE ON FUNCTION \(tierFunctions.joined(separator: ", ")) TO \"\(role)\"" }
      + [
        """
        DO $$ DECLARE v_tier name; BEGIN
          IF to_regprocedure('\(equals)') IS NOT NULL THEN
            GRANT EXECUTE ON FUNCTION \(equals) TO \((tiers + ["tidemark_owner"]).map { "\"\($0)\"" }.joined(separator: ", "));
          END IF;
          -- Tiers of topologies that are not migrated now: a function may be newer than they are.
          FOR v_tier IN SELECT t.name FROM tidemark.tier t JOIN pg_roles r ON r.rolname = t.name LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION \(tierFunctions.joined(separator: ", "))%s TO %I',
              CASE WHEN to_regprocedure('\(equals)') IS NOT NULL THEN ', \(equals)' ELSE '' END, v_tier);
          END LOOP;
        END $$
        """
      ]
      + ["SET LOCAL ROLE tidemark_audit", "GRANT SELECT ON access.audit TO tidemark_granter"]
  }

  /// The owner of tables names the functions in policies, and is held by them.
  static var callerRoles: [String] { ["tidemark_gateway", "tidemark_issuer", "tidemark_granter", "tidemark_owner"] }
}
