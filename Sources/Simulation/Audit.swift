import Aggregation

/// The end of a world: every book against the oracle.
struct Audit {
  private let world: World
  private var oracle: Oracle

  init(_ world: World) {
    self.world = world
    let plan = world.plan
    guard case .tumbling(let window) = plan.aggregates[0].window else { fatalError("the plan of a world begins with a tumbling window") }
    oracle = Oracle(
      Oracle.Rules(
        window: window, lateness: plan.allowedLateness, deduplicate: plan.deduplicateWithin, skew: plan.maxFutureSkew,
        groupLimit: plan.aggregates[0].groupLimit))
    for (number, id) in world.log.ids.enumerated() {
      oracle.take(
        partition: number, world.log.partitions[id]!.records, first: world.store.firstOffsets[id] ?? 0, accepted: world.store.accepted[id] ?? [])
    }
    oracle.finish()
  }

  mutating func compare() {
    if oracle.overflowed { world.count(.overflow) }
    for (number, id) in world.log.ids.enumerated() {
      compareLedger(id, oracle.books[number]!)
      compareQuarantine(id, oracle.quarantine[number]!)
      compareAlerts(id)
    }
    compareTexts("rows", expected: oracle.rows, found: rows())
    compareTexts("late counts", expected: oracle.lateCounts.mapValues(String.init), found: lateCounts())
    if world.store.omitted > 0 { world.fail("\(world.store.omitted) refused events were not kept") }
  }

  /// Every offset in one bucket, no hole, no overlap, each bucket as expected.
  private func compareLedger(_ id: PartitionID, _ expected: Oracle.Books) {
    var sums = Oracle.Books()
    var at = world.store.firstOffsets[id] ?? 0
    for row in world.store.ledger[id] ?? [] {
      if row.from.value != at { world.fail("the ledger of \(id) goes from \(at) to \(row.from.value)") }
      if row.counts.total != row.to.value - row.from.value { world.fail("a ledger row of \(id) at \(row.from.value) does not add up") }
      at = row.to.value
      sums.applied += row.counts.applied
      sums.filtered += row.counts.filtered
      sums.duplicate += row.counts.duplicate
      sums.late += row.counts.late
      sums.quarantined += row.counts.quarantined
      sums.gap += row.counts.gap
      sums.tombstones += row.counts.tombstones
      sums.misrouted += row.counts.misrouted
    }
    if let row = world.store.partitions[id], row.next.value != at { world.fail("the ledger of \(id) ends at \(at), its offset is \(row.next.value)") }
    if sums != expected { world.fail("ledger of \(id): expected \(expected), found \(sums)") }
  }

  private func compareQuarantine(_ id: PartitionID, _ expected: [Int64: String]) {
    let found = world.store.quarantine[id] ?? [:]
    for (offset, reason) in expected.sorted(by: { $0.key < $1.key }) {
      guard let event = found[offset] else { return world.fail("\(id) \(offset) is not in quarantine: \(reason)") }
      let record = world.log.partitions[id]!.records[Int(offset)]
      if event.reason.name != reason { world.fail("\(id) \(offset) is in quarantine for \(event.reason.name), not for \(reason)") }
      if event.payload != record.payload { world.fail("\(id) \(offset) is in quarantine with other bytes") }
    }
    for offset in found.keys.sorted() where expected[offset] == nil { world.fail("\(id) \(offset) is in quarantine for nothing") }
  }

  /// Nothing in any world makes a state unreadable or a topic shorter than what was consumed; a partition is stopped only
  /// where something was destroyed.
  private func compareAlerts(_ id: PartitionID) {
    for alert in world.store.alerts[id] ?? [] {
      switch alert.kind {
      case "offset_out_of_range", "horizon_incomplete":
        if !world.scenario.faults.contains(.gapAccepted) {
          world.fail("alert for nothing: \(alert.message)")
        }
      default: world.fail("alert \(alert.kind): \(alert.message)")
      }
    }
  }

  private func rows() -> [String: String] {
    func text(_ value: Int64?) -> String { value.map { String($0) } ?? "NULL" }
    var result: [String: String] = [:]
    var tables = world.store.rows
    // What an operator does with rejected rows.
    for (a, row) in world.store.rejected {
      if var values = tables[a][row.key] {
        for v in values.indices { values[v].add(row.values[v]) }
        tables[a][row.key] = values
      } else {
        tables[a][row.key] = row.values
      }
    }
    for (a, aggregate) in world.plan.aggregates.enumerated() {
      for (key, values) in tables[a] {
        result[name(aggregate, key)] = values.enumerated().map { m, value in
          switch value {
          case .number(let n): String(n)
          case .sum(let sum, let present):
            // The mean, the last measure, has its number beside it.
            (present > 0 ? String(sum) : "NULL") + (m == values.count - 1 ? "/\(present)" : "")
          case .minimum(let least): text(least)
          case .maximum(let greatest): text(greatest)
          }
        }.joined(separator: " ")
      }
    }
    return result
  }

  private func lateCounts() -> [String: String] {
    var result: [String: String] = [:]
    for (a, aggregate) in world.plan.aggregates.enumerated() {
      for (key, count) in world.store.late[a] { result[name(aggregate, key)] = String(count) }
    }
    return result
  }

  private func name(_ aggregate: AggregatePlan, _ key: RowKey) -> String {
    ([aggregate.name, String(key.windowStart.microseconds)] + key.fields).joined(separator: "|")
  }

  private func compareTexts(_ what: String, expected: [String: String], found: [String: String]) {
    guard expected != found else { return }
    for key in Set(expected.keys).union(found.keys).sorted() where expected[key] != found[key] {
      return world.fail("\(what): \(key) is \(found[key] ?? "not there"), expected \(expected[key] ?? "none")")
    }
  }
}
