import Foundation

/// What one payload says, read by plain code.
struct EventReading {
  enum Value: Equatable {
    case text(String)
    /// Integers, and decimals as integers of 10^-scale.
    case number(Int64)
    case boolean(Bool)

    /// As a key of a row, a value of `where`, or a member.
    var text: String {
      switch self {
      case .text(let text): text
      case .number(let number): String(number)
      case .boolean(let flag): flag ? "true" : "false"
      }
    }
  }
  /// Why a payload cannot be read: the name in the quarantine.
  struct Refusal: Error { var reason: String }

  var time: Int64
  var identifier: [UInt8]
  /// By field; nil: absent.
  var values: [Value?]

  /// First and last accepted event time, microseconds.
  static let times: ClosedRange<Int64> = 0...4_291_747_199_999_999
  static let longestPayload = 4 << 20
  static let longestKey = 256

  init(_ payload: [UInt8], _ shape: Shape) throws(Refusal) {
    if payload.isEmpty { throw Refusal(reason: "empty_payload") }
    if payload.count > Self.longestPayload { throw Refusal(reason: "oversized_payload") }
    guard String(validating: payload, as: UTF8.self) != nil, let json = JSONValue(payload) else { throw Refusal(reason: "invalid_json") }
    guard case .object = json else { throw Refusal(reason: "not_an_object") }
    var refusals: [String] = []
    func at(_ path: [String]) -> JSONValue? { json[path.map { Array($0.utf8) }] }
    values = []
    for field in shape.fields {
      switch Self.value(at(field.path), field) {
      case .success(let value): values.append(value)
      case .failure(let refusal):
        refusals.append(refusal.reason)
        values.append(nil)
      }
    }
    identifier = []
    if shape.horizon != nil, let path = shape.idPath {
      switch at(path) {
      case nil, .null: refusals.append("missing_field")
      case .string(let text): identifier = text
      default: refusals.append("wrong_type")
      }
    }
    time = 0
    switch at(shape.timePath) {
    case nil, .null: refusals.append("missing_field")
    case let value?:
      if let read = Self.time(value, shape.time) {
        time = read
        if !Self.times.contains(read) { refusals.append("time_out_of_range") }
      } else {
        refusals.append("invalid_time")
      }
    }
    if let first = refusals.first { throw Refusal(reason: first) }
  }

  private static func value(_ json: JSONValue?, _ field: Shape.Field) -> Result<Value?, Refusal> {
    guard let json, json != .null else {
      switch field.presence {
      case .required: return .failure(Refusal(reason: "missing_field"))
      case .optional: return .success(nil)
      case .defaulted(let text):
        switch field.kind {
        case .string: return .success(.text(text))
        case .integer, .decimal: return .success(.number(Int64(text)!))
        case .boolean: return .success(.boolean(text == "true"))
        }
      }
    }
    switch (field.kind, json) {
    case (.string, .string(let bytes)):
      if field.isKey, bytes.count > longestKey { return .failure(Refusal(reason: "oversized_field")) }
      if field.isKey, bytes.contains(0) { return .failure(Refusal(reason: "nul_character")) }
      return .success(.text(String(decoding: bytes, as: UTF8.self)))
    case (.boolean, .boolean(let flag)): return .success(.boolean(flag))
    case (.integer, .number(let text)):
      let text = String(decoding: text, as: UTF8.self)
      if let number = Int64(text) { return .success(.number(number)) }
      return .failure(Refusal(reason: text.contains { ".eE".contains($0) } ? "wrong_type" : "number_out_of_range"))
    case (.decimal(let scale), .number(let text)):
      guard let number = decimal(String(decoding: text, as: UTF8.self), scale) else { return .failure(Refusal(reason: "number_out_of_range")) }
      return .success(.number(number))
    default: return .failure(Refusal(reason: "wrong_type"))
    }
  }

  /// Digits beyond `scale` are refused, or cut off.
  private static func decimal(_ text: String, _ scale: Int, cuts: Bool = false) -> Int64? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    var fraction = parts.count > 1 ? String(parts[1]) : ""
    if cuts { fraction = String(fraction.prefix(scale)) }
    guard fraction.count <= scale else { return nil }
    return Int64(parts[0] + fraction + String(repeating: "0", count: scale - fraction.count))
  }

  // MARK: Time

  private static func time(_ value: JSONValue, _ notation: Shape.TimeNotation) -> Int64? {
    switch (notation, value) {
    case (.rfc3339, .string(let bytes)): return rfc3339(String(decoding: bytes, as: UTF8.self))
    case (.seconds, .number(let text)): return decimal(String(decoding: text, as: UTF8.self), 6, cuts: true)
    case (.milliseconds, .number(let text)): return decimal(String(decoding: text, as: UTF8.self), 3, cuts: true)
    case (.microseconds, .number(let text)): return decimal(String(decoding: text, as: UTF8.self), 0, cuts: true)
    default: return nil
    }
  }

  /// `2024-06-01T12:00:00[.fraction](Z|±hh:mm)`.
  static func rfc3339(_ text: String) -> Int64? {
    let c = Array(text.utf8)
    guard c.count >= 20 else { return nil }
    func number(_ range: Range<Int>) -> Int? {
      guard range.upperBound <= c.count, c[range].allSatisfy({ (48...57).contains($0) }) else { return nil }
      return c[range].reduce(0) { $0 * 10 + Int($1) - 48 }
    }
    guard let year = number(0..<4), c[4] == 45, let month = number(5..<7), c[7] == 45, let day = number(8..<10), "Tt ".utf8.contains(c[10]),
      let hour = number(11..<13), c[13] == 58, let minute = number(14..<16), c[16] == 58, let second = number(17..<19)
    else { return nil }
    let date = CivilDay(year: year, month: month, day: day)
    guard date.exists, hour < 24, minute < 60, second < 60 else { return nil }
    var at = 19
    var fraction: Int64 = 0
    if c[at] == 46 {
      var unit: Int64 = 100_000
      at += 1
      let begin = at
      while at < c.count, (48...57).contains(c[at]) {
        fraction += Int64(c[at] - 48) * unit
        unit /= 10
        at += 1
      }
      if at == begin { return nil }
    }
    guard at < c.count else { return nil }
    var offset = 0
    if c[at] == UInt8(ascii: "Z") || c[at] == UInt8(ascii: "z") {
      guard at + 1 == c.count else { return nil }
    } else {
      guard c[at] == 43 || c[at] == 45, at + 6 == c.count, let hours = number(at + 1..<at + 3), c[at + 3] == 58, let minutes = number(at + 4..<at + 6),
        hours < 24, minutes < 60
      else { return nil }
      offset = (hours * 60 + minutes) * 60 * (c[at] == 43 ? 1 : -1)
    }
    let seconds = date.number * 86_400 + hour * 3600 + minute * 60 + second - offset
    return Int64(seconds) * 1_000_000 + fraction
  }
}
