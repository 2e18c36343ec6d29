import Aggregation
import Postgres

/// People, gateways and tokens, for whoever grants: a superuser, or a member of `tidemark_granter` (people, gateways, keys)
/// or `tidemark_issuer` (tokens).
public struct AccessBooks {
  let connection: Connection

  public init(_ connection: Connection) { self.connection = connection }

  /// What one person holds.
  public struct Member: Sendable, Equatable {
    public var login: String
    public var tier: String
    /// nil: the tier has no departments.
    public var department: String?
    /// Microseconds since the epoch.
    public var grantedAt: Int64
    public var grantedBy: String
    /// Whether the server has a login of that name that is in the tier's role; others come through a gateway.
    public var isLogin: Bool
  }

  /// One line of the audit.
  public struct Entry: Sendable {
    public var at: Int64
    public var actor: String
    public var action: String
    public var login: String?
    public var tier: String?
    public var department: String?
    public var detail: String?
  }

  /// Takes effect at the person's next query.
  /// - Returns: whether the server has a login of that name.
  public func grant(_ login: String, tier: String, departments: [String]) throws(WarehouseError) -> Bool {
    try asking { () throws(PostgresError) in
      try connection.execute(
        "SELECT access.grant_tier($1, $2, $3)", [.text(login), .text(tier), .texts(departments)]
      ).boolean(0, 0) ?? false
    }
  }

  /// Takes effect at the person's next query; what a transaction has already read, or a cursor holds, goes with
  /// `endSessions`.
  /// - Parameters:
  ///   - tier: nil: all of them.
  ///   - departments: empty: all of them.
  /// - Returns: how many grants went.
  public func revoke(_ login: String, tier: String?, departments: [String]) throws(WarehouseError) -> Int64 {
    try asking { () throws(PostgresError) in
      try connection.execute(
        "SELECT access.revoke_tier($1, $2, NULLIF($3, '{}'))", [.text(login), .text(tier), .texts(departments)]
      ).integer(0, 0) ?? 0
    }
  }

  /// Ends the sessions of a login: cursors and snapshots from before a revocation end with them.
  /// - Returns: how many ended, and how many the connection's login may not end.
  public func endSessions(of login: String) throws(WarehouseError) -> (ended: Int, left: Int) {
    try asking { () throws(PostgresError) in
      let sessions = try connection.query(
        "SELECT pid FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()", [.text(login)])
      var ended = 0
      for session in sessions {
        do throws(PostgresError) {
          _ = try connection.query("SELECT pg_terminate_backend($1::text::integer, 5000)", [.text(session[0])])
          ended += 1
        } catch { if error.sqlState != "42501" { throw error } }
      }
      return (ended, sessions.count - ended)
    }
  }

  /// Everything granted, or one person's, by name, tier and department.
  public func members(login: String? = nil) throws(WarehouseError) -> [Member] {
    try asking { () throws(PostgresError) in
      let rows = try connection.execute(
        """
        SELECT m.login, m.tier, m.department, m.granted_at, m.granted_by,
               EXISTS (SELECT FROM pg_roles u JOIN pg_auth_members a ON a.member = u.oid JOIN pg_roles t ON t.oid = a.roleid
                        WHERE u.rolname = m.login AND t.rolname = m.tier)
          FROM access.member m WHERE $1::text IS NULL OR m.login = $1 ORDER BY 1, 2, 3
        """, [.text(login)])
      return (0..<rows.count).map { row in
        Member(
          login: rows.text(row, 0)!, tier: rows.text(row, 1)!, department: rows.text(row, 2), grantedAt: rows.timestamp(row, 3)!,
          grantedBy: rows.text(row, 4)!, isLogin: rows.boolean(row, 5)!)
      }
    }
  }

  /// Gateways, each with the tiers that it serves.
  public func gateways() throws(WarehouseError) -> [(login: String, tiers: [String])] {
    try asking { () throws(PostgresError) in
      try connection.query(
        """
        SELECT u.rolname, string_agg(DISTINCT t.rolname, ',' ORDER BY t.rolname) FROM pg_roles g
          JOIN pg_auth_members m ON m.roleid = g.oid AND g.rolname = 'tidemark_gateway' JOIN pg_roles u ON u.oid = m.member AND u.rolcanlogin
          LEFT JOIN pg_auth_members k ON k.member = u.oid LEFT JOIN pg_roles t ON t.oid = k.roleid AND t.rolname <> 'tidemark_gateway'
         GROUP BY 1 ORDER BY 1
        """
      ).map { ($0[0] ?? "", ($0[1] ?? "").split(separator: ",").map(String.init)) }
    }
  }

  /// The newest entries of the audit, newest first.
  public func history(limit: Int) throws(WarehouseError) -> [Entry] {
    try asking { () throws(PostgresError) in
      let rows = try connection.execute(
        "SELECT at, actor, action, login, tier, department, detail FROM access.audit ORDER BY id DESC LIMIT $1", [.integer(Int64(limit))])
      return (0..<rows.count).map { row in
        Entry(
          at: rows.timestamp(row, 0)!, actor: rows.text(row, 1)!, action: rows.text(row, 2)!, login: rows.text(row, 3), tier: rows.text(row, 4),
          department: rows.text(row, 5), detail: rows.text(row, 6))
      }
    }
  }

  /// A token by which a gateway speaks for a person in one transaction.
  /// - Parameter seconds: how long it can be shown; at most an hour.
  public func token(for person: String, at gateway: String, seconds: Int) throws(WarehouseError) -> String {
    try asking { () throws(PostgresError) in
      try connection.execute(
        "SELECT access.issue($1, $2, $3::bigint::integer)", [.text(person), .text(gateway), .integer(Int64(seconds))]
      ).text(0, 0)!
    }
  }

  /// New tokens are signed with a new key; those signed with the one before stay good until they expire.
  /// - Returns: the new key's number.
  public func rotateKey() throws(WarehouseError) -> Int64 {
    try asking { () throws(PostgresError) in try connection.execute("SELECT access.rotate_key()").integer(0, 0)! }
  }

  // MARK: Logins

  /// Makes a login for a dashboard, or gives an existing one a new password: read only, with time limits, and
  /// without compilation of queries: PostgreSQL takes a policy's departments for ten, and would compile what is quick.
  /// - Parameters:
  ///   - isGateway: whether it speaks for many people by tokens; showing one writes, so its sessions are not read only.
  ///   - body: what it is granted, in the same transaction: where that cannot be, there is no login, and no other password.
  public func login(_ login: Login, isGateway: Bool, granting body: () throws(WarehouseError) -> Void = {}) throws(WarehouseError) {
    try make(login, isGateway)
    do throws(WarehouseError) { try body() } catch {
      if connection.isInTransaction { _ = try? connection.script("ROLLBACK") }
      throw error
    }
    _ = try asking { () throws(PostgresError) in try connection.script("COMMIT") }
  }

  /// Leaves its transaction open.
  private func make(_ login: Login, _ isGateway: Bool) throws(WarehouseError) {
    try asking { () throws(PostgresError) in
      let name = SQL.identifier(login.name)
      let known = try connection.query(
        """
        SELECT rolsuper OR rolbypassrls OR NOT rolcanlogin, COALESCE(shobj_description(oid, 'pg_authid') = $2, false) FROM pg_roles WHERE rolname = $1
        """, [.text(login.name), .text(Access.serviceComment)])
      if known.first?[0] == "t" {
        throw PostgresError(.data, sqlState: "22023", message: "\"\(login.name)\" exists and is a superuser or no login: choose another name")
      }
      let other = isGateway ? "EXISTS (SELECT FROM access.member WHERE login = $1)" : "pg_has_role($1::name, 'tidemark_gateway', 'MEMBER')"
      if !known.isEmpty, try connection.query("SELECT \(other)", [.text(login.name)])[0][0] == "t" {
        let what = isGateway ? "a person" : "a gateway"
        throw PostgresError(.data, sqlState: "22023", message: "\"\(login.name)\" is \(what) already: choose another name")
      }
      // Somebody may work by that login, or Tidemark itself: with another password, read only, it would not any more.
      if known.first?[1] == "f" {
        throw PostgresError(
          .data, sqlState: "22023",
          message: "\"\(login.name)\" exists and was not made for a dashboard or gateway: choose another name (or, if it is meant, say so first: "
            + "COMMENT ON ROLE \(name) IS '\(Access.serviceComment)')")
      }
      try connection.script("BEGIN")
      try connection.execute("\(known.isEmpty ? "CREATE" : "ALTER") ROLE \(name) LOGIN PASSWORD \(SQL.literal(try connection.verifier(of: login)))")
      if known.isEmpty { try connection.execute("COMMENT ON ROLE \(name) IS \(SQL.literal(Access.serviceComment))") }
      for setting in [
        "default_transaction_read_only = \(isGateway ? "off" : "on")", "statement_timeout = '60s'", "idle_in_transaction_session_timeout = '60s'",
        "search_path = analytics", "jit = off",
      ] { try connection.execute("ALTER ROLE \(name) SET \(setting)") }
    }
  }

  /// Lets a login show tokens of people in some tiers.
  public func enroll(_ gateway: String, tiers: [String]) throws(WarehouseError) {
    _ = try asking { () throws(PostgresError) in
      try connection.execute("SELECT access.enroll_gateway($1, $2)", [.text(gateway), .texts(tiers)])
    }
  }

  /// The tables and views that a tier's people read.
  public func relations(of tier: String) throws(WarehouseError) -> [String] {
    try asking { () throws(PostgresError) in
      try connection.query("SELECT 'analytics.' || access.relations_of($1)", [.text(tier)]).compactMap { $0[0] }
    }
  }

  func asking<R>(_ body: () throws(PostgresError) -> R) throws(WarehouseError) -> R {
    do throws(PostgresError) { return try body() } catch {
      if connection.isInTransaction { _ = try? connection.script("ROLLBACK") }
      if ["42P01", "3F000", "42883", "42703"].contains(error.sqlState) {
        throw WarehouseError(.refused, "PostgreSQL has no access of Tidemark, or that of an older one: run `tidemark migrate --topology FILE` first (\(error.message))")
      }
      if error.sqlState == "42501" {
        throw WarehouseError(
          .refused,
          "\(error.message): connect as a superuser, or as a member of tidemark_granter (people, gateways, keys) or tidemark_issuer (tokens)")
      }
      if error.sqlState == "22023" || error.sqlState == "28000" { throw WarehouseError(.refused, error.message) }
      throw WarehouseError(error, "PostgreSQL")
    }
  }
}
