import Aggregation
import Topologies

/// Facts and thresholds in, findings out: no clock, no database, nothing remembered.
public enum Checks {
  /// Every check once, in a fixed order. O(facts).
  public static func assess(_ facts: MonitorFacts, _ monitor: Topology.Monitor) -> [Assessment] {
    [
      assess(.stale, monitor.freshness) { .findings(stale(facts, $0)) },
      assess(.eventsDown, monitor.events) { check in known(facts.hours) { .findings(eventsDown($0, facts, check)) } },
      assess(.refreshFailed, monitor.refresh) { _ in known(facts.refreshes) { .findings($0.compactMap(refreshFailed)) } },
      assess(.refreshLate, monitor.refresh) { check in known(facts.refreshes) { .findings($0.compactMap { refreshLate($0, facts.now, check) }) } },
      assess(.reconciliation, monitor.reconciliation) { check in known(facts.reconciliation) { .findings(unexplained($0, check)) } },
      assess(.lagGrowing, monitor.lag) { .findings(lagGrowing(facts, $0)) },
      assess(.quarantineRate, monitor.quarantine) { .findings(quarantineRate(facts.refused, $0)) },
      assess(.slowQuery, monitor.queries) { check in known(facts.queries) { .findings(slowQueries($0, check)) } },
      assess(.storageGrowth, monitor.storage) { storageGrowth(facts, $0) },
      assess(.storageFull, monitor.storage) { storageFull(facts, $0) },
      assess(.fenced, monitor.fenced) { .findings(fenced(facts.takeovers, $0)) },
      Assessment(.channelFailing, .findings(facts.channels.compactMap(channelFailing))),
    ]
  }

  private static func assess<Check>(_ kind: CheckKind, _ check: Check?, _ body: (Check) -> Assessment.Verdict) -> Assessment {
    Assessment(kind, check.map(body) ?? .off)
  }

  private static func known<Value>(_ fact: Known<Value>, _ body: (Value) -> Assessment.Verdict) -> Assessment.Verdict {
    switch fact {
    case .known(let value): body(value)
    case .unknown(let reason): .unknown(reason)
    }
  }

  // MARK: The stream

  /// A partition is stale when something waits in it, or it is not known whether something does, and nothing was flushed
  /// for twice the expected interval (before its first flush: since it was taken over). A partition at Kafka's present end is
  /// fresh by definition; where nobody asked Kafka, silence counts only if no partition was flushed.
  static func stale(_ facts: MonitorFacts, _ check: Topology.Monitor.Freshness) -> [Finding] {
    let limit = 2 * check.expected.microseconds
    func age(_ partition: MonitorFacts.Partition) -> Int64? { (partition.flushedAt ?? partition.takenAt).map { facts.now - $0 } }
    func isOld(_ partition: MonitorFacts.Partition) -> Bool { age(partition).map { $0 > limit } ?? true }
    var late = facts.partitions.filter { isOld($0) && ($0.lag ?? 0) > 0 }
    var doubt = ""
    if late.isEmpty, !facts.partitions.isEmpty, facts.partitions.allSatisfy({ !$0.endIsCurrent && isOld($0) }) {
      late = facts.partitions
      doubt = "; Kafka was not asked whether there is anything to read"
    }
    guard !late.isEmpty else { return [] }
    let oldest = late.compactMap(age).max()
    let lag = late.compactMap(\.lag).reduce(0, +)
    let owners = Set(late.map { $0.owner.map { Words.clean($0) } ?? "nobody" }).sorted()
    let since = oldest.map { "for \(Words.span($0))" } ?? "ever"
    return [
      Finding(
        AlertKey(kind: CheckKind.stale.rawValue), .critical,
        "nothing was flushed \(since) in \(late.count) of \(facts.partitions.count) partitions (\(Words.some(late.map { "\($0.id)" }))), expected "
          + "every \(check.expected); \(Words.grouped(lag)) events wait; owned by \(Words.some(owners))\(doubt)")
    ]
  }

  /// Lag grows when every sample of the last third of the time is above every sample of the first third.
  static func lagGrowing(_ facts: MonitorFacts, _ check: Topology.Monitor.Lag) -> [Finding] {
    let span = check.growingFor.microseconds
    let samples = facts.lag.filter { $0.at > facts.now - span * 11 / 10 && $0.at <= facts.now }
    guard samples.count >= 3, let first = samples.first, let last = samples.last, first.at <= facts.now - span * 9 / 10 else { return [] }
    let third = (last.at - first.at) / 3
    let early = samples.filter { $0.at <= first.at + third }.map(\.value).max() ?? 0
    let late = samples.filter { $0.at >= last.at - third }.map(\.value).min() ?? 0
    guard late > early, last.value >= Int64(check.floor) else { return [] }
    return [
      Finding(
        AlertKey(kind: CheckKind.lagGrowing.rawValue), .warning,
        "lag grew from \(Words.grouped(first.value)) to \(Words.grouped(last.value)) events within \(Words.span(last.at - first.at)): more comes in "
          + "than is consumed; add instances, or look at PostgreSQL")
    ]
  }

  static func quarantineRate(_ refused: MonitorFacts.Refused, _ check: Topology.Monitor.Quarantine) -> [Finding] {
    guard refused.quarantined >= Int64(check.floor), refused.offsets > 0,
      Double(refused.quarantined) > check.rate.fraction * Double(refused.offsets)
    else { return [] }
    let share = Percent(thousandths: Int(Double(refused.quarantined) / Double(refused.offsets) * 100_000))
    let reasons = refused.reasons.isEmpty ? "" : " (\(Words.some(refused.reasons.map { Words.clean($0) })))"
    return [
      Finding(
        AlertKey(kind: CheckKind.quarantineRate.rawValue), .warning,
        "\(Words.grouped(refused.quarantined)) of \(Words.grouped(refused.offsets)) events were refused within \(check.within)\(reasons): \(share), "
          + "more than \(check.rate); see `tidemark quarantine list`")
    ]
  }

  static func fenced(_ takeovers: [MonitorFacts.Takeover], _ check: Topology.Monitor.Fenced) -> [Finding] {
    let worst = takeovers.filter { $0.times >= Int64(check.times) }.sorted { ($1.times, $0.id) < ($0.times, $1.id) }
    guard !worst.isEmpty else { return [] }
    return [
      Finding(
        AlertKey(kind: CheckKind.fenced.rawValue), .critical,
        "partitions were taken over again and again within \(check.within), each time fencing whoever had them: "
          + Words.some(worst.map { "\($0.id) \($0.times) times" }) + "; two instances may run under one name, or one ends and starts in a loop")
    ]
  }
}
