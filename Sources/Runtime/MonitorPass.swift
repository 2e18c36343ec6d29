import Aggregation
import Alerting
import Topologies
import Warehouse

/// One pass: facts are read, judged, written down, and channels told what they are owed. Whoever runs it, an instance every
/// minute or `tidemark alerts check`, only one runs at a time.
public struct MonitorPass {
  private let store: MonitorStore
  private let topology: Topology
  private let channels: [any AlertChannel]
  private let ends: ([PartitionID]) -> [PartitionID: Int64]

  /// - Parameter ends: asks Kafka where partitions end; what it leaves out is not known.
  public init(
    store: MonitorStore, topology: Topology, channels: [any AlertChannel], ends: @escaping ([PartitionID]) -> [PartitionID: Int64] = { _ in [:] }
  ) {
    self.store = store
    self.topology = topology
    self.channels = channels
    self.ends = ends
  }

  /// What came of a pass.
  public struct Report: Sendable {
    public var facts: MonitorFacts
    public var assessments: [Assessment]
    public var changes: [AlertBook.Change]
    /// Open alerts after it, oldest first.
    public var open: [StoredAlert]
    public var sent: [Notice] = []
    /// By channel.
    public var failures: [(channel: String, reason: String)] = []
  }

  /// - Parameters:
  ///   - now: microseconds since the epoch; nil: the database's clock.
  ///   - isDry: nothing is written and nothing sent; what would be raised is among `changes`.
  /// - Returns: nil: another pass was under way for ten seconds.
  /// - Throws: `WarehouseError`. What was written and sent before it stays.
  public func run(now: Int64? = nil, isDry: Bool = false) throws -> Report? {
    if isDry { return try judge(now, isDry: true) }
    return try store.exclusively {
      var report = try judge(now, isDry: false)
      try store.apply(report.changes, now: report.facts.now)
      report.open = try store.open()
      for channel in channels { try tell(channel, &report) }
      return report
    }
  }

  private func judge(_ now: Int64?, isDry: Bool) throws -> Report {
    let facts = try store.facts(now: now, ends: ends, isRemembered: !isDry)
    let assessments = Checks.assess(facts, topology.monitor)
    let open = try store.open()
    let changes = AlertBook.changes(open: open, assessments, facts, settle: topology.monitor.settle.microseconds)
    return Report(facts: facts, assessments: assessments, changes: changes, open: open)
  }

  /// Sends what a channel is owed, until one message does not get through. A message is recorded once the channel took it: a
  /// process that ends between the two sends it again, rather than never.
  private func tell(_ channel: any AlertChannel, _ report: inout Report) throws {
    let now = report.facts.now
    var state = report.facts.channels.first { $0.name == channel.name } ?? .init(name: channel.name, failures: 0)
    guard state.mayTry(now: now) else { return }
    var left = MonitorFacts.ChannelState.mostInAPass
    for (alert, delivery) in try store.undelivered(channel.name) {
      // That a channel fails is for the others to say.
      if alert.key.kind == CheckKind.channelFailing.rawValue, alert.key.subject == channel.name { continue }
      guard let phase = delivery.owed(alert, repeatEvery: topology.monitor.repeatEvery.microseconds, now: now) else { continue }
      guard left > 0 else { return }
      left -= 1
      let notice = Notice(phase, alert, topology: topology.name)
      do throws(ChannelFailure) { try channel.send(notice) } catch {
        state.record(error: error.description, at: now)
        try store.record(state, now: now)
        report.failures.append((channel.name, error.description))
        return
      }
      var delivery = delivery
      delivery.record(phase, at: now)
      try store.record(delivery, of: alert.id, by: channel.name)
      report.sent.append(notice)
      if state.failures > 0 {
        state.record(error: nil, at: now)
        try store.record(state, now: now)
      }
    }
  }
}
