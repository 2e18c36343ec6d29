@testable import Topologies

extension MessageTests {
  static let names: [Case] = [
    Case(
      "nameWithUpperCase", [("  daily_orders:\n", "  DailyOrders:\n"), ("  daily_orders: { against", "  DailyOrders: { against")],
      [
        "21:3: \"DailyOrders\" cannot be the name of an aggregate: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters; \"daily_orders\" would do"
      ]),
    Case(
      "nameWithDigitFirst", [("topology: shop", "topology: 2024-shop")],
      [
        "1:11: \"2024-shop\" cannot be the name of a topology: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters; \"shop\" would do"
      ]),
    Case(
      "nameTooLong", [("  orders_per_minute:", "  ooooooooooooooooooooooooooooooooooooooooooooooooo:")],
      [
        "29:3: \"ooooooooooooooooooooooooooooooooooooooooooooooooo\" cannot be the name of an aggregate: it has 49 characters, at most 48 are allowed; \"oooooooooooooooooooooooooooooooooooooooooooooooo\" would do"
      ]),
    Case(
      "nameOfOtherLetters", [("    paid: boolean", "    größe: boolean")],
      [
        "13:5: \"größe\" cannot be the name of a field: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters",
        "31:14: aggregates.orders_per_minute.where: there is no field \"paid\": event.fields has user_id, country, coupon, items, amount"
      ]),
    Case(
      "nameOfDigitsOnly", [("topology: shop", "topology: 42")],
      [
        "1:11: \"42\" cannot be the name of a topology: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters"
      ]),
    Case(
      "nameWithASpace", [("      orders: count\n", "      order count: count\n")],
      [
        "25:7: \"order count\" cannot be the name of a measure: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters; \"order_count\" would do"
      ]),
    Case(
      "nameOfATier", [("{ by: country }", "{ tiers: [CEO] }")],
      [
        "28:23: an item of aggregates.daily_orders.access.tiers: there is no tier \"CEO\": did you mean \"ceo\"?"
      ]),
    Case(
      "aggregatesCollideInSQL", [("  orders_per_minute:", "  daily-orders:")],
      [
        "29:3: aggregates \"daily_orders\" and \"daily-orders\" would both be the table daily_orders: rename one"
      ]),
    Case(
      "fieldsCollideInSQL", [("    paid: boolean", "    user-id: string\n    paid: boolean")],
      [
        "13:5: fields \"user_id\" and \"user-id\" would both be the column user_id: rename one"
      ]),
    Case(
      "measuresCollideInSQL", [("      buyers: distinct user_id", "      b-1: count\n      b_1: count")],
      [
        "27:7: measure \"b_1\" and measure \"b-1\" would both be the column b_1: rename one"
      ]),
    Case(
      "measureCollidesWithAField", [("      buyers: distinct", "      country: distinct")],
      [
        "26:7: measure \"country\" and field \"country\" of by would both be the column country: rename one"
      ]),
    Case(
      "averageNeedsTwoMoreColumns", [("      revenue: sum amount", "      revenue: average amount\n      revenue_count: count")],
      [
        "28:7: measure \"revenue_count\" and measure \"revenue\" would both be the column revenue_count: rename one"
      ]),
    Case(
      "reservedColumn", [("      orders: count\n", "      updated_at: count\n")],
      [
        "25:7: a measure cannot be called \"updated_at\": every table has a column updated_at, choose another name"
      ]),
    Case(
      "reservedColumnByDashes", [("      orders: count\n", "      window-start: count\n")],
      [
        "25:7: a measure cannot be called \"window-start\": every table has a column window_start, choose another name"
      ]),
    Case(
      "reservedColumnAsKey",
      [
        ("by: [country]", "by: [window_end]"), ("    paid: boolean", "    window_end: string\n    paid: boolean"),
        ("    access: { by: country }\n", "")
      ],
      [
        "24:10: aggregates.daily_orders.by: \"window_end\" is the name of a column that every table has: rename the field"
      ]),
    Case(
      "reservedTable", [("  orders_per_minute:", "  freshness:")],
      [
        "29:3: an aggregate cannot be called \"freshness\": Tidemark has a table of its own by that name, choose another one"
      ])
  ]
}
