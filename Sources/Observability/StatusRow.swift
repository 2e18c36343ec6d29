import Aggregation
import Engine
import Foundation
import Runtime
import Warehouse

/// One partition as `tidemark status --format json` and `/status` say it.
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
  /// Age of the newest record in PostgreSQL; only where an instance says it of its own partitions.
  public var lagSeconds: Double?
  public var watermark: String?
  public var updatedAt: String?
  public var applied: Int64, filtered: Int64, duplicate: Int64, late: Int64, quarantined: Int64, gap: Int64
  public var alerts: [String]
  /// Of an instance's own partitions: phase, and bytes of its journal that PostgreSQL does not have, of its state.
  public var phase: String?
  public var journalBytes: Int?
  public var stateBytes: Int?

  /// - Parameter end: the partition's end in Kafka; nil: the one that an instance saw last.
  public init(_ status: Books.PartitionStatus, end: Int64? = nil) {
    topology = status.topology
    topic = status.partition.topic
    partition = status.partition.partition
    owner = status.owner
    epoch = status.epoch
    nextOffset = status.nextOffset
    endOffset = end ?? status.endOffset
    lag = endOffset.map { max(0, $0 - status.nextOffset) }
    watermark = status.watermark.map(TimeText.rfc3339)
    updatedAt = TimeText.rfc3339(EventTime(microseconds: status.updatedAt))
    let ledger = status.ledger
    (applied, filtered, duplicate, late, quarantined, gap) =
      (ledger.applied, ledger.filtered, ledger.duplicate, ledger.late, ledger.quarantined, ledger.gap)
    alerts = status.alerts
  }

  /// All partitions that are known: by PostgreSQL, and what this instance knows better of its own.
  static func rows(_ instance: ObservedInstance, _ books: BooksWatch.State, now: Int64) -> [StatusRow] {
    var rows = (books.snapshot?.partitions ?? []).map { StatusRow($0) }
    for topology in instance.topologies {
      let status = topology.status()
      for (part, lag) in zip(status.load.partitions, status.lags(now: now)) where part.epoch.value > 0 {
        let at = rows.firstIndex { $0.topology == topology.name && $0.topic == part.id.topic && $0.partition == part.id.partition }
        // Taken over by somebody else since.
        if let at, rows[at].epoch > part.epoch.value { continue }
        let index = at ?? rows.count
        if at == nil { rows.append(StatusRow(topology.name, part.id)) }
        rows[index].owner = instance.name
        rows[index].epoch = part.epoch.value
        rows[index].nextOffset = max(rows[index].nextOffset, part.flushed.value)
        rows[index].endOffset = status.end(of: part) ?? rows[index].endOffset
        rows[index].lag = rows[index].endOffset.map { max(0, $0 - rows[index].nextOffset) }
        rows[index].lagSeconds = lag.seconds
        rows[index].phase = part.phase.rawValue
        rows[index].journalBytes = part.unflushedJournalBytes
        rows[index].stateBytes = part.memory.bytes
        if let watermark = part.watermark { rows[index].watermark = TimeText.rfc3339(watermark) }
      }
    }
    return rows.sorted { ($0.topology, $0.topic, $0.partition) < ($1.topology, $1.topic, $1.partition) }
  }

  private init(_ topology: String, _ id: PartitionID) {
    self.topology = topology
    topic = id.topic
    partition = id.partition
    epoch = 0
    nextOffset = 0
    (applied, filtered, duplicate, late, quarantined, gap) = (0, 0, 0, 0, 0, 0)
    alerts = []
  }
}

/// Times as people and programs both read them.
public enum TimeText {
  /// RFC 3339 in UTC, with as many fractional digits as there are.
  public static func rfc3339(_ time: EventTime) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(identifier: "UTC")
    formatter.dateFormat = "yyyy-MM-dd'T'HH:mm:ss"
    let text = formatter.string(from: Date(timeIntervalSince1970: Double(time.seconds)))
    let fraction = time.microseconds - time.seconds * 1_000_000
    guard fraction > 0 else { return text + "Z" }
    var digits = String(String(1_000_000 + fraction).dropFirst())
    while digits.hasSuffix("0") { digits.removeLast() }
    return "\(text).\(digits)Z"
  }
}

/// JSON with sorted keys, one line.
enum JSON {
  static func text(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
  }
}
