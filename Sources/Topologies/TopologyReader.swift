import Aggregation
import Yams

/// Reads a topology out of nodes and gathers every problem on the way; what is broken reads as nil.
///
/// A part that is broken is reported once, where it stands: what refers to it is not reported again.
struct TopologyReader {
  let file: String
  let hiddenKeys: [String: String]
  private(set) var problems: [TopologyProblem] = []

  /// Every field that the file declares; nil: declared, but not well.
  var declared: [(name: String, field: Topology.Field?)] = []
  /// False once the list of fields itself could not be read: nothing is reported about missing fields then.
  var fieldsAreKnown = true
  var partitionKey: String?
  /// False where the file names a partition key that is no good: it was reported there.
  var partitionKeyIsKnown = true
  var tiersKnown = Topology.Tier.standard
  /// False where the file's own tiers could not be read: nothing is reported about missing tiers then.
  var tiersAreKnown = true

  init(file: String, hiddenKeys: [String: String]) {
    self.file = file
    self.hiddenKeys = hiddenKeys
  }

  mutating func report(_ mark: Place, _ message: String) {
    problems.append(TopologyProblem(file: file, line: mark.line, column: mark.column, message: message))
  }

  /// `path is X, expected Y`.
  mutating func reportType(_ node: Node, _ path: String, expected: String) {
    report(node.place, "\(path) is \(node.kindName), expected \(expected)")
  }

  // MARK: Parts of the file

  /// The mapping `node`. Reports keys that are not text, duplicates, and keys outside `known` (nil: any key).
  mutating func section(_ node: Node, path: String, at mark: Place, known: [String]?, expected: String) -> Section? {
    guard case .mapping(let mapping) = node else {
      reportType(node, path.isEmpty ? "the file" : path, expected: expected)
      return nil
    }
    let place = path.isEmpty ? "" : " in \(path)"
    var entries: [Section.Entry] = []
    var first: [String: Place] = [:]
    var meant: Set<String> = []
    for (keyNode, value) in mapping {
      guard case .scalar(let scalar) = keyNode else {
        report(keyNode.place, "a key\(place) is \(keyNode.kindName), expected a text")
        continue
      }
      let isHidden = hiddenKeys[scalar.string] != nil
      let key = hiddenKeys[scalar.string] ?? scalar.string
      if let earlier = first[key] {
        report(keyNode.place, "duplicate key \(quoted(key))\(place): it already stands at \(earlier); keep one of them")
        entries.removeAll { $0.key == key }
      } else {
        first[key] = keyNode.place
      }
      if isHidden { continue }
      if let known, !known.contains(key) {
        if let near = keyMeant(by: key, known) { meant.insert(near) }
        report(keyNode.place, unknown("key", key, known, place: place, meant: keyMeant(by: key, known)))
        continue
      }
      entries.append(
        Section.Entry(key: key, mark: keyNode.place, value: value, path: path.isEmpty ? shown(key) : "\(path).\(shown(key))"))
    }
    return Section(path: path, mark: mark, entries: entries, meant: meant.subtracting(first.keys))
  }

  /// The mapping below an entry.
  mutating func section(_ entry: Section.Entry, known: [String]?, expected: String) -> Section? {
    section(entry.value, path: entry.path, at: entry.mark, known: known, expected: expected)
  }

  /// `unknown key "zon" in time: did you mean "zone"?`, or the list of what is known.
  func unknown(_ what: String, _ text: String, _ known: [String], place: String, meant: String? = nil) -> String {
    if let near = meant ?? nearest(to: text, among: known) {
      return "unknown \(what) \(quoted(text))\(place): did you mean \(quoted(near))?"
    }
    return "unknown \(what) \(quoted(text))\(place): expected \(oneOf(known))"
  }

  /// What other systems call our keys.
  private static let otherWords = [
    "name": "topology", "deduplication": "deduplicate", "dedup": "deduplicate", "topic": "topics", "key": "partition_key",
    "lateness": "allowed_lateness", "timezone": "zone", "time_zone": "zone", "tz": "zone", "group_by": "by", "filter": "where",
    "metrics": "measures", "nullable": "optional", "timestamp": "time"
  ]

  private func keyMeant(by key: String, _ known: [String]) -> String? {
    if let word = Self.otherWords[key.lowercased()], known.contains(word) { return word }
    return nearest(to: key, among: known)
  }

  /// The entry, or a report that it is missing; nothing is added where a misspelt key was reported already.
  mutating func mandatory(_ key: String, of section: Section, _ advice: String) -> Section.Entry? {
    if let entry = section[key] { return entry }
    if section.meant.contains(key) { return nil }
    report(section.mark, "\(section.path.isEmpty ? "" : "\(section.path): ")\(key) is missing: \(advice)")
    return nil
  }

  // MARK: Scalars

  mutating func text(_ node: Node, path: String, expected: String) -> String? {
    guard let text = node.writtenText else {
      reportType(node, path, expected: expected)
      return nil
    }
    return text
  }

  /// A word out of an enumeration.
  mutating func word<T: RawRepresentable & CaseIterable>(
    _ entry: Section.Entry, as: T.Type, what: String
  ) -> T? where T.RawValue == String {
    let words = T.allCases.map(\.rawValue)
    guard let text = text(entry.value, path: entry.path, expected: oneOf(words)) else { return nil }
    if let value = T(rawValue: text) { return value }
    report(entry.value.place, unknown(what, text, words, place: place(of: entry)))
    return nil
  }

  mutating func boolean(_ entry: Section.Entry) -> Bool? {
    switch entry.value.writtenText {
    case "true": return true
    case "false": return false
    case let text?:
      report(entry.value.place, "\(entry.path) is \(quoted(text)), expected true or false")
      return nil
    case nil:
      reportType(entry.value, entry.path, expected: "true or false")
      return nil
    }
  }

  /// A whole number within bounds.
  mutating func integer(_ entry: Section.Entry, in range: ClosedRange<Int>) -> Int? {
    let expected = "an integer from \(range.lowerBound) to \(range.upperBound)"
    guard let text = text(entry.value, path: entry.path, expected: expected) else { return nil }
    if let value = Int(text), range.contains(value) { return value }
    report(entry.value.place, "\(entry.path) is \(quoted(text)), expected \(expected)")
    return nil
  }

  static let durationExamples = "90s, 15 minutes, 48h, 1 day or 30 days"

  /// A duration of at least `least`.
  mutating func span(_ entry: Section.Entry, atLeast least: TimeSpan = TimeSpan(microseconds: 0)) -> TimeSpan? {
    guard let text = text(entry.value, path: entry.path, expected: "a duration such as \(Self.durationExamples)") else {
      return nil
    }
    guard let span = TimeSpan(text) else {
      report(entry.value.place, "\(entry.path): \(quoted(text)) \(durationAdvice(text))")
      return nil
    }
    guard span >= least else {
      report(entry.value.place, "\(entry.path): \(quoted(text)) is too short: the least is \(least)")
      return nil
    }
    return span
  }

  /// What is wrong with a text that is no duration, as the rest of a sentence.
  private func durationAdvice(_ text: String) -> String {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }
    if text.hasPrefix("-"), TimeSpan(String(text.dropFirst())) != nil { return "is negative, which no duration can be" }
    if TimeSpan("1\(unit)") != nil, !digits.isEmpty { return "is too long: the longest is \(TimeSpan.longestDays) days" }
    if TimeSpan(text.lowercased()) != nil { return "is not a duration: did you mean \(quoted(text.lowercased()))?" }
    if digits.count == text.count, !digits.isEmpty { return "has no unit: write \(shown(String(digits)))s if it is seconds" }
    if !digits.isEmpty, unit.allSatisfy({ $0.isLetter }) {
      return
        "is not a duration: there is no unit \(quoted(String(unit))), "
        + "expected seconds (s), minutes (m), hours (h), days (d) or weeks (w)"
    }
    return "is not a duration: expected a whole number and one unit, such as \(Self.durationExamples)"
  }

  /// A name that SQL can carry; `what` says whose: `an aggregate`, `a field`.
  mutating func name(_ text: String, at mark: Place, what: String) -> String? {
    if Topology.isName(text) { return text }
    let advice = Topology.nameResembling(text).map { "; \(quoted($0)) would do" } ?? ""
    let most = Topology.longestName
    let reason =
      text.count > most && Topology.isName(String(text.prefix(most)))
      ? "it has \(text.count) characters, at most \(most) are allowed"
      : "names are made of a-z, 0-9, _ and -, begin with a letter and have at most \(most) characters"
    report(mark, "\(quoted(text)) cannot be the name of \(what): \(reason)\(advice)")
    return nil
  }

  /// A JSON path, keys joined by dots.
  mutating func path(_ node: Node, path: String) -> [String]? {
    let expected = "a JSON path such as event_id or properties.amount"
    guard let text = text(node, path: path, expected: expected) else { return nil }
    let keys = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    if keys.allSatisfy({ !$0.isEmpty }) { return keys }
    report(
      node.place,
      "\(path): \(quoted(text)) is not a JSON path: a key between dots is empty, expected for example properties.amount")
    return nil
  }

  /// The items of a list.
  mutating func list(_ node: Node, path: String, expected: String, most: Int = Topology.mostItems) -> [Node]? {
    guard case .sequence(let items) = node else {
      // A lone text is most often the list's only item.
      let advice = node.writtenText.map { $0.count <= Topology.longestName ? "; write [\(shown($0))]" : "" } ?? ""
      reportType(node, path, expected: expected + advice)
      return nil
    }
    if items.isEmpty {
      report(node.place, "\(path) is an empty list, expected \(expected)")
      return nil
    }
    return fits(items.count, most, path, node.place) ? Array(items) : nil
  }

  /// Reports what is more than a topology may have.
  mutating func fits(_ count: Int, _ most: Int, _ path: String, _ mark: Place) -> Bool {
    if count > most { report(mark, "\(path) has \(count) entries, at most \(most) are allowed") }
    return count <= most
  }

  /// ` in time`: the mapping that an entry stands in.
  func place(of entry: Section.Entry) -> String { " in \(entry.path)" }
}
