import Aggregation
import LocalServers
import Postgres
import Topologies
import Warehouse

/// One server for all tests of the process; every test has a database of its own in it.
let server = Result { try EphemeralPostgres() }

/// A migrated database, a superuser's connection to it, and a warehouse.
struct Fixture {
  static let yaml = """
    topology: shop-events
    source: { topics: [shop], format: json, partition_key: user }
    event:
      id: id
      time: at
      fields:
        user: string
        kind: string
        shop: { type: string, default: none }
        amount: { type: integer, optional: true }
        price: { type: decimal, scale: 2, optional: true }
    time: { allowed_lateness: 1h, zone: UTC }
    deduplicate: { within: 10 minutes }
    aggregates:
      by-shop:
        window: { tumbling: 1 hour }
        by: [shop, kind]
        measures: { n: count, users: distinct user, total: sum amount, low: min price, high: max amount, mean: average price }
      overall:
        window: { tumbling: 1 day }
        measures: { dau: distinct user }
    """
  let name: String
  let topology: Topology
  let sql: Connection
  let target: String

  init(_ name: String, yaml: String = Fixture.yaml, migrated: Bool = true) throws {
    self.name = name
    let here = try server.get()
    let admin = try Connection(here.target, applicationName: "tests")
    try admin.script("CREATE DATABASE \(SQL.identifier(name))")
    target = here.target(database: name, user: "postgres")
    sql = try Connection(target, applicationName: "tests")
    topology = try Topology.parse(yaml: yaml, file: "shop.yaml")
    if migrated { try migrate() }
  }

  @discardableResult
  func migrate() throws -> [String] { try Migration.run([topology], on: sql) { 4711 } }

  func warehouse(_ instance: String = "a") -> Warehouse { Warehouse(target: target, instance: instance, plan: topology.plan()) }

  func rows(_ query: String) throws -> [[String?]] { try sql.query(query) }

  static let id = PartitionID(topic: "shop", partition: 0)
  static let hour: Int64 = 3_600_000_000
  /// 2023-11-14T22:00:00Z.
  static let base: Int64 = 1_699_999_200_000_000

  /// A Delta of `count` applied events in one row of `by-shop` and one of `overall`.
  static func delta(
    from: Int64, count: Int64, shop: String = "s", members: [UInt64] = [1], amount: Int64? = 5, watermark: Int64 = base + 1_000_000
  ) -> Delta {
    var delta = Delta(from: Offset(from), to: Offset(from + count), aggregateCount: 2)
    delta.watermark = EventTime(microseconds: watermark)
    delta.ledger.applied = count
    delta.ledger.earliest = EventTime(microseconds: base)
    delta.ledger.latest = EventTime(microseconds: watermark)
    let window = watermark / hour * hour
    let day = watermark / (24 * hour) * (24 * hour)
    delta.aggregates[0].groups = [
      GroupIncrement(
        key: RowKey(windowStart: EventTime(microseconds: window), fields: [shop, "k"]), windowEnd: EventTime(microseconds: window + hour),
        keyHash: UInt64(shop.utf8.reduce(7) { $0 &* 31 &+ Int($1) }),
        measures: [
          .count(count), .distinct(members), .sum(Int128(amount ?? 0), present: amount == nil ? 0 : 1), .minimum(amount.map { $0 * 10 }),
          .maximum(amount), .sum(Int128(amount ?? 0), present: amount == nil ? 0 : 1),
        ])
    ]
    delta.aggregates[1].groups = [
      GroupIncrement(
        key: RowKey(windowStart: EventTime(microseconds: day), fields: []), windowEnd: EventTime(microseconds: day + 24 * hour), keyHash: 0,
        measures: [.distinct(members)])
    ]
    return delta
  }

  static func request(_ id: UInt64, _ partition: AcquiredPartition, _ delta: Delta) -> FlushRequest {
    FlushRequest(
      id: id,
      parts: [FlushRequest.Part(partition: partition.partition, epoch: partition.epoch, watermarkBefore: nil, delta: delta, endOffset: nil)])
  }
}
