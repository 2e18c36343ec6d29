/// Most characters of a file's text that a message repeats.
private let longestQuote = 64

/// The text as a message can show it: on one line, without control or invisible direction characters, cut after 64
/// characters. What a file holds must never break the form `file:line:column: message`. O(n).
func shown(_ text: String) -> String {
  var result = ""
  var count = 0
  for scalar in text.unicodeScalars {
    if count == longestQuote { return result + "..." }
    switch scalar {
    case "\n": result += "\\n"
    case "\r": result += "\\r"
    case "\t": result += "\\t"
    default:
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse:
        result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    count += 1
  }
  return result
}

/// `shown` between quotation marks.
func quoted(_ text: String) -> String { "\"\(shown(text))\"" }

/// `a`, `a or b`, `one of a, b, c`.
func oneOf(_ words: [String]) -> String {
  words.count > 2 ? "one of \(words.joined(separator: ", "))" : words.joined(separator: " or ")
}

/// Names for a message: all of them while they are few, else how many more there are.
func listed(_ names: [String]) -> String {
  let most = 12
  let text = names.prefix(most).map(shown).joined(separator: ", ")
  return names.count > most ? "\(text) and \(names.count - most) more" : text
}
