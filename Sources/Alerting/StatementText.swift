/// The text of a SQL statement without what people typed into it.
///
/// `pg_stat_statements` replaces constants by `$1`, `$2` itself, but not always: a statement whose entry was evicted or reset while
/// it ran is stored as it was sent. What an alert says goes to chat rooms, so Tidemark does not rely on it.
enum StatementText {
  /// Constants (strings in all of PostgreSQL's spellings, dollar-quoted ones, numbers) become `?`; names, comments and
  /// parameters stay. A string that does not end takes the rest with it, and so does a plain one with a backslash: where it ends depends
  /// on `standard_conforming_strings`, which the text does not tell. One pass over the bytes.
  static func withoutConstants(_ text: String) -> String {
    var scanner = Scanner(bytes: Array(text.utf8))
    scanner.scan()
    return String(decoding: scanner.out, as: UTF8.self)
  }

  private struct Scanner {
    let bytes: [UInt8]
    var out: [UInt8] = []
    var at = 0

    init(bytes: [UInt8]) {
      self.bytes = bytes
      out.reserveCapacity(bytes.count)
    }

    private func byte(_ offset: Int) -> UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func copy(through end: Int) {
      let end = min(end, bytes.count)
      out += bytes[at..<end]
      at = end
    }

    private mutating func hide(through end: Int) {
      out.append(UInt8(ascii: "?"))
      at = min(end, bytes.count)
    }

    mutating func scan() {
      while let byte = byte(at) {
        switch byte {
        case UInt8(ascii: "'"): hide(through: endOfString(from: at + 1, escapes: false))
        case UInt8(ascii: "\""): copy(through: endOfName(from: at + 1))
        case UInt8(ascii: "-") where self.byte(at + 1) == byte:
          copy(through: bytes[at...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count)
        case UInt8(ascii: "/") where self.byte(at + 1) == UInt8(ascii: "*"): copy(through: endOfComment(from: at))
        case UInt8(ascii: "$"): dollar()
        case _ where Self.isDigit(byte), UInt8(ascii: ".") where self.byte(at + 1).map(Self.isDigit) == true:
          hide(through: endOfNumber(from: at))
        case _ where Self.isName(byte): word()
        default: copy(through: at + 1)
        }
      }
    }

    /// A name or keyword, or the prefix of a string: `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`.
    private mutating func word() {
      let end = bytes[at...].firstIndex { !Self.isName($0) && !Self.isDigit($0) && $0 != UInt8(ascii: "$") } ?? bytes.count
      let quote = end == at + 1 && byte(end) == UInt8(ascii: "&") ? end + 1 : end
      guard end == at + 1, byte(quote) == UInt8(ascii: "'"), "eEbBxXnNuU".utf8.contains(bytes[at]) else { return copy(through: end) }
      hide(through: endOfString(from: quote + 1, escapes: bytes[at] | 0x20 == UInt8(ascii: "e")))
    }

    /// `$1`, `$tag$ … $tag$`, or a lone dollar.
    private mutating func dollar() {
      if let next = byte(at + 1), Self.isDigit(next) {
        return copy(through: bytes[(at + 1)...].firstIndex { !Self.isDigit($0) } ?? bytes.count)
      }
      let close = bytes[(at + 1)...].firstIndex { !Self.isName($0) && !Self.isDigit($0) } ?? bytes.count
      guard byte(close) == UInt8(ascii: "$") else { return copy(through: at + 1) }
      let tag = bytes[at...close]
      var end = close + 1
      while end + tag.count <= bytes.count, bytes[end..<(end + tag.count)] != tag { end += 1 }
      hide(through: end + tag.count)
    }

    /// The offset behind the closing quote of a string whose first byte is at `start`.
    private func endOfString(from start: Int, escapes: Bool) -> Int {
      var end = start
      while let byte = byte(end) {
        if byte == UInt8(ascii: "\\") {
          guard escapes else { return bytes.count }
          end += 2
        } else if byte == UInt8(ascii: "'") {
          guard self.byte(end + 1) == byte else { return end + 1 }
          end += 2
        } else {
          end += 1
        }
      }
      return bytes.count
    }

    private func endOfName(from start: Int) -> Int {
      bytes[start...].firstIndex(of: UInt8(ascii: "\"")).map { $0 + 1 } ?? bytes.count
    }

    /// The offset behind a comment that begins at `start`; comments nest.
    private func endOfComment(from start: Int) -> Int {
      var depth = 0
      var end = start
      while let byte = byte(end) {
        switch (byte, self.byte(end + 1)) {
        case (UInt8(ascii: "/"), UInt8(ascii: "*")): (depth, end) = (depth + 1, end + 2)
        case (UInt8(ascii: "*"), UInt8(ascii: "/")): (depth, end) = (depth - 1, end + 2)
        default: end += 1
        }
        if depth == 0 { return end }
      }
      return bytes.count
    }

    /// Digits, a fraction, an exponent with its sign, and letters that follow at once (`0xFF`, `12abc`).
    private func endOfNumber(from start: Int) -> Int {
      var end = start
      while let byte = byte(end) {
        let isSign = (byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")) && bytes[end - 1] | 0x20 == UInt8(ascii: "e")
        guard Self.isDigit(byte) || Self.isName(byte) || byte == UInt8(ascii: ".") || isSign else { break }
        end += 1
      }
      return end
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    private static func isName(_ byte: UInt8) -> Bool {
      let lower = byte | 0x20
      return (lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")) || byte == UInt8(ascii: "_") || byte >= 0x80
    }
  }
}
