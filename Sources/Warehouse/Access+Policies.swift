import Aggregation
import Postgres
import Topologies

extension Access {
  /// Tables and functions that the statements below need; run as `tidemark_owner`.
  static let books: [String] = [
    """
    CREATE TABLE IF NOT EXISTS tidemark.tier (
      name text PRIMARY KEY,
      rows text NOT NULL,
      measures text NOT NULL,
      complete_days boolean NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS tidemark.access_rule (
      table_name text NOT NULL,
      tier text NOT NULL,
      relation text NOT NULL,
      rows text NOT NULL,
      department_column text,
      columns text[] NOT NULL,
      policy_role text NOT NULL,
      condition text NOT NULL,
      view text,
      PRIMARY KEY (table_name, tier)
    )
    """,
    "ALTER TABLE tidemark.access_rule ADD COLUMN IF NOT EXISTS scope text",
    // A table and everything that inherits from it: partitions named directly are guarded by nothing of their parent's.
    """
    CREATE OR REPLACE FUNCTION tidemark.with_partitions(root regclass) RETURNS SETOF regclass LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp AS $$
      WITH RECURSIVE tree(relid) AS (
        SELECT root::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree t ON i.inhparent = t.relid)
      SELECT relid::regclass FROM tree
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION tidemark.revoke_from_others(relation regclass) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE v_grantee oid; BEGIN
      FOR v_grantee IN
        SELECT a.grantee FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.oid = relation AND a.grantee <> c.relowner
        UNION
        SELECT a.grantee FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) a
         WHERE c.oid = relation AND a.grantee <> c.relowner
      LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles r WHERE r.oid = v_grantee AND \(Access.isWorker));
        EXECUTE format('REVOKE ALL ON %s FROM %s', relation, CASE v_grantee WHEN 0 THEN 'PUBLIC' ELSE v_grantee::regrole::text END);
      END LOOP;
    END $$
    """,
    "REVOKE ALL ON FUNCTION tidemark.with_partitions(regclass), tidemark.revoke_from_others(regclass) FROM PUBLIC",
    "GRANT USAGE ON SCHEMA tidemark TO tidemark_access",
    "GRANT SELECT ON tidemark.tier, tidemark.access_rule TO tidemark_access",
  ]

  /// Policies, grants and views of a topology's aggregates, and the end of those that it no longer has; run as `tidemark_owner`.
  static func statements(of topology: Topology) -> [String] {
    let rules = AccessRule.all(of: topology)
    let tables = topology.aggregates.map(\.tableName)
    var result: [String] = [
      "DELETE FROM tidemark.access_rule WHERE table_name = ANY (ARRAY[\(tables.map(SQL.literal).joined(separator: ", "))])"
    ]
    result += topology.tiers.map { tier in
      """
      DO $$ BEGIN
        IF EXISTS (SELECT FROM tidemark.tier WHERE name = \(SQL.literal(tier.role)) AND (rows, measures, complete_days)
                     IS DISTINCT FROM ('\(tier.rows.rawValue)', '\(tier.measures.rawValue)', \(tier.completeDays)))
           AND EXISTS (SELECT FROM tidemark.access_rule r JOIN tidemark.aggregate a ON a.table_name = r.table_name
                        WHERE r.tier = \(SQL.literal(tier.role)) AND a.topology <> \(SQL.literal(topology.name))) THEN
          RAISE EXCEPTION 'tier \(tier.role) is defined otherwise by another topology of this database: one database has one tier of a name';
        END IF;
      END $$
      """
    }
    result += topology.tiers.map { tier in
      """
      INSERT INTO tidemark.tier (name, rows, measures, complete_days)
      VALUES (\(SQL.literal(tier.role)), '\(tier.rows.rawValue)', '\(tier.measures.rawValue)', \(tier.completeDays))
      ON CONFLICT (name) DO UPDATE SET rows = excluded.rows, measures = excluded.measures, complete_days = excluded.complete_days
      """
    }
    result += topology.tiers.flatMap { tier in
      ["GRANT USAGE ON SCHEMA analytics TO \"\(tier.role)\", \"\(viewRole(tier.role))\"",
        "GRANT SELECT ON analytics.freshness TO \"\(tier.role)\"\(tier.completeDays ? ", \"\(viewRole(tier.role))\"" : "")"]
    }
    for table in tables {
      let own = rules.filter { $0.table == table }
      result += guarding(table, own)
      result += own.flatMap { $0.view == nil ? ["GRANT SELECT ON \($0.qualifiedTable) TO \"\($0.tier)\""] : view($0) }
      result += own.map(record)
    }
    return result
  }

  /// SQL of the text of a rule's condition.
  private static func condition(_ rule: AccessRule) -> String {
    guard rule.condition != rule.conditionByOperator else { return SQL.literal(rule.condition) }
    return "CASE WHEN \(hasOperator) THEN \(SQL.literal(rule.conditionByOperator)) ELSE \(SQL.literal(rule.condition)) END"
  }

  /// Row-level security on the table and its partitions, just the policies wanted, and no other privileges.
  private static func guarding(_ table: String, _ rules: [AccessRule]) -> [String] {
    let name = SQL.literal("analytics.\(SQL.identifier(table))")
    let wanted = (["tidemark_writer", "tidemark_batch"] + rules.map(\.policyRole)).map(SQL.literal).joined(separator: ", ")
    let scopes = Dictionary(grouping: rules.filter { $0.scope != nil }, by: \.scopeName).sorted { $0.key < $1.key }
    let scopeNames = scopes.map { SQL.literal($0.key) }.joined(separator: ", ")
    var result = [
      """
      DO $$ DECLARE part regclass; v_policy name; v_column name; BEGIN
        FOR part IN SELECT tidemark.with_partitions(\(name)) LOOP
          IF EXISTS (SELECT FROM pg_class WHERE oid = part AND NOT (relrowsecurity AND relforcerowsecurity)) THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', part);
          END IF;
          FOR v_policy IN SELECT p.polname FROM pg_policy p WHERE p.polrelid = part AND p.polname <> ALL (ARRAY[\(wanted)]) AND \(isForOthers)
                           AND (\(hasOperator) OR p.polname <> ALL (ARRAY[\(scopeNames)]::name[])) LOOP
            EXECUTE format('DROP POLICY %I ON %s', v_policy, part);
          END LOOP;
          PERFORM tidemark.revoke_from_others(part);
          FOR v_column IN SELECT a.attname FROM pg_attribute a WHERE a.attrelid = part AND \(isMeasured) LOOP
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', part, v_column);
          END LOOP;
        END LOOP;
      END $$
      """
    ]
    for worker in ["tidemark_writer", "tidemark_batch"] {
      result.append(policy(name, worker, to: [worker], command: "ALL", letter: "*", "'true'", check: "true"))
    }
    // Before what it restricts: no moment without it.
    for (scope, rules) in scopes {
      result.append(
        policy(name, scope, to: rules.map(\.policyRole), isRestrictive: true, command: "SELECT", letter: "r",
          "CASE WHEN NOT \(hasOperator) THEN \(SQL.literal(rules[0].scope ?? "false")) END", check: nil))
    }
    for rule in rules {
      result.append(policy(name, rule.policyRole, to: [rule.policyRole], command: "SELECT", letter: "r", condition(rule), check: nil))
    }
    if let column = rules.lazy.compactMap(\.departmentColumn).first { result.append(index(name, column)) }
    return result
  }

  /// SQL: whether `a` of pg_attribute is a measure (or `updated_at`) of which statistics are kept. Their comparisons are
  /// leakproof, so EXPLAIN's estimates would give away, value by value, what rows of others hold.
  static let isMeasured = """
    a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'window_start' AND a.atttypid <> 'text'::regtype AND a.attstattarget IS DISTINCT FROM 0
    """

  /// Statistics from before they were no longer kept; only a superuser can remove them. Run as the login that migrates.
  static let forgetting = """
    DO $$ BEGIN
      IF (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
        DELETE FROM pg_statistic s USING pg_attribute a, tidemark.aggregate g
         WHERE a.attrelid = s.starelid AND a.attnum = s.staattnum AND a.attstattarget = 0
           AND s.starelid IN (SELECT tidemark.with_partitions(to_regclass(format('analytics.%I', g.table_name))));
      END IF;
    END $$
    """

  /// Asked before it is done: a policy is made under the table's exclusive lock.
  /// - Parameter condition: SQL of the condition's text; where that is NULL no policy is made.
  private static func policy(
    _ table: String, _ name: String, to roles: [String], isRestrictive: Bool = false, command: String, letter: String, _ condition: String,
    check: String?
  ) -> String {
    let checked = check.map { " WITH CHECK (\($0))" } ?? ""
    let grantees = roles.map(SQL.identifier).joined(separator: ", ")
    let body = SQL.literal(
      "CREATE POLICY %I ON %s\(isRestrictive ? " AS RESTRICTIVE" : "") FOR \(command) TO \(grantees) USING (%s)\(checked)")
    return """
      DO $$ DECLARE part regclass; v_condition text := \(condition); BEGIN
        IF v_condition IS NULL THEN RETURN; END IF;
        FOR part IN SELECT tidemark.with_partitions(\(table)) LOOP
          IF NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = part AND polname = '\(name)' AND polcmd = '\(letter)' AND polpermissive = \(!isRestrictive)
               AND (SELECT array_agg(o ORDER BY o) FROM unnest(polroles) o)
                   = (SELECT array_agg(r.oid ORDER BY r.oid) FROM pg_roles r
                       WHERE r.rolname = ANY (ARRAY[\(roles.map(SQL.literal).joined(separator: ", "))]))
               AND pg_get_expr(polqual, polrelid) = v_condition
               AND pg_get_expr(polwithcheck, polrelid) IS NOT DISTINCT FROM \(check.map(SQL.literal) ?? "NULL")) THEN
            EXECUTE format('DROP POLICY IF EXISTS %I ON %s', '\(name)', part);
            EXECUTE format(\(body), '\(name)', part, v_condition);
          END IF;
        END LOOP;
      END $$
      """
  }

  /// Rows of some departments are found without reading the others'. Built once, under a lock that keeps flushes waiting.
  private static func index(_ table: String, _ column: String) -> String {
    let definition = SQL.literal("CREATE INDEX %I ON %s USING btree (%I, window_start)")
    return """
      DO $$ DECLARE v_index name; v_class text := CASE WHEN \(hasOperator) THEN ' \(operatorClass)' ELSE '' END; BEGIN
        IF EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                     JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
                    WHERE i.indrelid = \(table)::regclass AND i.indisvalid AND i.indpred IS NULL AND a.attname = \(SQL.literal(column))
                      AND (v_class = '' OR EXISTS (SELECT FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace AND n.nspname = 'access'
                                                    WHERE c.oid = i.indclass[0]))) THEN
          RETURN;
        END IF;
        EXECUTE format('CREATE INDEX ON %s (%I%s, window_start)', \(table)::regclass, \(SQL.literal(column)), v_class);
        -- The one before, without the operator class, by the name that PostgreSQL gave it: the new one answers what it answered.
        FOR v_index IN SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                        WHERE i.indrelid = \(table)::regclass AND v_class <> '' AND c.relname ~ '_window_start_idx[0-9]*$'
                          AND pg_get_indexdef(c.oid) = format(\(definition), c.relname, i.indrelid::regclass, \(SQL.literal(column))) LOOP
          EXECUTE format('DROP INDEX analytics.%I', v_index);
        END LOOP;
      END $$
      """
  }

  /// A view that belongs to its tier's own role, which may read just its columns.
  private static func view(_ rule: AccessRule) -> [String] {
    guard let view = rule.view, let sources = rule.sources else { return [] }
    let name = rule.qualifiedRelation
    let owner = SQL.identifier(Access.viewRole(rule.tier))
    let columns = rule.columns.map(SQL.literal).joined(separator: ", ")
    return [
      "GRANT SELECT (\(sources.map(SQL.identifier).joined(separator: ", "))) ON \(rule.qualifiedTable) TO \(owner)",
      """
      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(\(SQL.literal(name))) AND relkind <> 'v') THEN
          RAISE EXCEPTION '\(name.replacing("'", with: "''")) exists and is no view: rename it, the aggregate or the tier';
        ELSIF ARRAY[\(columns)] IS DISTINCT FROM (
          SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = to_regclass(\(SQL.literal(name))) AND attnum > 0) THEN
          DROP VIEW IF EXISTS \(name);
        END IF;
      END $$
      """,
      "CREATE OR REPLACE VIEW \(name) WITH (security_barrier) AS\n\(view)",
      """
      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_class WHERE oid = \(SQL.literal(name))::regclass AND relowner <> '\(owner)'::regrole) THEN
          GRANT CREATE ON SCHEMA analytics TO \(owner);
          ALTER VIEW \(name) OWNER TO \(owner);
          REVOKE CREATE ON SCHEMA analytics FROM \(owner);
        END IF;
      END $$
      """,
      "SELECT tidemark.revoke_from_others(\(SQL.literal(name)))",
      "GRANT SELECT ON \(name) TO \"\(rule.tier)\"",
    ]
  }

  private static func record(_ rule: AccessRule) -> String {
    func text(_ value: String?) -> String { value.map(SQL.literal) ?? "NULL" }
    return """
      INSERT INTO tidemark.access_rule (table_name, tier, relation, rows, department_column, columns, policy_role, condition, view, scope)
      VALUES (\(text(rule.table)), \(text(rule.tier)), \(text(rule.relation)), '\(rule.rowsWord)', \(text(rule.departmentColumn)),
        ARRAY[\(rule.columns.map(SQL.literal).joined(separator: ", "))], \(text(rule.policyRole)), \(condition(rule)), \(text(rule.view)),
        \(rule.scope.map { "CASE WHEN NOT \(hasOperator) THEN \(SQL.literal($0)) END" } ?? "NULL"))
      """
  }

  /// Takes away what no topology grants any more: views, and whatever hangs on tables that are no aggregate's; run as `tidemark_owner`.
  static let tidying: [String] = [
    """
    DELETE FROM tidemark.access_rule r WHERE NOT EXISTS (SELECT FROM tidemark.aggregate a WHERE a.table_name = r.table_name)
    """,
    """
    DO $$ DECLARE v regclass; BEGIN
      FOR v IN SELECT c.oid FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
                WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind = 'v' AND starts_with(o.rolname, 'tidemark_view_')
                  AND NOT EXISTS (SELECT FROM tidemark.access_rule r WHERE r.relation = c.relname AND r.policy_role = o.rolname) LOOP
        EXECUTE format('DROP VIEW %s', v);
      END LOOP;
    END $$
    """,
    """
    DO $$ DECLARE t regclass; v_policy name; BEGIN
      FOR t IN SELECT c.oid FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'tidemark_writer'
                WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                  AND NOT EXISTS (SELECT FROM tidemark.aggregate a WHERE a.table_name = c.relname) LOOP
        FOR v_policy IN SELECT p.polname FROM pg_policy p WHERE p.polrelid = t AND \(isForOthers) LOOP
          EXECUTE format('DROP POLICY %I ON %s', v_policy, t);
        END LOOP;
        PERFORM tidemark.revoke_from_others(t);
      END LOOP;
    END $$
    """,
  ]
}
