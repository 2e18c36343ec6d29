import Foundation
import Testing

/// Exit codes and words that scripts and people rely on.
@Suite struct CommandLineTests {
  private func run(_ arguments: String..., environment: [String: String] = [:]) throws -> (code: Int32, output: String, messages: String) {
    let process = Process()
    let output = Pipe(), messages = Pipe()
    process.executableURL = TidemarkProcess.binary
    process.arguments = arguments
    process.environment = environment
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = messages
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let words = String(decoding: messages.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text, words)
  }

  @Test func aBadTopologyIs65WithItsPlace() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-bad-\(UUID().uuidString.prefix(6)).yaml")
    defer { try? FileManager.default.removeItem(at: file) }
    let yaml = try String(contentsOfFile: Repository.topology("product-events"), encoding: .utf8)
    try yaml.replacing("zone: UTC ", with: "zon: UTC ").write(to: file, atomically: true, encoding: .utf8)
    let bad = try run("validate", file.path)
    #expect(bad.code == 65)
    let line = yaml.split(separator: "\n", omittingEmptySubsequences: false).firstIndex { $0.contains("zone: UTC") }! + 1
    #expect(bad.messages.contains("\(file.path):\(line):3: unknown key \"zon\" in time: did you mean \"zone\"?"))
    #expect(try run("validate", "/nowhere.yaml").code == 65)
    let good = try run("validate", Repository.topology("product-events"), Repository.topology("git-activity"))
    #expect(good.code == 0 && good.output.contains("topology git-activity is valid"))
  }

  @Test func usageIs64() throws {
    #expect(try run("run").code == 64)
    #expect(try run("validate").code == 64)
    #expect(try run("generate", "--topic", "t", "--late", "7").code == 64)
    #expect(try run("nonsense").code == 64)
    let noKafka = try run("run", "--topology", Repository.topology("product-events"), "--data-dir", "/tmp/x")
    #expect(noKafka.code == 64 && noKafka.messages.contains("TIDEMARK_KAFKA"))
  }

  @Test func aServerThatIsAwayIs69() throws {
    let away = try run("status", "--postgres", "host=127.0.0.1 port=1 password=hunter2")
    #expect(away.code == 69)
    #expect(!away.messages.contains("hunter2") && !away.messages.contains("name the server by"))
    // Where nobody said which server, the message says how to.
    let nowhere = try run("status", environment: ["PGPORT": "1"])
    #expect(nowhere.code == 69 && nowhere.messages.contains("name the server by --postgres or TIDEMARK_POSTGRES"))
  }

  @Test func explainShowsTablesAndSQL() throws {
    let said = try run("explain", Repository.topology("product-events"))
    #expect(said.code == 0)
    for words in ["daily_metrics", "CREATE TABLE IF NOT EXISTS analytics.\"daily_active_users\"", "ON CONFLICT", "FORCE ROW LEVEL SECURITY"] {
      #expect(said.output.contains(words), "\(words)")
    }
  }

  @Test func helpNamesEveryCommandWithExamples() throws {
    let help = try run("--help").output
    for command in ["validate", "explain", "migrate", "run", "status", "quarantine", "access", "accept-gap", "replay", "generate", "broker", "demo"] {
      #expect(help.contains("  \(command)"), "\(command)")
      if command != "quarantine" { #expect(try run(command, "--help").output.contains("EXAMPLES"), "\(command)") }
    }
  }

  @Test func dryRunPrintsWhatMigrateRuns() throws {
    let said = try run("migrate", "--dry-run", "--topology", Repository.topology("git-activity"))
    #expect(said.code == 0)
    #expect(said.output.contains("CREATE TABLE IF NOT EXISTS tidemark.ledger") && said.output.contains("analytics.\"activity_hourly\""))
  }
}
