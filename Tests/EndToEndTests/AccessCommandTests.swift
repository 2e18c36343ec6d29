import Foundation
import LocalServers
import Postgres
import Testing

/// `tidemark access …` as its users run it.
@Suite struct AccessCommandTests {
  struct Database {
    let server: EphemeralPostgres
    let name: String
    let sql: Connection

    init(_ name: String) throws {
      // A server of its own: roles belong to the server.
      server = try EphemeralPostgres()
      self.name = name
      try Connection(server.target, applicationName: "tests").script("CREATE DATABASE \(name)")
      sql = try Connection(server.target(database: name, user: "postgres"), applicationName: "tests")
    }

    @discardableResult
    func tidemark(_ arguments: String..., input: String = "", code: Int32 = 0, location: SourceLocation = #_sourceLocation) throws -> (output: String, messages: String) {
      let process = Process(), output = Pipe(), messages = Pipe(), standardInput = Pipe()
      process.executableURL = TidemarkProcess.binary
      process.arguments = arguments
      process.environment = ["TIDEMARK_POSTGRES": server.target(database: name, user: "postgres")]
      process.standardInput = standardInput
      process.standardOutput = output
      process.standardError = messages
      try process.run()
      standardInput.fileHandleForWriting.write(Data(input.utf8))
      standardInput.fileHandleForWriting.closeFile()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      let words = String(decoding: messages.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(process.terminationStatus == code, "\(arguments.joined(separator: " ")): \(words)\(text)", sourceLocation: location)
      return (text, words)
    }
  }

  @Test func peopleDashboardsTokensAndTheProof() throws {
    let database = try Database("access_commands")
    let topology = Repository.topology("product-events")
    let unmigrated = try database.tidemark("access", "list", code: 65)
    #expect(unmigrated.messages.contains("tidemark migrate --topology FILE"))
    try database.tidemark("migrate", "--topology", topology)
    try database.sql.script(
      """
      INSERT INTO analytics.daily_metrics (window_start, department, event_type, event_count, unique_users, revenue_cents)
        VALUES ('2026-01-01Z', 'sales', 'a', 1, 1, 5), ('2026-01-01Z', 'legal', 'a', 2, 2, 7);
      CREATE ROLE ada LOGIN
      """)
    // People.
    let granted = try database.tidemark("access", "grant", "ada", "--tier", "department_head", "--department", "sales")
    #expect(granted.output == "ada is department_head of sales\n" && granted.messages.contains("analytics.daily_metrics"))
    #expect(try database.tidemark("access", "grant", "zoe@example.org", "--tier", "ceo").messages.contains("comes through a gateway only"))
    #expect(try database.tidemark("access", "grant", "ada", "--tier", "manger", "--department", "x", code: 65).messages.contains("there is no tier \"manger\""))
    try database.tidemark("access", "grant", code: 64)
    try database.tidemark("access", "revoke", "ada", "--department", "sales", code: 64)
    let listed = try database.tidemark("access", "list", "--format", "json").output
    #expect(listed.contains("{\"department\":\"sales\",\"grantedAt\":") && listed.contains("\"reaches\":\"gateway\",\"tier\":\"ceo\""))
    // A dashboard: the password comes from a file or is printed, once.
    let made = try database.tidemark("access", "bi-login", "metabase", "--tier", "manager", "--department", "legal")
    #expect(made.output.count == 25 && !made.messages.contains(made.output.prefix(24)))
    let given = try database.tidemark("access", "bi-login", "grafana", "--tier", "board", "--password-file", "-", input: "correct horse battery\n")
    #expect(given.output == "")
    #expect(try database.tidemark("access", "bi-login", "short", "--tier", "board", "--password-file", "-", input: "x\n", code: 65).messages.contains("at least 8"))
    let metabase = try Connection(database.server.target(database: database.name, user: "metabase"), applicationName: "tests")
    #expect(try metabase.query("SELECT department, event_count FROM daily_metrics_manager") == [["legal", "2"]])
    // A gateway.
    try database.tidemark("access", "gateway", "api", "--tier", "department_head", "--tier", "ceo")
    let token = try database.tidemark("access", "token", "ada", "--gateway", "api").output.trimmingCharacters(in: .newlines)
    let api = try Connection(database.server.target(database: database.name, user: "api"), applicationName: "tests")
    #expect(try api.query("SELECT count(*) FROM analytics.daily_metrics") == [["0"]])
    try api.script("BEGIN")
    #expect(try api.query("SELECT access.assume($1)", [.text(token)]) == [["ada"]])
    #expect(try api.query("SELECT department FROM analytics.daily_metrics") == [["sales"]])
    try api.script("COMMIT")
    #expect(try api.query("SELECT count(*) FROM analytics.daily_metrics") == [["0"]])
    #expect(try database.tidemark("access", "token", "nobody", "--gateway", "api", code: 65).messages.contains("nothing is granted to"))
    try database.tidemark("access", "token", "ada", "--gateway", "api", "--seconds", "0", code: 64)
    #expect(try database.tidemark("access", "rotate-key").output.contains("key 2"))
    // The proof.
    let sound = try database.tidemark("access", "verify", "--topology", topology)
    #expect(sound.output.contains("department_head  analytics.daily_metrics") && sound.output.contains(": 0 gained something"))
    try database.sql.script("ALTER TABLE analytics.daily_metrics DISABLE ROW LEVEL SECURITY")
    let leaky = try database.tidemark("access", "verify", code: 3)
    #expect(leaky.output.contains("LEAK table analytics.daily_metrics: has no row-level security"))
    #expect(try database.tidemark("access", "verify", "--format", "json", code: 3).output.contains("\"kind\":\"table\""))
    try database.tidemark("migrate", "--topology", topology)
    try database.tidemark("access", "verify")
    // Revoked, with the sessions; and all of it in the audit.
    let open = try Connection(database.server.target(database: database.name, user: "ada"), applicationName: "tests")
    #expect(try open.query("SELECT count(*) FROM analytics.daily_metrics") == [["1"]])
    #expect(try database.tidemark("access", "revoke", "ada").messages.contains("1 session of ada ended"))
    #expect(throws: PostgresError.self) { try open.query("SELECT count(*) FROM analytics.daily_metrics") }
    try database.tidemark("access", "revoke", "ada", code: 65)
    let history = try database.tidemark("access", "history").output
    #expect(history.contains("revoke") && history.contains("gateway") && history.contains("key 2"))
    database.server.close()
  }
}
