import Aggregation
import Engine
import Kafka
import Warehouse

/// The thread that talks to PostgreSQL, one request at a time, in the order of asking. It alone waits for it.
struct StoreLoop {
  let warehouse: Warehouse
  let metadata: ClusterMetadata
  let requests: Mailbox<StoreRequest>
  let worker: WorkerInbox
  let shared: SharedStatus
  let say: @Sendable (Severity, String) -> Void
  let observer: StoreObserver
  /// End offsets to reach before the run ends by itself; nil: it goes on, or another worker's thread looks after it.
  var goal: CatchUpGoal?
  /// Reaching the goal drains them all.
  let workers: Workers

  /// Runs until the mailbox is closed.
  mutating func run() {
    var lastCheck: Milliseconds = 0
    while let batch = requests.takeAll(waiting: 0.1) {
      var settled = batch.isEmpty
      for request in batch { settled = perform(request) || settled }
      let now = Clock.milliseconds()
      if goal != nil, settled || now - lastCheck > 500 {
        lastCheck = now
        checkGoal()
      }
    }
    shared.noteThread("store")
  }

  /// Whether offsets may have moved.
  private func perform(_ request: StoreRequest) -> Bool {
    switch request {
    case .acquire(let partitions): acquire(partitions)
    case .flush(let request):
      let begin = Clock.nanoseconds()
      let outcome = warehouse.flush(request)
      observer.flushed(request, outcome, nanoseconds: Clock.nanoseconds() - begin)
      worker.post(.flushFinished(request.id, outcome))
      return true
    case .resolve(let request):
      let begin = Clock.nanoseconds()
      let outcome = warehouse.resolve(request)
      observer.flushed(request, outcome, nanoseconds: Clock.nanoseconds() - begin)
      worker.post(.flushFinished(request.id, outcome))
      return true
    case .release(let id, let epoch): attempt { () throws(WarehouseError) in try warehouse.release(id, epoch) }
    case .compact(let id, let epoch): attempt { () throws(WarehouseError) in try warehouse.compact(id, epoch) }
    case .alert(let id, let epoch, let kind, let message):
      attempt { () throws(WarehouseError) in try warehouse.alert(id, epoch, kind: kind, message) }
    }
    return false
  }

  /// Work that only tidies: a failure is said, and the next occasion tries again.
  private func attempt(_ body: () throws(WarehouseError) -> Void) {
    do { try body() } catch { say(.warning, "\(error)") }
  }

  private func acquire(_ partitions: [PartitionID]) {
    do {
      func beginning(_ id: PartitionID) throws -> Offset { Offset(try metadata.watermarks(TopicPartition(id)).low) }
      var acquired = try warehouse.acquire(partitions, firstOffset: beginning)
      for i in acquired.indices where acquired[i].horizon != nil { acquired[i].beginning = try? beginning(acquired[i].partition) }
      observer.answered()
      worker.post(.acquired(acquired))
    } catch let error as WarehouseError where error.code == .refused {
      for id in partitions { worker.post(.acquireRefused(id, error.message)) }
    } catch {
      observer.failed("\(error)")
      worker.post(.acquireFailed(partitions, "\(error)"))
    }
  }

  private mutating func checkGoal() {
    guard let offsets = try? warehouse.progress(), goal?.isReached(offsets) == true else { return }
    goal = nil
    workers.drain()
  }
}

/// End offsets that all partitions of a topology had when a run began.
struct CatchUpGoal: Sendable {
  let ends: [PartitionID: Offset]

  /// Partitions that never held a message need no row.
  func isReached(_ offsets: [PartitionID: Offset]) -> Bool {
    ends.allSatisfy { id, end in end.value == 0 || (offsets[id].map { $0 >= end } ?? false) }
  }
}
