import Aggregation
import Testing

@testable import Topologies

/// Thousands of broken copies of the real files: reading never traps, and every problem has a place in the file.
@Suite struct FuzzTests {
  /// SplitMix64: one seed, one run.
  struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }

  static let pieces: [String] = [
    ":", " ", "\n", "\t", "- ", "[", "]", "{", "}", ",", "\"", "'", "#", "&a ", "*a", "? ", "!!int ", "|", ">", "%", "@", "~",
    "<<: ",
    "\u{0}", "\u{7}", "\u{85}", "\u{2028}", "\u{FEFF}", "\u{E000}", "\u{F000}", "é", "🛒", "👩‍👩‍👧", "\r", "\r\n", "---\n", "...\n",
    "0", "-1", "1e9",
    "99999999999999999999", "null", "true", "count", "sum", "distinct user_id", "1 day", "UTC", "not", "\\", "..", "topology: a\n"
  ]

  static func mutated(_ text: String, _ random: inout Random) -> String {
    var scalars = Array(text.unicodeScalars)
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let at = Int.random(in: 0..<max(1, scalars.count), using: &random)
      let piece = Array(pieces.randomElement(using: &random)!.unicodeScalars)
      switch Int.random(in: 0..<8, using: &random) {
      case 0: if !scalars.isEmpty { scalars.remove(at: at) }
      case 1: scalars.insert(contentsOf: piece, at: at)
      case 2: if !scalars.isEmpty { scalars.replaceSubrange(at...at, with: piece) }
      case 3: scalars.insert(contentsOf: scalars[at..<min(scalars.count, at + Int.random(in: 1...20, using: &random))], at: at)
      case 4: scalars.removeSubrange(at..<min(scalars.count, at + Int.random(in: 1...20, using: &random)))
      case 5, 6: editLines(&scalars, &random)
      default: swapWords(&scalars, &random)
      }
    }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// Deletes, duplicates, moves or indents a line.
  private static func editLines(_ scalars: inout [Unicode.Scalar], _ random: inout Random) {
    var lines = scalars.split(separator: "\n", omittingEmptySubsequences: false).map(Array.init)
    let at = Int.random(in: 0..<lines.count, using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: lines.remove(at: at)
    case 1: lines.insert(lines[at], at: Int.random(in: 0...lines.count, using: &random))
    case 2: lines.swapAt(at, Int.random(in: 0..<lines.count, using: &random))
    default: lines[at].insert(contentsOf: Array(repeating: " ", count: Int.random(in: 1...3, using: &random)), at: 0)
    }
    scalars = Array(lines.joined(separator: ["\n"]))
  }

  /// Swaps two words of the file: names, types and numbers where others belong.
  private static func swapWords(_ scalars: inout [Unicode.Scalar], _ random: inout Random) {
    func isWord(_ scalar: Unicode.Scalar) -> Bool {
      scalar.properties.isAlphabetic || scalar == "_" || ("0"..."9").contains(scalar)
    }
    var words: [Range<Int>] = []
    var start: Int?
    for i in 0...scalars.count {
      if i < scalars.count, isWord(scalars[i]) {
        start = start ?? i
      } else if let begin = start {
        words.append(begin..<i)
        start = nil
      }
    }
    guard let a = words.randomElement(using: &random), let b = words.randomElement(using: &random), a.upperBound <= b.lowerBound
    else { return }
    let (first, second) = (Array(scalars[a]), Array(scalars[b]))
    scalars.replaceSubrange(b, with: first)
    scalars.replaceSubrange(a, with: second)
  }

  /// Lengths of the lines as libYAML counts them, in scalars.
  static func lineLengths(_ text: String) -> [Int] {
    var lengths = [0]
    var previous: Unicode.Scalar?
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n" where previous == "\r": break
      case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": lengths.append(0)
      default: lengths[lengths.count - 1] += 1
      }
      previous = scalar
    }
    return lengths
  }

  @Test(arguments: ["product-events.yaml", "git-activity.yaml"], [1, 2] as [UInt64]) func mutationsNeverTrap(
    _ name: String, _ seed: UInt64
  ) throws {
    let original = try Files.text(name)
    var random = Random(state: seed)
    var good = 0
    var bad = 0
    for _ in 0..<1_000 {
      let text = Self.mutated(original, &random)
      do {
        let topology = try Topology.parse(yaml: text, file: "t.yaml")
        #expect(topology.canonicalText.isEmpty == false)
        good += 1
      } catch {
        bad += 1
        let lengths = Self.lineLengths(text)
        try #require(!error.problems.isEmpty, "\(text.debugDescription)")
        for problem in error.problems {
          let inside =
            (1...lengths.count).contains(problem.line)
            && (1...lengths[min(problem.line, lengths.count) - 1] + 1).contains(problem.column)
          #expect(
            inside && !problem.message.isEmpty && !problem.message.contains { $0.isNewline },
            "\(problem) of \(text.debugDescription)")
        }
        #expect(zip(error.problems, error.problems.dropFirst()).allSatisfy { ($0.line, $0.column) <= ($1.line, $1.column) })
      }
    }
    // Neither of the two ways may go untested.
    #expect(good > 20 && bad > 300, "\(good) good, \(bad) bad")
  }

  /// What is good can also be planned and explained.
  @Test func mutationsThatAreCorrectCompile() throws {
    let original = try Files.text("product-events.yaml")
    var random = Random(state: 3)
    var good = 0
    for _ in 0..<300 {
      guard let topology = try? Topology.parse(yaml: Self.mutated(original, &random), file: "t.yaml") else { continue }
      good += 1
      #expect(topology.plan().aggregates.count == topology.aggregates.count)
      #expect(topology.explanation().hasPrefix("Topology "))
    }
    #expect(good > 5)
  }
}
