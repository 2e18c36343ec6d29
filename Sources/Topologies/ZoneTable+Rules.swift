import Aggregation
import Foundation

/// The IANA zone rules that Foundation carries, as the core's tables. They are part of the program, not of the machine.
enum ZoneRules {
  /// Whether the name is `UTC` or an IANA name such as `Europe/Berlin`. Abbreviations (`EST`) and offsets (`GMT+2`) are
  /// none: PostgreSQL reads some of them otherwise, or with the opposite sign.
  static func exists(_ name: String) -> Bool {
    name == "UTC"
      || name.contains("/") && !name.hasPrefix("posix/") && !name.hasPrefix("right/") && TimeZone(identifier: name) != nil
  }

  /// 1969-12-29 to 2106-01-04 in seconds since the epoch: the core's days in any zone.
  private static let span: ClosedRange<Int64> = -3 * 86_400...4_291_747_200 + 3 * 86_400

  /// The table of a zone that exists.
  ///
  /// Offsets are compared day by day, all offsets and not only daylight saving time (Samoa changed the side of the date
  /// line, Russia its standard time), and each change is searched to the second within its day.
  /// - Complexity: some 50,000 look-ups, 2 to 7 ms.
  static func table(of name: String) -> ZoneTable {
    guard name != "UTC" else { return .utc }
    guard let zone = TimeZone(identifier: name) else { preconditionFailure("zone \(name) was validated") }
    func offset(_ second: Int64) -> Int { zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(second))) }
    let initial = offset(span.lowerBound)
    var transitions: [ZoneTable.Transition] = []
    var current = initial
    for day in stride(from: span.lowerBound + 86_400, through: span.upperBound, by: 86_400) {
      let next = offset(day)
      guard next != current else { continue }
      var before = day - 86_400
      var after = day
      while after - before > 1 {
        let middle = (before + after) / 2
        if offset(middle) == current { before = middle } else { after = middle }
      }
      transitions.append(.init(at: EventTime(microseconds: after * 1_000_000), offset: next))
      current = next
    }
    return ZoneTable(name: name, initialOffset: initial, transitions: transitions)
  }
}
