/// Text in sections of labelled rows, aligned, without colours.
struct Explanation {
  private(set) var lines: [String] = []

  /// Where the text of rows begins.
  private static let indent = 18

  /// Begins a section.
  mutating func heading(_ text: String) {
    if !lines.isEmpty { lines.append("") }
    lines.append(text)
  }

  /// Rows of cells under the heading, without labels.
  mutating func table(_ rows: [[String]]) { lines += Self.aligned(rows).map { "  \($0)" } }

  /// Wrapped where lines would have more than 110 characters.
  mutating func row(_ label: String, _ text: String) {
    var wrapped: [String] = []
    for word in text.split(separator: " ") {
      if let last = wrapped.last, Self.indent + last.count + 1 + word.count <= 110 {
        wrapped[wrapped.count - 1] = "\(last) \(word)"
      } else {
        wrapped.append(String(word))
      }
    }
    row(label, wrapped)
  }

  /// A labelled text of several lines; nothing where there is none.
  mutating func row(_ label: String, _ texts: [String]) {
    for (n, text) in texts.enumerated() {
      lines.append(Self.padded("  \(n == 0 ? label : "")", Self.indent) + text)
    }
  }

  /// Rows of cells as lines whose columns are aligned. O(cells).
  static func aligned(_ rows: [[String]]) -> [String] {
    var widths: [Int] = []
    for row in rows {
      for (column, cell) in row.enumerated() {
        if column == widths.count { widths.append(0) }
        widths[column] = max(widths[column], cell.count)
      }
    }
    return rows.map { row in
      row.enumerated().map { column, cell in column == row.count - 1 ? cell : padded(cell, widths[column] + 2) }.joined()
    }
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}
