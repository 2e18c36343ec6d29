import Engine
import Runtime

/// Whether an instance is alive and whether it is ready, decided from snapshots alone.
struct Health: Equatable {
  /// Threads that have shown no sign of life for too long; empty: alive.
  var stuck: [String] = []
  /// Why it is not ready, in words without names of servers or data; empty: ready.
  var obstacles: [String] = []

  var isAlive: Bool { stuck.isEmpty }
  var isReady: Bool { isAlive && obstacles.isEmpty }

  /// Longer than the longest wait of a thread that is well: the poller waits a minute for a disk that hangs.
  static let longestSilence: Int64 = 90_000

  /// - Parameters:
  ///   - now: milliseconds since the epoch; `monotonic`: those of signs of life.
  ///   - lagBudget: seconds.
  init(_ instance: ObservedInstance, books: BooksWatch.State, now: Int64, monotonic: Int64, lagBudget: Double) {
    for topology in instance.topologies {
      let status = topology.status()
      for (thread, at) in status.signsOfLife.sorted(by: { $0.key < $1.key }) where status.phase != .ended && monotonic - at > Self.longestSilence {
        stuck.append("\(topology.name): thread \(thread) has done nothing for \((monotonic - at) / 1000) s")
      }
      obstacles += Self.obstacles(topology.name, status, now, lagBudget)
    }
    if let answered = books.answeredAt, now - answered < 30_000 {
      if books.trouble != nil { obstacles.append("PostgreSQL cannot be read") }
    } else {
      obstacles.append("PostgreSQL has not answered yet")
    }
  }

  private static func obstacles(_ name: String, _ status: RunStatus, _ now: Int64, _ budget: Double) -> [String] {
    var found: [String] = []
    switch status.phase {
    case .opening: found.append("\(name): waits for PostgreSQL")
    case .joining: found.append("\(name): no partitions assigned yet")
    case .draining: found.append("\(name): draining")
    case .ended: found.append("\(name): ended")
    case .running: break
    }
    if status.storeTrouble != nil, status.phase == .running { found.append("\(name): PostgreSQL does not take flushes") }
    if status.load.isPausedForBudget { found.append("\(name): paused, too much waits for PostgreSQL") }
    if status.load.isJournalBlocked { found.append("\(name): paused, the journal takes no records") }
    let acquiring = status.load.partitions.count { $0.phase == .acquiring }
    if acquiring > 0 { found.append("\(name): \(acquiring) partitions are being taken over") }
    let stopped = status.load.partitions.count { $0.phase == .stopped || $0.phase == .fenced }
    if stopped > 0 { found.append("\(name): \(stopped) partitions are stopped or fenced") }
    if let seconds = status.lag(now: now).seconds, seconds > budget {
      found.append("\(name): \(Int(seconds)) s behind, the budget is \(Int(budget)) s")
    }
    return found
  }
}
