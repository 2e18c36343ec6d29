import Aggregation
import Yams

extension TopologyReader {
  /// Every aggregate of `aggregates:`; nil when one of them is broken.
  mutating func aggregates(_ entry: Section.Entry) -> [Topology.Aggregate]? {
    guard
      let list = section(
        entry, known: nil, expected: "a mapping of names to aggregates such as { dau: { window: { tumbling: 1 day }, measures: { dau: distinct user_id } } }")
    else { return nil }
    if list.entries.isEmpty {
      report(entry.mark, "aggregates is empty, expected at least one")
      return nil
    }
    var result: [Topology.Aggregate] = []
    var tables: [String: String] = [:]
    for entry in list.entries {
      let table = Topology.sqlName(entry.key)
      if let other = tables[table], other != entry.key {
        report(entry.mark, "aggregates \"\(other)\" and \"\(entry.key)\" would both be the table \(table): rename one")
      }
      tables[table] = entry.key
      if let aggregate = aggregate(entry) { result.append(aggregate) }
    }
    return result.count == list.entries.count ? result : nil
  }

  private mutating func aggregate(_ entry: Section.Entry) -> Topology.Aggregate? {
    var name = self.name(entry.key, at: entry.mark, what: "an aggregate")
    if let taken = name, Topology.reservedTables.contains(Topology.sqlName(taken)) {
      report(entry.mark, "an aggregate cannot be called \"\(taken)\": Tidemark has a table of that name in the schema analytics")
      name = nil
    }
    guard
      let section = section(
        entry, known: ["window", "by", "where", "measures", "access", "max_groups"],
        expected: "a mapping such as { window: { tumbling: 1 day }, by: [department], measures: { event_count: count } }")
    else { return nil }
    let window = mandatory("window", of: section, "add window: { tumbling: 1 day }").flatMap { self.window($0) }
    let by = section["by"].map { self.by($0) } ?? []
    let filter = section["where"].map { self.filter($0) } ?? []
    let measures = mandatory("measures", of: section, "add measures: { event_count: count }").flatMap { self.measures($0, by: by ?? []) }
    let access: Topology.Access?? = section["access"].map { self.access($0, by: by).map { .some($0) } } ?? .some(nil)
    let maxGroups = section["max_groups"].map { self.integer($0, in: 1...10_000_000) } ?? Limits.groups
    guard let name, let window, let by, let filter, let measures, let access, let maxGroups else { return nil }
    return Topology.Aggregate(
      name: name, window: window, by: by, filter: filter, measures: measures, access: access, maxGroups: maxGroups,
      line: entry.mark.line, column: entry.mark.column)
  }

  private mutating func window(_ entry: Section.Entry) -> Topology.Window? {
    guard case .mapping = entry.value else {
      reportType(entry.value, entry.path, expected: "a mapping such as { tumbling: 1 day }")
      return nil
    }
    // Kinds that the design names and that are not built yet are refused by name, not as misspelt.
    guard let section = section(entry, known: ["tumbling", "hopping", "session", "last", "every", "gap"], expected: "{ tumbling: 1 day }")
    else { return nil }
    var refused = false
    for kind in ["hopping", "session", "last", "every", "gap"] {
      guard let found = section[kind] else { continue }
      report(found.mark, "\(found.path): only tumbling windows are available yet; write { tumbling: 1 day }")
      refused = true
    }
    if refused { return nil }
    return mandatory("tumbling", of: section, "add tumbling: 1 day")
      .flatMap { self.span($0, atLeast: TimeSpan(microseconds: TimeSpan.second)) }.map { .tumbling($0) }
  }

  private mutating func by(_ entry: Section.Entry) -> [String]? {
    guard let items = list(entry.value, path: entry.path, expected: "a list of fields such as [department, event_type]") else { return nil }
    if items.count > Limits.keyFields {
      report(entry.value.place, "\(entry.path) has \(items.count) fields, expected at most \(Limits.keyFields)")
      return nil
    }
    var names: [String] = []
    for item in items {
      guard let name = text(item, path: "an item of \(entry.path)", expected: "the name of a field"),
        case .found(let field) = lookUp(name, at: item.place, for: entry.path)
      else { continue }
      if case .decimal = field.kind {
        report(item.place, "\(entry.path): field \"\(name)\" is decimal, expected a field of type string, integer or boolean")
      } else if field.presence == .optional {
        report(item.place, "\(entry.path): field \"\(name)\" is optional, but every row needs a value: give the field a default instead")
      } else if names.contains(name) {
        report(item.place, "\(entry.path): field \"\(name)\" is in the list twice: keep one of them")
      } else if reserved(name) {
        report(item.place, "\(entry.path): \"\(name)\" is the name of a column that every table has: rename the field")
      } else {
        names.append(name)
      }
    }
    return names.count == items.count ? names : nil
  }

  private func reserved(_ name: String) -> Bool { Topology.reservedColumns.contains(Topology.sqlName(name)) }

  // MARK: where

  private mutating func filter(_ entry: Section.Entry) -> [Topology.Filter]? {
    guard let section = section(entry, known: nil, expected: "a mapping of fields to values such as { event_type: [purchase] }") else { return nil }
    var terms: [Topology.Filter] = []
    for term in section.entries {
      guard case .found(let field) = lookUp(term.key, at: term.mark, for: entry.path) else { continue }
      var values = term
      var negated = false
      if case .mapping = term.value {
        guard let inner = self.section(term, known: ["not"], expected: "values, or { not: values }"),
          let not = mandatory("not", of: inner, "write { not: [VALUE] }, or the values alone")
        else { continue }
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
        report(node.place, "\(entry.path): \"\(text)\" is not \(field.kind.example)")
        continue
      }
      values.append(value)
    }
    return values.count == nodes.count ? values : nil
  }

  // MARK: measures

  private static let measureKinds = ["count", "sum", "min", "max", "average", "distinct"]

  private mutating func measures(_ entry: Section.Entry, by: [String]) -> [Topology.Measure]? {
    guard let section = section(entry, known: nil, expected: "a mapping of names to measures such as { event_count: count, revenue: sum amount }")
    else { return nil }
    if section.entries.isEmpty {
      report(entry.mark, "\(entry.path) is empty, expected at least one measure such as event_count: count")
      return nil
    }
    var result: [Topology.Measure] = []
    var columns: [String: String] = [:]
    for field in by { columns[Topology.sqlName(field)] = "field \"\(field)\" of by" }
    for measure in section.entries {
      let name = self.name(measure.key, at: measure.mark, what: "a measure")
      let kind = self.measureKind(measure)
      guard let name, let kind else { continue }
      var good = true
      var wanted = [Topology.sqlName(name)]
      if case .average = kind { wanted += ["\(Topology.sqlName(name))_sum", "\(Topology.sqlName(name))_count"] }
      for column in wanted {
        if reserved(column) {
          report(measure.mark, "a measure cannot be called \"\(name)\": every table has a column \(column)")
          good = false
        } else if let other = columns[column] {
          report(measure.mark, "measure \"\(name)\" and \(other) would both be the column \(column): rename one")
          good = false
        }
        columns[column] = "measure \"\(name)\""
      }
      if good { result.append(Topology.Measure(name: name, kind: kind)) }
    }
    return result.count == section.entries.count ? result : nil
  }

  private mutating func measureKind(_ entry: Section.Entry) -> Topology.Measure.Kind? {
    let expected = "count, or one of sum, min, max, average, distinct and a field, such as sum amount_cents"
    guard let text = text(entry.value, path: entry.path, expected: expected) else { return nil }
    let words = text.split(separator: " ").map(String.init)
    let mark = entry.value.place
    guard let word = words.first, words.count <= 2 else {
      report(mark, "\(entry.path): \"\(text)\" is not a measure: expected \(expected)")
      return nil
    }
    guard Self.measureKinds.contains(word) else {
      let meant = ["avg": "average", "mean": "average", "minimum": "min", "maximum": "max", "unique": "distinct", "total": "sum"][word]
      report(mark, meant.map { "unknown measure \"\(word)\" in \(entry.path): did you mean \"\($0)\"?" }
        ?? unknown("measure", word, Self.measureKinds, place: " in \(entry.path)"))
      return nil
    }
    if word == "count" {
      if words.count == 1 { return .count }
      report(mark, "\(entry.path): count takes no field, \"\(words[1])\" is too much: it counts events")
      return nil
    }
    guard words.count == 2 else {
      report(mark, "\(entry.path): \(word) needs a field, such as \(word) \(declared.first?.name ?? "amount")")
      return nil
    }
    guard case .found(let field) = lookUp(words[1], at: mark, for: entry.path) else { return nil }
    if word == "distinct" { return distinct(field, mark, entry.path) }
    switch field.kind {
    case .integer, .decimal: break
    case .string, .boolean:
      report(mark, "\(entry.path): \(word) needs a number, field \"\(field.name)\" is \(field.kind.word)")
      return nil
    }
    switch word {
    case "sum": return .sum(field.name)
    case "min": return .minimum(field.name)
    case "max": return .maximum(field.name)
    default: return .average(field.name)
    }
  }

  private mutating func distinct(_ field: Topology.Field, _ mark: Place, _ path: String) -> Topology.Measure.Kind? {
    guard partitionKeyIsKnown else { return nil }
    guard let key = partitionKey else {
      report(
        mark,
        "\(path): distinct \(field.name) is exact only if all events of one \(field.name) are in one partition: "
          + "add partition_key: \(field.name) to source")
      return nil
    }
    guard key == field.name else {
      report(mark, "\(path): distinct counts the partition key, \(key), exactly; events of one \(field.name) may lie in several partitions")
      return nil
    }
    return .distinct(field.name)
  }

  // MARK: access, reconcile

  private mutating func access(_ entry: Section.Entry, by: [String]?) -> Topology.Access? {
    guard let section = section(entry, known: ["by", "tiers"], expected: "a mapping such as { by: department } or { tiers: [ceo, board] }")
    else { return nil }
    if section.entries.isEmpty {
      report(entry.mark, "\(entry.path) is empty: say by: FIELD or tiers: [TIER], or leave access out (then nobody sees a row)")
      return nil
    }
    var field: String?? = .some(nil)
    if let entry = section["by"] {
      field = text(entry.value, path: entry.path, expected: "a field of by").flatMap { name -> String?? in
        guard let by else { return nil }
        if by.contains(name) { return .some(name) }
        let near = nearest(to: name, among: by).map { "did you mean \"\($0)\"?" } ?? (by.isEmpty ? "the aggregate has no by" : "by has \(by.joined(separator: ", "))")
        report(entry.value.place, "\(entry.path): \"\(name)\" is not a field of the aggregate's by: \(near)")
        return nil
      }
    }
    var tiers: [String]? = []
    if let entry = section["tiers"] {
      guard let items = list(entry.value, path: entry.path, expected: "a list of tiers such as [ceo, board]") else { return nil }
      let names = items.compactMap { item in
        self.text(item, path: "an item of \(entry.path)", expected: "the name of a tier")
          .flatMap { self.name($0, at: item.place, what: "a tier") }
      }
      tiers = names.count == items.count ? names : nil
    }
    guard let field, let tiers else { return nil }
    return Topology.Access(by: field, tiers: tiers)
  }

  /// `reconcile:`; `aggregates` is where its names must stand.
  mutating func reconcile(_ entry: Section.Entry, _ aggregates: Section.Entry?) -> [Topology.Reconciliation]? {
    guard let section = section(entry, known: nil, expected: "a mapping such as { daily_metrics: { against: raw, tolerance: exact } }")
    else { return nil }
    var names: [String]?
    if case .mapping(let mapping)? = aggregates?.value { names = mapping.keys.compactMap(\.writtenText) }
    var result: [Topology.Reconciliation] = []
    for item in section.entries {
      if let names, !names.contains(item.key) {
        report(item.mark, unknown("aggregate", item.key, names, place: " in reconcile"))
        continue
      }
      guard let body = self.section(item, known: ["against", "tolerance"], expected: "{ against: raw, tolerance: exact }") else { continue }
      let against = mandatory("against", of: body, "add against: raw")
        .flatMap { self.word($0, as: Topology.Reconciliation.Against.self, what: "source") }
      let tolerance = body["tolerance"].map { self.word($0, as: Topology.Reconciliation.Tolerance.self, what: "tolerance") } ?? .exact
      guard let against, let tolerance else { continue }
      result.append(Topology.Reconciliation(aggregate: item.key, against: against, tolerance: tolerance))
    }
    return result.count == section.entries.count ? result : nil
  }
}
