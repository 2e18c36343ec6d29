/// Writes payloads: an `EventTemplate` filled with drawn values.
struct EventWriter {
  /// What is to be written.
  struct Content {
    var identifier: (high: UInt64, low: UInt64)
    /// Milliseconds since the epoch, not before it.
    var time: Int64
    /// Text of the partition key.
    var member: [UInt8]
    var fault: Fault?
  }
  /// A fault that leaves the payload valid JSON.
  enum Fault {
    case missing(EventTemplate.Target)
    case wrongType(EventTemplate.Target)
    case badTime([UInt8])
  }

  private let template: EventTemplate
  private let sources: [FieldSource]
  private let kinds: [Shape.Kind]
  private let notation: Shape.TimeNotation
  private let payloadBytes: Int
  private var buffer = PayloadBuffer()

  init(_ shape: Shape, template: EventTemplate, payloadBytes: Int) {
    self.template = template
    sources = shape.fields.indices.map { FieldSource(shape, field: $0) }
    kinds = shape.fields.map(\.kind)
    notation = shape.time
    self.payloadBytes = payloadBytes
  }

  /// One event as JSON. About a microsecond for 290 bytes.
  mutating func write(_ content: Content, _ random: inout SeededRandom) -> [UInt8] {
    buffer.clear()
    buffer.append(UInt8(ascii: "{"))
    for step in template.steps {
      switch step {
      case .open(let prefix):
        buffer.separate()
        buffer.append(prefix)
        buffer.append(UInt8(ascii: "{"))
      case .close: buffer.append(UInt8(ascii: "}"))
      case .member(let prefix, let target): member(prefix, target, content, &random)
      case .random(let prefix, let digits):
        buffer.separate()
        buffer.append(prefix)
        quotedHexadecimal(random.next(), digits: digits)
      case .choice(let prefix, let texts):
        buffer.separate()
        buffer.append(prefix)
        buffer.append(texts[random.below(texts.count)])
      case .filler(let prefix, let tail): fill(prefix, tail: tail, &random)
      }
    }
    buffer.append(UInt8(ascii: "}"))
    return buffer.bytes
  }

  private mutating func member(
    _ prefix: [UInt8], _ target: EventTemplate.Target, _ content: Content, _ random: inout SeededRandom
  ) {
    var replacement: [UInt8]?
    switch content.fault {
    case nil: break
    case .missing(let missing): if missing == target { return }
    case .wrongType(let wrong): if wrong == target { replacement = FieldSource.wrong(for: kind(of: target)) }
    case .badTime(let text): if target == .time { replacement = text }
    }
    var null = false
    if case .field(let index) = target, replacement == nil {
      switch sources[index].appearance(&random) {
      case .present: break
      case .null: null = true
      case .missing: return
      }
    }
    buffer.separate()
    buffer.append(prefix)
    if let replacement { return buffer.append(replacement) }
    if null { return buffer.append(Self.null) }
    switch target {
    case .identifier:
      buffer.append(UInt8(ascii: "\""))
      buffer.appendHexadecimal(content.identifier.high, digits: 16)
      buffer.appendHexadecimal(content.identifier.low, digits: 16)
      buffer.append(UInt8(ascii: "\""))
    case .time: buffer.appendTime(content.time, notation)
    case .field(let index): sources[index].append(to: &buffer, member: content.member, &random)
    }
  }

  private static let null = Array("null".utf8)

  private func kind(of target: EventTemplate.Target) -> Shape.Kind {
    if case .field(let index) = target { return kinds[index] }
    return .string
  }

  private mutating func quotedHexadecimal(_ value: UInt64, digits: Int) {
    buffer.append(UInt8(ascii: "\""))
    buffer.appendHexadecimal(value, digits: digits)
    buffer.append(UInt8(ascii: "\""))
  }

  private mutating func fill(_ prefix: [UInt8], tail: Int, _ random: inout SeededRandom) {
    // The comma, the opening quote and the tail (closing quote and two braces) belong to the length, too.
    var room = payloadBytes - buffer.count - prefix.count - 2 - tail
    guard room > 0 else { return }
    buffer.separate()
    buffer.append(prefix)
    buffer.append(UInt8(ascii: "\""))
    while room > 0 {
      buffer.appendHexadecimal(random.next(), digits: min(room, 16))
      room -= 16
    }
    buffer.append(UInt8(ascii: "\""))
  }
}
