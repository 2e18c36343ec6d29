extension MessageTests {
  static let access: [Case] = [
    Case(
      "tierNearlyNamed", [("access: { by: country }", "access: { by: country, tiers: [ceo, bord] }")],
      ["28:41: an item of aggregates.daily_orders.access.tiers: there is no tier \"bord\": did you mean \"board\"?"]),
    Case(
      "tierUnknown", [("access: { by: country }", "access: { by: country, tiers: [auditor] }")],
      [
        "28:36: an item of aggregates.daily_orders.access.tiers: there is no tier \"auditor\": there are ceo, department_head, manager, board, all_hands; others are defined in tiers: of the topology"
      ]),
    Case(
      "tierTwice", [("access: { by: country }", "access: { by: country, tiers: [ceo, ceo] }")],
      ["28:41: tier \"ceo\" is in the list twice: keep one of them"]),
    Case(
      "ownRowsWithoutADepartment", [("access: { by: country }", "access: { tiers: [manager] }")],
      [
        "28:23: aggregates.daily_orders.access.tiers: \"manager\" sees the rows of a person's own departments, and access does not say what a department is: add by: FIELD, one of country"
      ]),
    Case(
      "hideAlone", [("access: { by: country }", "access: { hide: { manager: [revenue] } }")],
      [
        "28:5: aggregates.daily_orders.access names nobody: say by: FIELD or tiers: [TIER], or leave access out (then nobody sees a row)"
      ]),
    Case(
      "hideNearlyAMeasure", [("access: { by: country }", "access: { by: country, hide: { manager: [revenu] } }")],
      ["28:46: unknown measure \"revenu\" in aggregates.daily_orders.access.hide.manager: did you mean \"revenue\"?"]),
    Case(
      "hideFromNobody", [("access: { by: country }", "access: { by: country, hide: { all_hands: [revenue] } }")],
      [
        "28:36: aggregates.daily_orders.access.hide: \"all_hands\" does not read the aggregate: add it to tiers, or leave it out here"
      ]),
    Case(
      "hideFromAnUnknownTier", [("access: { by: country }", "access: { by: country, hide: { mangager: [revenue] } }")],
      ["28:36: aggregates.daily_orders.access.hide: there is no tier \"mangager\": did you mean \"manager\"?"]),
    Case(
      "hideIsAList", [("access: { by: country }", "access: { by: country, hide: [revenue] }")],
      [
        "28:34: aggregates.daily_orders.access.hide is a list, expected a mapping of tiers to measures such as { manager: [revenue_cents] }"
      ]),
    Case(
      "totalsOfDistinctCounts", [("access: { by: country }", "access: { by: country, tiers: [all_hands] }")],
      [
        "21:3: aggregates.daily_orders: tier \"all_hands\" would see no measure of the aggregate (distinct counts do not add up over country): leave it out, or add an aggregate for it"
      ]),
    Case(
      "everythingHidden", [("access: { by: country }", "access: { by: country, hide: { manager: [orders, buyers, revenue] } }")],
      [
        "21:3: aggregates.daily_orders: tier \"manager\" would see no measure of the aggregate (its measures are kept from it): leave it out, or add an aggregate for it"
      ]),
    Case(
      "accessKeyNearly", [("access: { by: country }", "access: { by: country, hid: { manager: [revenue] } }")],
      ["28:28: unknown key \"hid\" in aggregates.daily_orders.access: did you mean \"hide\"?"]),
    Case(
      "viewTakesATable", [("  orders_per_minute:", "  daily_orders_board:")],
      [
        "21:3: aggregates.daily_orders: tier \"board\" would read the view daily_orders_board, which is also the name of a table: rename one"
      ]),
    Case(
      "viewNameTooLong",
      [
        ("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { regional_director_of_sales: { rows: totals } }"),
        ("access: { by: country }", "access: { by: country, tiers: [regional_director_of_sales] }"),
        ("  daily_orders:\n    window", "  daily_orders_of_every_country_and_of_every_shop:\n    window"),
        ("  daily_orders: { against", "  daily_orders_of_every_country_and_of_every_shop: { against"),
      ],
      [
        "22:3: aggregates.daily_orders_of_every_country_and_of_every_shop: tier \"regional_director_of_sales\" would read the view daily_orders_of_every_country_and_of_every_shop_regional_director_of_sales, a name of 74 characters, at most 63 are allowed: shorten the aggregate's name or the tier's"
      ]),
    Case(
      "tiersEmpty", [("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: {}")],
      [
        "20:1: tiers is empty: name a tier such as { auditor: { rows: all }, investor: { rows: totals, complete_days: true } }, or leave it out (then there are ceo, department_head, manager, board, all_hands)"
      ]),
    Case(
      "tierWithoutRows", [("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { auditor: { measures: all } }")],
      ["20:10: tiers.auditor: rows is missing: say all, own or totals"]),
    Case(
      "tierRowsNearly", [("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { auditor: { rows: total } }")],
      ["20:27: unknown value \"total\" in tiers.auditor.rows: did you mean \"totals\"?"]),
    Case(
      "tierCalledLikeARole", [("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { postgres: { rows: all } }")],
      [
        "20:10: a tier cannot be called \"postgres\": PostgreSQL or Tidemark has a role of its own by that name, choose another one"
      ]),
    Case(
      "tierCalledLikeTheOwner", [("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { tidemark-owner: { rows: all } }")],
      [
        "20:10: a tier cannot be called \"tidemark-owner\": PostgreSQL or Tidemark has a role of its own by that name, choose another one"
      ]),
    Case(
      "tierIsMisspeltAtTheRoot",
      [
        ("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntier: { auditor: { rows: all } }"),
        ("access: { by: country }", "access: { by: country, tiers: [auditor] }"),
      ],
      ["20:1: unknown key \"tier\": did you mean \"tiers\"?"]),
  ]
}
