import Aggregation
import Engine
import Foundation
import Journal
import Kafka
import Synchronization
import Warehouse

/// Runs one instance of one topology: the thread that calls `run` polls Kafka and waits for nothing else; each worker has a
/// thread that folds and journals its own partitions, and one that talks to PostgreSQL for it.
///
///     Kafka ──► poll ──records──► worker 1 … n ──flush──► store 1 … n ──► PostgreSQL
///                ▲                   │   ▲                     │
///                └── assign, pause ──┘   └───── outcomes ──────┘
public final class InstanceRunner: Sendable {
  private let settings: RunSettings
  private let say: @Sendable (Severity, String) -> Void
  private let shared: SharedStatus
  private let shouldDrain = Atomic<Bool>(false)
  private let report: @Sendable (FlushReport) -> Void

  /// - Parameters:
  ///   - report: takes a report of every flush, from the thread that has just flushed: it must not wait.
  ///   - say: takes messages from any thread.
  public init(
    _ settings: RunSettings, report: @escaping @Sendable (FlushReport) -> Void = { _ in }, say: @escaping @Sendable (Severity, String) -> Void
  ) {
    self.settings = settings
    self.report = report
    self.say = say
    shared = SharedStatus(workers: settings.workers)
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
    let warehouses = (0..<settings.workers).map { _ in
      Warehouse(target: settings.postgres, instance: settings.instance, plan: settings.plan)
    }
    guard let seed = try open(warehouses[0]) else { return }
    let journals = try openJournals(seed)
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
    shared.update { $0.phase = .joining }
    defer { shared.update { $0.phase = .ended } }

    let workers = Workers((0..<settings.workers).map { _ in WorkerInbox() })
    let toPoller = Mailbox<ConsumerCommand>()
    let threads = (0..<settings.workers).map { number in
      start(number, warehouses[number], journals[number], seed, consumer.metadata, workers, toPoller, goal: number == 0 ? goal : nil)
    }
    let ends = settings.isObserved ? EndWatch(metadata: consumer.metadata, shared: shared) : nil
    var poll = PollLoop(consumer: consumer, workers: workers, commands: toPoller, mostWaiting: Self.mostWaiting, drainTime: settings.drainTime, shared: shared, say: say)
    poll.isObserved = settings.isObserved
    let failure = poll.run { shouldDrain.load(ordering: .relaxed) }
    // Orders given before the end are carried out: releases, the journals' last syncs.
    let began = poll.drainBegan ?? Clock.milliseconds()
    for thread in threads { thread.end() }
    awaitStores(threads, by: began + settings.drainTime.stores)
    ends?.stop()
    leave(Unshared(consumer), by: began + settings.drainTime.leave, say)
    if let failure { throw failure }
  }

  /// A worker's thread and its store's.
  private struct WorkerThreads {
    let inbox: WorkerInbox
    let requests: Mailbox<StoreRequest>
    let worker: Worker
    let store: Worker

    /// Ends the worker; the store still has its last requests.
    func end() {
      inbox.close()
      worker.join()
      requests.close()
    }
  }

  /// A store whose PostgreSQL does not answer is left behind, to end with the process: whatever it was doing is either in
  /// PostgreSQL or not, and the next owner reads which.
  private func awaitStores(_ threads: [WorkerThreads], by end: Milliseconds) {
    let isLate = threads.count { !$0.store.join(by: end) } > 0
    if isLate { say(.warning, "PostgreSQL does not answer: ended without telling it which partitions were given back") }
  }

  /// Starts a worker. Its loops are made here and belong to their threads from then on.
  private func start(
    _ number: Int, _ warehouse: Warehouse, _ journal: Journal?, _ seed: UInt64, _ metadata: ClusterMetadata, _ workers: Workers,
    _ toPoller: Mailbox<ConsumerCommand>, goal: CatchUpGoal?
  ) -> WorkerThreads {
    let inbox = workers[number], requests = Mailbox<StoreRequest>()
    let store = Unshared(
      StoreLoop(
        warehouse: warehouse, metadata: metadata, requests: requests, worker: inbox, shared: shared, say: say,
        observer: StoreObserver(
          number: number, topology: settings.plan.topology, instance: settings.instance, aggregates: settings.plan.aggregates.count, shared: shared,
          report: report),
        goal: goal, workers: workers))
    var limits = settings.limits.share(of: settings.workers)
    limits.endTime = settings.drainTime.flush
    let instance = Instance(
      plan: settings.plan, seed: seed, limits: limits, dice: UInt64.random(in: .min ... .max),
      stopwatch: { Clock.threadNanoseconds() })
    instance.notesTimes = settings.isObserved
    instance.keepsJournal = settings.journal.isOn
    let worker = Unshared(
      WorkerLoop(
        number: number, instance: instance, journal: journal, inbox: inbox, store: requests, poller: toPoller, shared: shared,
        endsOnAlert: settings.untilCaughtUp, say: say))
    return WorkerThreads(
      inbox: inbox, requests: requests, worker: Worker(name: "worker") { worker.value.run() }, store: Worker(name: "store") { store.value.run() })
  }

  /// Waits for PostgreSQL with patience. nil: told to drain meanwhile.
  private func open(_ warehouse: Warehouse) throws(RunError) -> UInt64? {
    let end = Clock.milliseconds() + settings.patience
    var isFirst = true
    while true {
      do {
        let seed = try warehouse.open()
        shared.update { $0.storeTroubles[0] = nil }
        return seed
      } catch {
        guard error.code != .refused else { throw RunError(.refused, error.message) }
        guard Clock.milliseconds() < end else { throw RunError(.unreachable, error.message) }
        shared.update { $0.storeTroubles[0] = RunStatus.Trouble(since: $0.storeTroubles[0]?.since ?? Clock.wallMilliseconds(), reason: error.message) }
        if isFirst { say(.warning, "\(error.message); trying for \(settings.patience / 1000) s") }
        isFirst = false
      }
      if shouldDrain.load(ordering: .relaxed) { return nil }
      Thread.sleep(forTimeInterval: 0.2)
    }
  }

  /// A journal for each worker. Those of another number of workers hold other partitions together: they are thrown away.
  private func openJournals(_ seed: UInt64) throws(RunError) -> [Journal?] {
    guard settings.journal.isOn else { return Array(repeating: nil, count: settings.workers) }
    let base = "\(settings.dataDirectory)/\(settings.plan.topology)"
    let names = (1...settings.workers).map { "\($0)-of-\(settings.workers)" }
    var journals: [Journal?] = []
    // Opened first: two processes with different numbers of workers find each other's locks.
    for name in names { journals.append(try openJournal("\(base)/\(name)", seed)) }
    do throws(JournalError) {
      let found = (try? PosixStorage().list(base)) ?? []
      for other in found.sorted() where !names.contains(other) && other.wholeMatch(of: /[0-9]+-of-[0-9]+/) != nil {
        guard try Journal.isHeld("\(base)/\(other)") else { continue }
        say(.warning, "the journal in \(base)/\(other) is that of another number of workers: it is thrown away")
        try Journal.remove("\(base)/\(other)")
      }
    } catch {
      throw RunError(.refused, "\(error)\(error.kind == .locked ? ": use another --data-dir" : "")")
    }
    return journals
  }

  private func openJournal(_ directory: String, _ seed: UInt64) throws(RunError) -> Journal {
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

/// Leaves the group. librdkafka gives its last request 5 s, and waits for the answers to others, too: where Kafka does not
/// answer, the group finds out by itself that this member is gone.
func leave(_ consumer: Unshared<Consumer>, by end: Milliseconds, _ say: (Severity, String) -> Void) {
  let leaving = Worker(name: "leave") { consumer.value.close() }
  if !leaving.join(by: end) { say(.warning, "Kafka does not answer: ended without leaving the group") }
}

/// Hands a value over to the one thread that will use it.
// Safety: the giver keeps no reference and does not touch `value` after the thread has begun.
final class Unshared<Value>: @unchecked Sendable {
  var value: Value
  init(_ value: Value) { self.value = value }
}
