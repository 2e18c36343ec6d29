import Foundation
import Postgres
import Testing
import Workload

/// The real events, where they are at hand: TIDEMARK_EVENTS names the file.
enum GitActivity {
  static let file: String? = {
    let named = ProcessInfo.processInfo.environment["TIDEMARK_EVENTS"]
    let beside = Repository.root.deletingLastPathComponent().appendingPathComponent("shared/events/git-activity.ndjson.gz").path
    return [named, beside].compactMap { $0 }.first { FileManager.default.fileExists(atPath: $0) }
  }()
  static let tables = ["activity_daily", "activity_hourly", "people_daily"]
  static let count = 325_727

  /// Loads the file into `batch.events` of the world's database.
  static func load(into world: World) throws {
    let connection = try Connection(world.target, applicationName: "tests")
    try connection.script("CREATE SCHEMA batch; CREATE TABLE batch.raw (line jsonb)")
    let reader = try LineReader(path: file!)
    var lines: [String?] = []
    func insert() throws {
      try connection.execute("INSERT INTO batch.raw SELECT l::jsonb FROM unnest($1) AS l", [.texts(lines)])
      lines.removeAll(keepingCapacity: true)
    }
    while let line = try reader.next() {
      lines.append(String(decoding: line, as: UTF8.self))
      if lines.count == 20_000 { try insert() }
    }
    try insert()
    try connection.script(
      """
      CREATE TABLE batch.events AS SELECT line->>'event_type' AS event_type, line->>'user_id' AS user_id, line->>'department' AS department,
        (line->>'created_at')::timestamptz AS at, (line#>>'{properties,message_bytes}')::bigint AS message_bytes FROM batch.raw
      """)
  }

  /// What batch SQL over the file says, by table.
  private static let batch = [
    "activity_daily": """
      SELECT date_trunc('day', at, 'UTC') AS window_start, department, event_type, count(*) AS event_count, count(DISTINCT user_id) AS people,
             sum(message_bytes) AS message_bytes FROM batch.events GROUP BY 1, 2, 3
      """,
    "activity_hourly": """
      SELECT date_trunc('hour', at, 'UTC') AS window_start, department, event_type, count(*) AS event_count, count(DISTINCT user_id) AS people
        FROM batch.events GROUP BY 1, 2, 3
      """,
    "people_daily": "SELECT date_trunc('day', at, 'UTC') AS window_start, count(DISTINCT user_id) AS dau FROM batch.events GROUP BY 1",
  ]

  /// Every row of every aggregate equals the batch query's, and there are as many.
  static func expectEqualToBatch(_ world: World, location: SourceLocation = #_sourceLocation) throws {
    for (table, sql) in batch.sorted(by: { $0.key < $1.key }) {
      let rows = try world.rows(
        """
        WITH batch AS (\(sql)), stream AS (SELECT * FROM analytics.\(table)),
          b AS (SELECT to_jsonb(x) AS row FROM batch x), s AS (SELECT to_jsonb(x) - 'updated_at' AS row FROM stream x)
        SELECT (SELECT count(*) FROM b), (SELECT count(*) FROM s), (SELECT count(*) FROM (TABLE b EXCEPT TABLE s) x),
               (SELECT count(*) FROM (TABLE s EXCEPT TABLE b) x)
        """)[0]
      #expect(rows[0] == rows[1], "\(table): rows in batch and stream", sourceLocation: location)
      #expect(rows[2] == "0" && rows[3] == "0", "\(table): \(rows[2]!) rows are missing, \(rows[3]!) are too much", sourceLocation: location)
      #expect(Int(rows[0]!)! > 1000, sourceLocation: location)
    }
  }

  /// A copy of the topology with another allowed lateness.
  static func topology(lateness: String, in world: World) throws -> String {
    let yaml = try String(contentsOfFile: Repository.topology("git-activity"), encoding: .utf8)
    let path = world.directory.appendingPathComponent("git-activity-\(lateness.filter(\.isNumber)).yaml").path
    try yaml.replacing("allowed_lateness: 5000 days", with: "allowed_lateness: \(lateness)").write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }
}
