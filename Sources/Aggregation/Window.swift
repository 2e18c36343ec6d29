/// How event time is cut into windows. A window is `[start, end)`.
public enum WindowPlan: Sendable, Equatable {
  /// Fixed length in microseconds (at least one second, below one day or any length), aligned to the Unix epoch in UTC.
  case tumbling(length: Int64)
  /// `days` calendar days of a zone, counted from 1970-01-01 there: 23, 24 or 25 hours each.
  case calendarDays(Int, zone: ZoneTable)

  /// The window that holds `time`. O(1) for fixed lengths and nearly so for days.
  @inlinable public func window(at time: EventTime) -> Window {
    switch self {
    case .tumbling(let length):
      let t = time.microseconds
      var remainder = t % length
      if remainder < 0 { remainder += length }
      return Window(start: EventTime(microseconds: t - remainder), end: EventTime(microseconds: t - remainder + length))
    case .calendarDays(let days, let zone):
      let day = zone.day(at: time)
      let first = day - (day % days)
      return Window(start: zone.start(ofDay: first), end: zone.start(ofDay: first + days))
    }
  }
}

/// A half-open span of event time.
public struct Window: Hashable, Sendable {
  public var start: EventTime
  public var end: EventTime
  @inlinable public init(start: EventTime, end: EventTime) { self.start = start; self.end = end }
  @inlinable public func contains(_ time: EventTime) -> Bool { start <= time && time < end }
}

/// The first moments of all calendar days of one zone, so that the core needs no calendar.
///
/// Days are numbered from 1970-01-01 in the zone. The table spans `EventTime` from 1970 to 2105, the range of
/// accepted event times: it begins with the day before, where zones west of UTC still are when 1970 begins there. A day
/// that a zone skipped (Samoa, 2011-12-30) has no length.
public struct ZoneTable: Sendable, Equatable {
  /// A change of the zone's offset: from `at` on, local time is UTC + `offset` seconds.
  public struct Transition: Sendable, Equatable {
    public var at: EventTime
    public var offset: Int
    public init(at: EventTime, offset: Int) { self.at = at; self.offset = offset }
  }
  /// IANA name, `UTC` or `Europe/Berlin`.
  public let name: String
  /// Microseconds; ascending. The first is day -1's.
  @usableFromInline let dayStarts: [Int64]
  /// Whether some day has its midnight twice, since a clock goes back over it (Havana, the Azores): it begins with the first.
  public let hasRepeatedMidnights: Bool

  /// Days that a table holds: 1969-12-31, 136 years and two guards.
  @usableFromInline static let dayCount = 49_676

  /// Builds the table. `transitions` ascend; `initialOffset` (seconds) holds before the first.
  /// - Complexity: O(days + transitions).
  public init(name: String, initialOffset: Int, transitions: [Transition]) {
    self.name = name
    let second: Int64 = 1_000_000
    // Pieces of constant offset: [from, to) in UTC with offset.
    var starts: [Int64] = []
    starts.reserveCapacity(Self.dayCount)
    var piece = 0
    func offset(_ p: Int) -> Int64 { Int64(p == 0 ? initialOffset : transitions[p - 1].offset) }
    func end(_ p: Int) -> Int64 { p < transitions.count ? transitions[p].at.microseconds : Int64.max }
    func begin(_ p: Int) -> Int64 { p == 0 ? Int64.min : transitions[p - 1].at.microseconds }
    for day in -1..<Self.dayCount - 1 {
      let local = Int64(day) * 86_400 * second
      // The first instant whose local time is at or after local midnight of this day.
      while true {
        let candidate = local - offset(piece) * second
        if candidate < end(piece) {
          starts.append(max(candidate, begin(piece)))
          break
        }
        piece += 1
      }
    }
    dayStarts = starts
    var before = Int64(initialOffset)
    var isRepeated = false
    for transition in transitions {
      let at = transition.at.microseconds / second, after = Int64(transition.offset)
      // Local times from `at + after` to `at + before` come twice.
      let midnight = (at + after + 86_399) / 86_400 * 86_400
      isRepeated = isRepeated || midnight < at + before
      before = after
    }
    hasRepeatedMidnights = isRepeated
  }

  /// UTC.
  public static let utc = ZoneTable(name: "UTC", initialOffset: 0, transitions: [])

  /// The number of the day that holds `time`, clamped to the table. A guess and a step or two.
  @inlinable public func day(at time: EventTime) -> Int {
    let t = time.microseconds
    var at = Int(t / 86_400_000_000) + 1
    at = max(0, min(at, dayStarts.count - 2))
    while at > 0, dayStarts[at] > t { at -= 1 }
    while at < dayStarts.count - 2, dayStarts[at + 1] <= t { at += 1 }
    return at - 1
  }

  /// The first moment of day `day` (-1 or later), clamped to the table's last. O(1).
  @inlinable public func start(ofDay day: Int) -> EventTime {
    EventTime(microseconds: dayStarts[min(day + 1, dayStarts.count - 1)])
  }
}
