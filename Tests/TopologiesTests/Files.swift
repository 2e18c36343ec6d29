import Foundation
import Testing

@testable import Topologies

/// The repository's topologies, and one that tests break.
enum Files {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("topologies")

  static func text(_ name: String) throws -> String {
    try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
  }

  static func load(_ name: String) throws -> Topology {
    try Topology.load(path: folder.appendingPathComponent(name).path)
  }

  /// Correct; tests edit it and expect messages with its lines.
  static let shop = """
    topology: shop
    source:
      topics: [shop.orders]
      format: json
      partition_key: user_id
    event:
      id: order_id
      time: created_at
      fields:
        user_id: string
        country: { type: string, default: unknown }
        coupon: { type: string, optional: true }
        paid: boolean
        items: integer
        amount: { type: decimal, scale: 2 }
    time:
      allowed_lateness: 48h
      zone: Europe/Berlin
    deduplicate: { within: 1h }
    aggregates:
      daily_orders:
        window: { tumbling: 1 day }
        by: [country]
        measures:
          orders: count
          buyers: distinct user_id
          revenue: sum amount
        access: { by: country }
      orders_per_minute:
        window: { tumbling: 1 minute }
        where: { paid: true }
        measures: { orders: count }
    reconcile:
      daily_orders: { against: raw, tolerance: exact }

    """

  /// `shop` with some texts replaced; each must be there once.
  static func shop(_ edits: [(String, String)]) -> String {
    var text = shop
    for (old, new) in edits {
      precondition(text.ranges(of: old).count == 1, "\(old) is not there once")
      text = text.replacing(old, with: new)
    }
    return text
  }

  /// `line:column: message` of everything that is wrong with a text.
  static func problems(_ yaml: String) -> [String] {
    do {
      _ = try Topology.parse(yaml: yaml, file: "t.yaml")
      return []
    } catch {
      return error.problems.map { "\($0.line):\($0.column): \($0.message)" }
    }
  }
}
