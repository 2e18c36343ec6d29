/// A length of time as people write it: `90s`, `48h`, `1 day`, `30 days`. A day is 24 hours here.
public struct TimeSpan: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var microseconds: Int64
  public init(microseconds: Int64) { self.microseconds = microseconds }

  /// The longest that can be written, days: somewhat more than the span of accepted event times.
  public static let longestDays: Int64 = 50_000

  static let second: Int64 = 1_000_000
  static let day: Int64 = 86_400 * second

  private static let units: [(names: [String], microseconds: Int64)] = [
    (["s", "sec", "second", "seconds"], second),
    (["m", "min", "minute", "minutes"], 60 * second),
    (["h", "hour", "hours"], 3_600 * second),
    (["d", "day", "days"], day),
    (["w", "week", "weeks"], 7 * day)
  ]

  /// Reads a whole number and a unit, with or without space between them.
  /// nil: not a duration, or longer than `longestDays`.
  public init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }
    guard let number = Int64(digits), let factor = Self.units.first(where: { $0.names.contains(String(unit)) })?.microseconds
    else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: factor)
    guard !overflow, product <= Self.longestDays * Self.day else { return nil }
    microseconds = product
  }

  public static func < (a: TimeSpan, b: TimeSpan) -> Bool { a.microseconds < b.microseconds }

  /// How many days this is exactly; nil for zero and for parts of days.
  public var wholeDays: Int? {
    microseconds > 0 && microseconds % Self.day == 0 ? Int(microseconds / Self.day) : nil
  }

  /// In the greatest unit that leaves no remainder: `2 days`, `36 hours`, `0 seconds`.
  public var description: String {
    let names: [(String, Int64)] = [
      ("day", Self.day), ("hour", 3_600 * Self.second), ("minute", 60 * Self.second), ("second", Self.second)
    ]
    for (name, length) in names where microseconds != 0 && microseconds % length == 0 {
      return Self.counted(microseconds / length, name)
    }
    return microseconds == 0 ? "0 seconds" : "\(microseconds) microseconds"
  }

  private static func counted(_ n: Int64, _ unit: String) -> String { "\(n) \(unit)\(n == 1 ? "" : "s")" }
}
