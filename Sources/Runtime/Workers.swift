import Aggregation
import Engine
import Kafka

/// The workers of an instance, by the partitions that each owns.
struct Workers: Sendable {
  private let inboxes: [WorkerInbox]

  init(_ inboxes: [WorkerInbox]) { self.inboxes = inboxes }

  var count: Int { inboxes.count }

  /// Who owns a partition: the same as long as the number of workers is, so that its journal is found again.
  /// FNV-1a over the topic's name spreads topics with few partitions.
  static func owner(of at: TopicPartition, among count: Int) -> Int {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in at.topic.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    return Int((hash % UInt64(count) + UInt64(UInt32(bitPattern: at.partition))) % UInt64(count))
  }

  subscript(number: Int) -> WorkerInbox { inboxes[number] }
  subscript(at: TopicPartition) -> WorkerInbox { inboxes[Self.owner(of: at, among: count)] }

  /// Tells each worker what concerns its partitions, and none what concerns none.
  func post(_ partitions: [TopicPartition], _ event: ([TopicPartition]) -> ConsumerEvent) {
    for (number, inbox) in inboxes.enumerated() {
      let own = partitions.filter { Self.owner(of: $0, among: count) == number }
      if !own.isEmpty { inbox.post(.consumer(event(own))) }
    }
  }

  func drain() { for inbox in inboxes { inbox.post(.drain) } }

  /// Messages that wait for the busiest.
  var depth: Int { inboxes.reduce(0) { max($0, $1.depth) } }

  /// Waits until each has at most `depth` messages, up to `seconds` for each.
  func awaitRoom(depth: Int, waiting seconds: Double) { for inbox in inboxes { inbox.awaitRoom(depth: depth, waiting: seconds) } }
}
