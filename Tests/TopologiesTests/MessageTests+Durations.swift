@testable import Topologies

extension MessageTests {
  static let durations: [Case] = [
    Case(
      "durationWithoutUnit", [("allowed_lateness: 48h", "allowed_lateness: 172800")],
      [
        "17:21: time.allowed_lateness: \"172800\" has no unit: write 172800s if it is seconds"
      ]),
    Case(
      "zeroWithoutUnit", [("allowed_lateness: 48h", "allowed_lateness: 0")],
      [
        "17:21: time.allowed_lateness: \"0\" has no unit: write 0s if it is seconds"
      ]),
    Case(
      "durationWithAnUnknownUnit", [("allowed_lateness: 48h", "allowed_lateness: 2 months")],
      [
        "17:21: time.allowed_lateness: \"2 months\" is not a duration: there is no unit \"months\", expected seconds (s), minutes (m), hours (h), days (d) or weeks (w)"
      ]),
    Case(
      "durationInMilliseconds", [("allowed_lateness: 48h", "allowed_lateness: 500ms")],
      [
        "17:21: time.allowed_lateness: \"500ms\" is not a duration: there is no unit \"ms\", expected seconds (s), minutes (m), hours (h), days (d) or weeks (w)"
      ]),
    Case(
      "durationWithUpperCaseUnit", [("allowed_lateness: 48h", "allowed_lateness: 48H")],
      [
        "17:21: time.allowed_lateness: \"48H\" is not a duration: did you mean \"48h\"?"
      ]),
    Case(
      "durationWithAFraction", [("allowed_lateness: 48h", "allowed_lateness: 1.5h")],
      [
        "17:21: time.allowed_lateness: \"1.5h\" is not a duration: expected a whole number and one unit, such as 90s, 15 minutes, 48h, 1 day or 30 days"
      ]),
    Case(
      "durationInTwoParts", [("allowed_lateness: 48h", "allowed_lateness: 1h30m")],
      [
        "17:21: time.allowed_lateness: \"1h30m\" is not a duration: expected a whole number and one unit, such as 90s, 15 minutes, 48h, 1 day or 30 days"
      ]),
    Case(
      "durationTooLong", [("allowed_lateness: 48h", "allowed_lateness: 50001 days")],
      [
        "17:21: time.allowed_lateness: \"50001 days\" is too long: the longest is 50000 days"
      ]),
    Case(
      "durationThatOverflows", [("allowed_lateness: 48h", "allowed_lateness: 99999999999999999999 days")],
      [
        "17:21: time.allowed_lateness: \"99999999999999999999 days\" is too long: the longest is 50000 days"
      ]),
    Case(
      "durationNegative", [("allowed_lateness: 48h", "allowed_lateness: -1h")],
      [
        "17:21: time.allowed_lateness: \"-1h\" is negative, which no duration can be"
      ]),
    Case(
      "durationIsAList", [("allowed_lateness: 48h", "allowed_lateness: [48h]")],
      [
        "17:21: time.allowed_lateness is a list, expected a duration such as 90s, 15 minutes, 48h, 1 day or 30 days"
      ]),
    Case(
      "durationIsEmpty", [("allowed_lateness: 48h", "allowed_lateness:")],
      [
        "17:20: time.allowed_lateness is empty, expected a duration such as 90s, 15 minutes, 48h, 1 day or 30 days"
      ]),
    Case(
      "windowBelowASecond", [("tumbling: 1 minute", "tumbling: 0s")],
      [
        "30:25: aggregates.orders_per_minute.window.tumbling: \"0s\" is too short: the least is 1 second"
      ]),
    Case(
      "deduplicationOfNothing", [("within: 1h", "within: 0s")],
      [
        "19:24: deduplicate.within: \"0s\" is too short: the least is 1 second"
      ]),
    Case(
      "windowWithoutUnit", [("tumbling: 1 minute", "tumbling: 60")],
      [
        "30:25: aggregates.orders_per_minute.window.tumbling: \"60\" has no unit: write 60s if it is seconds"
      ])
  ]
}
