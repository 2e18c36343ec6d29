/// JSON text under construction; the buffer is reused from event to event.
struct PayloadBuffer {
  private(set) var bytes: [UInt8] = []

  // The day that the last time was written for: most events share it.
  private var day = Int64.min
  private var dayText: [UInt8] = []

  init() { bytes.reserveCapacity(4096) }

  var count: Int { bytes.count }

  mutating func clear() { bytes.removeAll(keepingCapacity: true) }

  mutating func append(_ byte: UInt8) { bytes.append(byte) }

  mutating func append(_ text: [UInt8]) { bytes.append(contentsOf: text) }

  /// The comma before a member, unless it is its object's first.
  mutating func separate() {
    if bytes[bytes.count - 1] != UInt8(ascii: "{") { bytes.append(UInt8(ascii: ",")) }
  }

  /// The lowest `digits` hexadecimal digits.
  mutating func appendHexadecimal(_ value: UInt64, digits: Int) {
    var shift = digits * 4
    while shift > 0 {
      shift -= 4
      let nibble = UInt8(truncatingIfNeeded: value >> UInt64(shift)) & 15
      bytes.append(nibble < 10 ? nibble + 48 : nibble + 87)
    }
  }

  mutating func appendDecimal(_ value: Int64) {
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    appendDigits(value.magnitude, atLeast: 1)
  }

  /// `value` × 10^-scale, with all `scale` digits after the point.
  mutating func appendDecimal(_ value: Int64, scale: Int) {
    guard scale > 0 else { return appendDecimal(value) }
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    var unit: UInt64 = 1
    for _ in 0..<scale { unit *= 10 }
    appendDigits(value.magnitude / unit, atLeast: 1)
    bytes.append(UInt8(ascii: "."))
    appendDigits(value.magnitude % unit, atLeast: scale)
  }

  private mutating func appendDigits(_ value: UInt64, atLeast: Int) {
    var power: UInt64 = 1
    var digits = 1
    while digits < atLeast || value / power >= 10 {
      power *= 10
      digits += 1
    }
    while power > 0 {
      bytes.append(UInt8(truncatingIfNeeded: value / power % 10) + 48)
      power /= 10
    }
  }

  /// A moment in milliseconds since the epoch (not before it), in the topology's notation.
  mutating func appendTime(_ milliseconds: Int64, _ notation: Shape.TimeNotation) {
    switch notation {
    case .rfc3339:
      append(UInt8(ascii: "\""))
      appendRFC3339(milliseconds)
      append(UInt8(ascii: "\""))
    case .seconds: appendDecimal(milliseconds, scale: 3)
    case .milliseconds: appendDecimal(milliseconds)
    case .microseconds: appendDecimal(milliseconds * 1000)
    }
  }

  /// `2024-06-01T00:00:00.000Z`.
  private mutating func appendRFC3339(_ milliseconds: Int64) {
    let day = milliseconds / 86_400_000
    let rest = UInt64(milliseconds % 86_400_000)
    if day != self.day {
      self.day = day
      dayText = Array(CivilDay(number: Int(day)).description.utf8)
    }
    append(dayText)
    append(UInt8(ascii: "T"))
    appendDigits(rest / 3_600_000, atLeast: 2)
    append(UInt8(ascii: ":"))
    appendDigits(rest / 60_000 % 60, atLeast: 2)
    append(UInt8(ascii: ":"))
    appendDigits(rest / 1000 % 60, atLeast: 2)
    append(UInt8(ascii: "."))
    appendDigits(rest % 1000, atLeast: 3)
    append(UInt8(ascii: "Z"))
  }

  /// Text as a JSON string, quotes included. For names and choices, not per event.
  static func quoted(_ text: String) -> [UInt8] {
    var result: [UInt8] = [UInt8(ascii: "\"")]
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): result += [UInt8(ascii: "\\"), byte]
      case 0..<32:
        var escaped = PayloadBuffer()
        escaped.appendHexadecimal(UInt64(byte), digits: 4)
        result += Array("\\u".utf8) + escaped.bytes
      default: result.append(byte)
      }
    }
    return result + [UInt8(ascii: "\"")]
  }
}
