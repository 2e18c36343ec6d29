import Aggregation
import Yams

extension TopologyReader {
  private static let aggregateExample = "{ events_daily: { window: { tumbling: 1 day }, measures: { event_count: count } } }"

  /// Every aggregate of `aggregates:`; nil when one of them is broken.
  mutating func aggregates(_ entry: Section.Entry) -> [Topology.Aggregate]? {
    guard
      let list = section(
        entry, known: nil, expected: "a mapping of names to aggregates such as \(Self.aggregateExample)")
    else { return nil }
    if list.entries.isEmpty {
      report(entry.mark, "aggregates is empty, expected at least one such as \(Self.aggregateExample)")
      return nil
    }
    guard fits(list.entries.count, Topology.mostItems, list.path, list.mark) else { return nil }
    var result: [Topology.Aggregate] = []
    var tables: [String: String] = [:]
    for entry in list.entries {
      let table = Topology.sqlName(entry.key)
      if let other = tables[table], other != entry.key {
        report(entry.mark, "aggregates \(quoted(other)) and \(quoted(entry.key)) would both be the table \(table): rename one")
      }
      tables[table] = entry.key
      if let aggregate = aggregate(entry) { result.append(aggregate) }
    }
    for aggregate in result {
      guard let entry = list[aggregate.name] else { continue }
      checkAccess(aggregate, entry, tables: Set(tables.keys))
    }
    return result.count == list.entries.count ? result : nil
  }

  private mutating func aggregate(_ entry: Section.Entry) -> Topology.Aggregate? {
    var name = self.name(entry.key, at: entry.mark, what: "an aggregate")
    if let taken = name, Topology.reservedTables.contains(Topology.sqlName(taken)) {
      report(
        entry.mark,
        "an aggregate cannot be called \(quoted(taken)): Tidemark has a table of its own by that name, choose another one")
      name = nil
    }
    guard
      let section = section(
        entry, known: ["window", "by", "where", "measures", "access", "max_groups"],
        expected: "a mapping such as { window: { tumbling: 1 day }, by: [department], measures: { event_count: count } }")
    else { return nil }
    let window = mandatory("window", of: section, "add window: { tumbling: 1 day }").flatMap { self.window($0) }
    let by: [String]? = section["by"].map { self.by($0) } ?? (section.meant.contains("by") ? nil : [])
    let filter = section["where"].map { self.filter($0) } ?? []
    let measures = mandatory("measures", of: section, "add measures: { event_count: count }").flatMap {
      self.measures($0, by: by ?? [])
    }
    let access: Topology.Access?? = section["access"].map { self.access($0, by: by, measures: measures).map { .some($0) } } ?? .some(nil)
    let maxGroups = section["max_groups"].map { self.integer($0, in: 1...10_000_000) } ?? Limits.groups
    guard let name, let window, let by, let filter, let measures, let access, let maxGroups else { return nil }
    return Topology.Aggregate(
      name: name, window: window, by: by, filter: filter, measures: measures, access: access, maxGroups: maxGroups,
      line: entry.mark.line, column: entry.mark.column)
  }

  private mutating func window(_ entry: Section.Entry) -> Topology.Window? {
    guard case .mapping = entry.value else {
      let length = entry.value.writtenText.flatMap { TimeSpan($0) == nil ? nil : $0 } ?? "1 day"
      reportType(entry.value, entry.path, expected: "a mapping such as { tumbling: \(length) }")
      return nil
    }
    // Kinds that the design names and that are not built yet are refused by name, not as misspelt.
    guard let section = section(entry, known: nil, expected: "{ tumbling: 1 day }") else { return nil }
    for found in section.entries where found.key != "tumbling" {
      if ["hopping", "session", "sliding", "last", "every", "gap"].contains(found.key) {
        report(found.mark, "\(found.path): only tumbling windows are available yet, write { tumbling: 1 day }")
      } else {
        report(found.mark, unknown("key", found.key, ["tumbling"], place: " in \(entry.path)"))
      }
      return nil
    }
    return mandatory("tumbling", of: section, "add tumbling: 1 day")
      .flatMap { self.span($0, atLeast: TimeSpan(microseconds: TimeSpan.second)) }.map { .tumbling($0) }
  }

  private mutating func by(_ entry: Section.Entry) -> [String]? {
    if case .sequence(let items) = entry.value, items.isEmpty {
      report(entry.value.place, "\(entry.path) is an empty list: name a field, or leave by out (then a window has one row)")
      return nil
    }
    guard let items = list(entry.value, path: entry.path, expected: "a list of fields such as [department, event_type]") else {
      return nil
    }
    if items.count > Limits.keyFields {
      report(entry.value.place, "\(entry.path) has \(items.count) fields, at most \(Limits.keyFields) are allowed")
      return nil
    }
    var names: [String] = []
    for item in items {
      guard let name = text(item, path: "an item of \(entry.path)", expected: "the name of a field"),
        case .found(let field) = lookUp(name, at: item.place, for: entry.path)
      else { continue }
      if case .decimal = field.kind {
        report(item.place, "\(entry.path): field \(quoted(name)) is decimal, expected a field of type string, integer or boolean")
      } else if field.presence == .optional {
        report(
          item.place,
          "\(entry.path): field \(quoted(name)) is optional, but every row needs a value: "
            + "give the field a default instead of optional: true")
      } else if names.contains(name) {
        report(item.place, "\(entry.path): field \(quoted(name)) is in the list twice: keep one of them")
      } else if reserved(name) {
        report(item.place, "\(entry.path): \(quoted(name)) is the name of a column that every table has: rename the field")
      } else {
        names.append(name)
      }
    }
    return names.count == items.count ? names : nil
  }

  func reserved(_ name: String) -> Bool { Topology.reservedColumns.contains(Topology.sqlName(name)) }

  // MARK: where

  private mutating func filter(_ entry: Section.Entry) -> [Topology.Filter]? {
    guard let section = section(entry, known: nil, expected: "a mapping of fields to values such as { event_type: [purchase] }")
    else { return nil }
    if section.entries.isEmpty {
      report(entry.mark, "\(entry.path) is empty: name a field, or leave where out (then every event counts)")
      return nil
    }
    var terms: [Topology.Filter] = []
    for term in section.entries {
      guard case .found(let field) = lookUp(term.key, at: term.mark, for: entry.path) else { continue }
      var values = term
      var negated = false
      if case .mapping = term.value {
        guard let inner = self.section(term, known: nil, expected: "values, or { not: values }") else { continue }
        guard let not = inner["not"], inner.entries.count == 1 else {
          let stray = inner.entries.first { $0.key != "not" }
          let reason = stray.map { "\(quoted($0.key)) is no condition" } ?? "the mapping is empty"
          report(
            stray?.mark ?? term.value.place, "\(term.path): \(reason), expected a value, a list of values, or { not: [VALUE] }")
          continue
        }
        values = not
        negated = true
      }
      guard let texts = filterValues(values, field) else { continue }
      terms.append(Topology.Filter(field: field.name, negated: negated, values: texts))
    }
    return terms.count == section.entries.count ? terms : nil
  }

  private mutating func filterValues(_ entry: Section.Entry, _ field: Topology.Field) -> [String]? {
    let nodes: [Node]
    if case .sequence = entry.value {
      guard let items = list(entry.value, path: entry.path, expected: "at least one value") else { return nil }
      nodes = items
    } else {
      nodes = [entry.value]
    }
    var values: [String] = []
    for node in nodes {
      guard let text = text(node, path: entry.path, expected: field.kind.example) else { continue }
      guard let value = field.kind.canonical(text) else {
        report(node.place, "\(entry.path) is \(quoted(text)), expected \(field.kind.example)")
        continue
      }
      values.append(value)
    }
    return values.count == nodes.count ? values : nil
  }

  // MARK: reconcile

  /// `reconcile:`; `aggregates` is where its names must stand.
  mutating func reconcile(_ entry: Section.Entry, _ aggregates: Section.Entry?) -> [Topology.Reconciliation]? {
    guard
      let section = section(
        entry, known: nil, expected: "a mapping such as { daily_metrics: { against: raw, tolerance: exact } }")
    else { return nil }
    var names: [String]?
    if case .mapping(let mapping)? = aggregates?.value {
      names = mapping.keys.compactMap(\.writtenText).filter { hiddenKeys[$0] == nil }
    }
    if names?.isEmpty == true { names = nil }
    guard fits(section.entries.count, Topology.mostItems, section.path, section.mark) else { return nil }
    var result: [Topology.Reconciliation] = []
    for item in section.entries {
      if let names, !names.contains(item.key) {
        report(item.mark, unknown("aggregate", item.key, names, place: " in reconcile"))
        continue
      }
      guard let body = self.section(item, known: ["against", "tolerance"], expected: "{ against: raw, tolerance: exact }") else {
        continue
      }
      let against = mandatory("against", of: body, "add against: raw")
        .flatMap { self.word($0, as: Topology.Reconciliation.Against.self, what: "source") }
      let tolerance = body["tolerance"].map { self.tolerance($0) } ?? .exact
      guard let against, let tolerance else { continue }
      result.append(Topology.Reconciliation(aggregate: item.key, against: against, tolerance: tolerance))
    }
    return result.count == section.entries.count ? result : nil
  }

  /// `exact`, or a percentage with up to three digits after the point.
  private mutating func tolerance(_ entry: Section.Entry) -> Topology.Reconciliation.Tolerance? {
    let expected = "exact or a percentage from 0.001% to 50%"
    guard let text = text(entry.value, path: entry.path, expected: expected) else { return nil }
    if text == "exact" { return .exact }
    let parts = text.dropLast().split(separator: ".", omittingEmptySubsequences: false)
    if text.hasSuffix("%"), (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) } }),
      let whole = Int(parts[0]), parts.count == 1 || parts[1].count <= 3,
      let fraction = Int(String(((parts.count == 2 ? String(parts[1]) : "") + "000").prefix(3)))
    {
      let thousandths = min(whole, 1000) * 1000 + fraction
      if (1...50_000).contains(thousandths) { return .within(thousandths: thousandths) }
    }
    report(entry.value.place, "\(entry.path) is \(quoted(text)), expected \(expected)")
    return nil
  }
}

extension Topology.Reconciliation.Tolerance: CustomStringConvertible {
  /// As the file writes it.
  public var description: String {
    switch self {
    case .exact: return "exact"
    case .within(let thousandths):
      var fraction = String(String(1000 + thousandths % 1000).dropFirst())
      while fraction.hasSuffix("0") { fraction.removeLast() }
      return "\(thousandths / 1000)\(fraction.isEmpty ? "" : ".\(fraction)")%"
    }
  }
}
