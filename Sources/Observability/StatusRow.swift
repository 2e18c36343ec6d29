import Aggregation
import Engine
import Foundation
import Runtime
import Warehouse

/// One partition as `tidemark status --format json` and `/status` say it. Times are RFC 3339 in UTC; what is not known is absent.
///
/// What the books hold of a partition's owner (bytes, groups, overflow) is that of its last flush; an instance knows its own
/// partitions as they are, and says that in `/status`.
public struct StatusRow: Encodable, Sendable {
  public var topology: String
  public var topic: String
  public var partition: Int32
  /// Absent: nobody has it.
  public var owner: String?
  public var epoch: Int64
  public var nextOffset: Int64
  public var endOffset: Int64?
  public var lag: Int64?
  /// Age of the last record in PostgreSQL by its Kafka timestamp, 0 where all are; `Lag`.
  public var lagSeconds: Double?
  public var watermark: String?
  /// Windows that end by then are final as far as this partition goes: watermark − allowed lateness.
  public var completeThrough: String?
  /// Kafka timestamp of the last record in PostgreSQL.
  public var recordTime: String?
  public var lastFlush: String?
  /// The last flush, takeover or accepted gap.
  public var updatedAt: String?
  public var applied: Int64, filtered: Int64, duplicate: Int64, late: Int64, quarantined: Int64, gap: Int64
  /// What a restart of the owner reads of its journal: the last snapshot and what came since. Absent: no journal is kept.
  public var journalBytes: Int64?
  public var stateBytes: Int64?
  public var aggregates: [StatusAggregate]
  /// Open ones of this partition, as `kind: message`.
  public var alerts: [String]
  /// The same with all that is known of them; and those that concern the topology, not one partition.
  public var openAlerts: [StatusAlert] = []
  public var topologyAlerts: [StatusAlert] = []
  /// Only where an instance says it of its own partitions: phase, and bytes of the journal that PostgreSQL does not have.
  public var phase: String?
  public var unflushedBytes: Int64?

  /// Microseconds since the epoch, of `recordTime`.
  private var recordMicroseconds: Int64?

  private enum CodingKeys: String, CodingKey {
    case topology, topic, partition, owner, epoch, nextOffset, endOffset, lag, lagSeconds, watermark, completeThrough, recordTime, lastFlush, updatedAt
    case applied, filtered, duplicate, late, quarantined, gap, journalBytes, stateBytes, aggregates, alerts, openAlerts, topologyAlerts, phase
    case unflushedBytes
  }

  /// - Parameters:
  ///   - end: the partition's end in Kafka; nil: the one that an instance saw last.
  ///   - now: milliseconds since the epoch.
  init(_ status: Books.PartitionStatus, _ books: BooksSnapshot, end: Int64?, now: Int64) {
    self.init(status.topology, status.partition)
    owner = status.owner
    epoch = status.epoch
    nextOffset = status.nextOffset
    // An end that was seen before the last flush is further on by now: what is consumed lies before it. Kafka's own word stands.
    endOffset = end ?? status.endOffset.map { max($0, status.nextOffset) }
    let behind = Lag(flushed: nextOffset, end: endOffset, recordTime: status.recordTime.map { $0 / 1000 }, watermark: status.watermark, now: now)
    (lag, lagSeconds) = (behind.events, behind.seconds)
    watermark = status.watermark.map(TimeText.rfc3339)
    completeThrough = status.completeThrough.map(TimeText.rfc3339)
    recordMicroseconds = status.recordTime
    recordTime = status.recordTime.map(TimeText.rfc3339)
    lastFlush = status.flushedAt.map(TimeText.rfc3339)
    updatedAt = TimeText.rfc3339(status.updatedAt)
    let ledger = status.ledger
    (applied, filtered, duplicate, late, quarantined, gap) =
      (ledger.applied, ledger.filtered, ledger.duplicate, ledger.late, ledger.quarantined, ledger.gap)
    (journalBytes, stateBytes) = (status.journalBytes, status.stateBytes)
    aggregates = status.aggregates.map { aggregate in
      StatusAggregate(aggregate, books.freshness.first { $0.topology == status.topology && $0.table == aggregate.table })
    }
    alerts = status.alerts
    let open = books.alerts.filter { $0.topology == status.topology && $0.resolvedAt == nil }
    openAlerts = open.filter { $0.topic == topic && $0.partition == partition }.map(StatusAlert.init)
    topologyAlerts = open.filter { $0.partition < 0 }.map(StatusAlert.init)
  }

  /// All partitions that the books know, as they have them.
  /// - Parameters:
  ///   - ends: where partitions end in Kafka; for those that are missing it is where an instance saw them end.
  ///   - now: milliseconds since the epoch.
  public static func rows(_ books: BooksSnapshot, ends: [PartitionID: Int64] = [:], now: Int64) -> [StatusRow] {
    books.partitions.map { StatusRow($0, books, end: ends[$0.partition], now: now) }
  }

  /// All partitions that are known: by PostgreSQL, and what this instance knows better of its own.
  static func rows(_ instance: ObservedInstance, _ books: BooksWatch.State, now: Int64) -> [StatusRow] {
    var rows = books.snapshot.map { StatusRow.rows($0, now: now) } ?? []
    for topology in instance.topologies {
      let status = topology.status()
      for part in status.load.partitions where part.epoch.value > 0 {
        let at = rows.firstIndex { $0.topology == topology.name && $0.topic == part.id.topic && $0.partition == part.id.partition }
        // Taken over by somebody else since.
        if let at, rows[at].epoch > part.epoch.value { continue }
        if at == nil { rows.append(StatusRow(topology.name, part.id)) }
        let index = at ?? rows.count - 1
        rows[index].owner = instance.name
        rows[index].take(part, end: status.end(of: part), topology, now: now)
      }
    }
    return rows.sorted { ($0.topology, $0.topic, $0.partition) < ($1.topology, $1.topic, $1.partition) }
  }

  /// What the partition's own instance knows of it.
  private mutating func take(_ part: PartitionLoad, end: Int64?, _ observed: ObservedInstance.Topology, now: Int64) {
    epoch = part.epoch.value
    nextOffset = max(nextOffset, part.flushed.value)
    endOffset = end ?? endOffset
    // What is read of the books may be newer than what the instance showed last.
    let newest = [part.flushedRecordTime.map { $0 * 1000 }, recordMicroseconds].compactMap { $0 }.max()
    recordTime = newest.map(TimeText.rfc3339)
    let behind = Lag(flushed: nextOffset, end: endOffset, recordTime: newest.map { $0 / 1000 }, watermark: part.watermark, now: now)
    (lag, lagSeconds) = (behind.events, behind.seconds)
    phase = part.phase.rawValue
    unflushedBytes = Int64(part.unflushedJournalBytes)
    journalBytes = part.journalBytes.map(Int64.init)
    stateBytes = Int64(part.memory.bytes)
    if let mark = part.watermark {
      watermark = TimeText.rfc3339(mark)
      completeThrough = TimeText.rfc3339(mark.microseconds - observed.allowedLateness)
    }
    if part.loads.count == observed.aggregates.count {
      for (known, load) in zip(observed.aggregates, part.loads) {
        let at = aggregates.firstIndex { $0.table == known.table } ?? aggregates.count
        if at == aggregates.count { aggregates.append(StatusAggregate(name: known.name, table: known.table)) }
        (aggregates[at].groups, aggregates[at].overflow) = (Int64(load.groups), load.overflowed)
      }
    }
  }

  private init(_ topology: String, _ id: PartitionID) {
    self.topology = topology
    topic = id.topic
    partition = id.partition
    epoch = 0
    nextOffset = 0
    (applied, filtered, duplicate, late, quarantined, gap) = (0, 0, 0, 0, 0, 0)
    aggregates = []
    alerts = []
  }
}
