@testable import Topologies

extension MessageTests {
  static let zones: [Case] = [
    Case(
      "zoneThatDoesNotExist", [("Europe/Berlin", "Europe/Berln")],
      [
        "18:9: time.zone: there is no zone \"Europe/Berln\": did you mean \"Europe/Berlin\"?"
      ]),
    Case(
      "zoneByItsCityAlone", [("Europe/Berlin", "Berlin")],
      [
        "18:9: time.zone: there is no zone \"Berlin\": did you mean \"Europe/Berlin\"?"
      ]),
    Case(
      "zoneInTheWrongCase", [("Europe/Berlin", "europe/berlin")],
      [
        "18:9: time.zone: there is no zone \"europe/berlin\": did you mean \"Europe/Berlin\"?"
      ]),
    Case(
      "zoneUTCInTheWrongCase", [("Europe/Berlin", "utc")],
      [
        "18:9: time.zone: there is no zone \"utc\": did you mean \"UTC\"?"
      ]),
    Case(
      "zoneByAbbreviation", [("Europe/Berlin", "CET")],
      [
        "18:9: time.zone: there is no zone \"CET\": expected UTC or an IANA name such as Europe/Berlin or America/New_York, no abbreviation and no offset"
      ]),
    Case(
      "zoneByOffset", [("Europe/Berlin", "\"+02:00\"")],
      [
        "18:9: time.zone: there is no zone \"+02:00\": expected UTC or an IANA name such as Europe/Berlin or America/New_York, no abbreviation and no offset"
      ]),
    Case(
      "zoneByGMTOffset", [("Europe/Berlin", "GMT+2")],
      [
        "18:9: time.zone: there is no zone \"GMT+2\": expected UTC or an IANA name such as Europe/Berlin or America/New_York, no abbreviation and no offset"
      ]),
    Case(
      "zoneOutsideTheDatabase", [("Europe/Berlin", "../etc/passwd")],
      [
        "18:9: time.zone: there is no zone \"../etc/passwd\": expected UTC or an IANA name such as Europe/Berlin or America/New_York, no abbreviation and no offset"
      ]),
    Case(
      "zoneThatIsNothing", [("Europe/Berlin", "Moon/Tycho")],
      [
        "18:9: time.zone: there is no zone \"Moon/Tycho\": expected UTC or an IANA name such as Europe/Berlin or America/New_York, no abbreviation and no offset"
      ]),
    Case(
      "zoneWithSpace", [("Europe/Berlin", "America/New York")],
      [
        "18:9: time.zone: there is no zone \"America/New York\": did you mean \"America/New_York\"?"
      ])
  ]
}
