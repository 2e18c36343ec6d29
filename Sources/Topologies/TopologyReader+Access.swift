import Yams

/// `tiers:` of the topology and `access:` of its aggregates.
extension TopologyReader {
  /// Every tier: the standard ones, some of them redefined, and then the file's own; nil when one is broken.
  mutating func tiers(_ entry: Section.Entry) -> [Topology.Tier]? {
    let example = "{ auditor: { rows: all }, investor: { rows: totals, complete_days: true } }"
    guard let list = section(entry, known: nil, expected: "a mapping of names to tiers such as \(example)") else { return nil }
    if list.entries.isEmpty {
      report(entry.mark, "tiers is empty: name a tier such as \(example), or leave it out (then there are \(listed(tierNames)))")
      return nil
    }
    guard fits(list.entries.count, 100, list.path, list.mark) else { return nil }
    var result = Topology.Tier.standard
    var good = true
    for entry in list.entries {
      guard let tier = tier(entry) else {
        good = false
        continue
      }
      if let other = result.first(where: { $0.role == tier.role && $0.name != tier.name }) {
        report(entry.mark, "tiers \(quoted(other.name)) and \(quoted(tier.name)) would both be the role \(tier.role): rename one")
        good = false
      } else if let at = result.firstIndex(where: { $0.name == tier.name }) {
        result[at] = tier
      } else {
        result.append(tier)
      }
    }
    return good ? result : nil
  }

  private var tierNames: [String] { tiersKnown.map(\.name) }

  private mutating func tier(_ entry: Section.Entry) -> Topology.Tier? {
    let name = self.name(entry.key, at: entry.mark, what: "a tier")
    if let name, Topology.isReservedRole(Topology.sqlName(name)) {
      report(entry.mark, "a tier cannot be called \(quoted(name)): PostgreSQL or Tidemark has a role of its own by that name, choose another one")
      return nil
    }
    guard
      let section = section(
        entry, known: ["rows", "measures", "complete_days"], expected: "a mapping such as { rows: own, measures: counts }")
    else { return nil }
    let rows = mandatory("rows", of: section, "say all, own or totals").flatMap { word($0, as: Topology.Tier.Rows.self, what: "value") }
    let measures = section["measures"].map { word($0, as: Topology.Tier.Measures.self, what: "value") } ?? .all
    let complete = section["complete_days"].map { boolean($0) } ?? false
    guard let name, let rows, let measures, let complete else { return nil }
    return Topology.Tier(name: name, rows: rows, measures: measures, completeDays: complete)
  }

  /// `access:` of one aggregate; `by` and `measures` are nil where they are broken.
  mutating func access(_ entry: Section.Entry, by: [String]?, measures: [Topology.Measure]?) -> Topology.Access? {
    guard
      let section = section(
        entry, known: ["by", "tiers", "hide", "barrier"], expected: "a mapping such as { by: department } or { tiers: [ceo, board] }")
    else { return nil }
    if section["by"] == nil, section["tiers"] == nil, section.meant.isEmpty {
      let what = section.entries.isEmpty ? "is empty" : "names nobody"
      report(entry.mark, "\(entry.path) \(what): say by: FIELD or tiers: [TIER], or leave access out (then nobody sees a row)")
      return nil
    }
    let field = section["by"].map { accessField($0, by) } ?? .some(nil)
    let tiers = section["tiers"].map { accessTiers($0, by, hasField: section.mentions("by")) } ?? []
    let hidden = section["hide"].map { self.hidden($0, measures, tiers) } ?? [:]
    let isBarred = section["barrier"].map { boolean($0) } ?? false
    guard let field, let tiers, let hidden, let isBarred else { return nil }
    return Topology.Access(by: field, tiers: tiers, hidden: hidden, isBarred: isBarred)
  }

  private mutating func accessField(_ entry: Section.Entry, _ by: [String]?) -> String?? {
    text(entry.value, path: entry.path, expected: "a field of by").flatMap { name -> String?? in
      guard let by else { return nil }
      if by.contains(name) { return .some(name) }
      let near =
        nearest(to: name, among: by).map { "did you mean \(quoted($0))?" }
        ?? (by.isEmpty ? "it has none, add by: [FIELD] or say tiers: [TIER]" : "it has \(listed(by))")
      report(entry.value.place, "\(entry.path): \(quoted(name)) is not a field of the aggregate's by: \(near)")
      return nil
    }
  }

  private mutating func accessTiers(_ entry: Section.Entry, _ by: [String]?, hasField: Bool) -> [String]? {
    guard let items = list(entry.value, path: entry.path, expected: "a list of tiers such as [ceo, board]") else { return nil }
    var names: [String] = []
    for item in items {
      guard let tier = tierNamed(item, path: "an item of \(entry.path)") else { continue }
      if names.contains(tier.name) {
        report(item.place, "tier \(quoted(tier.name)) is in the list twice: keep one of them")
      } else if tier.rows == .own, !hasField, let by, !by.isEmpty {
        report(
          item.place,
          "\(entry.path): \(quoted(tier.name)) sees the rows of a person's own departments, and access does not say what a department is: "
            + "add by: FIELD, one of \(listed(by))")
      } else {
        names.append(tier.name)
      }
    }
    return names.count == items.count ? names : nil
  }

  private mutating func tierNamed(_ node: Node, path: String) -> Topology.Tier? {
    guard let name = text(node, path: path, expected: "the name of a tier") else { return nil }
    if let tier = tiersKnown.first(where: { $0.name == name }) { return tier }
    if tiersAreKnown { report(node.place, unknownTier(name, path)) }
    return nil
  }

  private func unknownTier(_ name: String, _ path: String) -> String {
    if let near = nearest(to: name, among: tierNames) { return "\(path): there is no tier \(quoted(name)): did you mean \(quoted(near))?" }
    return "\(path): there is no tier \(quoted(name)): there are \(listed(tierNames)); others are defined in tiers: of the topology"
  }

  private mutating func hidden(_ entry: Section.Entry, _ measures: [Topology.Measure]?, _ tiers: [String]?) -> [String: [String]]? {
    guard let section = section(entry, known: nil, expected: "a mapping of tiers to measures such as { manager: [revenue_cents] }") else {
      return nil
    }
    var result: [String: [String]] = [:]
    for term in section.entries {
      guard let tier = tiersKnown.first(where: { $0.name == term.key }) else {
        if tiersAreKnown { report(term.mark, unknownTier(term.key, entry.path)) }
        continue
      }
      if let tiers, !tiers.isEmpty ? !tiers.contains(tier.name) : !Topology.Tier.usual.contains(tier.name) {
        report(term.mark, "\(entry.path): \(quoted(tier.name)) does not read the aggregate: add it to tiers, or leave it out here")
        continue
      }
      result[tier.name] = hiddenMeasures(term, measures)
    }
    return result.count == section.entries.count ? result : nil
  }

  private mutating func hiddenMeasures(_ term: Section.Entry, _ measures: [Topology.Measure]?) -> [String]? {
    // An empty list is an answer here: the tier sees every measure.
    if case .sequence(let items) = term.value, items.isEmpty { return [] }
    guard let items = list(term.value, path: term.path, expected: "a list of measures such as [revenue_cents]") else { return nil }
    guard let known = measures?.map(\.name) else { return [] }
    var names: [String] = []
    for item in items {
      guard let name = text(item, path: "an item of \(term.path)", expected: "the name of a measure") else { continue }
      guard known.contains(name) else {
        report(item.place, unknown("measure", name, known, place: " in \(term.path)"))
        continue
      }
      names.append(name)
    }
    return names.count == items.count ? names : nil
  }

  /// What can be said only of the whole aggregate: tiers that would see nothing, views that PostgreSQL could not name.
  mutating func checkAccess(_ aggregate: Topology.Aggregate, _ entry: Section.Entry, tables: Set<String>) {
    guard let access = aggregate.access else { return }
    let named = access.tiers.isEmpty ? Topology.Tier.usual : access.tiers
    for tier in tiersKnown where named.contains(tier.name) {
      guard let reader = aggregate.reader(tier, access) else {
        if access.tiers.contains(tier.name) || access.hidden[tier.name] != nil { report(entry.mark, nothingToSee(tier, aggregate, entry.path)) }
        continue
      }
      guard reader.relation != aggregate.tableName else { continue }
      if reader.relation.utf8.count > 63 {
        report(
          entry.mark,
          "\(entry.path): tier \(quoted(tier.name)) would read the view \(reader.relation), a name of \(reader.relation.utf8.count) characters, "
            + "at most 63 are allowed: shorten the aggregate's name or the tier's")
      } else if tables.contains(reader.relation) || Topology.reservedTables.contains(reader.relation) {
        report(
          entry.mark,
          "\(entry.path): tier \(quoted(tier.name)) would read the view \(reader.relation), which is also the name of a table: rename one")
      }
    }
  }

  private func nothingToSee(_ tier: Topology.Tier, _ aggregate: Topology.Aggregate, _ path: String) -> String {
    let why =
      tier.rows == .totals && !aggregate.by.isEmpty
      ? "distinct counts do not add up over \(listed(aggregate.by))" : "its measures are kept from it"
    return "\(path): tier \(quoted(tier.name)) would see no measure of the aggregate (\(why)): leave it out, or add an aggregate for it"
  }
}

extension Topology {
  /// Roles that a tier must not be: what is granted to a tier is granted to people.
  static func isReservedRole(_ name: String) -> Bool {
    name.hasPrefix("pg_") || name.hasPrefix("tidemark") || ["postgres", "public", "none", "current_user", "session_user", "user"].contains(name)
  }
}
