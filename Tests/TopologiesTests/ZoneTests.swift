import Aggregation
import Foundation
import Testing

@testable import Topologies

/// The core's tables of days against Foundation's calendar.
@Suite struct ZoneTests {
  /// 23 and 25 hour days; half an hour of daylight saving; a day that never was; an offset of 5:30; days that begin at
  /// 01:00; changes of standard time; a month of Ramadan; UTC.
  static let zones = [
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "America/Sao_Paulo",
    "Asia/Kathmandu", "Africa/Casablanca", "Europe/Moscow"
  ]

  /// Every window of a day, 1970 to 2037, begins and ends where the calendar's day does.
  @Test(arguments: zones) func daysAreThoseOfTheCalendar(_ name: String) throws {
    let zone = try #require(TimeZone(identifier: name))
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = zone
    let window = WindowPlan.calendarDays(1, zone: ZoneRules.table(of: name))
    let end: Int64 = 2_145_916_800_000_000
    var time: Int64 = 2 * 86_400_000_000
    var wrong = 0
    while time < end {
      let found = window.window(at: EventTime(microseconds: time))
      let date = Date(timeIntervalSince1970: Double(time) / 1_000_000)
      let start = calendar.startOfDay(for: date)
      if Double(found.start.microseconds) / 1_000_000 != start.timeIntervalSince1970 { wrong += 1 }
      // The next day begins where this one ends: both ends are checked by the next round.
      #expect(found.contains(EventTime(microseconds: time)))
      let last = window.window(at: EventTime(microseconds: found.end.microseconds - 1))
      if last != found { wrong += 1 }
      time = found.end.microseconds
    }
    #expect(wrong == 0)
  }

  private func hours(_ zone: String, _ moment: String) throws -> Double {
    let time = try Date(moment, strategy: .iso8601).timeIntervalSince1970
    let window = WindowPlan.calendarDays(1, zone: ZoneRules.table(of: zone)).window(
      at: EventTime(microseconds: Int64(time) * 1_000_000))
    return Double(window.end.microseconds - window.start.microseconds) / 3_600_000_000
  }

  @Test func daysHaveTheirTrueLength() throws {
    #expect(try hours("Europe/Berlin", "2026-03-29T12:00:00Z") == 23)
    #expect(try hours("Europe/Berlin", "2026-10-25T12:00:00Z") == 25)
    #expect(try hours("Europe/Berlin", "2026-10-26T12:00:00Z") == 24)
    #expect(try hours("America/New_York", "2026-03-08T12:00:00Z") == 23)
    #expect(try hours("America/New_York", "2026-11-01T12:00:00Z") == 25)
    #expect(try hours("Australia/Lord_Howe", "2026-10-03T20:00:00Z") == 23.5)
    #expect(try hours("Australia/Lord_Howe", "2026-04-04T20:00:00Z") == 24.5)
    #expect(try hours("America/Sao_Paulo", "2018-11-04T12:00:00Z") == 23)
    #expect(try hours("Asia/Kolkata", "2026-03-29T12:00:00Z") == 24)
    #expect(try hours("UTC", "2026-03-29T12:00:00Z") == 24)
  }

  @Test func theDayThatSamoaSkippedHasNoWindow() throws {
    let apia = WindowPlan.calendarDays(1, zone: ZoneRules.table(of: "Pacific/Apia"))
    // 2011-12-29 ends at 10:00 UTC on the 30th; the next moment there is 2011-12-31.
    let change = EventTime(microseconds: 1_325_239_200_000_000)
    let before = apia.window(at: EventTime(microseconds: change.microseconds - 1))
    let after = apia.window(at: change)
    #expect(before.end == change && after.start == change)
    #expect(after.end.microseconds - after.start.microseconds == 86_400_000_000)
    #expect(before.end.microseconds - before.start.microseconds == 86_400_000_000)
  }

  @Test func aDayInSaoPauloBeginsAtOneWhereMidnightIsSkipped() throws {
    let window = WindowPlan.calendarDays(1, zone: ZoneRules.table(of: "America/Sao_Paulo"))
      .window(at: EventTime(microseconds: 1_541_332_800_000_000))
    #expect(window.start.microseconds == 1_541_300_400_000_000)  // 2018-11-04T03:00:00Z, 01:00 there
  }

  /// Clocks in Newfoundland went back from 00:01 to 23:01 until 2011: midnight came twice. A window is one span, so the
  /// day begins with the first midnight and the repeated hour before the second one belongs to it.
  @Test func aDayWhoseMidnightComesTwiceBeginsWithTheFirst() throws {
    let window = WindowPlan.calendarDays(1, zone: ZoneRules.table(of: "America/St_Johns"))
    let change: Int64 = 1_289_097_060_000_000  // 2010-11-07T02:31:00Z, 00:01 there
    let day = window.window(at: EventTime(microseconds: change))
    #expect(day.start.microseconds == change - 60_000_000)
    #expect(day.end.microseconds - day.start.microseconds == 25 * 3_600_000_000)
  }

  @Test func fixedWindowsNeedNoZone() throws {
    let topology = try Topology.parse(yaml: Files.shop([("tumbling: 1 day", "tumbling: 1 hour")]), file: "t.yaml")
    #expect(topology.plan().aggregates[0].window == .tumbling(length: 3_600_000_000))
  }

  @Test func zonesThatExistAreFound() {
    for zone in Self.zones + ["Etc/UTC", "America/Argentina/Buenos_Aires"] { #expect(ZoneRules.exists(zone), "\(zone)") }
    for zone in [
      "", "/", "CET", "EST", "GMT", "GMT+2", "Europe", "posix/Europe/Berlin", "right/Europe/Berlin", "europe/berlin", "Europe/",
      "+02:00"
    ] {
      #expect(!ZoneRules.exists(zone), "\(zone)")
    }
  }
}
