@testable import Alerting
import Testing

/// What people typed into a statement, in every spelling that PostgreSQL has for it.
@Suite struct StatementTextTests {
  @Test(arguments: [
    ("SELECT n FROM t WHERE k = 'it''s secret' AND x", "SELECT n FROM t WHERE k = ? AND x"),
    (#"SELECT E'a\'secret', b"#, "SELECT ?, b"),
    (#"SELECT e'\\', b"#, "SELECT ?, b"),
    ("SELECT B'0101', x'ff', N'n', U&'d\u{0021}' UESCAPE '!'", "SELECT ?, ?, ?, ? UESCAPE ?"),
    ("SELECT $tag$secret $$ 'x' $tag$, $$y$$, $1", "SELECT ?, ?, $1"),
    (#"SELECT "a 'b' 1" FROM t2 WHERE c1 = 12.5e-3 OR d > .5 OR e < -7 OR f = 0xFF"#, #"SELECT "a 'b' 1" FROM t2 WHERE c1 = ? OR d > ? OR e < -? OR f = ?"#),
    ("/* a /* 'b' */ 1 */ SELECT 1 -- it's 2\nFROM t", "/* a /* 'b' */ 1 */ SELECT ? -- it's 2\nFROM t"),
    ("SELECT größe, type'x' FROM t WHERE k IN ('é', 'ü')", "SELECT größe, type? FROM t WHERE k IN (?, ?)"),
    ("SELECT 'secret that does not end", "SELECT ?"),
    ("SELECT $a$secret that does not end", "SELECT ?"),
    (#"SELECT E'secret\"#, "SELECT ?"),
    (#"SELECT 'a\', 'secret', b"#, "SELECT ?"),
    ("SELECT /* no end", "SELECT /* no end"),
    ("$", "$"), ("", ""), ("'", "?"), ("\"", "\""),
  ])
  func constantsAreHidden(_ text: String, _ expected: String) {
    #expect(StatementText.withoutConstants(text) == expected)
  }

  /// Whatever stands around it: no prefix makes the scanner run past the end or show the constant.
  @Test func everyCutOfAStatementIsTaken() {
    let text = #"SELECT E'sec\'ret', "n", $x$ secret $x$, 1.5e-3 /* c */ FROM t -- c"#
    for length in 0...text.utf8.count {
      let cut = String(decoding: text.utf8.prefix(length), as: UTF8.self)
      #expect(!StatementText.withoutConstants(cut).contains("sec"), "\(cut)")
    }
  }
}
