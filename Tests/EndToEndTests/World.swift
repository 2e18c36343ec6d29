import Foundation
import Kafka
import LocalServers
import Postgres
import Testing

/// One PostgreSQL for the process; restarts would disturb others, so tests that restart it make their own.
let sharedServer = Result { try EphemeralPostgres() }

/// A broker in a process of its own, a database, and directories: one world a test.
final class World {
  let directory: URL
  let server: EphemeralPostgres
  let database: String
  private(set) var broker: TidemarkProcess?

  private let library: String?

  /// - Parameters:
  ///   - partitions: of each topic.
  ///   - library: a directory with the librdkafka that commands and broker are to use instead of the distribution's.
  init(_ name: String, partitions: Int, server: EphemeralPostgres? = nil, library: String? = nil) throws {
    self.library = library
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-\(name)-\(UUID().uuidString.prefix(6))")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    self.server = try server ?? sharedServer.get()
    database = name
    let admin = try Connection(self.server.target, applicationName: "tests")
    try admin.script("CREATE DATABASE \(SQL.identifier(name))")
    let made = try TidemarkProcess(["broker", "--partitions", "\(partitions)"], world: self, name: "broker")
    broker = made
    servers = made.line()
  }

  private(set) var servers = ""

  deinit {
    broker?.send(SIGTERM)
    broker?.process.waitUntilExit()
    try? FileManager.default.removeItem(at: directory)
  }

  var target: String { server.target(database: database, user: "postgres") }

  var environment: [String: String] {
    ["TIDEMARK_KAFKA": servers, "TIDEMARK_POSTGRES": target].merging(library.map { ["LD_LIBRARY_PATH": $0] } ?? [:]) { $1 }
  }

  /// Runs a command to its end and expects an exit code.
  @discardableResult
  func tidemark(_ arguments: String..., code: Int32 = 0, location: SourceLocation = #_sourceLocation) throws -> TidemarkProcess.Ended {
    let ended = try TidemarkProcess(arguments, world: self).wait()
    #expect(ended.code == code, "\(arguments.joined(separator: " ")): \(ended.messages)\(ended.output)", sourceLocation: location)
    return ended
  }

  /// Starts an instance.
  func instance(_ name: String, _ topology: String, _ more: String...) throws -> TidemarkProcess {
    try TidemarkProcess(
      ["run", "--topology", topology, "--data-dir", directory.appendingPathComponent("data-\(name)").path, "--instance", name,
        "--kafka-set", "session.timeout.ms=6000", "--kafka-set", "heartbeat.interval.ms=500"] + more, world: self, name: name)
  }

  func rows(_ sql: String) throws -> [[String?]] { try Connection(target, applicationName: "tests").query(sql) }

  /// Offsets in the ledger.
  var consumed: Int {
    guard let rows = try? rows("SELECT COALESCE(sum(to_offset - from_offset), 0) FROM tidemark.ledger"), let text = rows[0][0] else { return 0 }
    return Int(text) ?? 0
  }

  /// Flushes of an instance.
  func flushes(of instance: String) -> Int {
    guard let rows = try? rows("SELECT count(*) FROM tidemark.ledger WHERE instance = '\(instance)'"), let text = rows[0][0] else { return 0 }
    return Int(text) ?? 0
  }

  /// Rows of every analytics table, ledger totals per partition, late counts, quarantine: what has to be equal however
  /// an instance was treated.
  func results(_ tables: [String]) throws -> [String] {
    let connection = try Connection(target, applicationName: "tests")
    var lines: [String] = []
    for table in tables {
      for row in try connection.query("SELECT (to_jsonb(t) - 'updated_at')::text FROM analytics.\(table) t ORDER BY 1") { lines.append("\(table) \(row[0]!)") }
    }
    for sql in [
      """
      SELECT topic, partition, min(from_offset), max(to_offset), sum(applied), sum(filtered), sum(duplicate), sum(late), sum(quarantined),
             sum(gap), sum(tombstones), sum(misrouted) FROM tidemark.ledger GROUP BY 1, 2 ORDER BY 1, 2
      """,
      "SELECT topic, partition, \"offset\", reason, field, event_time, md5(payload) FROM tidemark.quarantine ORDER BY 1, 2, 3",
      "SELECT aggregate, window_start, key, late FROM tidemark.late_count ORDER BY 1, 2, 3",
    ] {
      for row in try connection.query(sql) { lines.append(row.map { $0 ?? "NULL" }.joined(separator: " ")) }
    }
    return lines
  }

  /// The ledger has neither holes nor overlaps, reaches where the partition stands, and calls nothing a gap: these topics have
  /// a message at every offset, so a gap would be a lost one.
  func expectUnbrokenLedger(location: SourceLocation = #_sourceLocation) throws {
    let broken = try rows(
      """
      SELECT topic, partition, from_offset, previous FROM (
        SELECT topic, partition, from_offset, lag(to_offset) OVER (PARTITION BY topology, topic, partition ORDER BY from_offset) AS previous
          FROM tidemark.ledger) l WHERE previous IS DISTINCT FROM from_offset AND previous IS NOT NULL
      """)
    #expect(broken == [], sourceLocation: location)
    let ends = try rows(
      """
      SELECT p.topic, p.partition FROM tidemark.partition p
       WHERE p.next_offset <> COALESCE((SELECT max(to_offset) FROM tidemark.ledger l
              WHERE (l.topology, l.topic, l.partition) = (p.topology, p.topic, p.partition)), p.next_offset)
      """)
    #expect(ends == [], sourceLocation: location)
    let gaps = try rows("SELECT topic, partition, from_offset, to_offset, gap, instance FROM tidemark.ledger WHERE gap > 0 ORDER BY 1, 2, 3")
    #expect(gaps == [], sourceLocation: location)
  }
}

/// Files of the repository.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  static func topology(_ name: String) -> String { root.appendingPathComponent("topologies/\(name).yaml").path }
}
