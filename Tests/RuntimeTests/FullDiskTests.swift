import Aggregation
import Engine
import Journal
import Kafka
import Testing

@testable import Runtime

/// A disk on which nothing fits.
private struct FullStorage: Storage {
  final class Lock: StorageLock { func release() {} }
  private var full: StorageError {
    StorageError(call: "open", path: "journal", code: 28, reason: "no space left on device", isFull: true)
  }
  func createDirectory(_ path: String) throws(StorageError) {}
  func list(_ directory: String) throws(StorageError) -> [String] { [] }
  func lock(_ path: String) throws(StorageError) -> LockOutcome { .taken(Lock()) }
  func open(_ path: String) throws(StorageError) -> any StorageFile { throw full }
  func create(_ path: String) throws(StorageError) -> any StorageFile { throw full }
  func rename(_ path: String, to: String) throws(StorageError) {}
  func remove(_ path: String) throws(StorageError) {}
  func syncDirectory(_ path: String) throws(StorageError) {}
}

@Suite struct FullDiskTests {
  static let plan = Plan(
    topology: "test", fingerprint: "f", topics: ["t"], idPath: nil, timePath: ["at"], timeFormat: .epochSeconds, fields: [], partitionKey: nil,
    aggregates: [
      AggregatePlan(
        name: "a", window: .tumbling(length: 60_000_000), by: [], filter: [], measures: [MeasurePlan(name: "n", kind: .count)], groupLimit: 10)
    ], allowedLateness: 3_600_000_000, deduplicateWithin: nil, maxFutureSkew: 300_000_000)

  /// The first record that does not fit is that of a takeover: what the takeover asks for must not undo the pause, or what
  /// waits for the disk grows without bound.
  @Test func aPartitionTakenOverWhileTheDiskIsFullIsPausedAfterItsStart() throws {
    let journal = try Journal(
      directory: "journal", identity: JournalIdentity(fingerprint: "f", seed: 1), options: JournalOptions(), storage: FullStorage())
    let inbox = WorkerInbox(), store = Mailbox<StoreRequest>(), poller = Mailbox<ConsumerCommand>()
    var worker = WorkerLoop(
      number: 0, instance: Instance(plan: Self.plan, seed: 1, limits: InstanceLimits(), dice: 1), journal: journal, inbox: inbox, store: store,
      poller: poller, shared: SharedStatus(workers: 1), endsOnAlert: false, say: { _, _ in })
    let id = PartitionID(topic: "t", partition: 0)
    inbox.post(.consumer(.assigned([TopicPartition(topic: "t", partition: 0)])))
    inbox.post(
      .acquired([
        AcquiredPartition(
          partition: id, epoch: Epoch(1), previousEpoch: Epoch(0), nextOffset: Offset(0), watermark: nil, chunks: [], horizon: nil)
      ]))
    inbox.close()
    worker.run()
    let commands = (poller.takeAll(waiting: 0) ?? []).map { command -> String in
      switch command {
      case .heard: "heard"
      case .start: "start"
      case .pause: "pause"
      case .resume: "resume"
      default: "other"
      }
    }
    #expect(commands == ["heard", "start", "pause"])
  }
}
