import Aggregation
import Testing

@testable import Topologies

/// The fingerprint changes with what decides results and with nothing else.
@Suite struct FingerprintTests {
  private func fingerprint(_ edits: [(String, String)], file: String = "t.yaml") throws -> String {
    try Topology.parse(yaml: Files.shop(edits), file: file).fingerprint
  }

  static let harmless: [[(String, String)]] = [
    [("topology: shop", "# the shop\n\ntopology: \"shop\"   # its name")],
    [("  format: json\n  partition_key: user_id", "  partition_key: user_id\n  format: json")],
    [("  format: json\n", "")],
    [
      (
        "    user_id: string\n    country: { type: string, default: unknown }\n",
        "    country: { default: unknown, type: string }\n    user_id: { type: string, path: user_id }\n"
      )
    ],
    [
      (
        "  allowed_lateness: 48h\n  zone: Europe/Berlin",
        "  zone: Europe/Berlin\n  allowed_lateness: 2 days\n  max_future_skew: 5m"
      )
    ],
    [("reconcile:\n  daily_orders: { against: raw, tolerance: exact }\n", "")],
    [("    access: { by: country }\n", "    access: { tiers: [ceo] }\n")],
    [("    access: { by: country }\n", "")],
    [("    by: [country]\n", "    max_groups: 100000\n    by:\n      - country\n")],
    [("where: { paid: true }", "where: { paid: [true, true] }")],
    [
      ("deduplicate: { within: 1h }\n", ""), ("  orders_per_minute:\n", "  orders_per_minute:\n"),
      ("reconcile:\n", "deduplicate:\n  within: 60 minutes\nreconcile:\n")
    ]
  ]

  @Test(arguments: harmless) func whatDecidesNothingDoesNotChangeIt(_ edits: [(String, String)]) throws {
    #expect(try fingerprint(edits) == fingerprint([]))
  }

  @Test func theFilesNameDoesNotChangeIt() throws {
    #expect(try fingerprint([], file: "/elsewhere/shop.yml") == fingerprint([]))
  }

  static let semantic: [(String, String)] = [
    ("topology: shop", "topology: shop2"), ("[shop.orders]", "[shop.orders, shop.refunds]"), ("[shop.orders]", "[shop.order]"),
    ("id: order_id", "id: meta.order_id"), ("time: created_at", "time: created"),
    ("time: created_at", "time: { path: created_at, format: epoch_seconds }"),
    ("user_id: string", "user_id: { type: string, path: user }"),
    ("default: unknown", "default: none"), ("country: { type: string, default: unknown }", "country: string"),
    ("coupon: { type: string, optional: true }", "coupon: string"),
    ("items: integer", "items: { type: integer, optional: true }"),
    ("items: integer", "items: string"), ("scale: 2", "scale: 3"), ("allowed_lateness: 48h", "allowed_lateness: 49h"),
    ("zone: Europe/Berlin", "zone: Europe/Vienna"), ("zone: Europe/Berlin", "zone: Europe/Berlin\n  max_future_skew: 10m"),
    ("within: 1h", "within: 2h"), ("deduplicate: { within: 1h }\n", ""), ("  orders_per_minute:", "  orders_by_minute:"),
    ("tumbling: 1 day", "tumbling: 2 days"), ("tumbling: 1 minute", "tumbling: 2 minutes"),
    ("by: [country]", "by: [country, paid]"),
    ("by: [country]", "by: [country]\n    max_groups: 10"), ("where: { paid: true }", "where: { paid: false }"),
    ("where: { paid: true }", "where: { paid: { not: true } }"), ("where: { paid: true }", "where: { items: 1 }"),
    ("    where: { paid: true }\n", ""), ("orders: count\n", "order_count: count\n"), ("sum amount", "sum items"),
    ("sum amount", "max amount"),
    ("      orders: count\n      buyers: distinct user_id\n", "      buyers: distinct user_id\n      orders: count\n"),
    ("      buyers: distinct user_id\n", "")
  ]

  @Test func everyChangeOfMeaningChangesIt() throws {
    var seen = [try fingerprint([]): "nothing"]
    for edit in Self.semantic {
      let other = seen.updateValue(edit.1, forKey: try fingerprint([edit]))
      #expect(other == nil, "\(edit.1) has the fingerprint of \(other ?? "")")
    }
  }

  @Test func textsThatLookLikeOtherTextsAreToldApart() throws {
    let one = Files.shop([("default: unknown", "default: \"a 1:b\"")])
    let two = Files.shop([("default: unknown", "default: \"a\\n1:b\"")])
    let paths = [("id: order_id", "id: a.b"), ("id: order_id", "id: \"a 1:b\"")]
    #expect(try Topology.parse(yaml: one, file: "t").fingerprint != Topology.parse(yaml: two, file: "t").fingerprint)
    #expect(try fingerprint([paths[0]]) != fingerprint([paths[1]]))
  }

  @Test func itIsSixteenHexadecimalDigitsAndThatOfThePlan() throws {
    let topology = try Topology.parse(yaml: Files.shop, file: "t.yaml")
    #expect(topology.fingerprint.count == 16 && topology.fingerprint.allSatisfy(\.isHexDigit))
    #expect(topology.plan().fingerprint == topology.fingerprint)
  }

  @Test func theCanonicalTextIsSpelledOut() throws {
    #expect(
      try Topology.parse(yaml: Files.shop, file: "t.yaml").canonicalText == """
        tidemark 1
        topology 4:shop
        topics [11:shop.orders]
        format json
        partition_key 7:user_id
        time [10:created_at] rfc3339
        allowed_lateness 172800000000
        zone 13:Europe/Berlin
        max_future_skew 300000000
        deduplicate [8:order_id] 3600000000
        field 6:amount [6:amount] decimal(2) required
        field 7:country [7:country] string default 7:unknown
        field 6:coupon [6:coupon] string optional
        field 5:items [5:items] integer required
        field 4:paid [4:paid] boolean required
        field 7:user_id [7:user_id] string required
        aggregate 12:daily_orders tumbling 86400000000 by [7:country] max_groups 100000
        measure 6:orders count
        measure 6:buyers distinct 7:user_id
        measure 7:revenue sum 6:amount
        aggregate 17:orders_per_minute tumbling 60000000 by [] max_groups 100000
        where 4:paid is [4:true]
        measure 6:orders count
        """)
  }
}
