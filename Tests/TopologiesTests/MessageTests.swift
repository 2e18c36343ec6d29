import Testing

@testable import Topologies

/// Every way to get a topology wrong, and what a person reads then.
@Suite struct MessageTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let edits: [(String, String)]
    let expected: [String]
    init(_ name: String, _ edits: [(String, String)], _ expected: [String]) {
      self.name = name
      self.edits = edits
      self.expected = expected
    }
    var testDescription: String { name }
  }

  @Test func theFileThatTestsBreakIsCorrect() {
    #expect(Files.problems(Files.shop) == [])
  }

  @Test(arguments: keys) func keysAreExplained(_ broken: Case) {
    #expect(Files.problems(Files.shop(broken.edits)) == broken.expected)
  }

  @Test(arguments: types) func typesAreExplained(_ broken: Case) {
    #expect(Files.problems(Files.shop(broken.edits)) == broken.expected)
  }

  @Test(arguments: durations) func durationsAreExplained(_ broken: Case) {
    #expect(Files.problems(Files.shop(broken.edits)) == broken.expected)
  }

  @Test(arguments: zones) func zonesAreExplained(_ broken: Case) {
    #expect(Files.problems(Files.shop(broken.edits)) == broken.expected)
  }

  @Test(arguments: names) func namesAreExplained(_ broken: Case) {
    #expect(Files.problems(Files.shop(broken.edits)) == broken.expected)
  }

  @Test(arguments: access) func accessIsExplained(_ broken: Case) {
    #expect(Files.problems(Files.shop(broken.edits)) == broken.expected)
  }

  @Test(arguments: fields) func fieldsAreExplained(_ broken: Case) {
    #expect(Files.problems(Files.shop(broken.edits)) == broken.expected)
  }
}
