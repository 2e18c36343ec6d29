@testable import Topologies

extension MessageTests {
  static let types: [Case] = [
    Case(
      "topologyIsAList", [("topology: shop", "topology: [shop]")],
      [
        "1:11: topology is a list, expected a name"
      ]),
    Case(
      "topologyIsEmpty", [("topology: shop", "topology:")],
      [
        "1:10: topology is empty, expected a name"
      ]),
    Case(
      "sourceIsAText",
      [("source:\n  topics: [shop.orders]\n  format: json\n  partition_key: user_id\n", "source: shop.orders\n")],
      [
        "2:9: source is a text, expected a mapping such as { topics: [product.events], format: json, partition_key: user_id }"
      ]),
    Case(
      "topicsIsAText", [("[shop.orders]", "shop.orders")],
      [
        "3:11: source.topics is a text, expected a list of Kafka topics such as [product.events]; write [shop.orders]"
      ]),
    Case(
      "topicsIsEmpty", [("[shop.orders]", "[]")],
      [
        "3:11: source.topics is an empty list, expected a list of Kafka topics such as [product.events]"
      ]),
    Case(
      "topicIsAMapping", [("[shop.orders]", "[{ name: orders }]")],
      [
        "3:12: an item of source.topics is a mapping, expected the name of a Kafka topic"
      ]),
    Case(
      "topicIsNoKafkaName", [("[shop.orders]", "[shop orders, ..]")],
      [
        "3:12: \"shop orders\" is not the name of a Kafka topic: expected 1 to 249 of a-z A-Z 0-9 . _ -",
        "3:25: \"..\" is not the name of a Kafka topic: expected 1 to 249 of a-z A-Z 0-9 . _ -"
      ]),
    Case(
      "topicTwice", [("[shop.orders]", "[shop.orders, shop.orders]")],
      [
        "3:25: topic \"shop.orders\" is in the list twice: keep one of them"
      ]),
    Case(
      "formatIsUnknown", [("format: json", "format: jsn")],
      [
        "4:11: unknown format \"jsn\" in source.format: did you mean \"json\"?"
      ]),
    Case(
      "formatIsNotThereYet", [("format: json", "format: avro")],
      [
        "4:11: source.format: avro is not available yet, expected json"
      ]),
    Case(
      "partitionKeyIsAList", [("partition_key: user_id", "partition_key: [user_id]")],
      [
        "5:18: source.partition_key is a list, expected the name of a field"
      ]),
    Case(
      "partitionKeyIsMissingField", [("partition_key: user_id", "partition_key: user")],
      [
        "5:18: source.partition_key: there is no field \"user\": event.fields has user_id, country, coupon, paid, items, amount"
      ]),
    Case(
      "partitionKeyIsBoolean", [("partition_key: user_id", "partition_key: paid")],
      [
        "5:18: source.partition_key: field \"paid\" is boolean, expected a field of type string or integer"
      ]),
    Case(
      "partitionKeyHasADefault", [("partition_key: user_id", "partition_key: country")],
      [
        "5:18: source.partition_key: field \"country\" has a default, so events without it would count as one member in every partition: give it optional: true instead of the default"
      ]),
    Case(
      "eventIsAList", [("event:\n  id: order_id\n  time: created_at\n  fields:", "event: [a]\nx:\n  fields:")],
      [
        "6:8: event is a list, expected a mapping such as { id: event_id, time: created_at, fields: { user_id: string } }",
        "7:1: unknown key \"x\": expected one of topology, source, event, time, deduplicate, tiers, aggregates, reconcile, monitor"
      ]),
    Case(
      "idIsAMapping", [("id: order_id", "id: { path: order_id }")],
      [
        "7:7: event.id is a mapping, expected a JSON path such as event_id or properties.amount"
      ]),
    Case(
      "idPathHasAnEmptyKey", [("id: order_id", "id: order..id")],
      [
        "7:7: event.id: \"order..id\" is not a JSON path: a key between dots is empty, expected for example properties.amount"
      ]),
    Case(
      "eventTimeIsAList", [("time: created_at", "time: [created_at]")],
      [
        "8:9: event.time is a list, expected a JSON path such as created_at, or { path: ts, format: epoch_milliseconds }"
      ]),
    Case(
      "eventTimeWithoutFormat", [("time: created_at", "time: { path: ts }")],
      [
        "8:3: event.time: format is missing: add format: rfc3339 (or epoch_seconds, epoch_milliseconds, epoch_microseconds)"
      ]),
    Case(
      "eventTimeFormatIsUnknown", [("time: created_at", "time: { path: ts, format: epoch_millis }")],
      [
        "8:29: unknown format \"epoch_millis\" in event.time.format: did you mean \"epoch_milliseconds\"?"
      ]),
    Case(
      "fieldsIsAList",
      [
        (
          "  fields:\n    user_id: string\n    country: { type: string, default: unknown }\n    coupon: { type: string, optional: true }\n    paid: boolean\n    items: integer\n    amount: { type: decimal, scale: 2 }\n",
          "  fields: [user_id]\n"
        )
      ],
      [
        "9:11: event.fields is a list, expected a mapping of names to types such as { user_id: string }"
      ]),
    Case(
      "fieldIsAList", [("paid: boolean", "paid: [boolean]")],
      [
        "13:11: event.fields.paid is a list, expected a type (string, integer, boolean, decimal) or a mapping such as { path: a.b, type: integer, optional: true }"
      ]),
    Case(
      "fieldIsEmpty", [("paid: boolean", "paid:")],
      [
        "13:10: event.fields.paid is empty, expected a type (string, integer, boolean, decimal) or a mapping such as { path: a.b, type: integer, optional: true }"
      ]),
    Case(
      "typeIsUnknown", [("paid: boolean", "paid: bolean")],
      [
        "13:11: unknown type \"bolean\" in event.fields.paid: did you mean \"boolean\"?"
      ]),
    Case(
      "typeIsAnotherLanguages", [("items: integer", "items: int")],
      [
        "14:12: unknown type \"int\" in event.fields.items: did you mean \"integer\"?"
      ]),
    Case(
      "typeIsNothingLikeIt", [("items: integer", "items: uuid")],
      [
        "14:12: unknown type \"uuid\" in event.fields.items: expected one of string, integer, boolean, decimal"
      ]),
    Case(
      "typeIsAMapping", [("{ type: string, optional: true }", "{ type: { name: string } }")],
      [
        "12:21: event.fields.coupon.type is a mapping, expected one of string, integer, boolean, decimal"
      ]),
    Case(
      "optionalIsAText", [("optional: true", "optional: maybe")],
      [
        "12:39: event.fields.coupon.optional is \"maybe\", expected true or false"
      ]),
    Case(
      "decimalWithoutScale", [("{ type: decimal, scale: 2 }", "decimal")],
      [
        "15:13: event.fields.amount: decimal needs a scale, the digits after the point: write { type: decimal, scale: 2 } (0 to 9)"
      ]),
    Case(
      "scaleTooGreat", [("scale: 2", "scale: 10")],
      [
        "15:37: event.fields.amount.scale is \"10\", expected an integer from 0 to 9"
      ]),
    Case(
      "scaleOfAString", [("{ type: string, optional: true }", "{ type: string, scale: 2 }")],
      [
        "12:29: event.fields.coupon.scale: type string has no scale: remove it, or say type: decimal"
      ]),
    Case(
      "defaultOfTheWrongType", [("items: integer", "items: { type: integer, default: none }")],
      [
        "14:38: event.fields.items.default is \"none\", expected an integer such as 0"
      ]),
    Case(
      "decimalDefaultWithTooManyDigits", [("scale: 2 }", "scale: 2, default: 1.234 }")],
      [
        "15:49: event.fields.amount.default is \"1.234\", expected a number with at most 2 digits after the point"
      ]),
    Case(
      "booleanDefaultAsPeopleWriteIt", [("paid: boolean", "paid: { type: boolean, default: yes }")],
      [
        "13:37: event.fields.paid.default is \"yes\", expected true or false"
      ]),
    Case(
      "defaultAndOptional", [("{ type: string, default: unknown }", "{ type: string, default: unknown, optional: true }")],
      [
        "11:30: event.fields.country has a default and is optional: keep one of them"
      ]),
    Case(
      "defaultIsNull", [("default: unknown", "default: null")],
      [
        "11:39: event.fields.country.default is empty, expected a text such as unknown (or optional: true in its place)"
      ]),
    Case(
      "defaultIsTooLong",
      [
        (
          "default: unknown",
          "default: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        )
      ],
      [
        "11:39: event.fields.country.default is longer than 256 bytes or holds U+0000: shorten it"
      ]),
    Case(
      "timeIsAText", [("time:\n  allowed_lateness: 48h\n  zone: Europe/Berlin", "time: UTC")],
      [
        "16:7: time is a text, expected a mapping such as { allowed_lateness: 48h, zone: UTC }"
      ]),
    Case(
      "zoneIsEmpty", [("zone: Europe/Berlin", "zone:")],
      [
        "18:8: time.zone is empty, expected an IANA zone such as UTC or Europe/Berlin"
      ]),
    Case(
      "deduplicateIsADuration", [("{ within: 1h }", "1h")],
      [
        "19:14: deduplicate is a text, expected a mapping such as { within: 1h }"
      ]),
    Case(
      "aggregatesIsAList", [("deduplicate: { within: 1h }\naggregates:\n  daily_orders:", "aggregates: []\nx:\n  y:")],
      [
        "19:13: aggregates is a list, expected a mapping of names to aggregates such as { events_daily: { window: { tumbling: 1 day }, measures: { event_count: count } } }",
        "20:1: unknown key \"x\": expected one of topology, source, event, time, deduplicate, tiers, aggregates, reconcile, monitor"
      ]),
    Case(
      "aggregatesIsEmpty", [("deduplicate: { within: 1h }\naggregates:\n  daily_orders:", "aggregates: {}\nx:\n  y:")],
      [
        "19:1: aggregates is empty, expected at least one such as { events_daily: { window: { tumbling: 1 day }, measures: { event_count: count } } }",
        "20:1: unknown key \"x\": expected one of topology, source, event, time, deduplicate, tiers, aggregates, reconcile, monitor"
      ]),
    Case(
      "aggregateIsAText",
      [
        (
          "  orders_per_minute:\n    window: { tumbling: 1 minute }\n    where: { paid: true }\n    measures: { orders: count }\n",
          "  orders_per_minute: count\n"
        )
      ],
      [
        "29:22: aggregates.orders_per_minute is a text, expected a mapping such as { window: { tumbling: 1 day }, by: [department], measures: { event_count: count } }"
      ]),
    Case(
      "windowIsADuration", [("{ tumbling: 1 minute }", "1 minute")],
      [
        "30:13: aggregates.orders_per_minute.window is a text, expected a mapping such as { tumbling: 1 minute }"
      ]),
    Case(
      "windowOfAKindToCome", [("{ tumbling: 1 minute }", "{ last: 7 days, every: 1 day }")],
      [
        "30:15: aggregates.orders_per_minute.window.last: only tumbling windows are available yet, write { tumbling: 1 day }"
      ]),
    Case(
      "windowOfUnknownKind", [("{ tumbling: 1 minute }", "{ sliding: 1 minute }")],
      [
        "30:15: aggregates.orders_per_minute.window.sliding: only tumbling windows are available yet, write { tumbling: 1 day }"
      ]),
    Case(
      "byIsAText", [("by: [country]", "by: country")],
      [
        "23:9: aggregates.daily_orders.by is a text, expected a list of fields such as [department, event_type]; write [country]"
      ]),
    Case(
      "byIsEmpty", [("by: [country]", "by: []")],
      [
        "23:9: aggregates.daily_orders.by is an empty list: name a field, or leave by out (then a window has one row)"
      ]),
    Case(
      "byHoldsAList", [("by: [country]", "by: [[country]]")],
      [
        "23:10: an item of aggregates.daily_orders.by is a list, expected the name of a field"
      ]),
    Case(
      "measuresIsAList", [("{ orders: count }", "[count]")],
      [
        "32:15: aggregates.orders_per_minute.measures is a list, expected a mapping of names to measures such as { event_count: count, revenue: sum amount }"
      ]),
    Case(
      "measuresIsEmpty", [("{ orders: count }", "{}")],
      [
        "32:5: aggregates.orders_per_minute.measures is empty, expected at least one measure such as event_count: count"
      ]),
    Case(
      "measureIsAMapping", [("revenue: sum amount", "revenue: { sum: amount }")],
      [
        "27:16: aggregates.daily_orders.measures.revenue is a mapping, expected count, or one of sum, min, max, average, distinct and a field, such as sum amount_cents"
      ]),
    Case(
      "whereIsAText", [("{ paid: true }", "paid")],
      [
        "31:12: aggregates.orders_per_minute.where is a text, expected a mapping of fields to values such as { event_type: [purchase] }"
      ]),
    Case(
      "whereIsEmpty", [("{ paid: true }", "{}")],
      [
        "31:5: aggregates.orders_per_minute.where is empty: name a field, or leave where out (then every event counts)"
      ]),
    Case(
      "accessIsAList", [("{ by: country }", "[country]")],
      [
        "28:13: aggregates.daily_orders.access is a list, expected a mapping such as { by: department } or { tiers: [ceo, board] }"
      ]),
    Case(
      "accessIsEmpty", [("{ by: country }", "{}")],
      [
        "28:5: aggregates.daily_orders.access is empty: say by: FIELD or tiers: [TIER], or leave access out (then nobody sees a row)"
      ]),
    Case(
      "tiersIsAText", [("{ by: country }", "{ tiers: ceo }")],
      [
        "28:22: aggregates.daily_orders.access.tiers is a text, expected a list of tiers such as [ceo, board]; write [ceo]"
      ]),
    Case(
      "reconcileIsAList", [("reconcile:\n  daily_orders: { against: raw, tolerance: exact }", "reconcile: [daily_orders]")],
      [
        "33:12: reconcile is a list, expected a mapping such as { daily_metrics: { against: raw, tolerance: exact } }"
      ]),
    Case(
      "reconciliationIsAText", [("{ against: raw, tolerance: exact }", "raw")],
      [
        "34:17: reconcile.daily_orders is a text, expected { against: raw, tolerance: exact }"
      ]),
    Case(
      "toleranceIsUnknown", [("tolerance: exact", "tolerance: about 1%")],
      [
        "34:44: reconcile.daily_orders.tolerance is \"about 1%\", expected exact or a percentage from 0.001% to 50%"
      ]),
    Case(
      "toleranceIsTooWide", [("tolerance: exact", "tolerance: 50.001%")],
      [
        "34:44: reconcile.daily_orders.tolerance is \"50.001%\", expected exact or a percentage from 0.001% to 50%"
      ]),
    Case(
      "maxGroupsIsAText", [("by: [country]", "by: [country]\n    max_groups: many")],
      [
        "24:17: aggregates.daily_orders.max_groups is \"many\", expected an integer from 1 to 10000000"
      ]),
    Case(
      "maxGroupsIsZero", [("by: [country]", "by: [country]\n    max_groups: 0")],
      [
        "24:17: aggregates.daily_orders.max_groups is \"0\", expected an integer from 1 to 10000000"
      ])
  ]
}
