import Postgres

/// The ledger can be added to, and merged by the one function that proves what it does: nothing else may change it.
extension AccessLint {
  func books() throws(PostgresError) -> [AccessFinding] {
    let grants = try connection.query(
      """
      SELECT c.oid::regclass, COALESCE(r.rolname, 'PUBLIC'), a.privilege_type
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
       WHERE c.oid = 'tidemark.ledger'::regclass AND a.grantee <> c.relowner AND a.privilege_type NOT IN ('SELECT', 'INSERT', 'REFERENCES')
       UNION ALL
      SELECT 'tidemark.ledger', r.rolname, 'ownership' FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
       WHERE c.oid = 'tidemark.ledger'::regclass AND r.rolname <> 'tidemark_owner'
      """)
    let triggers = try connection.query(
      """
      SELECT t.tgrelid::regclass, t.tgname FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid = 'tidemark.ledger'::regclass
      UNION ALL SELECT w.ev_class::regclass, w.rulename FROM pg_rewrite w WHERE w.ev_class = 'tidemark.ledger'::regclass
      """)
    let strangers = try connection.query(
      """
      SELECT p.oid::regprocedure, o.rolname FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
       WHERE p.pronamespace = 'tidemark'::regnamespace AND p.prosecdef AND p.oid <> COALESCE(to_regprocedure('\(Schema.rollUpSignature)'), 0)
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
      """)
    return leak("books", grants) { "\($0[1]) has \($0[2]): what was flushed could be rewritten; only tidemark_owner may have that" }
      + leak("books", triggers) { "\($0[1]) is not of Tidemark, and runs with every flush: it could change what is written" }
      + leak("books", strangers) { "works with the rights of \($0[1]) and is not of Tidemark: DROP FUNCTION \($0[0])" } + (try rollUp())
  }

  private static let rollUpQuery = """
    SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), o.rolname,
           (SELECT string_agg(COALESCE(r.rolname, 'PUBLIC'), ' ' ORDER BY r.rolname)
              FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
             WHERE a.grantee <> p.proowner)
      FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner WHERE p.oid = to_regprocedure('\(Schema.rollUpSignature)')
    """

  /// The function as it is, and as a migration would make it.
  private func rollUp() throws(PostgresError) -> [AccessFinding] {
    guard let row = try connection.query(Self.rollUpQuery).first, let name = row[0] else { return [] }
    func finding(_ message: String) -> [AccessFinding] { [AccessFinding(.leak, "books", name, message)] }
    guard row[2] == "tidemark_owner" else { return finding("belongs to \(row[2] ?? ""): DROP FUNCTION \(name), then run `tidemark migrate`") }
    if row[3] != "tidemark_batch" { return finding("may be called by \(row[3] ?? "nobody"), not just by tidemark_batch: run `tidemark migrate`, REVOKE what is left") }
    let wanted = try rolledBack { () throws(PostgresError) in
      if try connection.query("SELECT \(Schema.mayBecome("tidemark_owner"))")[0][0] == "f" {
        try connection.script("GRANT tidemark_owner TO CURRENT_USER")
      }
      try connection.script("SET LOCAL ROLE tidemark_owner")
      try connection.execute(Schema.rollUpFunction)
      return try connection.query(Self.rollUpQuery)[0][1]
    }
    return wanted == row[1] ? [] : finding("is not what Tidemark made it: run `tidemark migrate`")
  }
}
