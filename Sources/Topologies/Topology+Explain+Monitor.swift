extension Topology {
  /// The thresholds of `monitor:` as they are in force; those that nobody changed are marked.
  func explainMonitor(_ text: inout Explanation) {
    let usual = Monitor()
    text.heading("Alerts (monitor:)")
    text.row("freshness", words(monitor.freshness, usual.freshness) { [("expected", $0.expected.description)] })
    text.row("events", words(monitor.events, usual.events) { [("drop", $0.drop.description), ("floor", "\($0.floor)")] } + countedWords)
    text.row("refresh", words(monitor.refresh, usual.refresh) { [("daily", $0.daily.description), ("hourly", $0.hourly.description)] })
    text.row("reconciliation", words(monitor.reconciliation, usual.reconciliation) { [("unexplained", "\($0.unexplained)")] })
    text.row("lag", words(monitor.lag, usual.lag) { [("growing_for", $0.growingFor.description), ("floor", "\($0.floor)")] })
    text.row(
      "quarantine",
      words(monitor.quarantine, usual.quarantine) { [("rate", $0.rate.description), ("within", $0.within.description), ("floor", "\($0.floor)")] })
    text.row("queries", words(monitor.queries, usual.queries) { [("slower_than", $0.slowerThan.description), ("within", $0.within.description)] })
    text.row(
      "storage",
      words(monitor.storage, usual.storage) {
        [
          ("capacity", $0.capacity?.description ?? "unknown"), ("time_to_full", $0.timeToFull.description),
          ("growth", $0.growth.description), ("floor", $0.floor.description),
        ]
      })
    text.row("fenced", words(monitor.fenced, usual.fenced) { [("times", "\($0.times)"), ("within", $0.within.description)] })
    text.row("repeat", marked(monitor.repeatEvery.description, usual.repeatEvery.description))
    text.row("settle", marked(monitor.settle.description, usual.settle.description))
  }

  /// `expected 1 minute (default), …`, or `off`.
  private func words<Check>(_ check: Check?, _ usual: Check?, _ values: (Check) -> [(name: String, value: String)]) -> String {
    guard let check, let usual else { return "off" }
    return zip(values(check), values(usual)).map { "\($0.name) \(marked($0.value.replacing(" %", with: "%"), $1.value.replacing(" %", with: "%")))" }
      .joined(separator: ", ")
  }

  private func marked(_ value: String, _ usual: String) -> String { value == usual ? "\(value) (default)" : value }

  /// Where events are counted for `events`.
  private var countedWords: String {
    guard monitor.events != nil else { return "" }
    guard let count = eventCount else { return ", counted in the ledger: no aggregate counts hours" }
    return ", counted in analytics.\(count.table)\(count.type.map { " by \($0)" } ?? "")"
  }
}
