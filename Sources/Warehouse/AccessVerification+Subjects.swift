import Postgres

/// The logins that play people; all are called `tidemark_verify_…`, live ten minutes at most, and go at the end.
extension AccessVerification {
  static let prefix = "tidemark_verify_"

  /// One login a tier, one in two tiers and two departments, and one that nothing is granted to.
  func makeSubjects() throws(PostgresError) {
    let tiers = try admin.query("SELECT name, rows FROM tidemark.tier ORDER BY 1").map { (name: $0[0] ?? "", rows: $0[1] ?? "") }
    departments = try someDepartments()
    for tier in tiers {
      try add(tier.name, [(tier.name, tier.rows == "own" ? [departments[0]] : [])])
    }
    let owners = tiers.filter { $0.rows == "own" }.map(\.name)
    if owners.count > 1 {
      try add("\(owners[0]) and \(owners[1])", [(owners[0], [departments[0]]), (owners[1], [departments[1]])])
    }
    try add("nobody", [])
  }

  /// Two departments that are in the tables, or names that nobody has.
  private func someDepartments() throws(PostgresError) -> [String] {
    for rule in rules where rule.department != nil {
      let column = SQL.identifier(rule.department ?? ""), table = "analytics.\(SQL.identifier(rule.table))"
      let found = try asReader { () throws(PostgresError) in
        try admin.query(
          """
          WITH first AS (SELECT min(\(column)) AS d FROM \(table) WHERE \(column) NOT IN ('', '__overflow__'))
          SELECT d FROM first WHERE d IS NOT NULL UNION ALL
          SELECT min(\(column)) FROM \(table), first WHERE \(column) > first.d AND \(column) NOT IN ('', '__overflow__') HAVING min(\(column)) IS NOT NULL
          """
        ).compactMap { $0[0] }
      }
      if found.count == 2 { return found }
      if found.count == 1 { return [found[0], "a department without rows"] }
    }
    return ["a department without rows", "another department without rows"]
  }

  /// Runs a query of the administrator past the policies: as a superuser, or as the role that flushes.
  func asReader<R>(_ body: () throws(PostgresError) -> R) throws(PostgresError) -> R {
    let isSuper = try admin.query("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")[0][0] == "t"
    guard !isSuper else { return try body() }
    try admin.script("SET ROLE tidemark_writer")
    do throws(PostgresError) {
      let result = try body()
      try admin.script("RESET ROLE")
      return result
    } catch {
      if !admin.isInTransaction { _ = try? admin.script("RESET ROLE") }
      throw error
    }
  }

  @discardableResult
  func add(_ title: String, _ grants: [(tier: String, departments: [String])]) throws(PostgresError) -> Subject {
    let login = try makeLogin("\(subjects.count)")
    for grant in grants {
      try admin.execute("SELECT access.grant_tier($1, $2, $3)", [.text(login.name), .text(grant.tier), .texts(grant.departments)])
    }
    let subject = Subject(login, title, grants, try open(login))
    subjects.append(subject)
    return subject
  }

  func makeLogin(_ suffix: String) throws(PostgresError) -> Login {
    let letters = Array("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789")
    let login = Login(name: "\(Self.prefix)\(mark)_\(suffix)", password: String((0..<24).map { _ in letters.randomElement()! }))
    let until = try admin.query("SELECT now() + interval '10 minutes'")[0][0] ?? ""
    try admin.execute(
      "CREATE ROLE \(SQL.identifier(login.name)) LOGIN PASSWORD \(SQL.literal(try admin.verifier(of: login))) VALID UNTIL \(SQL.literal(until))")
    // Whoever is no superuser may end the sessions only of roles whose privileges it has.
    if try admin.query("SELECT pg_has_role(current_user, $1::name, 'USAGE')", [.text(login.name)])[0][0] == "f" {
      try admin.execute("GRANT \(SQL.identifier(login.name)) TO CURRENT_USER")
    }
    return login
  }

  func open(_ login: Login) throws(PostgresError) -> Connection {
    do throws(PostgresError) {
      let connection = try connect(login)
      try connection.script("SET client_min_messages = warning; SET statement_timeout = '300s'; SET lock_timeout = '2s'")
      connection.deadline = 600_000
      return connection
    } catch {
      throw PostgresError(
        error.consequence, sqlState: error.sqlState,
        message: "\(error.message); verify logs in as logins that it makes (\(Self.prefix)…), by password: pg_hba.conf has to let them in")
    }
  }

  /// Removes the logins of this run, or those that earlier ones left behind.
  func removeLogins(olderOnly: Bool) throws(PostgresError) {
    if !olderOnly { subjects = [] }
    let condition = olderOnly ? "rolvaliduntil < now()" : "starts_with(rolname, \(SQL.literal(Self.prefix + mark)))"
    let logins = try admin.query("SELECT rolname FROM pg_roles WHERE starts_with(rolname, '\(Self.prefix)') AND \(condition)").compactMap { $0[0] }
    for login in logins {
      try admin.execute("SELECT access.revoke_tier($1, NULL, NULL)", [.text(login)])
      _ = try? admin.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", [.text(login)])
      try admin.script("DROP ROLE \(SQL.identifier(login))")
    }
  }
}
