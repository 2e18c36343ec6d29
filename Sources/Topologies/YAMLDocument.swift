import Yams

/// A YAML text as nodes with places, read as far as it can be.
///
/// Yams refuses a mapping with two equal keys and names only the first of them. To report every duplicate with its own
/// place, and everything else that is wrong in the same run, the earlier key is overwritten with private-use characters
/// of the same length (so no place moves) and the text is composed again, until no duplicate is left.
struct YAMLDocument {
  /// nil: the text holds nothing.
  let root: Node?
  /// What hidden keys were called, by the text that stands for them in `root`.
  let hiddenKeys: [String: String]

  /// A problem that keeps the text from being read at all.
  struct Unreadable: Error {
    let line: Int
    let column: Int
    let message: String
  }

  /// More duplicates than that are reported in a second run.
  private static let mostDuplicates = 1_000

  /// - Complexity: O(text × (1 + duplicates)).
  init(_ yaml: String) throws(Unreadable) {
    var text = yaml
    var hidden: [String: String] = [:]
    while true {
      do {
        root = try Yams.compose(yaml: text)
        hiddenKeys = hidden
        return
      } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
        let key = keys.first ?? ""
        let standIn = Self.standIn(hidden.count, length: key.unicodeScalars.count)
        guard hidden.count < Self.mostDuplicates, !key.isEmpty,
          let replaced = Self.replacing(key, with: standIn, at: context.mark, in: text)
        else {
          throw Unreadable(line: context.mark.line, column: context.mark.column, message: "duplicate key \"\(key)\": keep one of them")
        }
        hidden[standIn] = key
        text = replaced
      } catch {
        throw Self.unreadable(error, in: text)
      }
    }
  }

  private static func standIn(_ n: Int, length: Int) -> String {
    var scalars = String.UnicodeScalarView()
    for _ in 0..<length { scalars.append(Unicode.Scalar(0xE000 + UInt32(n))!) }
    return String(scalars)
  }

  /// The text with the key at `mark` overwritten; nil where the key does not stand there as it reads (escapes, anchors).
  private static func replacing(_ key: String, with standIn: String, at mark: Mark, in text: String) -> String? {
    var scalars = Array(text.unicodeScalars)
    guard var at = index(ofLine: mark.line, in: scalars).map({ $0 + mark.column - 1 }), at < scalars.count else { return nil }
    if scalars[at] == "\"" || scalars[at] == "'" { at += 1 }
    let length = key.unicodeScalars.count
    guard at + length <= scalars.count, scalars[at..<at + length].elementsEqual(key.unicodeScalars) else { return nil }
    scalars.replaceSubrange(at..<at + length, with: standIn.unicodeScalars)
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// Index of a line's first scalar, lines counted from 1; the breaks are libYAML's: LF, CR LF, CR, NEL, LS, PS.
  private static func index(ofLine line: Int, in scalars: [Unicode.Scalar]) -> Int? {
    var at = scalars.first == "\u{FEFF}" ? 1 : 0
    for _ in 1..<max(line, 1) {
      while at < scalars.count, !isBreak(scalars[at]) { at += 1 }
      guard at < scalars.count else { return nil }
      at += scalars[at] == "\r" && at + 1 < scalars.count && scalars[at + 1] == "\n" ? 2 : 1
    }
    return at
  }

  private static func isBreak(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": true
    default: false
    }
  }

  private static func unreadable(_ error: any Error, in text: String) -> Unreadable {
    switch error {
    case YamlError.composer(_, "but found another document", let mark, _):
      return Unreadable(line: mark.line, column: mark.column, message: "a second document begins here: a file holds one topology")
    case YamlError.scanner(let context, let problem, let mark, _), YamlError.parser(let context, let problem, let mark, _),
      YamlError.composer(let context, let problem, let mark, _):
      let when = context.map { "\($0.text) that begins at \($0.mark.line):\($0.mark.column), " } ?? ""
      return Unreadable(line: mark.line, column: mark.column, message: "not YAML: \(when)\(problem)")
    case YamlError.reader(let problem, let offset, let value, _):
      let before = text.prefix(offset ?? 0)
      let line = before.split(separator: "\n", omittingEmptySubsequences: false)
      let code = value > 0 ? " (U+\(String(value, radix: 16, uppercase: true)))" : ""
      return Unreadable(
        line: line.count, column: (line.last?.unicodeScalars.count ?? 0) + 1, message: "not YAML: \(problem)\(code)")
    default:
      return Unreadable(line: 1, column: 1, message: "not YAML: \(error)")
    }
  }
}
