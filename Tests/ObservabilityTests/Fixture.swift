import Aggregation
import Engine
import Observability
import Runtime
import Synchronization
import Warehouse

/// An instance that is what a test says.
final class FakeInstance: Sendable {
  let status = Mutex(RunStatus(workers: 1))
  let books = Mutex(BooksWatch.State())
  let now = Mutex<Int64>(1_700_000_000_000)

  var observed: ObservedInstance {
    ObservedInstance(
      version: "1.2.3", name: "host \"a\"",
      topologies: [
        .init(
          name: "events", topics: ["t"], aggregates: [.init(name: "daily", table: "daily", window: "1 day"), .init(name: "minute", table: "minute", window: "1 minute")],
          allowedLateness: 3_600_000_000, flushInterval: 1000, freshnessTarget: 60, status: { self.status.withLock { $0 } })
      ],
      books: { self.books.withLock { $0 } }, clock: { self.now.withLock { $0 } }, monotonic: { self.now.withLock { $0 } })
  }

  /// Runs well: two partitions, one of them 1000 offsets and 7 s behind; PostgreSQL answers.
  static func running() -> FakeInstance {
    let fake = FakeInstance()
    let now = fake.now.withLock { $0 }
    fake.status.withLock { status in
      status.phase = .running
      status.signsOfLife = ["poll": now - 20, "worker": now - 500]
      status.workers[0].statistics.ledger.applied = 90
      status.workers[0].statistics.ledger.late = 10
      status.workers[0].statistics.events = 100
      status.workers[0].load.partitions = (0..<2).map { number in
        var part = PartitionLoad(id: PartitionID(topic: "t", partition: Int32(number)))
        part.phase = .running
        part.epoch = Epoch(3)
        part.next = Offset(5000)
        part.flushed = Offset(5000)
        part.flushedRecordTime = now - 7000
        part.watermark = EventTime(microseconds: (now - 8000) * 1000)
        part.loads = [AggregateLoad(groups: 3, overflowed: 0), AggregateLoad(groups: 4, overflowed: 1)]
        return part
      }
      status.ends = [PartitionID(topic: "t", partition: 0): 5000, PartitionID(topic: "t", partition: 1): 6000]
    }
    fake.books.withLock {
      $0.answeredAt = now - 100
      $0.snapshot = BooksSnapshot(at: now - 100)
    }
    return fake
  }
}
