/// Where the generated values of one field come from.
struct FieldSource {
  private enum Values {
    /// JSON texts; a random byte picks through `table`.
    case choices([[UInt8]], table: [UInt8])
    case integers
    case decimals(scale: Int)
    case booleans
    /// The member's own: the partition key.
    case member(Shape.Kind)
  }
  private let values: Values
  /// JSON texts that `where` asks for in a numeric field: a quarter of the events take one.
  private let sought: [[UInt8]]
  private let presence: Shape.Presence

  private static let eventTypes = [
    ("page_view", 40), ("click", 25), ("heartbeat", 12), ("search", 9), ("purchase", 5), ("share", 4), ("login", 3), ("signup", 2),
  ]
  private static let departments = [("engineering", 30), ("sales", 25), ("marketing", 20), ("support", 15), ("finance", 10)]

  init(_ shape: Shape, field index: Int) {
    let field = shape.fields[index]
    let filtered = Set(shape.aggregates.flatMap(\.terms).filter { $0.field == index }.flatMap(\.values)).sorted()
    presence = index == shape.key ? .required : field.presence
    if index == shape.key {
      values = .member(field.kind)
      sought = []
      return
    }
    switch field.kind {
    case .string:
      var weighted =
        switch field.name {
        case "event_type": Self.eventTypes
        case "department": Self.departments
        default: (0..<20).map { ("\(field.name)_\($0)", 20 - $0) }
        }
      let known = Set(weighted.map(\.0))
      weighted += filtered.filter { !known.contains($0) }.map { ($0, 5) }
      values = Self.choices(weighted)
      sought = []
    case .integer:
      values = .integers
      sought = filtered.map { Array($0.utf8) }
    case .decimal(let scale):
      values = .decimals(scale: scale)
      sought = filtered.compactMap(Int64.init).map { value in
        var text = PayloadBuffer()
        text.appendDecimal(value, scale: scale)
        return text.bytes
      }
    case .boolean:
      values = .booleans
      sought = []
    }
  }

  private static func choices(_ weighted: [(String, Int)]) -> Values {
    let kept = weighted.prefix(256)
    let sum = kept.reduce(0) { $0 + $1.1 }
    var table: [UInt8] = []
    var passed = 0
    for (i, choice) in kept.enumerated() {
      passed += choice.1
      // Every choice gets a place, the rare ones too.
      let end = min(max(passed * 256 / sum, table.count + 1), 256 - (kept.count - 1 - i))
      while table.count < end { table.append(UInt8(i)) }
    }
    return .choices(kept.map { PayloadBuffer.quoted($0.0) }, table: table)
  }

  /// What an event does with the field.
  enum Appearance { case present, null, missing }

  /// Optional fields appear in about a quarter of the events, defaulted ones in nearly all; some of the others hold null.
  func appearance(_ random: inout SeededRandom) -> Appearance {
    let here: UInt64
    switch presence {
    case .required: return .present
    case .optional: here = 64
    case .defaulted: here = 244
    }
    let draw = random.next()
    if draw & 255 < here { return .present }
    return draw >> 8 & 3 == 0 ? .null : .missing
  }

  /// Appends a value as JSON.
  /// - Parameter member: the text of the partition key.
  func append(to buffer: inout PayloadBuffer, member: [UInt8], _ random: inout SeededRandom) {
    let draw = random.next()
    if !sought.isEmpty, draw & 3 == 0 { return buffer.append(sought[Int(draw >> 2 & 0xFFFF) % sought.count]) }
    switch values {
    case .choices(let texts, let table): buffer.append(texts[Int(table[Int(draw & 255)])])
    case .integers: buffer.appendDecimal(Self.amount(draw))
    case .decimals(let scale): buffer.appendDecimal(Self.amount(draw), scale: scale)
    case .booleans: buffer.append(draw & 4 == 0 ? Self.yes : Self.no)
    case .member(.string):
      buffer.append(UInt8(ascii: "\""))
      buffer.append(member)
      buffer.append(UInt8(ascii: "\""))
    case .member(.decimal(let scale)):
      // The key's text is the scaled integer.
      var value: Int64 = 0
      for byte in member { value = value * 10 + Int64(byte - 48) }
      buffer.appendDecimal(value, scale: scale)
    case .member: buffer.append(member)
    }
  }

  private static let yes = Array("true".utf8)
  private static let no = Array("false".utf8)

  /// Mostly small, sometimes large, one in 64 negative.
  private static func amount(_ draw: UInt64) -> Int64 {
    let magnitude = Int64(draw >> 16 & 0xFFFF) * Int64(draw >> 32 & 0xFFFF) >> 14
    return draw >> 8 & 63 == 0 ? -magnitude : magnitude
  }

  /// A value of a type that the field does not take.
  static func wrong(for kind: Shape.Kind) -> [UInt8] { Array((kind == .string || kind == .boolean ? "12345" : "\"many\"").utf8) }
}
