/// One thing that is wrong with a topology file, and what would be right.
public struct TopologyProblem: Sendable, Hashable, CustomStringConvertible {
  public let file: String
  /// From 1.
  public let line: Int
  /// From 1, in Unicode scalars.
  public let column: Int
  public let message: String

  public init(file: String, line: Int, column: Int, message: String) {
    self.file = file
    self.line = line
    self.column = column
    self.message = message
  }

  /// `file:line:column: message`, the form that editors jump to.
  public var description: String { "\(file):\(line):\(column): \(message)" }
}

/// All that is wrong with a topology file, in the file's order; never empty.
public struct TopologyErrors: Error, Sendable, Equatable, CustomStringConvertible {
  public let problems: [TopologyProblem]

  /// Sorts by file and place, and drops repetitions. O(n log n).
  public init(_ problems: [TopologyProblem]) {
    var seen = Set<TopologyProblem>()
    self.problems = problems.filter { seen.insert($0).inserted }
      .enumerated()
      .sorted { a, b in
        func key(_ p: TopologyProblem, _ offset: Int) -> (String, Int, Int, Int) { (p.file, p.line, p.column, offset) }
        return key(a.element, a.offset) < key(b.element, b.offset)
      }
      .map(\.element)
  }

  /// One line a problem.
  public var description: String { problems.map(\.description).joined(separator: "\n") }
}
