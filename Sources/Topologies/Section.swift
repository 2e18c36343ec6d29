import Yams

/// Where something stands in the file; both from 1, columns in Unicode scalars.
struct Place: CustomStringConvertible {
  var line: Int
  var column: Int

  init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  init(_ mark: Mark) { self.init(line: max(1, mark.line), column: max(1, mark.column)) }

  var description: String { "\(line):\(column)" }
}

/// A mapping of the file: its keys in order, each with its place.
struct Section {
  /// One key and its value.
  struct Entry {
    let key: String
    /// Where the key stands.
    let mark: Place
    let value: Node
    /// What messages call it: `time.zone`.
    let path: String
  }
  /// What messages call the mapping: `time`, `aggregates.daily_metrics`; empty for the file itself.
  let path: String
  /// Where to say that a key is missing: the key that the mapping belongs to.
  let mark: Place
  let entries: [Entry]
  /// Known keys that are not there, but that an unknown key was reported to mean.
  var meant: Set<String> = []

  subscript(key: String) -> Entry? { entries.first { $0.key == key } }

  /// Whether the key is there, or was meant by one that was reported.
  func mentions(_ key: String) -> Bool { self[key] != nil || meant.contains(key) }
}

extension Node {
  /// Where the node begins. Composed nodes always have a mark.
  var place: Place { mark.map { Place($0) } ?? Place(line: 1, column: 1) }

  /// What the node is, as messages say it.
  var kindName: String {
    switch self {
    case .mapping: "a mapping"
    case .sequence: "a list"
    case .alias: "an alias"
    case .scalar:
      switch Resolver.default.resolveTag(of: self) {
      case .null: "empty"
      case .bool: "a boolean"
      case .int: "an integer"
      case .float: "a number"
      default: "a text"
      }
    }
  }

  /// The scalar as it is written; nil for null, lists and mappings.
  var writtenText: String? {
    guard case .scalar(let scalar) = self, Resolver.default.resolveTag(of: self) != .null else { return nil }
    return scalar.string
  }
}
