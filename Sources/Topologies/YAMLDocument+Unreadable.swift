import Yams

/// What libYAML says, as people would say it.
extension YAMLDocument {
  static func unreadable(_ error: any Error, in text: String) -> Unreadable {
    switch error {
    case YamlError.composer(_, "but found another document", let mark, _):
      return Unreadable(Place(mark), "a second document begins here: a file holds one topology")
    case YamlError.scanner(let context, let problem, let mark, _), YamlError.parser(let context, let problem, let mark, _),
      YamlError.composer(let context, let problem, let mark, _):
      return Unreadable(placed(mark, in: text), "not YAML: \(reason(context, problem))\(advice(problem, at: mark, in: text))")
    case YamlError.reader(let problem, _, let value, _):
      // The offset that Yams gives counts characters of a text that may be one long character.
      guard value >= 0, let scalar = Unicode.Scalar(UInt32(value)), let at = text.unicodeScalars.firstIndex(of: scalar) else {
        return Unreadable(Place(line: 1, column: 1), "not YAML: \(problem)")
      }
      let before = Array(text.unicodeScalars[..<at])
      var line = 1
      var start = 0
      for (i, scalar) in before.enumerated() where isBreak(scalar) && !(scalar == "\n" && i > 0 && before[i - 1] == "\r") {
        line += 1
        start = i + 1
      }
      if let last = before.last, last == "\n", before.count > 1, before[before.count - 2] == "\r" { start = before.count }
      let digits = String(value, radix: 16, uppercase: true)
      let code = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
      return Unreadable(
        Place(line: line, column: before.count - start + 1),
        "the character U+\(code) stands here, which YAML does not allow: remove it")
    default:
      return Unreadable(Place(line: 1, column: 1), "not YAML: \(shown("\(error)"))")
    }
  }

  /// The mark, or the end of the text: libYAML ends a last line that has no break of its own.
  private static func placed(_ mark: Mark, in text: String) -> Place {
    let scalars = Array(text.unicodeScalars)
    var line = max(1, mark.line)
    while line > 1, index(ofLine: line, in: scalars) == nil { line -= 1 }
    guard line < mark.line, let start = index(ofLine: line, in: scalars) else { return Place(mark) }
    return Place(line: line, column: scalars.count - start + 1)
  }

  /// libYAML's words for the mistakes that people make most, in words that people use.
  private static func reason(_ context: YamlError.Context?, _ problem: String) -> String {
    let begin = context.map { "\(Place($0.mark))" } ?? ""
    switch (context?.text ?? "", problem) {
    case ("while parsing a flow sequence", _):
      return "the list that begins at \(begin) is not closed, expected , or ] before this"
    case ("while parsing a flow mapping", _):
      return "the mapping that begins at \(begin) is not closed, expected , or } before this"
    case ("while scanning a quoted scalar", "found unexpected end of stream"):
      return "the quotation mark at \(begin) is never closed"
    case ("while parsing a block mapping", _):
      return "expected a key of the mapping that begins at \(begin): is the indentation the same as there?"
    case ("while parsing a block collection", _):
      return "expected an item of the list that begins at \(begin): is the indentation the same as there?"
    case (_, "found character that cannot start any token"): return "nothing can begin with this character"
    case ("", _): return problem
    case (let text, _): return "\(problem) \(text) that begins at \(begin)"
    }
  }

  /// What to do about the mistakes that people make most; empty for others.
  private static func advice(_ problem: String, at mark: Mark, in text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    guard let start = index(ofLine: mark.line, in: scalars) else { return "" }
    let line = scalars[start...].prefix { !isBreak($0) }
    let at = start + mark.column - 1
    if line.prefix(while: { $0 == " " || $0 == "\t" }).contains("\t") { return "; indent with spaces, not with tabs" }
    guard scalars.indices.contains(at) else { return "" }
    switch scalars[at] {
    case "@", "`", "%": return "; quote a text that begins with \(scalars[at])"
    case ":" where problem.contains("mapping values are not allowed"): return "; quote a text that holds \": \""
    default: return ""
    }
  }
}
