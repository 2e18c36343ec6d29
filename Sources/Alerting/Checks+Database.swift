import Topologies

/// What is judged by PostgreSQL: the batch side, queries, storage; and the channels.
extension Checks {
  static func refreshFailed(_ refresh: MonitorFacts.Refresh) -> Finding? {
    guard let failure = refresh.failure else { return nil }
    return Finding(
      AlertKey(kind: CheckKind.refreshFailed.rawValue, topic: "nightly.\(refresh.view)"), .warning,
      "the refresh of nightly.\(Words.clean(refresh.view)) failed: \(Words.clean(failure, most: 300))")
  }

  static func refreshLate(_ refresh: MonitorFacts.Refresh, _ now: Int64, _ check: Topology.Monitor.Refresh) -> Finding? {
    let limit = refresh.isHourly ? check.hourly : check.daily
    let age = now - (refresh.doneAt ?? refresh.createdAt)
    guard age > limit.microseconds else { return nil }
    let last = refresh.doneAt.map { "the last good refresh of nightly.\(Words.clean(refresh.view)) is of \(Words.time($0))" }
      ?? "nightly.\(Words.clean(refresh.view)) was never refreshed since it was made at \(Words.time(refresh.createdAt))"
    return Finding(
      AlertKey(kind: CheckKind.refreshLate.rawValue, topic: "nightly.\(refresh.view)"), .warning,
      "\(last), \(Words.span(age)) ago, expected within \(limit): does the schedule (pg_cron, cron, systemd) run?")
  }

  static func unexplained(_ newest: MonitorFacts.Reconciliation?, _ check: Topology.Monitor.Reconciliation) -> [Finding] {
    guard let newest else { return [] }
    let key = AlertKey(kind: CheckKind.reconciliation.rawValue, topic: "nightly")
    if let failure = newest.failure {
      return [Finding(key, .warning, "reconciliation run \(newest.run) failed: \(Words.clean(failure, most: 300))")]
    }
    guard newest.unexplained > Int64(check.unexplained) else { return [] }
    let examples = newest.examples.isEmpty ? "" : ": \(newest.examples.prefix(3).map { Words.clean($0, most: 160) }.joined(separator: "; "))"
    return [
      Finding(
        key, .critical,
        "reconciliation run \(newest.run) found \(Words.grouped(newest.unexplained)) unexplained of \(Words.grouped(newest.differences)) differences\(examples)")
    ]
  }

  static func slowQueries(_ queries: [MonitorFacts.Query], _ check: Topology.Monitor.Queries) -> [Finding] {
    let limit = Double(check.slowerThan.microseconds) / 1000
    let slow = queries.filter { $0.calls > 0 && $0.meanMilliseconds > limit }.sorted { $0.meanMilliseconds > $1.meanMilliseconds }
    return slow.prefix(mostFindings).map { query in
      Finding(
        AlertKey(kind: CheckKind.slowQuery.rawValue, subject: "\(Words.clean(query.user)) \(query.id)"), .warning,
        "a query of \(Words.clean(query.user)) takes \((query.meanMilliseconds / 100).rounded() / 10) s on average (\(query.calls) calls within "
          + "\(check.within), expected under \(check.slowerThan)): \(Words.clean(StatementText.withoutConstants(query.text), most: 200))")
    }
  }

  // MARK: Storage

  private static let hour: Int64 = 3_600_000_000

  /// Growth within a day, against the oldest sample of that day; known once that is 20 hours old.
  static func storageGrowth(_ facts: MonitorFacts, _ check: Topology.Monitor.Storage) -> Assessment.Verdict {
    guard let last = facts.storage.last else { return .unknown("the size of the database is not known") }
    guard let before = facts.storage.first(where: { $0.at >= last.at - 25 * hour }), last.at - before.at >= 20 * hour else {
      return .unknown("there is not a day of history of the database's size yet")
    }
    let growth = last.value - before.value
    guard growth >= check.floor.bytes, Double(growth) > Double(before.value) * check.growth.fraction else { return .findings([]) }
    return .findings([
      Finding(
        AlertKey(kind: CheckKind.storageGrowth.rawValue), .warning,
        "the database grew by \(ByteSize(bytes: growth)) within \(Words.span(last.at - before.at)), from \(ByteSize(bytes: before.value)) to "
          + "\(ByteSize(bytes: last.value)): more than \(check.growth)")
    ])
  }

  /// Time to full by the growth since the oldest sample of a week; known once that is six hours old.
  static func storageFull(_ facts: MonitorFacts, _ check: Topology.Monitor.Storage) -> Assessment.Verdict {
    guard let capacity = check.capacity else { return .off }
    guard let last = facts.storage.last else { return .unknown("the size of the database is not known") }
    let key = AlertKey(kind: CheckKind.storageFull.rawValue)
    let left = capacity.bytes - last.value
    let stand = "the database has \(ByteSize(bytes: last.value)) of \(capacity)"
    if left <= 0 { return .findings([Finding(key, .critical, "\(stand): it is full")]) }
    guard let before = facts.storage.first(where: { $0.at >= last.at - 7 * 24 * hour }), last.at - before.at >= 6 * hour else {
      return .unknown("there are not six hours of history of the database's size yet")
    }
    guard last.value > before.value else { return .findings([]) }
    let toFull = Double(left) / Double(last.value - before.value) * Double(last.at - before.at)
    guard toFull < Double(check.timeToFull.microseconds) else { return .findings([]) }
    return .findings([
      Finding(
        key, toFull < Double(24 * hour) ? .critical : .warning,
        "\(stand) and grew by \(ByteSize(bytes: last.value - before.value)) within \(Words.span(last.at - before.at)): it is full in "
          + "\(Words.span(Int64(toFull))), less than \(check.timeToFull)")
    ])
  }

  // MARK: Channels

  public static func channelFailing(_ channel: MonitorFacts.ChannelState) -> Finding? {
    guard channel.failures >= 2 else { return nil }
    return Finding(
      AlertKey(kind: CheckKind.channelFailing.rawValue, subject: channel.name), .warning,
      "alerts do not get through by \(channel.name): \(channel.failures) failures in a row, the last one: \(Words.clean(channel.lastError, most: 200))")
  }
}
