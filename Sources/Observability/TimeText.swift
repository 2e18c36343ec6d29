import Aggregation
import Foundation

/// Times as people and programs both read them.
public enum TimeText {
  /// RFC 3339 in UTC, with as many fractional digits as there are. O(1), without a formatter: a status has hundreds of times.
  public static func rfc3339(_ time: EventTime) -> String {
    func two(_ n: Int64) -> String { n < 10 ? "0\(n)" : "\(n)" }
    let day = time.seconds >= 0 ? time.seconds / 86_400 : (time.seconds - 86_399) / 86_400
    let second = time.seconds - day * 86_400
    let date = civil(day)
    let year = (0...9999).contains(date.year) ? String(String(10_000 + date.year).dropFirst()) : "\(date.year)"
    let text = "\(year)-\(two(date.month))-\(two(date.day))T\(two(second / 3600)):\(two(second / 60 % 60)):\(two(second % 60))"
    let fraction = time.microseconds - time.seconds * 1_000_000
    guard fraction > 0 else { return text + "Z" }
    var digits = String(String(1_000_000 + fraction).dropFirst())
    while digits.hasSuffix("0") { digits.removeLast() }
    return "\(text).\(digits)Z"
  }

  /// The proleptic Gregorian date of a day counted from 1970-01-01. Years begin with March, eras have 400 of them.
  private static func civil(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let inEra = shifted - era * 146_097
    let year = (inEra - inEra / 1460 + inEra / 36_524 - inEra / 146_096) / 365
    let inYear = inEra - (365 * year + year / 4 - year / 100)
    let month = (5 * inYear + 2) / 153
    return (year + era * 400 + (month >= 10 ? 1 : 0), month < 10 ? month + 3 : month - 9, inYear - (153 * month + 2) / 5 + 1)
  }

  /// Reads what `rfc3339` writes of years 0 to 9999; microseconds since the epoch.
  static func microseconds(_ text: String) -> Int64? {
    let parts = text.prefix(19).split { "-T:".contains($0) }.compactMap { Int64($0) }
    guard parts.count == 6 else { return nil }
    let year = parts[1] > 2 ? parts[0] : parts[0] - 1
    let era = (year >= 0 ? year : year - 399) / 400
    let inEra = year - era * 400
    let inYear = (153 * ((parts[1] + 9) % 12) + 2) / 5 + parts[2] - 1
    let day = era * 146_097 + inEra * 365 + inEra / 4 - inEra / 100 + inYear - 719_468
    let fraction = Int64((text.dropFirst(20).prefix { $0.isNumber } + "000000").prefix(6)) ?? 0
    return (((day * 24 + parts[3]) * 60 + parts[4]) * 60 + parts[5]) * 1_000_000 + fraction
  }

  /// The same of microseconds since the epoch.
  public static func rfc3339(_ microseconds: Int64) -> String { rfc3339(EventTime(microseconds: microseconds)) }
}

/// JSON with sorted keys, one line.
enum JSON {
  static func text(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
  }
}
