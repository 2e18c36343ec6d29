import Aggregation
import Alerting
import Channels
import Engine
import Foundation
import LocalServers
import Postgres
import Runtime
import Testing
import Topologies
import Warehouse

/// One server for all tests of the process; every test has a database of its own in it.
let server = Result { try EphemeralPostgres(parameters: ["shared_preload_libraries=pg_stat_statements", "pg_stat_statements.max=50000", "autovacuum=off"]) }

let minute: Int64 = 60_000_000
let hour: Int64 = 60 * minute

/// A migrated database, a webhook server, and a clock that tests move: facts carry its time, so nobody waits for minutes.
final class Monitored {
  static let yaml = """
    topology: shop-events
    source: { topics: [shop], format: json, partition_key: user }
    event: { id: id, time: at, fields: { user: string, kind: string, shop: { type: string, default: none } } }
    time: { allowed_lateness: 1h, zone: UTC }
    aggregates:
      shop_by_minute:
        window: { tumbling: 1 minute }
        by: [kind]
        measures: { n: count }

    """
  let topology: Topology
  let sql: Connection
  let target: String
  let hook: WebhookServer
  /// Microseconds since the epoch; begins at the database's.
  var now: Int64
  var ends: [PartitionID: Int64] = [:]
  var channels: [any AlertChannel]

  init(_ name: String, monitor: String = "", yaml: String = Monitored.yaml) throws {
    let here = try server.get()
    try Connection(here.target, applicationName: "tests").script("CREATE DATABASE \(SQL.identifier(name))")
    target = here.target(database: name, user: "postgres")
    sql = try Connection(target, applicationName: "tests")
    topology = try Topology.parse(yaml: yaml + monitor, file: "shop.yaml")
    hook = try WebhookServer()
    channels = [WebhookChannel(name: "webhook", url: "\(hook.url)/secret-path", form: .notice)!]
    now = try sql.execute("SELECT now()").timestamp(0, 0)! / minute * minute
    try migrate()
  }

  func migrate() throws { _ = try Migration.run([topology], on: sql) { 4711 } }

  /// One pass, so many minutes after the last. Each has a store of its own: nothing but the database remembers.
  @discardableResult
  func pass(minutes: Int64 = 0) throws -> MonitorPass.Report {
    now += minutes * minute
    let store = MonitorStore(target: target, topology: topology, name: "tests")
    let ends = ends
    let pass = MonitorPass(store: store, topology: topology, channels: channels, ends: { _ in ends })
    let report = try pass.run(now: now)
    return try #require(report)
  }

  /// What came since the last call, as `phase kind subject`.
  func received() throws -> [String] {
    defer { taken = hook.received.count }
    return try hook.received.dropFirst(taken).map { request in
      let notice = try #require(try JSONSerialization.jsonObject(with: Data(request.body.utf8)) as? [String: Any])
      lastMessage = notice["message"] as? String ?? ""
      return [notice["phase"], notice["kind"], notice["subject"]].compactMap { $0 as? String }.joined(separator: " ")
    }
  }
  private var taken = 0
  private(set) var lastMessage = ""

  /// The condition holds until `until` is called: the alert is raised and received once, then resolved two minutes after it is gone.
  func expectRaisedAndResolved(_ alert: String, saying words: String, every minutes: Int64 = 1, gone: () throws -> Void, location: SourceLocation = #_sourceLocation)
    throws
  {
    try pass()
    #expect(try received() == ["raised \(alert)"], sourceLocation: location)
    #expect(lastMessage.contains(words), "\(lastMessage)", sourceLocation: location)
    try pass()
    #expect(try received() == [], "said once", sourceLocation: location)
    try gone()
    for _ in 0..<3 { try pass(minutes: minutes) }
    #expect(try received() == ["resolved \(alert)"], sourceLocation: location)
    #expect(try open() == [], sourceLocation: location)
  }

  func open() throws -> [String] { try sql.query("SELECT kind FROM tidemark.alert WHERE resolved_at IS NULL ORDER BY 1").compactMap { $0[0] } }

  // MARK: An instance's doing

  static let id = PartitionID(topic: "shop", partition: 0)

  func acquire(_ instance: String = "a", partitions: [PartitionID] = [id]) throws -> [AcquiredPartition] {
    let acquired = try Warehouse(target: target, instance: instance, plan: topology.plan()).acquire(partitions) { _ in Offset(0) }
    for partition in acquired { epochs[partition.partition] = partition.epoch }
    return acquired
  }
  private var epochs: [PartitionID: Epoch] = [:]

  /// The instance that acquired the partition raises an alert: one under another epoch would not be kept.
  func raise(_ message: String) throws {
    let epoch = try #require(epochs[Self.id])
    try Warehouse(target: target, instance: "a", plan: topology.plan()).alert(Self.id, epoch, kind: "offset_out_of_range", message)
  }

  /// Alerts as instances leave them in the book, for partitions that nothing else is known of.
  func book(_ message: String, _ partitions: Range<Int32> = 0..<1) throws {
    try sql.execute(
      """
      WITH p AS (SELECT generate_series($1::bigint, $2::bigint) AS number),
        seen AS (UPDATE tidemark.alert a SET last_seen_at = now(), seen = a.seen + 1 FROM p
                  WHERE a.partition = p.number AND a.kind = 'offset_out_of_range' AND a.resolved_at IS NULL RETURNING p.number)
      INSERT INTO tidemark.alert (topology, topic, partition, kind, message)
      SELECT $3, 'shop', number, 'offset_out_of_range', $4 FROM p WHERE number NOT IN (SELECT number FROM seen)
      """, [.integer(Int64(partitions.lowerBound)), .integer(Int64(partitions.upperBound) - 1), .text(topology.name), .text(message)])
  }

  private var next: Int64 = 0

  /// Flushes as an instance does. The ledger's and the quarantine's times are the tests' then.
  func flush(_ partition: AcquiredPartition, applied: Int64, quarantined: Int64 = 0, end: Int64? = nil, at time: Int64? = nil) throws {
    var delta = Delta(from: Offset(next), to: Offset(next + applied + quarantined), aggregateCount: 1)
    delta.ledger.applied = applied
    delta.ledger.quarantined = quarantined
    for i in 0..<quarantined {
      delta.quarantine.append(
        QuarantinedEvent(offset: Offset(next + i), reason: .invalidJSON, field: "", timestamp: 0, eventTime: nil, payload: [1], payloadBytes: 1, key: []))
    }
    let part = FlushRequest.Part(partition: partition.partition, epoch: partition.epoch, watermarkBefore: nil, delta: delta, endOffset: end.map { Offset($0) })
    let outcome = Warehouse(target: target, instance: "a", plan: topology.plan()).flush(FlushRequest(id: 1, parts: [part]))
    guard case .committed = outcome else { throw FlushFailed(outcome: "\(outcome)") }
    try sql.execute(
      "UPDATE tidemark.ledger SET flushed_at = $1 WHERE from_offset = $2 AND topic = $3", [.timestamp(time ?? now), .integer(next), .text(partition.partition.topic)])
    next += applied + quarantined
  }
  struct FlushFailed: Error { let outcome: String }

  /// Rows of the aggregate, as flushes leave them: so many events of a type in the hour that ends at `end`.
  func count(_ kind: String, _ events: Int64, inHourBefore end: Int64) throws {
    try sql.execute(
      """
      INSERT INTO analytics.shop_by_minute AS t (window_start, kind, n)
      SELECT $1::timestamptz - i * interval '1 minute', $2, $3 / 60 FROM generate_series(1, 60) i
      ON CONFLICT (window_start, kind) DO UPDATE SET n = excluded.n
      """, [.timestamp(end), .text(kind), .integer(events)])
  }
}
