import Aggregation
import Alerting
import Topologies

let minute: Int64 = 60_000_000
let hour: Int64 = 60 * minute
/// 2026-03-04T05:06:07Z.
let noon: Int64 = 1_772_600_767_000_000

/// Facts of a topology that is well.
func wellFacts(now: Int64 = noon) -> MonitorFacts {
  var facts = MonitorFacts(now: now, topology: "shop")
  facts.partitions = (0..<3).map { partition($0, flushed: now - minute / 2) }
  facts.lag = (0...15).map { .init(at: now - Int64(15 - $0) * minute, value: 20_000) }
  facts.refused.offsets = 10_000
  facts.hours = .known([.init(type: nil, current: 1_000, weeks: [1_000], hours: [])])
  facts.refreshes = .known([refresh(doneAt: now - hour)])
  facts.storage = (0...48).map { .init(at: now - Int64(48 - $0) * hour, value: 100 << 30) }
  return facts
}

func partition(_ number: Int32, next: Int64 = 100, end: Int64? = 100, current: Bool = false, flushed: Int64?) -> MonitorFacts.Partition {
  var partition = MonitorFacts.Partition(id: PartitionID(topic: "shop", partition: number), nextOffset: next)
  partition.endOffset = end
  partition.endIsCurrent = current
  partition.flushedAt = flushed
  partition.owner = "a"
  return partition
}

func refresh(doneAt: Int64?, hourly: Bool = false, failure: String? = nil, createdAt: Int64 = 0) -> MonitorFacts.Refresh {
  var refresh = MonitorFacts.Refresh(view: "daily", isHourly: hourly, createdAt: createdAt)
  refresh.doneAt = doneAt
  refresh.failure = failure
  return refresh
}

extension [Assessment] {
  func findings(_ kind: CheckKind) -> [Finding] {
    guard case .findings(let findings) = first(where: { $0.kind == kind })?.verdict else { return [] }
    return findings
  }
  func verdict(_ kind: CheckKind) -> Assessment.Verdict? { first { $0.kind == kind }?.verdict }
  /// Kinds with a finding that raises.
  var raised: [String] {
    flatMap { assessment -> [String] in
      if case .findings(let findings) = assessment.verdict { findings.filter(\.raises).map(\.key.kind) } else { [] }
    }
  }
}

func assess(_ change: (inout MonitorFacts, inout Topology.Monitor) -> Void) -> [Assessment] {
  var facts = wellFacts()
  var monitor = Topology.Monitor()
  change(&facts, &monitor)
  return Checks.assess(facts, monitor)
}
