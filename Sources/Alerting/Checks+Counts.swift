import Topologies

extension Checks {
  /// The lists are cut there: what a topic with many event types can cause is bounded.
  static let mostFindings = 20

  /// Median of the same hour of up to four weeks, or of the hours before while there is not a week of history; two such
  /// hours at least. nil: nothing to compare with. The middle of an even number is the mean of two.
  static func baseline(_ hours: MonitorFacts.EventHours) -> (events: Int64, of: String)? {
    if !hours.weeks.isEmpty {
      return (median(hours.weeks), hours.weeks.count == 1 ? "the same hour a week ago" : "the same hour of \(hours.weeks.count) weeks")
    }
    return hours.hours.count >= 2 ? (median(hours.hours), "the last \(hours.hours.count) hours") : nil
  }

  private static func median(_ values: [Int64]) -> Int64 {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : sorted[middle - 1] + (sorted[middle] - sorted[middle - 1]) / 2
  }

  static func eventsDown(_ hours: [MonitorFacts.EventHours], _ facts: MonitorFacts, _ check: Topology.Monitor.Events) -> [Finding] {
    func drop(_ hours: MonitorFacts.EventHours) -> (finding: String, lost: Int64)? {
      guard let usual = baseline(hours), usual.events >= Int64(check.floor),
        Double(hours.current) < Double(usual.events) * (1 - check.drop.fraction)
      else { return nil }
      let share = Percent(thousandths: Int(Double(usual.events - hours.current) / Double(usual.events) * 100) * 1000)
      return (
        "\(Words.grouped(hours.current)) events within an hour, \(share) fewer than the median of \(usual.of), \(Words.grouped(usual.events))",
        usual.events - hours.current
      )
    }
    let kind = CheckKind.eventsDown.rawValue
    var findings: [Finding] = []
    let total = hours.first { $0.type == nil }.flatMap(drop)
    let types = hours.filter { $0.type != nil }.compactMap { hours in drop(hours).map { (type: hours.type!, finding: $0.finding, lost: $0.lost) } }
      .sorted { ($1.lost, $0.type) < ($0.lost, $1.type) }
    if let total {
      let most = types.isEmpty ? "" : "; most of it: \(Words.some(types.map { Words.clean($0.type) }))"
      findings.append(Finding(AlertKey(kind: kind), .critical, "\(total.finding)\(most); \(explanation(facts, lost: total.lost))"))
    }
    for drop in types.prefix(mostFindings) {
      findings.append(
        Finding(
          AlertKey(kind: kind, subject: Words.clean(drop.type)), .warning,
          "\(Words.clean(drop.type)): \(drop.finding); \(explanation(facts, lost: drop.lost))",
          // When everything is down, one alert says it.
          raises: total == nil))
    }
    return findings
  }

  /// Where the missing events may be.
  private static func explanation(_ facts: MonitorFacts, lost: Int64) -> String {
    let lag = facts.partitions.compactMap(\.lag).reduce(0, +)
    if lag * 5 >= lost { return "\(Words.grouped(lag)) events wait in Kafka: consuming is behind" }
    if facts.refused.quarantined * 5 >= lost { return "\(Words.grouped(facts.refused.quarantined)) were refused: see `tidemark quarantine list`" }
    return "neither lag nor quarantine explains it: the source sends less"
  }
}
