import Foundation
import LocalServers
import Postgres
import Testing

/// What `migrate --dry-run` prints is the migration: psql makes the same database of it.
@Suite(.serialized) struct DryRunTests {
  /// Each on a server of its own, since roles belong to servers.
  @Test func psqlMakesTheSameDatabaseOfTheDryRun() throws {
    let migrated = try EphemeralPostgres(), byHand = try EphemeralPostgres()
    // Names in files may hold what quotes in SQL: here the file's own.
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-dry-\(UUID().uuidString.prefix(6))")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    let odd = directory.appendingPathComponent("it's $tidemark$ $$.yaml")
    let text = try String(contentsOfFile: Repository.topology("product-events"), encoding: .utf8)
    try ("# \\ :name ü $1 $$ 'x'\n" + text).write(to: odd, atomically: true, encoding: .utf8)
    let topologies = ["--topology", odd.path, "--topology", Repository.topology("git-activity")]

    let first = try run(TidemarkProcess.binary.path, ["migrate"] + topologies, on: migrated)
    #expect(first.contains("topology product-events is new") && first.contains("topology git-activity is new"))
    let sql = try run(TidemarkProcess.binary.path, ["migrate", "--dry-run"] + topologies, on: byHand)
    let file = directory.appendingPathComponent("migration.sql")
    try sql.write(to: file, atomically: true, encoding: .utf8)
    try run("/usr/bin/env", ["psql", byHand.target, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file.path], on: byHand)

    let wanted = try contents(migrated)
    #expect(wanted.contains { $0.contains("CREATE VIEW analytics.daily_metrics_board") } && wanted.contains { $0.hasPrefix("tidemark.aggregate ") })
    expectSame(try contents(byHand), wanted)
    // Again, by either: nothing is left to do, and nothing changes.
    #expect(try run(TidemarkProcess.binary.path, ["migrate"] + topologies, on: byHand) == "topology product-events is up to date\ntopology git-activity is up to date\n")
    expectSame(try contents(byHand), wanted)
    try run("/usr/bin/env", ["psql", migrated.target, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file.path], on: migrated)
    expectSame(try contents(migrated), wanted)
    let seeds = try [migrated, byHand].map { try Connection($0.target, applicationName: "tests").query("SELECT name, hash_seed FROM tidemark.topology ORDER BY 1") }
    #expect(seeds[0] != seeds[1] && seeds.allSatisfy { $0[0][1] != $0[1][1] }, "each its own")
  }

  /// What a migration refuses, psql refuses, in the same words, and nothing is done.
  @Test func psqlRefusesWhatMigrateRefuses() throws {
    let server = try EphemeralPostgres()
    let topology = Repository.topology("product-events")
    try run(TidemarkProcess.binary.path, ["migrate", "--topology", topology], on: server)
    let sql = try Connection(server.target, applicationName: "tests")
    try sql.script("INSERT INTO tidemark.partition (topology, topic, partition, next_offset, epoch) VALUES ('product-events', 't', 0, 1, 1)")
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-dry-\(UUID().uuidString.prefix(6))")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    let changed = directory.appendingPathComponent("changed.yaml"), file = directory.appendingPathComponent("migration.sql")
    try String(contentsOfFile: topology, encoding: .utf8).replacing("48h", with: "47h").write(to: changed, atomically: true, encoding: .utf8)
    try run(TidemarkProcess.binary.path, ["migrate", "--dry-run", "--topology", changed.path], on: server).write(to: file, atomically: true, encoding: .utf8)
    let before = try contents(server)
    let refused = try run(TidemarkProcess.binary.path, ["migrate", "--topology", changed.path], on: server, code: 65)
    let byHand = try run("/usr/bin/env", ["psql", server.target, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file.path], on: server, code: 3)
    for words in ["topology product-events has consumed events already, and \(changed.path) now computes something else", "new names"] {
      #expect(refused.contains(words) && byHand.contains(words), "\(refused) \(byHand)")
    }
    expectSame(try contents(server), before)
  }

  // MARK: Comparing

  private func expectSame(_ found: [String], _ wanted: [String], location: SourceLocation = #_sourceLocation) {
    let (found, wanted) = (Set(found), Set(wanted))
    #expect(found.subtracting(wanted).isEmpty && wanted.subtracting(found).isEmpty, "\(found.subtracting(wanted).sorted()) instead of \(wanted.subtracting(found).sorted())",
      sourceLocation: location)
  }

  /// The schema as pg_dump writes it, the roles with their memberships, and the rows of all books but what is drawn at random,
  /// when something was done, and by what program.
  private func contents(_ server: EphemeralPostgres) throws -> [String] {
    let dump = try run("/usr/bin/env", ["pg_dump", "-s", server.target], on: server).components(separatedBy: "\n\n\n")
      .filter { !$0.contains("\\restrict") && !$0.contains("\\unrestrict") }
      // Rights stand in the order in which they were given.
      .map { $0.contains("Type: ACL") ? $0.components(separatedBy: "\n").sorted().joined(separator: "\n") : $0 }
    let sql = try Connection(server.target, applicationName: "tests")
    let roles = try sql.query(
      """
      SELECT r.rolname || ' ' || r.rolcanlogin || r.rolsuper || r.rolcreaterole || COALESCE(shobj_description(r.oid, 'pg_authid'), ''),
             (SELECT string_agg(m.rolname || a.admin_option, ' ' ORDER BY m.rolname) FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member WHERE a.roleid = r.oid)
        FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%' ORDER BY 1
      """
    ).map { "role \($0[0] ?? "") \($0[1] ?? "")" }
    var rows: [String] = []
    let tables = try sql.query("SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('tidemark', 'access', 'raw') ORDER BY 1")
    for table in tables.compactMap({ $0[0] }) {
      rows += try sql.query("SELECT (to_jsonb(t) - '{updated_at,applied_at,created_at,granted_at,taken_at,at,application,hash_seed,secret}'::text[])::text FROM \(table) t ORDER BY 1")
        .map { "\(table) \($0[0] ?? "")" }
    }
    return dump + roles + rows
  }

  /// Runs a command to its end; what it wrote to standard output, and, where a failure is expected, to standard error.
  @discardableResult
  private func run(_ command: String, _ arguments: [String], on server: EphemeralPostgres, code: Int32 = 0, location: SourceLocation = #_sourceLocation) throws -> String {
    let process = Process(), output = Pipe(), messages = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-\(UUID().uuidString)")
    try Data().write(to: messages)
    defer { try? FileManager.default.removeItem(at: messages) }
    process.executableURL = URL(fileURLWithPath: command)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(["TIDEMARK_POSTGRES": server.target]) { $1 }
    process.standardOutput = output
    process.standardError = try FileHandle(forWritingTo: messages)
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    let said = try String(contentsOf: messages, encoding: .utf8)
    #expect(process.terminationStatus == code, "\(arguments.joined(separator: " ")): \(said)", sourceLocation: location)
    return code == 0 ? text : text + said
  }
}
