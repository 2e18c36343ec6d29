extension Topology {
  /// Who reads an aggregate, where, and what is kept from them.
  func accessWords(_ aggregate: Aggregate) -> [String] {
    guard aggregate.access != nil else { return ["none: the file gives nobody access"] }
    let rows = readers(of: aggregate).map { reader -> [String] in
      let days = reader.tier.completeDays ? " of complete days" : ""
      var words =
        switch reader.rows {
        case .all: "every \(aggregate.by.isEmpty ? "window" : "row")\(days)"
        case .own(let field): "rows\(days) of the person's own \(Self.sqlName(field))"
        case .totals: "totals\(days) over every \(aggregate.by.map(Self.sqlName).joined(separator: ", "))"
        }
      let missing = aggregate.measures.map(\.name).filter { !reader.measures.contains($0) }
      if !missing.isEmpty { words += ", without \(missing.map(Self.sqlName).joined(separator: ", "))" }
      return [reader.tier.name, "analytics.\(reader.relation)", words]
    }
    return Explanation.aligned(rows)
  }

  /// Tiers that two topologies define differently, and views that would take another topology's table's name.
  static func accessProblems(_ topologies: [Topology]) -> [TopologyProblem] {
    var problems: [TopologyProblem] = []
    var tiers: [String: (tier: Tier, file: String)] = [:]
    let tables = Set(topologies.flatMap { $0.aggregates.map(\.tableName) })
    for topology in topologies {
      for tier in topology.tiers {
        if let other = tiers[tier.role], other.tier != tier {
          problems.append(
            TopologyProblem(
              file: topology.file, line: 1, column: 1,
              message: "tier \"\(tier.name)\" is defined otherwise in \(other.file): one database has one tier of a name"))
        } else {
          tiers[tier.role] = (tier, topology.file)
        }
      }
      for aggregate in topology.aggregates {
        for reader in topology.readers(of: aggregate) where reader.relation != aggregate.tableName && tables.contains(reader.relation) {
          problems.append(
            TopologyProblem(
              file: topology.file, line: aggregate.line, column: aggregate.column,
              message: "tier \"\(reader.tier.name)\" would read aggregate \"\(aggregate.name)\" in the view \(reader.relation), which is also "
                + "the name of a table: rename one"))
        }
      }
    }
    return problems
  }
}
