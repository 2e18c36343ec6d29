import Aggregation

extension Topology {
  /// What the core runs. Zone tables are built here, from the machine's IANA rules: some milliseconds where a zone other
  /// than UTC is used.
  public func plan() -> Plan {
    let index = Dictionary(uniqueKeysWithValues: fields.enumerated().map { ($1.name, $0) })
    let table = aggregates.contains { $0.window.calendarDays != nil } ? ZoneRules.table(of: zone) : .utc
    return Plan(
      topology: name, fingerprint: fingerprint, topics: topics, idPath: deduplicateWithin == nil ? nil : idPath, timePath: timePath,
      timeFormat: timeFormat,
      fields: fields.map { FieldPlan(name: $0.name, path: $0.path, kind: $0.kind, presence: $0.presence) },
      partitionKey: partitionKey.flatMap { index[$0] }, aggregates: aggregates.map { $0.plan(index, table) },
      allowedLateness: allowedLateness.microseconds, deduplicateWithin: deduplicateWithin?.microseconds,
      maxFutureSkew: maxFutureSkew.microseconds)
  }

  /// Hash of all that decides results, 16 hexadecimal digits: places in the file, access and reconciliation are no part
  /// of it. FNV-1a over a canonical text; it tells topologies apart, it does not withstand an attacker.
  public var fingerprint: String {
    var lines = [
      "tidemark 1", name, topics.joined(separator: ","), format.rawValue, partitionKey ?? "-", idPath?.joined(separator: ".") ?? "-",
      timePath.joined(separator: "."), timeFormat.rawValue, "\(allowedLateness.microseconds)", zone, "\(maxFutureSkew.microseconds)",
      "\(deduplicateWithin?.microseconds ?? -1)",
    ]
    for field in fields { lines.append("field \(field.name) \(field.path.joined(separator: ".")) \(field.kind) \(field.presence)") }
    for aggregate in aggregates {
      lines.append("aggregate \(aggregate.name) \(aggregate.window) \(aggregate.by) \(aggregate.maxGroups)")
      for term in aggregate.filter { lines.append("where \(term.field) \(term.negated) \(term.values)") }
      for measure in aggregate.measures { lines.append("measure \(measure.name) \(measure.text)") }
    }
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in lines.joined(separator: "\n").utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

extension Topology.Aggregate {
  fileprivate func plan(_ index: [String: Int], _ table: ZoneTable) -> AggregatePlan {
    let window: WindowPlan =
      switch self.window {
      case .tumbling(let length): self.window.calendarDays.map { .calendarDays($0, zone: table) } ?? .tumbling(length: length.microseconds)
      }
    return AggregatePlan(
      name: name, window: window, by: by.map { index[$0]! },
      filter: filter.map { FilterTerm(field: index[$0.field]!, negated: $0.negated, values: $0.values) },
      measures: measures.map { MeasurePlan(name: $0.name, kind: $0.plan(index)) }, groupLimit: maxGroups)
  }
}

extension Topology.Measure {
  fileprivate func plan(_ index: [String: Int]) -> MeasurePlan.Kind {
    switch kind {
    case .count: .count
    case .sum(let f): .sum(field: index[f]!)
    case .minimum(let f): .minimum(field: index[f]!)
    case .maximum(let f): .maximum(field: index[f]!)
    case .average(let f): .average(field: index[f]!)
    case .distinct(let f): .distinct(field: index[f]!)
    }
  }
}
