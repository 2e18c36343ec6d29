import Aggregation
import Foundation
import Yams

extension TopologyReader {
  /// What `time:` says.
  struct Time {
    var allowedLateness: TimeSpan
    var zone: String
    var maxFutureSkew: TimeSpan
  }

  mutating func time(_ entry: Section.Entry) -> Time? {
    guard
      let section = section(
        entry, known: ["allowed_lateness", "zone", "max_future_skew"],
        expected: "a mapping such as { allowed_lateness: 48h, zone: UTC }")
    else { return nil }
    let lateness = mandatory(
      "allowed_lateness", of: section,
      "it decides when windows become final and is never implied; add allowed_lateness: 48h (or 0s for no lateness)"
    ).flatMap { self.span($0) }
    let zone = mandatory(
      "zone", of: section, "it decides where days begin and is never implied; add zone: UTC (or Europe/Berlin, ...)"
    )
    .flatMap { self.zone($0) }
    let skew = section["max_future_skew"].map { self.span($0) } ?? TimeSpan(microseconds: Limits.maxFutureSkew)
    guard let lateness, let zone, let skew else { return nil }
    return Time(allowedLateness: lateness, zone: zone, maxFutureSkew: skew)
  }

  private mutating func zone(_ entry: Section.Entry) -> String? {
    guard let name = text(entry.value, path: entry.path, expected: "an IANA zone such as UTC or Europe/Berlin") else {
      return nil
    }
    if ZoneRules.exists(name) { return name }
    let known = ["UTC", "Asia/Kolkata"] + TimeZone.knownTimeZoneIdentifiers.filter(ZoneRules.exists).sorted()
    let city = "/" + name.lowercased().replacing(" ", with: "_")
    let advice =
      (known.first { $0.lowercased().hasSuffix(city) } ?? nearest(to: name, among: known))
      .map { "did you mean \(quoted($0))?" }
      ?? "expected UTC or an IANA name such as Europe/Berlin or America/New_York, no abbreviation and no offset"
    report(entry.value.place, "\(entry.path): there is no zone \(quoted(name)): \(advice)")
    return nil
  }

  /// nil: broken; `.some(nil)` does not occur.
  mutating func deduplicate(_ entry: Section.Entry, event: Event?, root: Section) -> TimeSpan?? {
    guard let section = section(entry, known: ["within"], expected: "a mapping such as { within: 1h }") else { return nil }
    if let event, event.idPath == nil {
      report(entry.mark, "deduplicate needs event.id: add id: PATH to event, or remove deduplicate")
    }
    let within = mandatory("within", of: section, "add within: 1h").flatMap {
      self.span($0, atLeast: TimeSpan(microseconds: TimeSpan.second))
    }
    return within.map { .some($0) }
  }
}
