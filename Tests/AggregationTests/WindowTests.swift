import Testing

@testable import Aggregation

@Suite struct WindowTests {
  let hour: Int64 = 3_600_000_000

  @Test func tumblingWindowsAreHalfOpenAndAlignedToTheEpoch() {
    let plan = WindowPlan.tumbling(length: hour)
    #expect(plan.window(at: EventTime(microseconds: 0)).start.microseconds == 0)
    #expect(plan.window(at: EventTime(microseconds: hour - 1)).start.microseconds == 0)
    #expect(plan.window(at: EventTime(microseconds: hour)).start.microseconds == hour)
    #expect(plan.window(at: EventTime(microseconds: -1)).start.microseconds == -hour)
  }

  @Test func daysOfAZoneWithAnOffsetChangeAre23And25HoursLong() {
    // UTC+1 until hour 49 (02:00 local of day 2), then UTC+2, then UTC+1 again from hour 169.
    let zone = ZoneTable(
      name: "Test", initialOffset: 3600,
      transitions: [.init(at: .init(microseconds: 49 * hour), offset: 7200), .init(at: .init(microseconds: 169 * hour), offset: 3600)])
    let plan = WindowPlan.calendarDays(1, zone: zone)
    let short = plan.window(at: .init(microseconds: 50 * hour))
    #expect(short.start.microseconds == 47 * hour)
    #expect(short.end.microseconds - short.start.microseconds == 23 * hour)
    let long = plan.window(at: .init(microseconds: 169 * hour))
    #expect(long.end.microseconds - long.start.microseconds == 25 * hour)
    var previous = plan.window(at: .init(microseconds: 0))
    for h in Int64(1)..<400 {
      let window = plan.window(at: .init(microseconds: h * hour))
      #expect(window == previous || window.start == previous.end)
      previous = window
    }
  }

  @Test func aSkippedDayHasNoWindow() {
    // At hour 240 local time jumps a whole day ahead: -10 h to +14 h.
    let zone = ZoneTable(
      name: "Test", initialOffset: -36000, transitions: [.init(at: .init(microseconds: 250 * hour), offset: 14 * 3600)])
    let plan = WindowPlan.calendarDays(1, zone: zone)
    let before = plan.window(at: .init(microseconds: 250 * hour - 1))
    let after = plan.window(at: .init(microseconds: 250 * hour))
    #expect(before.end == after.start)
    #expect(after.end.microseconds - after.start.microseconds == 24 * hour)
  }

  /// An SDK that sends 0 for its time: west of UTC that is still 1969, as it is for the batch side.
  @Test func theFirstHoursOf1970WestOfUTCAreADayOf1969() {
    let zone = ZoneTable(name: "Test", initialOffset: -5 * 3600, transitions: [])
    let days = WindowPlan.calendarDays(1, zone: zone)
    for time in [0, 5 * hour - 1] {
      let window = days.window(at: .init(microseconds: time))
      #expect(window == Window(start: .init(microseconds: -19 * hour), end: .init(microseconds: 5 * hour)))
    }
    #expect(days.window(at: .init(microseconds: 5 * hour)).start.microseconds == 5 * hour)
  }

  /// The last moment that is accepted lies in a whole day in every zone.
  @Test(arguments: [-12, -5, 0, 5, 14]) func theLastDayIsWhole(offset: Int) {
    let zone = ZoneTable(name: "Test", initialOffset: offset * 3600, transitions: [])
    let last = EventTime(microseconds: Limits.latestTime)
    let window = WindowPlan.calendarDays(1, zone: zone).window(at: last)
    #expect(window.contains(last))
    #expect(window.end.microseconds - window.start.microseconds == 24 * hour)
  }
}
