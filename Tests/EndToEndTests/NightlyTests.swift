import Foundation
import LocalServers
import Postgres
import Testing

/// Refreshes that fail, and a reconciliation beside a stream at full speed.
@Suite(.serialized) struct NightlyTests {
  /// A lock, a missing index, no room: recorded, alerted, and the old rows stay.
  @Test func aRefreshThatFailsIsRecordedAndLeavesTheOldRows() throws {
    let world = try World("refreshfails", partitions: 2)
    let topology = Repository.topology("product-events")
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("generate", "--topic", "product.events", "--events", "5000", "--users", "300", "--payload-bytes", "0")
    try world.tidemark("land", "--topology", topology, "--until-caught-up")
    try world.tidemark("run", "--topology", topology, "--until-caught-up", "--data-dir", world.directory.path + "/data")
    try world.tidemark("nightly")
    let views = ["daily_active_users", "daily_metrics", "events_per_minute"]
    func contents() throws -> [[String?]] {
      try views.map { try world.rows("SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM nightly.\($0) t")[0] }
    }
    let rows = try contents()
    let sql = try Connection(world.target, applicationName: "tests")

    try sql.script("BEGIN; REFRESH MATERIALIZED VIEW nightly.daily_metrics")
    let locked = try world.tidemark("nightly", "--lock-timeout", "200ms", code: 75)
    #expect(locked.messages.contains("nightly.daily_metrics was not refreshed, its old rows stay: canceling statement due to lock timeout"))
    try sql.script("ROLLBACK")
    #expect(try last(world) == ["failed", "55P03"])
    #expect(try alerts(world) == ["nightly.daily_metrics"])
    try world.tidemark("nightly")
    #expect(try alerts(world) == [])

    try sql.script("DROP INDEX nightly.daily_metrics_key")
    let unindexed = try world.tidemark("nightly", code: 65)
    #expect(unindexed.messages.contains("run `tidemark migrate` if its unique index is missing"))
    #expect(try last(world) == ["failed", "55000"])
    try world.tidemark("migrate", "--topology", topology)
    try world.tidemark("nightly")

    // A disk of 96 kB for what a refresh writes.
    if let disk = try SmallDisk() {
      try sql.script("INSERT INTO raw.events_product_events SELECT topic, partition, \"offset\" + g * 1000000, event_time, record_time, key, event_type, user_id, department || g, amount_cents, event_id || g, payload FROM raw.events_product_events, generate_series(1, 20) g")
      try sql.execute("CREATE TABLESPACE small LOCATION '\(disk.path)'")
      try sql.execute("GRANT CREATE ON TABLESPACE small TO tidemark_batch")
      try sql.execute("ALTER DATABASE \(world.database) SET temp_tablespaces = 'small'")
      let full = try world.tidemark("nightly", code: 75)
      #expect(full.messages.contains("No space left on device"), "\(full.messages)")
      try sql.execute("ALTER DATABASE \(world.database) RESET temp_tablespaces")
      let failed = try views.filter { try last(world, $0)[0] == "failed" }
      let records = try world.rows("SELECT view_name, outcome, sql_state, reason FROM tidemark.refresh ORDER BY id DESC LIMIT 3")
      #expect(!failed.isEmpty, "\(full.messages) \(records)")
      #expect(try alerts(world) == failed.map { "nightly.\($0)" })
      let after = try contents()
      for (i, view) in views.enumerated() where failed.contains(view) { #expect(after[i] == rows[i], "\(view)") }
    }
    #expect(try world.rows("SELECT count(*) FROM tidemark.refresh WHERE finished_at IS NULL OR (outcome = 'failed' AND reason IS NULL)") == [["0"]])
  }

  private func last(_ world: World, _ view: String = "daily_metrics") throws -> [String?] {
    try world.rows("SELECT outcome, sql_state FROM tidemark.refresh WHERE view_name = '\(view)' ORDER BY id DESC LIMIT 1")[0]
  }
  private func alerts(_ world: World) throws -> [String] {
    try world.rows("SELECT topic FROM tidemark.alert WHERE kind = 'refresh_failed' AND resolved_at IS NULL ORDER BY 1").map { $0[0]! }
  }

  /// A file system of 96 kB that belongs to the server; nil where this process may not mount one.
  private final class SmallDisk {
    let path: String
    init?() throws {
      path = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-disk-\(UUID().uuidString.prefix(6))").path
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      guard Self.run("mount", "-t", "tmpfs", "-o", "size=96k,mode=777", "tmpfs", path) else {
        try? FileManager.default.removeItem(atPath: path)
        return nil
      }
      guard Self.run("chown", "postgres", path) else { return nil }
    }
    deinit {
      _ = Self.run("umount", "-l", path)
      try? FileManager.default.removeItem(atPath: path)
    }
    private static func run(_ command: String...) -> Bool {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = command
      process.standardError = FileHandle.nullDevice
      guard (try? process.run()) != nil else { return false }
      process.waitUntilExit()
      return process.terminationStatus == 0
    }
  }

  /// Again and again while both sides consume: no open window is reported, nobody waits for it, and nothing is unexplained.
  @Test func aReconciliationBesideAStreamAtFullSpeed() throws {
    let world = try World("beside", partitions: 4)
    let yaml = try String(contentsOfFile: Repository.topology("product-events"), encoding: .utf8)
    let topology = world.directory.appendingPathComponent("product-events.yaml").path
    try yaml.replacing("allowed_lateness: 48h", with: "allowed_lateness: 1h").write(toFile: topology, atomically: true, encoding: .utf8)
    try world.tidemark("migrate", "--topology", topology)
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--topology", topology, "--events", "120000", "--users", "2000", "--rate", "6000", "--span", "4 days",
        "--late", "0.01", "--duplicates", "0.01", "--payload-bytes", "0"], world: world)
    let run = try world.instance("a", topology, "--flush-interval", "100ms")
    let land = try TidemarkProcess(["land", "--topology", topology, "--flush-interval", "100ms"], world: world, name: "land")
    #expect(awaitTrue { world.consumed > 20_000 }, "\(run.messages)")
    var checks = 0
    while generate.process.isRunning {
      let before = world.consumed
      let ended = try TidemarkProcess(["nightly", "--format", "json", "--accept", "explained", "--limit", "1000"], world: world).wait()
      #expect(ended.code == 0, "\(ended.messages)\(ended.output.prefix(2000))")
      let report = try ReconciliationTests.report(ended.output)
      let through = try #require(report.completeThrough)
      // In a closed window there are late events alone; those that only the landing has so far are told apart from those that
      // the stream has judged.
      let wrong = report.aggregates.flatMap(\.differences).filter { $0.window >= through || !Set($0.classes).isSubset(of: ["late", "stream_behind"]) }
      #expect(wrong.isEmpty, "\(wrong.prefix(3)) \(through)")
      #expect(generate.process.isRunning == false || awaitTrue(seconds: 20) { world.consumed > before || !generate.process.isRunning })
      checks += 1
    }
    #expect(checks >= 2)
    #expect(generate.wait().code == 0)
    #expect(awaitTrue { world.consumed == 120_000 })
    for process in [run, land] {
      process.send(SIGTERM)
      let ended = process.wait()
      #expect(ended.code == 0, "\(ended.messages)")
      #expect(!ended.messages.contains("lock timeout") && !ended.messages.contains("deadlock"))
    }
    let report = try ReconciliationTests.report(try world.tidemark("nightly", "--format", "json", "--accept", "explained").output)
    #expect(report.books.isEmpty && report.differences > 50)
  }
}
