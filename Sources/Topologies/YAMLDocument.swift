import Yams

/// A YAML text as nodes with places, read as far as it can be.
///
/// Yams refuses a mapping with two equal keys and names only the first of them. To report every duplicate with its own
/// place, and everything else that is wrong in the same run, the earlier key is overwritten with private-use characters
/// of the same length (so no place moves) and the text is composed again, until no duplicate is left.
///
/// Aliases (`*name`) are refused: each would give one value two places, and a few lines of nested ones expand to
/// billions of nodes. They are found before Yams sees them: see `refuseAliases`.
struct YAMLDocument {
  /// nil: the text holds nothing.
  let root: Node?
  /// What hidden keys were called, by the text that stands for them in `root`.
  let hiddenKeys: [String: String]

  /// What keeps the text from being read at all.
  struct Unreadable: Error {
    let problems: [(place: Place, message: String)]

    init(_ problems: [(place: Place, message: String)]) { self.problems = problems }
    init(_ place: Place, _ message: String) { problems = [(place, message)] }
  }

  /// Longest text that is read, bytes: people write a hundredth of it.
  static let longest = 1 << 20
  static let tooLong = "the file is longer than \(longest) bytes, which no topology is: is it the right file?"

  /// More duplicates than that are reported in a second run.
  private static let mostDuplicates = 100

  /// - Complexity: O(text × (1 + duplicates)).
  init(_ yaml: String) throws(Unreadable) {
    guard yaml.utf8.count <= Self.longest else { throw Unreadable(Place(line: 1, column: 1), Self.tooLong) }
    // libYAML counts a byte order mark as a column of the first line.
    let text = yaml.unicodeScalars.first == "\u{FEFF}" ? String(yaml.unicodeScalars.dropFirst()) : yaml
    try Self.refuseAliases(in: text)
    (root, hiddenKeys) = try Self.compose(text)
  }

  private static func compose(_ yaml: String) throws(Unreadable) -> (root: Node?, hiddenKeys: [String: String]) {
    var text = yaml
    var hidden: [String: String] = [:]
    while true {
      do {
        return (try Yams.compose(yaml: text), hidden)
      } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
        let key = keys.first ?? ""
        let standIn = Self.standIn(hidden.count, length: key.unicodeScalars.count)
        guard hidden.count < mostDuplicates, !key.isEmpty,
          let replaced = replacing(key, with: standIn, at: context.mark, in: text)
        else {
          throw Unreadable(
            Place(line: max(1, context.mark.line), column: max(1, context.mark.column)),
            "duplicate key \(quoted(key)): it stands here and again further on; keep one of them")
        }
        hidden[standIn] = key
        text = replaced
      } catch {
        throw unreadable(error, in: text)
      }
    }
  }

  // MARK: Aliases

  /// Composes the text with something harmless in the place of every `*`: a plain scalar that begins with it is an
  /// alias, since no other plain scalar may begin with `*`. In comments, quotes and block texts nothing is found.
  private static func refuseAliases(in text: String) throws(Unreadable) {
    guard text.utf8.contains(UInt8(ascii: "*")) else { return }
    let used = Set(text.unicodeScalars)
    guard let standIn = (0xF000...0xF8FF).lazy.compactMap({ Unicode.Scalar($0 as UInt32) }).first(where: { !used.contains($0) })
    else { throw Unreadable(Place(line: 1, column: 1), "not a topology: it is full of private-use characters") }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: text.unicodeScalars.lazy.map { $0 == "*" ? standIn : $0 })
    guard let root = try compose(String(view)).root else { return }
    var found: [(place: Place, message: String)] = []
    func walk(_ node: Node) {
      switch node {
      case .scalar(let scalar):
        guard scalar.style == .plain, scalar.string.unicodeScalars.first == standIn else { return }
        let name = String(scalar.string.unicodeScalars.map { Character($0 == standIn ? "*" : $0) })
        found.append(
          (
            node.place,
            "\(quoted(name)) is a YAML alias, which a topology cannot have: repeat the value (or quote it, if it is a text)"
          ))
      case .sequence(let items): items.forEach(walk)
      case .mapping(let pairs):
        for (key, value) in pairs {
          walk(key)
          walk(value)
        }
      case .alias: break
      }
    }
    walk(root)
    if !found.isEmpty { throw Unreadable(found) }
  }

  // MARK: Duplicate keys

  private static func standIn(_ n: Int, length: Int) -> String {
    var scalars = String.UnicodeScalarView()
    for _ in 0..<length { scalars.append(Unicode.Scalar(0xE000 + UInt32(n))!) }
    return String(scalars)
  }

  /// The text with the key at `mark` overwritten; nil where the key does not stand there as it reads (escapes, anchors).
  private static func replacing(_ key: String, with standIn: String, at mark: Mark, in text: String) -> String? {
    var scalars = Array(text.unicodeScalars)
    guard var at = index(ofLine: mark.line, in: scalars).map({ $0 + mark.column - 1 }), scalars.indices.contains(at) else {
      return nil
    }
    if scalars[at] == "\"" || scalars[at] == "'" { at += 1 }
    let length = key.unicodeScalars.count
    guard at + length <= scalars.count, scalars[at..<at + length].elementsEqual(key.unicodeScalars) else { return nil }
    scalars.replaceSubrange(at..<at + length, with: standIn.unicodeScalars)
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// Index of a line's first scalar, lines counted from 1; the breaks are libYAML's: LF, CR LF, CR, NEL, LS, PS.
  static func index(ofLine line: Int, in scalars: [Unicode.Scalar]) -> Int? {
    var at = 0
    for _ in 1..<max(line, 1) {
      while at < scalars.count, !isBreak(scalars[at]) { at += 1 }
      guard at < scalars.count else { return nil }
      at += scalars[at] == "\r" && at + 1 < scalars.count && scalars[at + 1] == "\n" ? 2 : 1
    }
    return at
  }

  static func isBreak(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": true
    default: false
    }
  }
}
