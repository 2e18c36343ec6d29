/// How `raw.events_<topology>` is cut by event time.
///
/// Days in UTC, made when their first event comes. Events of months that were over long before their first event came (a
/// replay of years, stray times) share one table a month: a history of 5,000 days would otherwise be 10,000 relations,
/// each of which every query over the whole table has to lock and plan. Retention drops whole tables either way.
struct RawPartition: Equatable {
  enum Span: Equatable { case day, month }
  var span: Span
  /// Days since 1970-01-01: `[from, to)`.
  var from: Int64
  var to: Int64

  /// A month whose first event comes later than this after its end gets one table, days.
  static let hotDays: Int64 = 35

  /// The table for an event of `day`: the day's, unless its month is long over on `today` and holds no days yet.
  /// - Parameter existing: what is there; the result never overlaps it.
  static func table(for day: Int64, today: Int64, existing: [RawPartition]) -> RawPartition {
    if let found = existing.first(where: { $0.from <= day && day < $0.to }) { return found }
    let month = Self.month(of: day)
    let isFree = !existing.contains { $0.from < month.to && month.from < $0.to }
    return isFree && month.to + hotDays <= today ? month : RawPartition(span: .day, from: day, to: day + 1)
  }

  private static func month(of day: Int64) -> RawPartition {
    let (year, month, _) = civil(day)
    return RawPartition(span: .month, from: days(year, month, 1), to: month == 12 ? days(year + 1, 1, 1) : days(year, month + 1, 1))
  }

  /// `day_20240131_<topology>` or `month_202401_<topology>`: at most 61 characters.
  func name(_ topology: String) -> String {
    let (year, month, day) = Self.civil(from)
    let digits = String(10_000_000_000 + year * 10_000 + month * 100 + day).suffix(8)
    return span == .day ? "day_\(digits)_\(topology)" : "month_\(digits.prefix(6))_\(topology)"
  }

  /// `2024-01-31 00:00:00+00`.
  static func bound(_ day: Int64) -> String {
    let (year, month, day) = civil(day)
    func padded(_ n: Int64, _ width: Int) -> String { String(String(n + 100_000).suffix(width)) }
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2)) 00:00:00+00"
  }

  /// Year, month, day of a day since 1970-01-01. Source: Howard Hinnant, chrono-compatible date algorithms.
  private static func civil(_ day: Int64) -> (Int64, Int64, Int64) {
    let z = day + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let doe = z - era * 146_097
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100)
    let mp = (5 * doy + 2) / 153
    let month = mp < 10 ? mp + 3 : mp - 9
    return (yoe + era * 400 + (month <= 2 ? 1 : 0), month, doy - (153 * mp + 2) / 5 + 1)
  }

  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let yoe = y - era * 400
    let doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
  }
}
