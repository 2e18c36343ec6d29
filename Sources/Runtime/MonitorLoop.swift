import Aggregation
import Alerting
import Engine
import Kafka
import Topologies
import Warehouse

/// Runs the checks of one topology every minute, in one elected instance of all that run it. It has a thread, a connection to
/// PostgreSQL and a handle of Kafka of its own; polling, folding and flushing neither wait for it nor know of it.
public final class MonitorLoop: Sendable {
  private let topology: Topology
  private let kafka: KafkaSettings
  private let postgres: String
  private let name: String
  private let channels: [any AlertChannel]
  private let interval: Milliseconds
  private let say: @Sendable (Severity, String) -> Void
  private let end = Mailbox<Void>()

  /// - Parameters:
  ///   - instance: shown in `pg_stat_activity`.
  ///   - interval: milliseconds between passes; the first comes after one, when an instance that has just started has had time to flush.
  public init(
    topology: Topology, kafka: KafkaSettings, postgres: String, instance: String, channels: [any AlertChannel], interval: Int64 = 60_000,
    say: @escaping @Sendable (Severity, String) -> Void
  ) {
    self.topology = topology
    self.kafka = kafka
    self.postgres = postgres
    name = "tidemark \(topology.name) \(instance) alerts"
    self.channels = channels
    self.interval = interval
    self.say = say
  }

  /// Runs on a thread of its own until `stop`.
  public func start() -> Running {
    Running(loop: self, worker: Worker(name: "alerts") { [self] in run() })
  }

  public struct Running: Sendable {
    fileprivate let loop: MonitorLoop
    fileprivate let worker: Worker

    /// Ends them; messages that are just being sent are waited for, up to `seconds` in all.
    public static func stop(_ running: [Running], waiting seconds: Double = 2) {
      for one in running { one.loop.end.close() }
      let end = Clock.milliseconds() + Milliseconds(seconds * 1000)
      for one in running { _ = one.worker.join(by: end) }
    }
  }

  private func run() {
    let store = MonitorStore(target: postgres, topology: topology, name: name)
    var metadata: ClusterMetadata?
    let pass = MonitorPass(store: store, topology: topology, channels: channels) { [self] partitions in
      if metadata == nil { metadata = try? ClusterMetadata(kafka) }
      return metadata.map { endOffsets(of: partitions, $0) } ?? [:]
    }
    var state = Said()
    while end.takeAll(waiting: Double(interval) / 1000) != nil {
      do {
        guard try store.elect() else {
          if state.isElected == true { say(.info, "alerts: another instance checks now") }
          state.isElected = false
          continue
        }
        if state.isElected != true { say(.info, "alerts: this instance checks every \(interval / 1000) s, \(channels.count) channels") }
        state.isElected = true
        if let report = try pass.run() { tell(report) }
        if state.failure != nil { say(.info, "alerts: checked again") }
        state.failure = nil
      } catch {
        // Once until it changes: what keeps an instance from PostgreSQL is said by others already.
        let text = "\(error)"
        if text != state.failure { say(.warning, "alerts: not checked: \(text)") }
        state.failure = text
        store.disconnect()
      }
    }
    store.disconnect()
  }

  private struct Said {
    var isElected: Bool?
    var failure: String?
  }

  private func tell(_ report: MonitorPass.Report) {
    for change in report.changes {
      switch change {
      case .raise(let finding): say(finding.severity == .critical ? .error : .warning, "alert \(finding.key.kind): \(finding.message)")
      case .resolve(let id): say(.info, "alert \(id) is resolved")
      case .see: break
      }
    }
    for failure in report.failures { say(.warning, "alerts: \(failure.channel) failed: \(failure.reason)") }
  }
}

/// Where partitions end in Kafka now; the first that gets no answer is the last that is asked.
public func endOffsets(of partitions: [PartitionID], _ metadata: ClusterMetadata) -> [PartitionID: Int64] {
  var ends: [PartitionID: Int64] = [:]
  for id in partitions {
    guard let range = try? metadata.watermarks(TopicPartition(id)) else { break }
    ends[id] = range.high
  }
  return ends
}
