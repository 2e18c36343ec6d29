import Aggregation
import Journal

/// The thread that owns an instance and its journal: takes events, performs effects in their order, and tells the other
/// threads what is theirs to do. Runtime and simulator drive the same one.
///
/// The journal is given what it is to hold before anybody else learns of it: a flush takes only what the journal has
/// been given. One thread uses it.
public final class InstanceWorker {
  /// What the worker has others do, posted in order.
  public enum Order: Sendable {
    case store(StoreRequest)
    case poller(ConsumerCommand)
    case say(Severity, String)
  }

  public let instance: Instance
  public private(set) var writer: JournalWriter
  /// Nanoseconds spent with the journal; 0 without a stopwatch.
  public private(set) var journalNanoseconds: UInt64 = 0
  private let endsOnAlert: Bool
  private let stopwatch: (() -> UInt64)?
  private let post: (Order) -> Void

  /// - Parameters:
  ///   - endsOnAlert: a run that is to end when all is consumed ends when a partition is stopped.
  ///   - stopwatch: nanoseconds of CPU of the thread; nil: the journal's time is not taken.
  ///   - post: takes orders, at once and in order.
  public init(
    instance: Instance, journal: Journal?, endsOnAlert: Bool, stopwatch: (() -> UInt64)? = nil, post: @escaping (Order) -> Void
  ) {
    self.instance = instance
    self.endsOnAlert = endsOnAlert
    self.stopwatch = stopwatch
    self.post = post
    writer = JournalWriter(journal)
  }

  public func handle(_ event: InstanceEvent, now: Milliseconds) {
    if case .assigned(let partitions) = event { post(.poller(.heard(partitions))) }
    perform(instance.handle(event, now: now), now)
  }

  /// Takes a message; `consume` takes what a poll has found.
  public func handle<Event>(_ message: WorkerMessage<Event>, now: Milliseconds, consume: (Event) -> Void) {
    switch message {
    case .consumer(let event): consume(event)
    case .acquired(let partitions): acquired(partitions, now: now)
    case .acquireFailed(let partitions, let reason): handle(.acquireFailed(partitions, reason), now: now)
    case .acquireRefused(let partition, let reason): handle(.acquireRefused(partition, reason), now: now)
    case .started(let partition, let number): handle(.started(partition, number: number), now: now)
    case .startFailed(let partition, let number, let reason): handle(.startFailed(partition, number: number, reason), now: now)
    case .flushFinished(let id, let outcome): handle(.flushFinished(id, outcome), now: now)
    case .drain: handle(.drain, now: now)
    }
  }

  /// Partitions that the store has handed over; the journal is asked what it holds of each.
  public func acquired(_ partitions: [AcquiredPartition], now: Milliseconds) {
    for partition in partitions { handle(.acquired(partition, local: recovered(partition.partition)), now: now) }
  }

  /// To be called every few milliseconds.
  public func tick(now: Milliseconds) {
    perform(instance.handle(.tick, now: now), now)
    tendJournal(now)
  }

  private func recovered(_ id: PartitionID) -> LocalState? {
    let (state, warning) = writer.recover(id)
    if let warning { post(.say(.warning, warning)) }
    return state
  }

  private func perform(_ effects: [Effect], _ now: Milliseconds) {
    var trouble: JournalWriter.Trouble?
    for effect in effects {
      if case .journal(let entry) = effect {
        writer.note(entry)
        continue
      }
      if case .flush = effect, instance.mutation.contains(.flushedBeforeJournal) {} else { trouble = writeJournal(now) ?? trouble }
      perform(effect)
    }
    trouble = writeJournal(now) ?? trouble
    // What these effects start or resume comes before the pause that the trouble asks for.
    if let trouble { blocked(by: trouble, now) }
  }

  private func perform(_ effect: Effect) {
    switch effect {
    case .acquire(let partitions): post(.store(.acquire(partitions)))
    case .start(let id, let offset, let number): post(.poller(.start(id, offset, number: number)))
    case .release(let id, let epoch):
      if let epoch { post(.store(.release(id, epoch))) }
      post(.poller(.release(id)))
    case .journal: break
    case .flush(let request): post(.store(.flush(request)))
    case .resolve(let request): post(.store(.resolve(request)))
    case .pause(let ids): post(.poller(.pause(ids)))
    case .resume(let ids): post(.poller(.resume(ids)))
    case .acknowledge(let offsets): post(.poller(.acknowledge(offsets)))
    case .compact(let id, let epoch): post(.store(.compact(id, epoch)))
    case .say(let severity, let text): post(.say(severity, text))
    case .alert(let id, let epoch, let kind, let stops, let text):
      post(.say(stops ? .error : .warning, text))
      post(.store(.alert(id, epoch, kind: kind, text)))
      // The goal cannot be reached any more.
      if endsOnAlert, stops { post(.poller(.failed(.refused(text)))) }
    case .fail(let reason): post(.poller(.failed(.refused(reason))))
    case .drained: post(.poller(.drained))
    }
  }

  // MARK: Journal

  /// Writes what the effects so far gave.
  private func writeJournal(_ now: Milliseconds) -> JournalWriter.Trouble? {
    guard writer.canWrite else { return nil }
    let begin = stopwatch?() ?? 0
    defer { journalNanoseconds += (stopwatch?() ?? 0) - begin }
    return writer.write(now: now)
  }

  /// A full disk is waited for: partitions pause, so that few entries wait. A failing disk ends the run.
  private func blocked(by trouble: JournalWriter.Trouble, _ now: Milliseconds) {
    switch trouble {
    case .full(let reason): perform(instance.handle(.journalBlocked(reason), now: now), now)
    case .failed(let reason): post(.poller(.failed(.again(reason))))
    }
  }

  private func tendJournal(_ now: Milliseconds) {
    guard let journal = writer.journal else { return }
    let begin = stopwatch?() ?? 0
    let (isReady, trouble) = writer.tend(now: now)
    if isReady { perform(instance.handle(.journalReady, now: now), now) }
    if let trouble { blocked(by: trouble, now) }
    for line in journal.takeWarnings() { post(.say(.warning, "journal: \(line)")) }
    journalNanoseconds += (stopwatch?() ?? 0) - begin
  }
}
