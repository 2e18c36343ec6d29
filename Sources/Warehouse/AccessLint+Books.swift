import Postgres

/// The ledgers of stream and landing can be added to, each merged by the one function that proves what it does: nothing else
/// may change them.
extension AccessLint {
  private static let ledgers = "ARRAY['tidemark.ledger', 'tidemark.landing_ledger']::regclass[]"
  private static let rollUps = [
    (signature: Schema.rollUpSignature, definition: Schema.rollUpFunction),
    (signature: Schema.landingRollUpSignature, definition: Schema.landingRollUpFunction),
  ]

  func books() throws(PostgresError) -> [AccessFinding] {
    let grants = try connection.query(
      """
      SELECT c.oid::regclass, COALESCE(r.rolname, 'PUBLIC'), a.privilege_type
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
       WHERE c.oid = ANY (\(Self.ledgers)) AND a.grantee <> c.relowner AND a.privilege_type NOT IN ('SELECT', 'INSERT', 'REFERENCES')
       UNION ALL
      SELECT c.oid::regclass, r.rolname, 'ownership' FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
       WHERE c.oid = ANY (\(Self.ledgers)) AND r.rolname <> 'tidemark_owner'
      """)
    let triggers = try connection.query(
      """
      SELECT t.tgrelid::regclass, t.tgname FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid = ANY (\(Self.ledgers))
      UNION ALL SELECT w.ev_class::regclass, w.rulename FROM pg_rewrite w WHERE w.ev_class = ANY (\(Self.ledgers))
      """)
    let known = Self.rollUps.map { "COALESCE(to_regprocedure('\($0.signature)'), 0)::oid" }.joined(separator: ", ")
    let strangers = try connection.query(
      """
      SELECT p.oid::regprocedure, o.rolname FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
       WHERE p.pronamespace = 'tidemark'::regnamespace AND p.prosecdef AND NOT p.oid = ANY (ARRAY[\(known)])
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
      """)
    var replaced: [AccessFinding] = []
    for rollUp in Self.rollUps { replaced += try self.rollUp(rollUp.signature, rollUp.definition) }
    return leak("books", grants) { "\($0[1]) has \($0[2]): what was flushed or landed could be rewritten; only tidemark_owner may have that" }
      + leak("books", triggers) { "\($0[1]) is not of Tidemark, and runs with every flush or batch: it could change what is written" }
      + leak("books", strangers) { "works with the rights of \($0[1]) and is not of Tidemark: DROP FUNCTION \($0[0])" }
      + replaced
  }

  private static func rollUpQuery(_ signature: String) -> String {
    """
    SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), o.rolname,
           (SELECT string_agg(COALESCE(r.rolname, 'PUBLIC'), ' ' ORDER BY r.rolname)
              FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
             WHERE a.grantee <> p.proowner)
      FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner WHERE p.oid = to_regprocedure('\(signature)')
    """
  }

  /// The function as it is, and as a migration would make it.
  private func rollUp(_ signature: String, _ definition: String) throws(PostgresError) -> [AccessFinding] {
    guard let row = try connection.query(Self.rollUpQuery(signature)).first, let name = row[0] else { return [] }
    func finding(_ message: String) -> [AccessFinding] { [AccessFinding(.leak, "books", name, message)] }
    guard row[2] == "tidemark_owner" else { return finding("belongs to \(row[2] ?? ""): DROP FUNCTION \(name), then run `tidemark migrate`") }
    if row[3] != "tidemark_batch" { return finding("may be called by \(row[3] ?? "nobody"), not just by tidemark_batch: run `tidemark migrate`, REVOKE what is left") }
    let wanted = try rolledBack { () throws(PostgresError) in
      if try connection.query("SELECT \(Schema.mayBecome("tidemark_owner"))")[0][0] == "f" {
        try connection.script("GRANT tidemark_owner TO CURRENT_USER")
      }
      try connection.script("SET LOCAL ROLE tidemark_owner")
      try connection.execute(definition)
      return try connection.query(Self.rollUpQuery(signature))[0][1]
    }
    return wanted == row[1] ? [] : finding("is not what Tidemark made it: run `tidemark migrate`")
  }
}
