@testable import Topologies

extension MessageTests {
  static let fields: [Case] = [
    Case(
      "measureOverAMissingField", [("sum amount", "sum amont")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: there is no field \"amont\": did you mean \"amount\"?"
      ]),
    Case(
      "measureOverAFieldUnlikeAny", [("sum amount", "sum price")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: there is no field \"price\": event.fields has user_id, country, coupon, paid, items, amount"
      ]),
    Case(
      "sumOverAString", [("sum amount", "sum coupon")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: sum needs a number, field \"coupon\" is string; expected a field of type integer or decimal"
      ]),
    Case(
      "averageOverABoolean", [("sum amount", "average paid")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: average needs a number, field \"paid\" is boolean; expected a field of type integer or decimal"
      ]),
    Case(
      "avgIsCalledAverage", [("sum amount", "avg amount")],
      [
        "27:16: unknown measure \"avg\" in aggregates.daily_orders.measures.revenue: did you mean \"average\"?"
      ]),
    Case(
      "misspeltMeasure", [("sum amount", "summ amount")],
      [
        "27:16: unknown measure \"summ\" in aggregates.daily_orders.measures.revenue: did you mean \"sum\"?"
      ]),
    Case(
      "measureThatIsNone", [("sum amount", "median amount")],
      [
        "27:16: unknown measure \"median\" in aggregates.daily_orders.measures.revenue: expected one of count, sum, min, max, average, distinct"
      ]),
    Case(
      "measureOfThreeWords", [("sum amount", "sum of amount")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: \"sum of amount\" is not a measure: did you mean \"sum amount\"?"
      ]),
    Case(
      "sumWithoutAField", [("sum amount", "sum")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: sum needs a field, such as sum items"
      ]),
    Case(
      "countWithAField", [("sum amount", "count amount")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: count counts events and takes no field: write count"
      ]),
    Case(
      "distinctOverAnotherField", [("distinct user_id", "distinct coupon")],
      [
        "26:15: aggregates.daily_orders.measures.buyers: distinct coupon cannot be exact, events of one coupon may be in several partitions: only the partition key can be counted, write distinct user_id"
      ]),
    Case(
      "distinctWithoutPartitionKey", [("  partition_key: user_id\n", "")],
      [
        "25:15: aggregates.daily_orders.measures.buyers: distinct user_id is exact only if all events of one user_id are in one partition: add partition_key: user_id to source, if it is the Kafka key"
      ]),
    Case(
      "measureWithParentheses", [("sum amount", "sum(amount)")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: \"sum(amount)\" is not a measure: did you mean \"sum amount\"?"
      ]),
    Case(
      "byOverAMissingField", [("by: [country]", "by: [county]")],
      [
        "23:10: aggregates.daily_orders.by: there is no field \"county\": did you mean \"country\"?"
      ]),
    Case(
      "byOverAnOptionalField", [("by: [country]", "by: [coupon]"), ("access: { by: country }", "access: { by: coupon }")],
      [
        "23:10: aggregates.daily_orders.by: field \"coupon\" is optional, but every row needs a value: give the field a default instead of optional: true"
      ]),
    Case(
      "byOverADecimal", [("by: [country]", "by: [country, amount]")],
      [
        "23:19: aggregates.daily_orders.by: field \"amount\" is decimal, expected a field of type string, integer or boolean"
      ]),
    Case(
      "byTwice", [("by: [country]", "by: [country, country]")],
      [
        "23:19: aggregates.daily_orders.by: field \"country\" is in the list twice: keep one of them"
      ]),
    Case(
      "byTooMany", [("by: [country]", "by: [a, b, c, d, e, f, g, h, i]")],
      [
        "23:9: aggregates.daily_orders.by has 9 fields, at most 8 are allowed"
      ]),
    Case(
      "whereOnAMissingField", [("where: { paid: true }", "where: { payed: true }")],
      [
        "31:14: aggregates.orders_per_minute.where: there is no field \"payed\": event.fields has user_id, country, coupon, paid, items, amount"
      ]),
    Case(
      "whereWithTheWrongType", [("where: { paid: true }", "where: { paid: 1 }")],
      [
        "31:20: aggregates.orders_per_minute.where.paid is \"1\", expected true or false"
      ]),
    Case(
      "whereListWithOneWrongValue", [("where: { paid: true }", "where: { items: [1, two, 3] }")],
      [
        "31:25: aggregates.orders_per_minute.where.items is \"two\", expected an integer such as 0"
      ]),
    Case(
      "whereWithAnEmptyList", [("where: { paid: true }", "where: { items: [] }")],
      [
        "31:21: aggregates.orders_per_minute.where.items is an empty list, expected at least one value"
      ]),
    Case(
      "whereWithANullValue", [("where: { paid: true }", "where: { items: [1, ] , coupon: null }")],
      [
        "31:37: aggregates.orders_per_minute.where.coupon is empty, expected a text such as unknown"
      ]),
    Case(
      "whereWithAnUnknownOperator", [("where: { paid: true }", "where: { items: { above: 3 } }")],
      [
        "31:23: aggregates.orders_per_minute.where.items: \"above\" is no condition, expected a value, a list of values, or { not: [VALUE] }"
      ]),
    Case(
      "whereWithAnEmptyMapping", [("where: { paid: true }", "where: { items: {} }")],
      [
        "31:21: aggregates.orders_per_minute.where.items: the mapping is empty, expected a value, a list of values, or { not: [VALUE] }"
      ]),
    Case(
      "deduplicateWithoutId", [("  id: order_id\n", "")],
      [
        "18:1: deduplicate needs event.id: add id: PATH to event, or remove deduplicate"
      ]),
    Case(
      "accessByAFieldOutsideBy", [("access: { by: country }", "access: { by: paid }")],
      [
        "28:19: aggregates.daily_orders.access.by: \"paid\" is not a field of the aggregate's by: it has country"
      ]),
    Case(
      "accessByNearlyAField", [("access: { by: country }", "access: { by: contry }")],
      [
        "28:19: aggregates.daily_orders.access.by: \"contry\" is not a field of the aggregate's by: did you mean \"country\"?"
      ]),
    Case(
      "accessByWithoutBy", [("    where: { paid: true }\n", "    where: { paid: true }\n    access: { by: country }\n")],
      [
        "32:19: aggregates.orders_per_minute.access.by: \"country\" is not a field of the aggregate's by: it has none, add by: [FIELD] or say tiers: [TIER]"
      ]),
    Case(
      "reconcileOfAnUnknownAggregate", [("  daily_orders: { against", "  daily_order: { against")],
      [
        "34:3: unknown aggregate \"daily_order\" in reconcile: did you mean \"daily_orders\"?"
      ]),
    Case(
      "reconcileOfSomethingElse", [("  daily_orders: { against", "  revenue: { against")],
      [
        "34:3: unknown aggregate \"revenue\" in reconcile: expected daily_orders or orders_per_minute"
      ]),
    Case(
      "countOfAStar", [("sum amount", "count(*)")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: \"count(*)\" is not a measure: did you mean \"count\"?"
      ]),
    Case(
      "countDistinct", [("sum amount", "count(distinct user_id)")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: \"count(distinct user_id)\" is not a measure: did you mean \"distinct user_id\"?"
      ]),
    Case(
      "averageOfAnUnknownField", [("sum amount", "avg(amount)")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: \"avg(amount)\" is not a measure: did you mean \"average amount\"?"
      ]),
    Case(
      "distinctWithoutAField", [("sum amount", "distinct")],
      [
        "27:16: aggregates.daily_orders.measures.revenue: distinct needs a field, such as distinct user_id"
      ]),
    Case(
      "brokenFieldIsReportedOnce", [("amount: { type: decimal, scale: 2 }", "amount: { type: decimal }")],
      [
        "15:21: event.fields.amount: decimal needs a scale, the digits after the point: write { type: decimal, scale: 2 } (0 to 9)"
      ])
  ]
}
