import Postgres

/// A gateway's attacks, and what a revocation leaves behind.
extension AccessVerification {
  /// A gateway for every tier: by itself it sees nothing, whatever it says.
  func attackByTokens() throws(PostgresError) {
    guard let person = subjects.first(where: { !partial($0).isEmpty }) ?? subjects.first(where: { !$0.grants.isEmpty }) else { return }
    let tiers = try admin.query("SELECT name FROM tidemark.tier ORDER BY 1").compactMap { $0[0] }
    let gateway = try makeGateway("gateway", tiers), other = try makeGateway("other", tiers)
    record("no token", gateway, try assumed([], gateway, mustFail: false))
    for garbage in ["", "x", "NULL", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjZW8ifQ.", "tidemark1.......", String(repeating: "a", count: 5000)] {
      record("a token that is none", gateway, try assumed([garbage], gateway))
    }
    try tamper(person, gateway)
    let token = try issue(person, gateway)
    record("a token of another gateway", other, try assumed([token], other))
    try reuse(person, gateway, other)
    try expire(person, gateway)
    try rotate(person, gateway)
  }

  private func makeGateway(_ suffix: String, _ tiers: [String]) throws(PostgresError) -> Subject {
    let login = try makeLogin(suffix)
    try admin.execute("SELECT access.enroll_gateway($1, $2)", [.text(login.name), .texts(tiers)])
    return Subject(login, "gateway", [], try open(login))
  }

  private func issue(_ person: Subject, _ gateway: Subject, seconds: Int64 = 60) throws(PostgresError) -> String {
    try admin.execute(
      "SELECT access.issue($1, $2, $3::bigint::integer)", [.text(person.login.name), .text(gateway.login.name), .integer(seconds)]
    ).text(0, 0) ?? ""
  }

  /// Shows tokens in one transaction. nil: every one was refused, and no row is seen.
  private func assumed(_ tokens: [String], _ gateway: Subject, mustFail: Bool = true) throws(PostgresError) -> String? {
    let connection = gateway.connection
    for token in tokens {
      try connection.script("BEGIN")
      defer { _ = try? connection.script("ROLLBACK") }
      do throws(PostgresError) {
        try connection.execute("SELECT access.assume($1)", [.text(token)])
        if mustFail { return "it was accepted" }
      } catch { guard error.sqlState == "28000" || !mustFail else { throw error } }
    }
    return try visibleRows(gateway)
  }

  /// nil: the gateway sees no row of anything that tiers read.
  private func visibleRows(_ gateway: Subject) throws(PostgresError) -> String? {
    for relation in Set(rules.map(\.relation)).sorted() {
      let count = try gateway.connection.query("SELECT count(*) FROM (SELECT 1 FROM analytics.\(SQL.identifier(relation)) LIMIT 10) t")[0][0]
      if count != "0" { return "rows of analytics.\(relation) are seen" }
    }
    return nil
  }

  /// One character of every field changed, fields swapped, left out and taken from another token.
  private func tamper(_ person: Subject, _ gateway: Subject) throws(PostgresError) {
    let token = try issue(person, gateway)
    let parts = token.split(separator: ".").map(String.init)
    let names = ["version", "key", "person", "gateway", "issued", "expires", "nonce", "MAC"]
    for field in parts.indices {
      var changed = parts
      let last = changed[field].removeLast()
      changed[field].append(last == "1" ? "2" : "1")
      var longer = parts
      longer[field] += field == 0 || field == 1 || field == 4 || field == 5 ? "9" : "61"
      var absent = parts
      absent.remove(at: field)
      var empty = parts
      empty[field] = ""
      let tokens = [changed, longer, absent, empty].map { $0.joined(separator: ".") }
      record("a token with another \(names[field])", gateway, try assumed(tokens, gateway))
    }
    let other = try issue(person, gateway).split(separator: ".").map(String.init)
    for field in 5..<8 {
      var mixed = parts
      mixed[field] = other[field]
      if mixed != parts, mixed != other { record("two tokens mixed", gateway, try assumed([mixed.joined(separator: ".")], gateway)) }
    }
    var upper = parts
    upper[7] = upper[7].uppercased()
    if upper != parts { record("a token written otherwise", gateway, try assumed([upper.joined(separator: "."), token + ".", " " + token, token + "\n"], gateway)) }
  }

  /// Good in its transaction, and in no other: not in the next of the same server session, as behind a pooler, and not elsewhere.
  private func reuse(_ person: Subject, _ gateway: Subject, _ other: Subject) throws(PostgresError) {
    let token = try issue(person, gateway)
    let connection = gateway.connection
    try connection.script("BEGIN")
    try connection.execute("SELECT access.assume($1)", [.text(token)])
    let who = try connection.query("SELECT DISTINCT person FROM access.whoami()").first?[0]
    if who != person.login.name { record("a good token", gateway, "it speaks for \(who ?? "nobody")") }
    // Somebody else's words in the same transaction change nothing.
    try perform(["SAVEPOINT s", "SELECT set_config('tidemark.person', 'ceo', true)"], gateway)
    for target in partial(person) {
      let count = try connection.query(
        "SELECT count(*) FROM \(target.relation) WHERE \(target.column) <> ALL (ARRAY[\(target.own.map(SQL.literal).joined(separator: ", "))]::text[])")[0][0]
      record("rows of others with a good token", gateway, count == "0" ? nil : "\(count ?? "?") in \(target.relation)")
    }
    let second = try issue(person, gateway)
    do throws(PostgresError) {
      try connection.execute("SELECT access.assume($1)", [.text(second)])
      record("a second identity in one transaction", gateway, "it was accepted")
    } catch { record("a second identity in one transaction", gateway, nil) }
    try connection.script("ROLLBACK")
    try connection.script("BEGIN")
    try connection.execute("SELECT access.assume($1)", [.text(token)])
    try connection.script("COMMIT")
    record("the transaction after a token's", gateway, try visibleRows(gateway))
    record("a token once more in a later transaction", gateway, try assumed([token], gateway))
    let session = try open(gateway.login)
    record("a token once more in another session", gateway, try assumed([token], Subject(gateway.login, "gateway", [], session)))
  }

  private func expire(_ person: Subject, _ gateway: Subject) throws(PostgresError) {
    let token = try issue(person, gateway, seconds: 1)
    let late = try assumed(person, gateway)
    try admin.script("SELECT pg_sleep(GREATEST(0.1, extract(epoch FROM to_timestamp(\(late.split(separator: ".")[5])) - clock_timestamp()) + 0.1))")
    record("a transaction that outlives its token", gateway, try visibleRows(gateway))
    try gateway.connection.script("ROLLBACK")
    record("an expired token", gateway, try assumed([token], gateway))
  }

  /// Begins a transaction that speaks for a person by a token that is over soon: how soon is too soon depends on how busy the server is.
  private func assumed(_ person: Subject, _ gateway: Subject) throws(PostgresError) -> String {
    var seconds: Int64 = 1
    while true {
      let token = try issue(person, gateway, seconds: seconds)
      try gateway.connection.script("BEGIN")
      do throws(PostgresError) {
        try gateway.connection.execute("SELECT access.assume($1)", [.text(token)])
        return token
      } catch {
        guard error.sqlState == "28000", seconds < 60 else { throw error }
        try gateway.connection.script("ROLLBACK")
        seconds *= 2
      }
    }
  }

  /// A key that is gone signs nothing; the real keys stay: this asks with numbers of keys that are not there.
  private func rotate(_ person: Subject, _ gateway: Subject) throws(PostgresError) {
    var parts = try issue(person, gateway).split(separator: ".").map(String.init)
    let key = Int(parts[1]) ?? 0
    let tokens = [key - 1, key + 1, 0, 999_999_999].map { number -> String in
      parts[1] = String(max(0, number))
      return parts.joined(separator: ".")
    }
    record("a token of another key", gateway, try assumed(tokens, gateway))
  }

  /// Prepared statements, cursors and snapshots from before a revocation.
  func attackByRevocation() throws(PostgresError) {
    guard let tier = rules.first(where: { $0.rows == "own" }) ?? rules.first else { return }
    let departments = tier.rows == "own" ? [subjects.flatMap(\.grants).flatMap(\.departments).first ?? "x"] : []
    let subject = try add("revoked", [(tier.tier, departments)])
    let relation = "analytics.\(SQL.identifier(tier.relation))"
    try subject.connection.script("PREPARE verify_p AS SELECT count(*) FROM \(relation)")
    try subject.connection.script("EXECUTE verify_p")
    let old = try open(subject.login)
    try old.script("BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM \(relation); FETCH 1 FROM c")
    try admin.execute("SELECT access.revoke_tier($1, NULL, NULL)", [.text(subject.login.name)])
    let again = try perform(["EXECUTE verify_p", "SELECT count(*) FROM \(relation)", "SELECT * FROM access.whoami()"], subject)
    record("a prepared statement after revocation", subject, again.first { !$0.hasPrefix("ERROR") }.map { "it answered \($0)" })
    do throws(PostgresError) {
      try old.script("SELECT count(*) FROM \(relation)")
      record("an old snapshot after revocation", subject, "the tier's relation could still be read")
    } catch {
      guard error.consequence != .connectionLost else { throw error }
      record("an old snapshot after revocation", subject, nil)
    }
    // `tidemark access revoke` ends the person's sessions: cursors go with them.
    let sessions = try admin.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", [.text(subject.login.name)])
    let rest = (try? old.query("FETCH ALL FROM c")) != nil
    record("a cursor after revocation", subject, rest || sessions.isEmpty ? "it could still be read" : nil)
    subjects.removeAll { $0 === subject }
  }
}
