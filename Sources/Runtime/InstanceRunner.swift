import Aggregation
import Engine
import Foundation
import Journal
import Kafka
import Synchronization
import Warehouse

/// Runs one instance of one topology: the thread that calls `run` polls Kafka and waits for nothing else; one thread folds
/// and journals, one talks to PostgreSQL.
///
///     Kafka ──► poll ──records──► worker ──flush──► store ──► PostgreSQL
///                ▲                  │  ▲               │
///                └─ assign, pause ──┘  └── outcomes ───┘
public final class InstanceRunner: Sendable {
  private let settings: RunSettings
  private let say: @Sendable (Severity, String) -> Void
  private let shared = SharedStatus()
  private let shouldDrain = Atomic<Bool>(false)

  /// - Parameter say: takes messages from any thread.
  public init(_ settings: RunSettings, say: @escaping @Sendable (Severity, String) -> Void) {
    self.settings = settings
    self.say = say
  }

  /// From any thread.
  public var status: RunStatus { shared.read() }

  /// Ends the run in order: everything is flushed and given back. From any thread, or a signal's.
  public func drain() { shouldDrain.store(true, ordering: .relaxed) }

  /// Messages that one poll returns at most, and sets of them that wait for the worker: they bound memory.
  private static let mostMessages = 10_000
  private static let mostWaiting = 4

  /// Runs until `drain`, or until caught up where that was asked for.
  public func run() throws(RunError) {
    let warehouse = Warehouse(target: settings.postgres, instance: settings.instance, plan: settings.plan)
    guard let seed = try open(warehouse) else { return }
    let journal = try openJournal(seed)
    let consumer: Consumer
    let goal: CatchUpGoal?
    do {
      goal =
        settings.untilCaughtUp
        ? try endOffsets(settings.plan.topics, settings.kafka, shouldEnd: { shouldDrain.load(ordering: .relaxed) }, say) : nil
      consumer = try Consumer(
        settings.kafka, group: settings.group, topics: settings.plan.topics, instanceID: settings.staticMember,
        mostMessages: Self.mostMessages)
    } catch let error as KafkaError {
      throw RunError(error.code == .unreachable ? .unreachable : .refused, error.message)
    } catch let error as RunError {
      throw error
    } catch {
      throw RunError(.refused, "\(error)")
    }
    if settings.untilCaughtUp, goal == nil { return }

    let toWorker = Mailbox<WorkerMessage>(), toStore = Mailbox<StoreRequest>(), toPoller = Mailbox<ConsumerCommand>()
    // Each loop is made here and belongs to its thread from then on.
    let store = Unshared(
      StoreLoop(
        warehouse: warehouse, metadata: consumer.metadata, requests: toStore, worker: toWorker, shared: shared, say: say, goal: goal))
    let instance = Instance(
      plan: settings.plan, seed: seed, limits: settings.limits, dice: UInt64.random(in: .min ... .max), stopwatch: { Clock.nanoseconds() })
    let worker = Unshared(
      WorkerLoop(
        instance: instance, journal: journal, inbox: toWorker, store: toStore, poller: toPoller, shared: shared,
        endsOnAlert: settings.untilCaughtUp, say: say))
    let storeThread = Worker(name: "store") { store.value.run() }
    let workerThread = Worker(name: "worker") { worker.value.run() }
    var poll = PollLoop(consumer: consumer, worker: toWorker, commands: toPoller, mostWaiting: Self.mostWaiting, shared: shared, say: say)
    let failure = poll.run { shouldDrain.load(ordering: .relaxed) }
    // Orders given before the end are carried out: releases, the journal's last sync.
    toWorker.close()
    workerThread.join()
    toStore.close()
    storeThread.join()
    consumer.close()
    if let failure { throw failure }
  }

  /// Waits for PostgreSQL with patience. nil: told to drain meanwhile.
  private func open(_ warehouse: Warehouse) throws(RunError) -> UInt64? {
    let end = Clock.milliseconds() + settings.patience
    var isFirst = true
    while true {
      do { return try warehouse.open() } catch {
        guard error.code != .refused else { throw RunError(.refused, error.message) }
        guard Clock.milliseconds() < end else { throw RunError(.unreachable, error.message) }
        if isFirst { say(.warning, "\(error.message); trying for \(settings.patience / 1000) s") }
        isFirst = false
      }
      if shouldDrain.load(ordering: .relaxed) { return nil }
      Thread.sleep(forTimeInterval: 0.2)
    }
  }

  private func openJournal(_ seed: UInt64) throws(RunError) -> Journal? {
    guard settings.journal.isOn else { return nil }
    let directory = "\(settings.dataDirectory)/\(settings.plan.topology)"
    var options = JournalOptions(segmentBytes: settings.journal.segmentBytes)
    switch settings.journal.sync {
    case .always: options.sync = .always
    case .interval(let milliseconds): options.sync = .interval(milliseconds: milliseconds)
    case .never: options.sync = .never
    }
    let identity = JournalIdentity(fingerprint: settings.plan.fingerprint, seed: seed)
    do throws(JournalError) {
      do throws(JournalError) {
        return announced(try Journal(directory: directory, identity: identity, options: options))
      } catch {
        // Another database or another version of the topology: what it holds means nothing here, and it is only a cache.
        guard error.kind == .foreign else { throw error }
        say(.warning, "\(error); it is thrown away")
        try Journal.remove(directory)
        return announced(try Journal(directory: directory, identity: identity, options: options))
      }
    } catch {
      let way =
        error.kind == .corrupt
        ? ": remove \(directory); PostgreSQL and Kafka hold all that is needed to go on" : error.kind == .locked ? ": use another --data-dir" : ""
      throw RunError(error.kind == .full ? .again : .refused, "\(error)\(way)")
    }
  }

  private func announced(_ journal: Journal) -> Journal {
    for line in journal.openingReport { say(.warning, "journal: \(line)") }
    return journal
  }
}

/// Hands a value over to the one thread that will use it.
// Safety: the giver keeps no reference and does not touch `value` after the thread has begun.
final class Unshared<Value>: @unchecked Sendable {
  var value: Value
  init(_ value: Value) { self.value = value }
}
