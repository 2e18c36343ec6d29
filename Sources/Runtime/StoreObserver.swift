import Aggregation
import Engine

/// Notes what the store does: counters, durations, whether PostgreSQL answers, and a report of every flush.
struct StoreObserver {
  /// The worker's.
  let number: Int
  let topology: String
  let instance: String
  let aggregates: Int
  let shared: SharedStatus
  /// Called by the store's thread: must not wait.
  let report: @Sendable (FlushReport) -> Void

  func flushed(_ request: FlushRequest, _ outcome: FlushOutcome, nanoseconds: UInt64) {
    let now = Clock.wallMilliseconds()
    shared.update { $0.flushNanoseconds += nanoseconds }
    switch outcome {
    case .failed(let reason), .unknown(let reason), .fatal(let reason): return failed(reason)
    case .fenced: return answered()
    case .committed: break
    }
    let flush = FlushReport(request, topology: topology, instance: instance, aggregates: aggregates, at: now, nanoseconds: nanoseconds)
    shared.update { status in
      status.storeTroubles[number] = nil
      status.lastFlushes[number] = now
      status.flushDurations.add(Double(nanoseconds) / 1e9)
      status.flushedOffsets += flush.ledger.total
      if status.rowIncrements.isEmpty { status.rowIncrements = Array(repeating: 0, count: aggregates) }
      for (a, rows) in flush.rows.enumerated() { status.rowIncrements[a] += Int64(rows) }
    }
    report(flush)
  }

  func answered() { shared.update { $0.storeTroubles[number] = nil } }

  func failed(_ reason: String) {
    let now = Clock.wallMilliseconds()
    shared.update { $0.storeTroubles[number] = RunStatus.Trouble(since: $0.storeTroubles[number]?.since ?? now, reason: reason) }
  }
}
