/// The operator by which policies compare a department.
///
/// PostgreSQL asks a query's own condition before a policy if its functions are leakproof and it costs the planner less
/// (`order_qual_clauses`): `event_count >= 1000` would be asked first, also of rows of others. Whether the policy was asked after it is
/// then to be seen: EXPLAIN ANALYZE shows what was never executed, counters count it, and a CASE can do something instead. So
/// a policy must cost the planner nothing; it goes first among equals. No operator of PostgreSQL's costs nothing, and the only
/// other condition over a text that does, a look-up in jsonb, is asked of every row that the query reads: `AccessRule.scope`.
///
/// This one is `=` in all but its cost, and its operator class lets an index answer it, so that it is not asked row by row.
/// Only a superuser can make an operator class, or set a function's cost to zero. Where none has migrated, policies stay with the look-up.
extension Access {
  static let equals = "access.equals(text, character varying)"
  static let operatorClass = "access.department_ops"

  /// SQL: whether policies can rest on the operator. What pg_dump restores costs 1: a dump does not hold a cost of zero.
  static let hasOperator = """
    EXISTS (SELECT FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode JOIN pg_language l ON l.oid = p.prolang
              JOIN pg_namespace n ON n.oid = o.oprnamespace AND n.nspname = 'access'
              JOIN pg_opclass c ON c.opcnamespace = n.oid AND c.opcname = 'department_ops'
              JOIN pg_amop a ON a.amopfamily = c.opcfamily AND a.amopopr = o.oid AND a.amopstrategy = 3
             WHERE o.oprname = '=' AND o.oprleft = 'text'::regtype AND o.oprright = 'character varying'::regtype
               AND p.procost = 0 AND p.prosrc = 'texteq' AND l.lanname = 'internal')
    """

  /// Makes the operator, if the login that migrates is a superuser; run as that login. Texts compare by their bytes, as the key columns do.
  static let operatorStatement = """
    DO $$ BEGIN
      IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) OR (\(hasOperator)
         AND (SELECT p.proowner FROM pg_proc p WHERE p.oid = to_regprocedure('\(equals)')) = 'tidemark_access'::regrole) THEN RETURN; END IF;
      CREATE OR REPLACE FUNCTION \(equals) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'texteq';
      REVOKE ALL ON FUNCTION \(equals) FROM PUBLIC;
      ALTER FUNCTION \(equals) OWNER TO tidemark_access;
      UPDATE pg_proc SET procost = 0 WHERE oid = '\(equals)'::regprocedure;
      IF to_regoperator('access.=(text, character varying)') IS NULL THEN
        CREATE OPERATOR access.= (LEFTARG = text, RIGHTARG = character varying, FUNCTION = access.equals, RESTRICT = eqsel, JOIN = eqjoinsel);
        ALTER OPERATOR access.= (text, character varying) OWNER TO tidemark_access;
      END IF;
      IF NOT EXISTS (SELECT FROM pg_opclass WHERE opcnamespace = 'access'::regnamespace AND opcname = 'department_ops') THEN
        -- What stays in the family of a class that was dropped: comparisons of two types.
        DROP OPERATOR FAMILY IF EXISTS \(operatorClass) USING btree;
        CREATE OPERATOR CLASS \(operatorClass) FOR TYPE text USING btree AS
          OPERATOR 1 ~<~, OPERATOR 2 ~<=~, OPERATOR 3 =, OPERATOR 4 ~>=~, OPERATOR 5 ~>~, OPERATOR 3 access.= (text, character varying),
          FUNCTION 1 bttext_pattern_cmp(text, text), FUNCTION 2 bttext_pattern_sortsupport(internal), FUNCTION 4 btequalimage(oid),
          FUNCTION 1 (text, character varying) bttext_pattern_cmp(text, text),
          FUNCTION 1 (character varying, character varying) bttext_pattern_cmp(text, text);
        ALTER OPERATOR FAMILY \(operatorClass) USING btree OWNER TO tidemark_access;
        ALTER OPERATOR CLASS \(operatorClass) USING btree OWNER TO tidemark_access;
      END IF;
    END $$
    """
}
