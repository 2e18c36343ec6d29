import Foundation
import Testing

@testable import Topologies

/// Files that are not even a topology with mistakes: other formats, other encodings, hostile ones.
@Suite struct DocumentTests {
  struct Document: Sendable, CustomTestStringConvertible {
    let name: String
    let yaml: String
    let expected: [String]
    init(_ name: String, _ yaml: String, _ expected: [String]) {
      self.name = name
      self.yaml = yaml
      self.expected = expected
    }
    var testDescription: String { name }
  }

  static let documents: [Document] = [
    Document(
      "empty", "",
      [
        "1:1: the file is empty, expected a topology that begins with topology: NAME"
      ]),
    Document(
      "onlyComments", "# nothing\n\n# here\n",
      [
        "1:1: the file is empty, expected a topology that begins with topology: NAME"
      ]),
    Document(
      "onlyADocumentMark", "---\n",
      [
        "2:1: the file is empty, expected a mapping that begins with topology: NAME"
      ]),
    Document(
      "aText", "hello",
      [
        "1:1: the file is a text, expected a mapping that begins with topology: NAME"
      ]),
    Document(
      "aList", "- topology: shop\n",
      [
        "1:1: the file is a list, expected a mapping that begins with topology: NAME"
      ]),
    Document(
      "anEmptyMapping", "{}",
      [
        "1:1: topology is missing: add topology: NAME",
        "1:1: event is missing: add event: with time and fields",
        "1:1: source is missing: add source: { topics: [TOPIC], format: json, partition_key: FIELD }",
        "1:1: time is missing: add time: { allowed_lateness: 48h, zone: UTC }",
        "1:1: aggregates is missing: add aggregates: with at least one"
      ]),
    Document(
      "json", "{ \"topology\": \"shop\", \"source\": [] }",
      [
        "1:1: event is missing: add event: with time and fields",
        "1:1: time is missing: add time: { allowed_lateness: 48h, zone: UTC }",
        "1:1: aggregates is missing: add aggregates: with at least one",
        "1:33: source is a list, expected a mapping such as { topics: [product.events], format: json, partition_key: user_id }"
      ]),
    Document(
      "indentedByATab", Files.shop([("  allowed_lateness", "\tallowed_lateness")]),
      [
        "17:1: not YAML: nothing can begin with this character; indent with spaces, not with tabs"
      ]),
    Document(
      "tabAfterSpaces", Files.shop([("  zone:", "  \tzone:")]),
      [
        "18:3: not YAML: found a tab character that violates indentation while scanning a plain scalar that begins at 17:21; indent with spaces, not with tabs"
      ]),
    Document(
      "unclosedList", Files.shop([("[country]", "[country")]),
      [
        "24:13: not YAML: the list that begins at 23:9 is not closed, expected , or ] before this"
      ]),
    Document(
      "unclosedMapping", Files.shop([("{ type: decimal, scale: 2 }", "{ type: decimal, scale: 2")]),
      [
        "16:5: not YAML: the mapping that begins at 15:13 is not closed, expected , or } before this"
      ]),
    Document(
      "unclosedQuote", Files.shop([("topology: shop", "topology: \"shop")]),
      [
        "35:1: not YAML: the quotation mark at 1:11 is never closed"
      ]),
    Document(
      "colonInAText", Files.shop([("time: created_at", "time: created: at")]),
      [
        "8:16: not YAML: mapping values are not allowed in this context; quote a text that holds \": \""
      ]),
    Document(
      "missingColon", Files.shop([("deduplicate: {", "deduplicate {")]),
      [
        "19:1: unknown key \"deduplicate { within\": expected one of topology, source, event, time, deduplicate, tiers, aggregates, reconcile, monitor"
      ]),
    Document(
      "wrongIndentation", Files.shop([("  zone:", " zone:")]),
      [
        "18:2: not YAML: expected a key of the mapping that begins at 1:1: is the indentation the same as there?"
      ]),
    Document(
      "atSign", Files.shop([("time: created_at", "time: @timestamp")]),
      [
        "8:9: not YAML: nothing can begin with this character; quote a text that begins with @"
      ]),
    Document(
      "percentSign", Files.shop([("time: created_at", "time: %timestamp")]),
      [
        "8:9: not YAML: nothing can begin with this character; quote a text that begins with %"
      ]),
    Document(
      "secondDocument", Files.shop + "---\n" + Files.shop,
      [
        "35:1: a second document begins here: a file holds one topology"
      ]),
    Document(
      "controlCharacter", Files.shop([("created_at", "created\u{7}at")]),
      [
        "8:16: the character U+0007 stands here, which YAML does not allow: remove it"
      ]),
    Document(
      "nul", Files.shop([("created_at", "created\u{0}at")]),
      [
        "8:16: the character U+0000 stands here, which YAML does not allow: remove it"
      ]),
    Document(
      "controlCharacterAfterWideOnes", Files.shop([("topology: shop", "# 🛒🛒\r\ntopology: sho\u{1}p")]),
      [
        "2:15: the character U+0001 stands here, which YAML does not allow: remove it"
      ]),
    Document(
      "alias",
      Files.shop([
        ("    access: { by: country }", "    access: &access { by: country }"),
        ("    where: { paid: true }", "    access: *access")
      ]),
      [
        "31:13: \"*access\" is a YAML alias, which a topology cannot have: repeat the value (or quote it, if it is a text)"
      ]),
    Document(
      "aliasOfNothing", Files.shop([("time: created_at", "time: *time")]),
      [
        "8:9: \"*time\" is a YAML alias, which a topology cannot have: repeat the value (or quote it, if it is a text)"
      ]),
    Document(
      "mergeKey", Files.shop([("    where: { paid: true }", "    <<: *base")]),
      [
        "31:9: \"*base\" is a YAML alias, which a topology cannot have: repeat the value (or quote it, if it is a text)"
      ]),
    Document(
      "starsThatAreNoAliases",
      Files.shop([("topology: shop", "topology: shop # *not* one"), ("default: unknown", "default: \"*\"")]),
      []),
    Document(
      "anchorWithoutAlias", Files.shop([("    access: { by: country }", "    access: &access { by: country }")]),
      []),
    Document(
      "duplicateKeyWithAnAnchor", Files.shop([("    paid: boolean\n", "    &a paid: boolean\n    paid: boolean\n")]),
      [
        "13:5: duplicate key \"paid\": it stands here and again further on; keep one of them"
      ]),
    Document(
      "duplicateKeyInQuotes", Files.shop([("    paid: boolean\n", "    \"paid\": boolean\n    paid: boolean\n")]),
      [
        "14:5: duplicate key \"paid\" in event.fields: it already stands at 13:5; keep one of them"
      ]),
    Document(
      "duplicateKeysInOneLine", Files.shop([("{ tumbling: 1 minute }", "{ tumbling: 1 minute, tumbling: 1 day }")]),
      [
        "30:35: duplicate key \"tumbling\" in aggregates.orders_per_minute.window: it already stands at 30:15; keep one of them"
      ]),
    Document(
      "duplicateKeyAfterWideCharacters", Files.shop([("default: unknown }", "default: \"🛒\", default: \"é\" }")]),
      [
        "11:44: duplicate key \"default\" in event.fields.country: it already stands at 11:30; keep one of them"
      ]),
    Document(
      "severalAtOnce",
      Files.shop([
        ("topology: shop", "topology: Shop"), ("items: integer", "items: int"), ("48h", "48"), ("Berlin", "Berln"),
        ("sum amount", "sum items"), ("by: country }", "by: county }"), ("against: raw", "against: row")
      ]),
      [
        "1:11: \"Shop\" cannot be the name of a topology: names are made of a-z, 0-9, _ and -, begin with a letter and have at most 48 characters; \"shop\" would do",
        "14:12: unknown type \"int\" in event.fields.items: did you mean \"integer\"?",
        "17:21: time.allowed_lateness: \"48\" has no unit: write 48s if it is seconds",
        "18:9: time.zone: there is no zone \"Europe/Berln\": did you mean \"Europe/Berlin\"?",
        "28:19: aggregates.daily_orders.access.by: \"county\" is not a field of the aggregate's by: did you mean \"country\"?",
        "34:28: unknown source \"row\" in reconcile.daily_orders.against: did you mean \"raw\"?"
      ])
  ]

  @Test(arguments: documents) func unreadableTextsAreExplained(_ document: Document) {
    #expect(Files.problems(document.yaml) == document.expected)
  }

  // MARK: Hostile texts

  /// Nine levels of nine aliases each are 3 GB of nodes: refused before anything is expanded, also as keys, which
  /// Yams hashes.
  @Test(arguments: ["a8: *a7", "? *a7 : 1", "[*a7]: 1"]) func aliasBombsAreRefused(_ last: String) {
    var yaml = "a0: &a0 lol\n"
    for level in 1...7 {
      yaml += "a\(level): &a\(level) [\(Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", "))]\n"
    }
    let problems = Files.problems(yaml + last + "\n")
    #expect(problems.count == 64)
    #expect(problems.allSatisfy { $0.contains("is a YAML alias, which a topology cannot have") })
  }

  @Test(arguments: ["[", "{", "- ", "a: [", "? "]) func deepNestingIsRefused(_ opening: String) {
    let problems = Files.problems(String(repeating: opening, count: 50_000))
    #expect(problems.count == 1 && problems[0].contains("not YAML: "))
  }

  @Test func aTextTooLongForATopologyIsNotRead() {
    let problems = Files.problems(Files.shop + String(repeating: "# more\n", count: 200_000))
    #expect(problems == ["1:1: the file is longer than 1048576 bytes, which no topology is: is it the right file?"])
  }

  @Test func oneKeyAThousandTimesIsReportedInBoundedTime() {
    let problems = Files.problems(Files.shop + String(repeating: "time: 1\n", count: 1_000))
    #expect(problems == ["134:1: duplicate key \"time\": it stands here and again further on; keep one of them"])
  }

  @Test func thousandsOfProblemsAreAllReported() {
    let keys = (0..<5_000).map { "key\($0): 1\n" }.joined()
    #expect(Files.problems(Files.shop + keys).count == 5_000)
  }

  @Test func longAndStrangeTextsStayOnOneLine() {
    let problems = Files.problems(
      Files.shop([("Europe/Berlin", "\"a\\nb\\e[31m\\u202E\(String(repeating: "x", count: 1_000))\"")]))
    #expect(problems.count == 1)
    #expect(problems[0].hasPrefix("18:9: time.zone: there is no zone \"a\\nb\\u{1B}[31m\\u{202E}xxx"))
    #expect(problems[0].utf8.count < 300 && !problems[0].contains("\n"))
  }

  @Test func everyLineBreakCounts() {
    let expected = ["18:9: time.zone: there is no zone \"Europe/Berln\": did you mean \"Europe/Berlin\"?"]
    let broken = Files.shop([("Berlin", "Berln")])
    #expect(Files.problems(broken.replacing("\n", with: "\r\n")) == expected)
    #expect(Files.problems(broken.replacing("\n", with: "\r")) == expected)
    #expect(Files.problems("\u{FEFF}" + broken) == expected)
    #expect(Files.problems("\u{FEFF}" + Files.shop([("topology: shop", "topology: 1")])).first?.hasPrefix("1:11: ") == true)
  }

  // MARK: Files

  private func withFile(_ bytes: [UInt8], _ body: (String) -> Void) throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("topology-\(UUID().uuidString).yaml")
    try Data(bytes).write(to: path)
    defer { try? FileManager.default.removeItem(at: path) }
    body(path.path)
  }

  private func message(ofLoading path: String) -> String? {
    do {
      _ = try Topology.load(path: path)
      return nil
    } catch {
      return error.description
    }
  }

  @Test func aMissingFileIsAProblem() {
    #expect(message(ofLoading: "/nowhere/t.yaml") == "/nowhere/t.yaml:1:1: the file cannot be read: there is no such file")
  }

  @Test func aFolderIsNoFile() {
    let path = Files.folder.path
    #expect(message(ofLoading: path) == "\(path):1:1: the file cannot be read: it is a directory")
  }

  @Test func anEndlessFileIsNotRead() {
    #expect(
      message(ofLoading: "/dev/zero")
        == "/dev/zero:1:1: the file is longer than 1048576 bytes, which no topology is: is it the right file?")
  }

  @Test func aFileThatIsNotUTF8NamesTheLine() throws {
    try withFile(Array("topology: shop\n# caf".utf8) + [0xE9, 0x0A]) { path in
      #expect(message(ofLoading: path) == "\(path):2:1: this line is not UTF-8, expected a UTF-8 text file")
    }
    try withFile([0xFF, 0xFE, 0x74, 0x00]) { path in
      #expect(message(ofLoading: path) == "\(path):1:1: this line is not UTF-8, expected a UTF-8 text file")
    }
  }

  @Test func topologiesOfOneDatabaseMayNotShareNames() throws {
    let shop = try Topology.parse(yaml: Files.shop, file: "a.yaml")
    let other = try Topology.parse(
      yaml: Files.shop([("topology: shop", "topology: other"), ("  orders_per_minute:", "  other-orders:")]), file: "b.yaml")
    #expect(throws: Never.self) { try Topology.checkTogether([shop]) }
    #expect(
      #expect(throws: TopologyErrors.self) { try Topology.checkTogether([shop, other, shop]) }?.description == """
        a.yaml:1:1: topology "shop" is also the name of a.yaml: rename one
        a.yaml:21:3: aggregate "daily_orders" and the one at b.yaml:21:3 would both be the table daily_orders: rename one
        a.yaml:29:3: aggregate "orders_per_minute" and the one at a.yaml:29:3 would both be the table orders_per_minute: rename one
        b.yaml:21:3: aggregate "daily_orders" and the one at a.yaml:21:3 would both be the table daily_orders: rename one
        """)
  }
}
