import Testing

@testable import Topologies

/// Who reads what, as a topology says it.
@Suite struct AccessTests {
  private func readers(_ edits: [(String, String)], _ aggregate: String = "daily_orders") throws -> [String] {
    let topology = try Topology.parse(yaml: Files.shop(edits), file: "shop.yaml")
    return topology.readers(of: topology.aggregate(named: aggregate)!).map { reader in
      "\(reader.tier.name) \(reader.rows) \(reader.measures.joined(separator: "+")) in \(reader.relation)"
    }
  }

  @Test func theUsualTiersByADimension() throws {
    #expect(
      try readers([]) == [
        "ceo all orders+buyers+revenue in daily_orders", "department_head own(field: \"country\") orders+buyers+revenue in daily_orders",
        "manager own(field: \"country\") orders+buyers in daily_orders_manager", "board totals orders+revenue in daily_orders_board",
      ])
  }

  @Test func nobodyWithoutAccess() throws {
    #expect(try readers([], "orders_per_minute") == [])
    #expect(try readers([("    access: { by: country }\n", "")]) == [])
  }

  @Test func tiersAreNamedAndMeasuresHidden() throws {
    #expect(
      try readers([("access: { by: country }", "access: { by: country, tiers: [manager, ceo], hide: { manager: [], ceo: [buyers] } }")]) == [
        "ceo all orders+revenue in daily_orders_ceo", "manager own(field: \"country\") orders+buyers+revenue in daily_orders",
      ])
  }

  @Test func aBarrierGivesViewsToWhoDoesNotSeeEveryRow() throws {
    #expect(
      try readers([("access: { by: country }", "access: { by: country, tiers: [ceo, department_head], barrier: true }")]) == [
        "ceo all orders+buyers+revenue in daily_orders", "department_head own(field: \"country\") orders+buyers+revenue in daily_orders_department_head",
      ])
    #expect(throws: (any Error).self) { try readers([("access: { by: country }", "access: { by: country, barrier: perhaps }")]) }
  }

  @Test func aCompanyNamesItsOwnTiers() throws {
    let edits = [
      (
        "deduplicate: { within: 1h }",
        "deduplicate: { within: 1h }\ntiers:\n  auditor: { rows: all, complete_days: true }\n  regional-lead: { rows: own, measures: headline }"
      ),
      ("access: { by: country }", "access: { by: country, tiers: [auditor, regional-lead] }"),
    ]
    #expect(
      try readers(edits) == [
        "auditor all orders+buyers+revenue in daily_orders_auditor", "regional-lead own(field: \"country\") buyers in daily_orders_regional_lead",
      ])
  }

  @Test func theCompanysOwnDefinitionOfAStandardTierHolds() throws {
    let edits = [("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { manager: { rows: own, measures: all } }")]
    #expect(try readers(edits).contains("manager own(field: \"country\") orders+buyers+revenue in daily_orders"))
  }

  @Test func totalsTiersNeverReadATable() throws {
    let topology = try Files.load("product-events.yaml")
    let readers = topology.readers(of: topology.aggregate(named: "daily_active_users")!)
    #expect(readers.map(\.relation) == [
      "daily_active_users", "daily_active_users", "daily_active_users", "daily_active_users_board", "daily_active_users_all_hands",
    ])
    for topology in [topology, try Files.load("git-activity.yaml")] {
      for aggregate in topology.aggregates {
        for reader in topology.readers(of: aggregate) where reader.tier.rows == .totals { #expect(reader.relation != aggregate.tableName) }
      }
    }
  }

  @Test func twoTopologiesCannotDefineATierTwoWays() throws {
    let a = try Topology.parse(yaml: Files.shop, file: "a.yaml")
    let text = Files.shop([("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { manager: { rows: all } }")])
      .replacing("topology: shop", with: "topology: other").replacing("daily_orders", with: "other_orders").replacing("orders_per_minute", with: "other_minute")
    let b = try Topology.parse(yaml: text, file: "b.yaml")
    do {
      try Topology.checkTogether([a, b])
      Issue.record("it was taken")
    } catch {
      #expect(error.problems.map(\.description) == [
        "b.yaml:1:1: tier \"manager\" is defined otherwise in a.yaml: one database has one tier of a name"
      ])
    }
  }

  @Test func accessIsNoPartOfTheFingerprint() throws {
    let plain = try Topology.parse(yaml: Files.shop, file: "shop.yaml")
    let other = try Topology.parse(
      yaml: Files.shop([("deduplicate: { within: 1h }", "deduplicate: { within: 1h }\ntiers: { manager: { rows: all } }")]), file: "shop.yaml")
    #expect(plain.fingerprint == other.fingerprint)
  }
}
