/// JSON, read the plain way: one byte after another, no speed wanted. It shares nothing with the engine's decoder.
enum JSONValue: Equatable {
  /// Of equal keys the last one counts.
  case object([[UInt8]: JSONValue])
  case array([JSONValue])
  case string([UInt8])
  /// The number as it is written.
  case number([UInt8])
  case boolean(Bool)
  case null

  /// nil: not JSON.
  init?(_ bytes: [UInt8]) {
    var parser = Parser(bytes: bytes)
    parser.space()
    guard let value = parser.value(depth: 0) else { return nil }
    parser.space()
    guard parser.at == bytes.count else { return nil }
    self = value
  }

  /// The value at a path; nil: there is none.
  subscript(path: [[UInt8]]) -> JSONValue? {
    var value = self
    for key in path {
      guard case .object(let members) = value, let next = members[key] else { return nil }
      value = next
    }
    return value
  }

  private struct Parser {
    let bytes: [UInt8]
    var at = 0

    mutating func space() { while at < bytes.count, [32, 9, 10, 13].contains(bytes[at]) { at += 1 } }

    mutating func take(_ byte: UInt8) -> Bool {
      guard at < bytes.count, bytes[at] == byte else { return false }
      at += 1
      return true
    }

    mutating func word(_ word: StaticString) -> Bool {
      let end = at + word.utf8CodeUnitCount
      guard end <= bytes.count, bytes[at..<end].elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)) else { return false }
      at = end
      return true
    }

    mutating func value(depth: Int) -> JSONValue? {
      guard depth < 500, at < bytes.count else { return nil }
      switch bytes[at] {
      case UInt8(ascii: "{"): return object(depth)
      case UInt8(ascii: "["): return array(depth)
      case UInt8(ascii: "\""): return string().map { .string($0) }
      case UInt8(ascii: "t"): return word("true") ? .boolean(true) : nil
      case UInt8(ascii: "f"): return word("false") ? .boolean(false) : nil
      case UInt8(ascii: "n"): return word("null") ? .null : nil
      default: return number()
      }
    }

    mutating func object(_ depth: Int) -> JSONValue? {
      at += 1
      var members: [[UInt8]: JSONValue] = [:]
      space()
      if take(UInt8(ascii: "}")) { return .object(members) }
      while true {
        space()
        guard at < bytes.count, bytes[at] == UInt8(ascii: "\""), let key = string() else { return nil }
        space()
        guard take(UInt8(ascii: ":")) else { return nil }
        space()
        guard let value = value(depth: depth + 1) else { return nil }
        members[key] = value
        space()
        if take(UInt8(ascii: "}")) { return .object(members) }
        guard take(UInt8(ascii: ",")) else { return nil }
      }
    }

    mutating func array(_ depth: Int) -> JSONValue? {
      at += 1
      var items: [JSONValue] = []
      space()
      if take(UInt8(ascii: "]")) { return .array(items) }
      while true {
        space()
        guard let value = value(depth: depth + 1) else { return nil }
        items.append(value)
        space()
        if take(UInt8(ascii: "]")) { return .array(items) }
        guard take(UInt8(ascii: ",")) else { return nil }
      }
    }

    mutating func string() -> [UInt8]? {
      at += 1
      var text: [UInt8] = []
      while at < bytes.count {
        let byte = bytes[at]
        at += 1
        switch byte {
        case UInt8(ascii: "\""): return text
        case UInt8(ascii: "\\"):
          guard let escaped = escape() else { return nil }
          text += escaped
        case 0..<32: return nil
        default: text.append(byte)
        }
      }
      return nil
    }

    private mutating func escape() -> [UInt8]? {
      guard at < bytes.count else { return nil }
      at += 1
      switch bytes[at - 1] {
      case UInt8(ascii: "\""): return [34]
      case UInt8(ascii: "\\"): return [92]
      case UInt8(ascii: "/"): return [47]
      case UInt8(ascii: "b"): return [8]
      case UInt8(ascii: "f"): return [12]
      case UInt8(ascii: "n"): return [10]
      case UInt8(ascii: "r"): return [13]
      case UInt8(ascii: "t"): return [9]
      case UInt8(ascii: "u"):
        guard let first = unit() else { return nil }
        if !(0xD800..<0xE000).contains(first) { return Unicode.Scalar(first).map { Array(String($0).utf8) } }
        guard first < 0xDC00, take(92), take(UInt8(ascii: "u")), let second = unit(), (0xDC00..<0xE000).contains(second) else { return nil }
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)).map { Array(String($0).utf8) }
      default: return nil
      }
    }

    private mutating func unit() -> UInt32? {
      guard at + 4 <= bytes.count else { return nil }
      defer { at += 4 }
      return UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
    }

    mutating func number() -> JSONValue? {
      let begin = at
      func digits(_ parser: inout Parser) -> Bool {
        let from = parser.at
        while parser.at < parser.bytes.count, (48...57).contains(parser.bytes[parser.at]) { parser.at += 1 }
        return parser.at > from
      }
      _ = take(UInt8(ascii: "-"))
      if take(UInt8(ascii: "0")) {} else if !digits(&self) { return nil }
      if take(UInt8(ascii: ".")), !digits(&self) { return nil }
      if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
        if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
        if !digits(&self) { return nil }
      }
      return .number(Array(bytes[begin..<at]))
    }
  }
}
