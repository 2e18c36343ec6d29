import Aggregation
import Engine
import Foundation
import Kafka

/// Asks Kafka for the ends of paused partitions: nothing is fetched of them that would tell, and their lag grows.
///
/// A thread of its own, since the answer is waited for.
final class EndWatch: Sendable {
  private let stopped = Mailbox<Void>()
  private let thread: Worker

  init(metadata: ClusterMetadata, shared: SharedStatus) {
    let stopped = self.stopped
    thread = Worker(name: "ends") {
      while let messages = stopped.takeAll(waiting: 2), messages.isEmpty {
        for part in shared.read().load.partitions where part.isPaused || part.phase == .stopped || part.phase == .acquiring {
          if stopped.depth > 0 { break }
          guard let range = try? metadata.watermarks(TopicPartition(part.id), timeout: 1000) else { break }
          shared.update { $0.ends[part.id] = max(range.high, $0.ends[part.id] ?? 0) }
        }
      }
    }
  }

  /// Waits for its end, at most a second.
  func stop() {
    stopped.post(())
    stopped.close()
    thread.join()
  }
}
