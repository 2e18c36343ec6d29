extension Access {
  /// Who asks: the login, or for a gateway the person whose token the running transaction has shown. The text is in each
  /// function that needs it: a function called by a function would double what a policy costs.
  private static let declaringPerson = "v_person text := session_user;"
  private static let findingPerson = """
    IF pg_has_role(session_user, 'tidemark_gateway', 'MEMBER') THEN
        v_person := (SELECT a.person FROM access.assumed a
          WHERE a.xid = pg_current_xact_id_if_assigned() AND a.gateway = session_user::text AND a.expires_at > clock_timestamp());
      END IF;
    """

  /// What policies ask, and what a person may ask about herself; run as `tidemark_access`. In PL/pgSQL, which plans a
  /// statement once a session: a function in SQL would be planned anew in every query.
  static let identity: [String] = [
    """
    CREATE OR REPLACE FUNCTION access.person() RETURNS text LANGUAGE plpgsql STABLE PARALLEL RESTRICTED \(definer) AS $$
    DECLARE \(declaringPerson)
    BEGIN
      \(findingPerson)
      RETURN v_person;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.holds(tier text) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL RESTRICTED \(definer) AS $$
    DECLARE \(declaringPerson)
    BEGIN
      \(findingPerson)
      RETURN EXISTS (SELECT FROM access.member m WHERE m.login = v_person AND m.tier = $1);
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.departments(tier text) RETURNS text[] LANGUAGE plpgsql STABLE PARALLEL RESTRICTED \(definer) AS $$
    DECLARE \(declaringPerson)
    BEGIN
      \(findingPerson)
      RETURN COALESCE((SELECT array_agg(m.department) FROM access.member m
                        WHERE m.login = v_person AND m.tier = $1 AND m.department <> '' AND m.department <> '__overflow__'), '{}');
    END $$
    """,
    // The departments again, as `Access+Operator` compares them.
    """
    CREATE OR REPLACE FUNCTION access.own(tier text) RETURNS character varying[] LANGUAGE plpgsql STABLE PARALLEL RESTRICTED \(definer) AS $$
    DECLARE \(declaringPerson)
    BEGIN
      \(findingPerson)
      RETURN COALESCE((SELECT array_agg(m.department::character varying) FROM access.member m
                        WHERE m.login = v_person AND m.tier = $1 AND m.department <> '' AND m.department <> '__overflow__'), '{}');
    END $$
    """,
    // And in a form that costs the planner nothing to ask: see `AccessRule.scope`. It is asked for every row: empty objects are
    // found quicker than scalars, and what is longer than 126 bytes is not packed, and so not unpacked row by row.
    """
    CREATE OR REPLACE FUNCTION access.scope(tier text) RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL RESTRICTED \(definer) AS $$
    DECLARE \(declaringPerson) v_scope jsonb;
    BEGIN
      \(findingPerson)
      SELECT jsonb_object_agg(m.department, '{}'::jsonb) INTO v_scope FROM access.member m
       WHERE m.login = v_person AND m.tier = $1 AND m.department <> '' AND m.department <> '__overflow__';
      RETURN v_scope || jsonb_build_object(repeat('x', 128), '{}'::jsonb);
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.whoami() RETURNS TABLE (person text, tier text, department text)
    LANGUAGE sql STABLE PARALLEL RESTRICTED \(definer) AS $$
      SELECT p.person, m.tier, m.department FROM (SELECT access.person()) AS p(person)
        LEFT JOIN access.member m ON m.login = p.person ORDER BY 2, 3
    $$
    """,
  ]

  /// People and gateways come and go; run as `tidemark_access`. Each is one transaction's work, with its audit.
  static let people: [String] = [
    // Names of relations, for who grants: what a tier's people read.
    """
    CREATE OR REPLACE FUNCTION access.relations_of(p_tier text) RETURNS SETOF text LANGUAGE sql STABLE \(definer) AS $$
      SELECT r.relation FROM tidemark.access_rule r WHERE r.tier = p_tier ORDER BY 1
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.grant_tier(p_login text, p_tier text, p_departments text[]) RETURNS boolean
    LANGUAGE plpgsql \(definer) AS $$
    DECLARE v_rows text; v_role pg_roles;
    BEGIN
      IF COALESCE(p_login, '') = '' OR length(p_login) > 255 THEN
        RAISE EXCEPTION 'a login has 1 to 255 characters' USING ERRCODE = '22023';
      END IF;
      SELECT t.rows INTO v_rows FROM tidemark.tier t WHERE t.name = p_tier;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no tier "%": there are %', p_tier, (SELECT string_agg(t.name, ', ' ORDER BY t.name) FROM tidemark.tier t)
          USING ERRCODE = '22023';
      END IF;
      IF v_rows = 'own' AND COALESCE(cardinality(p_departments), 0) = 0 THEN
        RAISE EXCEPTION 'tier % sees the rows of its own departments: name at least one', p_tier USING ERRCODE = '22023';
      ELSIF v_rows <> 'own' AND cardinality(p_departments) > 0 THEN
        RAISE EXCEPTION 'tier % has no departments: it sees %', p_tier, CASE v_rows WHEN 'all' THEN 'every row' ELSE 'totals' END
          USING ERRCODE = '22023';
      ELSIF EXISTS (SELECT FROM unnest(p_departments) d WHERE d IS NULL OR d = '' OR d = '__overflow__') THEN
        RAISE EXCEPTION 'a department needs a name, and __overflow__ is none' USING ERRCODE = '22023';
      END IF;
      SELECT * INTO v_role FROM pg_roles r WHERE r.rolname = p_login;
      IF FOUND THEN
        IF v_role.rolsuper OR v_role.rolbypassrls THEN
          RAISE EXCEPTION 'login "%" bypasses row-level security: it sees everything whatever is granted', p_login USING ERRCODE = '22023';
        ELSIF NOT v_role.rolcanlogin THEN
          RAISE EXCEPTION '"%" is a role that nobody logs in as: grant to the people themselves', p_login USING ERRCODE = '22023';
        ELSIF pg_has_role(p_login, 'tidemark_gateway', 'MEMBER') THEN
          RAISE EXCEPTION 'login "%" is a gateway: grant to the people behind it, by the names that their tokens bear', p_login
            USING ERRCODE = '22023';
        ELSIF EXISTS (SELECT FROM pg_roles r WHERE pg_has_role(p_login, r.oid, 'MEMBER') AND \(isWorker)) THEN
          RAISE EXCEPTION 'login "%" works for Tidemark itself and reads every row: people need another one', p_login USING ERRCODE = '22023';
        END IF;
        EXECUTE format('GRANT %I TO %I', p_tier, p_login);
      END IF;
      INSERT INTO access.member (login, tier, department)
      SELECT p_login, p_tier, d FROM unnest(CASE v_rows WHEN 'own' THEN p_departments ELSE ARRAY[NULL::text] END) d
      ON CONFLICT DO NOTHING;
      RETURN v_role.rolname IS NOT NULL;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.revoke_tier(p_login text, p_tier text, p_departments text[]) RETURNS bigint
    LANGUAGE plpgsql \(definer) AS $$
    DECLARE v_count bigint; v_tier text;
    BEGIN
      DELETE FROM access.member m WHERE m.login = p_login AND (p_tier IS NULL OR m.tier = p_tier)
         AND (p_departments IS NULL OR m.department = ANY (p_departments));
      GET DIAGNOSTICS v_count = ROW_COUNT;
      FOR v_tier IN
        SELECT t.name FROM tidemark.tier t JOIN pg_roles r ON r.rolname = t.name JOIN pg_auth_members a ON a.roleid = r.oid
          JOIN pg_roles u ON u.oid = a.member AND u.rolname = p_login
         WHERE (p_tier IS NULL OR t.name = p_tier) AND NOT pg_has_role(u.oid, 'tidemark_gateway', 'MEMBER')
           AND NOT EXISTS (SELECT FROM access.member m WHERE m.login = p_login AND m.tier = t.name)
      LOOP
        EXECUTE format('REVOKE %I FROM %I', v_tier, p_login);
        v_count := v_count + 1;
      END LOOP;
      RETURN v_count;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION access.enroll_gateway(p_login text, p_tiers text[]) RETURNS void LANGUAGE plpgsql \(definer) AS $$
    DECLARE v_role pg_roles; v_tier text;
    BEGIN
      SELECT * INTO v_role FROM pg_roles r WHERE r.rolname = p_login;
      IF NOT FOUND OR NOT v_role.rolcanlogin OR v_role.rolsuper OR v_role.rolbypassrls THEN
        RAISE EXCEPTION 'a gateway is a login of its own, and no superuser: "%" is not', p_login USING ERRCODE = '22023';
      ELSIF EXISTS (SELECT FROM access.member m WHERE m.login = p_login) THEN
        RAISE EXCEPTION '"%" is a person already: a gateway needs a login of its own', p_login USING ERRCODE = '22023';
      END IF;
      FOREACH v_tier IN ARRAY p_tiers LOOP
        IF NOT EXISTS (SELECT FROM tidemark.tier t WHERE t.name = v_tier) THEN
          RAISE EXCEPTION 'there is no tier "%": there are %', v_tier, (SELECT string_agg(t.name, ', ' ORDER BY t.name) FROM tidemark.tier t)
            USING ERRCODE = '22023';
        END IF;
      END LOOP;
      EXECUTE format('GRANT tidemark_gateway TO %I', p_login);
      PERFORM access.note('gateway', p_login, NULL, NULL, array_to_string(p_tiers, ', '));
      FOREACH v_tier IN ARRAY p_tiers LOOP EXECUTE format('GRANT %I TO %I', v_tier, p_login); END LOOP;
    END $$
    """,
  ]
}
