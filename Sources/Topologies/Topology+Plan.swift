import Aggregation

extension Topology {
  /// What the core runs. Zone tables are built here, from the IANA rules that Foundation carries: some milliseconds where
  /// a zone other than UTC is used.
  public func plan() -> Plan {
    let index = Dictionary(uniqueKeysWithValues: fields.enumerated().map { ($1.name, $0) })
    let table = aggregates.contains { $0.window.calendarDays != nil } ? ZoneRules.table(of: zone) : .utc
    return Plan(
      topology: name, fingerprint: fingerprint, topics: topics, idPath: deduplicateWithin == nil ? nil : idPath,
      timePath: timePath,
      timeFormat: timeFormat,
      fields: fields.map { FieldPlan(name: $0.name, path: $0.path, kind: $0.kind, presence: $0.presence) },
      partitionKey: partitionKey.flatMap { index[$0] }, aggregates: aggregates.map { $0.plan(index, table) },
      allowedLateness: allowedLateness.microseconds, deduplicateWithin: deduplicateWithin?.microseconds,
      maxFutureSkew: maxFutureSkew.microseconds)
  }
}

extension Topology.Aggregate {
  fileprivate func plan(_ index: [String: Int], _ table: ZoneTable) -> AggregatePlan {
    let window: WindowPlan =
      switch self.window {
      case .tumbling(let length):
        self.window.calendarDays.map { .calendarDays($0, zone: table) } ?? .tumbling(length: length.microseconds)
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
