import Aggregation

/// What an event is, as its maker knows it: the oracle never reads payloads.
enum Truth {
  struct Event {
    /// Microseconds.
    var time: Int64
    var id: String
    var user: String
    var type: String
    var region: String
    var amount: Int64?
    /// Hundredths.
    var price: Int64?
  }
  case event(Event)
  /// Refused for this reason, as the quarantine names it.
  case invalid(reason: String)
  case tombstone
  /// An offset that holds no message: compacted away, or a transaction's marker.
  case hole
}

/// One offset of a partition.
struct LogRecord {
  var truth: Truth
  /// The record's Kafka timestamp, milliseconds.
  var timestamp: Int64
  /// The Kafka key is not the user.
  var isMisrouted = false
  var key: [UInt8]?
  var payload: [UInt8]?

  var isHole: Bool { if case .hole = truth { true } else { false } }
}

/// A topic as a broker keeps it.
final class SimulatedLog {
  struct Partition {
    /// The first offset that can still be read.
    var start: Int64 = 0
    var records: [LogRecord] = []
    var end: Int64 { Int64(records.count) }
  }
  let topic: String
  private(set) var partitions: [PartitionID: Partition] = [:]
  private(set) var ids: [PartitionID] = []

  init(topic: String) { self.topic = topic }

  func addPartition() -> PartitionID {
    let id = PartitionID(topic: topic, partition: Int32(ids.count))
    ids.append(id)
    partitions[id] = Partition()
    return id
  }

  func append(_ record: LogRecord, to id: PartitionID) { partitions[id]!.records.append(record) }

  /// Retention: offsets below `start` are gone.
  func truncate(_ id: PartitionID, below start: Int64) { partitions[id]!.start = max(partitions[id]!.start, start) }

  func start(_ id: PartitionID) -> Int64 { partitions[id]!.start }
  func end(_ id: PartitionID) -> Int64 { partitions[id]!.end }

  /// Up to `count` messages from `position`, and the position after them.
  func read(_ id: PartitionID, from position: Int64, most count: Int) -> (messages: [RecordBuffer.Message], next: Int64) {
    let records = partitions[id]!.records
    var messages: [RecordBuffer.Message] = []
    var at = Int(position)
    while at < records.count, messages.count < count {
      if !records[at].isHole {
        messages.append(.init(offset: Int64(at), timestamp: records[at].timestamp, key: records[at].key, payload: records[at].payload))
      }
      at += 1
    }
    return (messages, Int64(at))
  }
}
