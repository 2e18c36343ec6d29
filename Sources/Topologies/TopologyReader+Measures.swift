import Aggregation
import Yams

extension TopologyReader {
  private static let measureKinds = ["count", "sum", "min", "max", "average", "distinct"]
  private static let otherMeasures = [
    "avg": "average", "mean": "average", "minimum": "min", "maximum": "max", "unique": "distinct", "total": "sum", "sums": "sum"
  ]

  /// What `sum(amount)`, `sum of amount`, `count(*)` or `count(distinct user_id)` mean here; nil for what nobody would write.
  private static func measureMeant(by text: String) -> String? {
    var words = text.lowercased().split { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-") }.map(String.init)
    words.removeAll { ["of", "the"].contains($0) }
    if words.first == "count", words.dropFirst().first == "distinct" { words.removeFirst() }
    guard let first = words.first else { return nil }
    let kind = otherMeasures[first] ?? first
    guard measureKinds.contains(kind), words.allSatisfy(Topology.isName) else { return nil }
    if kind == "count" { return words.count == 1 ? "count" : nil }
    return words.count == 2 ? "\(kind) \(words[1])" : nil
  }

  mutating func measures(_ entry: Section.Entry, by: [String]) -> [Topology.Measure]? {
    guard
      let section = section(
        entry, known: nil, expected: "a mapping of names to measures such as { event_count: count, revenue: sum amount }")
    else { return nil }
    if section.entries.isEmpty {
      report(entry.mark, "\(entry.path) is empty, expected at least one measure such as event_count: count")
      return nil
    }
    guard fits(section.entries.count, Topology.mostItems, section.path, section.mark) else { return nil }
    var result: [Topology.Measure] = []
    var columns: [String: String] = [:]
    for field in by { columns[Topology.sqlName(field)] = "field \(quoted(field)) of by" }
    for measure in section.entries {
      let name = self.name(measure.key, at: measure.mark, what: "a measure")
      let kind = self.measureKind(measure)
      guard let name, let kind else { continue }
      var good = true
      var wanted = [Topology.sqlName(name)]
      if case .average = kind { wanted += ["\(Topology.sqlName(name))_sum", "\(Topology.sqlName(name))_count"] }
      for column in wanted {
        if reserved(column) {
          report(
            measure.mark, "a measure cannot be called \(quoted(name)): every table has a column \(column), choose another name")
          good = false
        } else if let other = columns[column] {
          report(measure.mark, "measure \(quoted(name)) and \(other) would both be the column \(column): rename one")
          good = false
        }
        columns[column] = "measure \(quoted(name))"
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
    guard let word = words.first, words.count <= 2, text.utf8.allSatisfy({ $0 != UInt8(ascii: "(") }) else {
      let advice = Self.measureMeant(by: text).map { "did you mean \(quoted($0))?" } ?? "expected \(expected)"
      report(mark, "\(entry.path): \(quoted(text)) is not a measure: \(advice)")
      return nil
    }
    guard Self.measureKinds.contains(word) else {
      report(
        mark,
        Self.otherMeasures[word.lowercased()].map {
          "unknown measure \(quoted(word)) in \(entry.path): did you mean \(quoted($0))?"
        }
          ?? unknown("measure", word, Self.measureKinds, place: " in \(entry.path)"))
      return nil
    }
    if word == "count" {
      if words.count == 1 { return .count }
      let distinct = words[1] == partitionKey ? ", or distinct \(words[1])" : ""
      report(mark, "\(entry.path): count counts events and takes no field: write count\(distinct)")
      return nil
    }
    guard words.count == 2 else {
      let fitting = declared.lazy.compactMap(\.field).first { word == "distinct" ? $0.name == partitionKey : $0.kind.isNumber }
      report(mark, "\(entry.path): \(word) needs a field, such as \(word) \(fitting?.name ?? "FIELD")")
      return nil
    }
    guard case .found(let field) = lookUp(words[1], at: mark, for: entry.path) else { return nil }
    if word == "distinct" { return distinct(field, mark, entry.path) }
    guard field.kind.isNumber else {
      report(
        mark,
        "\(entry.path): \(word) needs a number, field \(quoted(field.name)) is \(field.kind.word); "
          + "expected a field of type integer or decimal"
      )
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
          + "add partition_key: \(field.name) to source, if it is the Kafka key")
      return nil
    }
    guard key == field.name else {
      report(
        mark,
        "\(path): distinct \(field.name) cannot be exact, events of one \(field.name) may be in several partitions: "
          + "only the partition key can be counted, write distinct \(key)")
      return nil
    }
    return .distinct(field.name)
  }
}
