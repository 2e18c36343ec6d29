import Foundation
import Glibc
import Testing

/// What a hostile topic and a careless operator can do to the command: less memory than they like, and no password shown.
@Suite struct HostileTests {
  private func run(_ arguments: [String], _ environment: [String: String] = [:]) throws -> (code: Int32, text: String) {
    let process = Process()
    let output = Pipe()
    process.executableURL = TidemarkProcess.binary
    process.arguments = arguments
    process.environment = environment
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  /// Connection strings that libpq cannot read, or cannot use: it likes to repeat them.
  @Test(arguments: [
    "postgres://u:hunter2@[::1/db", "postgres://u:hunter2@h/db?x=%zz", "postgres://u:hunter2@h/db?nonsense=1", "host=x password=hun hunter2",
    "password='hunter2", "host=127.0.0.1 port=1 password=hunter2", "postgres://u:hunter2@127.0.0.1:1/db",
  ])
  func noPasswordOfPostgreSQLIsRepeated(_ target: String) throws {
    for said in [try run(["status"], ["TIDEMARK_POSTGRES": target]), try run(["status", "--postgres", target])] {
      #expect([65, 69].contains(said.code) && !said.text.contains("hunter2"), "\(said)")
    }
  }

  /// Usage errors repeat arguments; those that hold a password are said to be seen by everybody.
  @Test func noPasswordOfTheArgumentsIsRepeated() throws {
    let config = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-kafka-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: config) }
    try Data("sasl.password=hunter2\nhunter2\n".utf8).write(to: config)
    let topology = Repository.topology("product-events")
    let cases: [(arguments: [String], isSeen: Bool)] = [
      (["status", "postgres://u:hunter2@h/x"], true), (["status", "host=h password=hunter2"], true), (["status", "host=h password='hun hunter2'"], true),
      (["status", "--postgre", "host=h user=u password = hunter2 dbname=d"], true),
      (["run", "--topology", topology, "--data-dir", "/tmp/x", "--kafka-set", "hunter2"], false),
      (["run", "--topology", topology, "--data-dir", "/tmp/x", "--kafka-config", config.path], false),
      (["run", "--topology", topology, "--data-dir", "/tmp/x", "--kafka", "h", "--kafka-set", "sasl.password=hunter2", "--batch", "0"], true),
    ]
    for (arguments, isSeen) in cases {
      let said = try run(arguments)
      #expect([64, 65].contains(said.code) && !said.text.contains("hunter2"), "\(said)")
      #expect(said.text.contains("warning: a password is among the arguments") == isSeen, "\(said)")
    }
    #expect(try run(["--help"]).text.hasPrefix("OVERVIEW") && run(["--version"]).text == "0.1.0\n" && run([]).code == 0)
  }

  /// More users and ids than the state may hold: partitions are held with an alert, the process lives, nothing is dropped.
  @Test func stateOverItsBudgetHoldsPartitionsAndLosesNothing() throws {
    let world = try World("state_budget", partitions: 2)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark(
      "generate", "--topic", "product.events", "--topology", topology, "--events", "40000", "--users", "40000", "--payload-bytes", "0", "--expect", expected)
    let small = try world.instance("small", topology, "--state-budget", "2", "--workers", "1")
    #expect(awaitTrue { (try? world.rows("SELECT count(*) > 0 FROM tidemark.alert WHERE kind = 'state_over_budget'")[0][0]) == "t" }, "\(small.messages)")
    #expect(small.messages.contains("Raise --state-budget") && world.consumed < 40_000)
    small.send(SIGTERM)
    #expect(small.wait().code == 0)
    let ended = try world.instance("large", topology, "--until-caught-up").wait()
    #expect(ended.code == 0, "\(ended.messages)")
    try world.tidemark("compare-expected", expected)
    try world.expectUnbrokenLedger()
  }
}
