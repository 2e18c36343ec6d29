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
    var entries: [Section.Entry] = []
    var hidden: [(key: String, mark: Place)] = []
    func isRepeated(_ key: String, _ mark: Place) -> TopologyProblem? {
      hidden.first { $0.key == key }.map {
        TopologyProblem(
          file: file, line: mark.line, column: mark.column,
          message: "duplicate key \"\(key)\"\(path.isEmpty ? "" : " in \(path)"): it already stands at \($0.mark.line):\($0.mark.column)")
      }
    }
    for (keyNode, value) in mapping {
      guard case .scalar(let scalar) = keyNode else {
        report(keyNode.place, "a key\(path.isEmpty ? "" : " of \(path)") is \(keyNode.kindName), expected a text")
        continue
      }
      let isHidden = hiddenKeys[scalar.string] != nil
      let key = hiddenKeys[scalar.string] ?? scalar.string
      if let problem = isRepeated(key, keyNode.place) { problems.append(problem) }
      if isHidden {
        hidden.append((key, keyNode.place))
        continue
      }
      if let known, !known.contains(key) {
        report(keyNode.place, unknown("key", key, known, place: path.isEmpty ? "" : " in \(path)"))
        continue
      }
      entries.append(Section.Entry(key: key, mark: keyNode.place, value: value, path: path.isEmpty ? key : "\(path).\(key)"))
    }
    return Section(path: path, mark: mark, entries: entries)
  }

  /// The mapping below an entry.
  mutating func section(_ entry: Section.Entry, known: [String]?, expected: String) -> Section? {
    section(entry.value, path: entry.path, at: entry.mark, known: known, expected: expected)
  }

  /// `unknown key "zon" in time: did you mean "zone"?`, or the list of what is known.
  func unknown(_ what: String, _ text: String, _ known: [String], place: String) -> String {
    if let near = nearest(to: text, among: known) { return "unknown \(what) \"\(text)\"\(place): did you mean \"\(near)\"?" }
    return "unknown \(what) \"\(text)\"\(place): expected \(oneOf(known))"
  }

  /// `a`, `a or b`, `one of a, b, c`.
  func oneOf(_ words: [String]) -> String {
    words.count > 2 ? "one of \(words.joined(separator: ", "))" : words.joined(separator: " or ")
  }

  /// The entry, or a report that it is missing.
  mutating func mandatory(_ key: String, of section: Section, _ advice: String) -> Section.Entry? {
    if let entry = section[key] { return entry }
    // A hidden duplicate or a misspelt key was reported by itself; saying that the key is missing as well still helps.
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
    default:
      reportType(entry.value, entry.path, expected: "true or false")
      return nil
    }
  }

  /// A whole number within bounds.
  mutating func integer(_ entry: Section.Entry, in range: ClosedRange<Int>) -> Int? {
    let expected = "an integer from \(range.lowerBound) to \(range.upperBound)"
    guard let text = text(entry.value, path: entry.path, expected: expected) else { return nil }
    if let value = Int(text), range.contains(value) { return value }
    report(entry.value.place, "\(entry.path) is \"\(text)\", expected \(expected)")
    return nil
  }

  static let durationExamples = "90s, 15 minutes, 48h, 1 day or 30 days"

  /// A duration of at least `least`.
  mutating func span(_ entry: Section.Entry, atLeast least: TimeSpan = TimeSpan(microseconds: 0)) -> TimeSpan? {
    let expected = "a duration such as \(Self.durationExamples)"
    guard let text = text(entry.value, path: entry.path, expected: expected) else { return nil }
    guard let span = TimeSpan(text) else {
      let reason = Int64(text) == nil ? "" : "it has no unit; "
      report(
        entry.value.place,
        "\(entry.path): \"\(text)\" is not a duration: \(reason)write a whole number and a unit, such as \(Self.durationExamples) "
          + "(at most \(TimeSpan.longestDays) days)")
      return nil
    }
    guard span >= least else {
      report(entry.value.place, "\(entry.path): \"\(text)\" is too short: the least is \(least)")
      return nil
    }
    return span
  }

  /// A name that SQL can carry; `what` says whose: `aggregate`, `field`.
  mutating func name(_ text: String, at mark: Place, what: String) -> String? {
    if Topology.isName(text) { return text }
    let advice = Topology.nameResembling(text).map { "; \"\($0)\" would do" } ?? ""
    report(
      mark,
      "\"\(text)\" cannot be the name of \(what): SQL carries [a-z][a-z0-9_-]*, at most \(Topology.longestName) characters\(advice)")
    return nil
  }

  /// A JSON path, keys joined by dots.
  mutating func path(_ node: Node, path: String) -> [String]? {
    let expected = "a JSON path such as event_id or properties.amount"
    guard let text = text(node, path: path, expected: expected) else { return nil }
    let keys = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    if keys.allSatisfy({ !$0.isEmpty }) { return keys }
    report(node.place, "\(path): \"\(text)\" is not a JSON path: a key between dots is empty, expected such as properties.amount")
    return nil
  }

  /// The items of a list.
  mutating func list(_ node: Node, path: String, expected: String) -> [Node]? {
    guard case .sequence(let items) = node else {
      reportType(node, path, expected: expected)
      return nil
    }
    if items.isEmpty {
      report(node.place, "\(path) is an empty list, expected \(expected)")
      return nil
    }
    return Array(items)
  }

  /// ` in time`: the mapping that an entry stands in.
  func place(of entry: Section.Entry) -> String { " in \(entry.path)" }
}
