import Aggregation
import Engine
import Journal
import Kafka

/// What the worker's thread is told.
enum WorkerMessage {
  case consumer(ConsumerEvent)
  case acquired([AcquiredPartition])
  case acquireFailed([PartitionID], String)
  case acquireRefused(PartitionID, String)
  case flushFinished(UInt64, FlushOutcome)
  case drain
}

/// What the polling thread is to tell librdkafka.
enum ConsumerCommand {
  /// What follows knows of the assignment.
  case heard
  case start(PartitionID, Offset)
  case leaveOut(PartitionID)
  case release(PartitionID)
  case pause([PartitionID])
  case resume([PartitionID])
  case acknowledge([PartitionID: Offset])
  case drained
  case failed(RunError)
}

/// The thread that owns the partitions: it folds their events, writes the journal, and hands everything else on.
struct WorkerLoop {
  let instance: Instance
  let inbox: Mailbox<WorkerMessage>
  let store: Mailbox<StoreRequest>
  let poller: Mailbox<ConsumerCommand>
  let shared: SharedStatus
  let say: @Sendable (Severity, String) -> Void
  /// A run that is to end when all is consumed ends when a partition is stopped.
  let endsOnAlert: Bool

  private var writer: JournalWriter
  private var hasRecords = false
  private var lastTick: Milliseconds = 0

  init(
    instance: Instance, journal: Journal?, inbox: Mailbox<WorkerMessage>, store: Mailbox<StoreRequest>, poller: Mailbox<ConsumerCommand>,
    shared: SharedStatus, endsOnAlert: Bool, say: @escaping @Sendable (Severity, String) -> Void
  ) {
    self.instance = instance
    self.endsOnAlert = endsOnAlert
    writer = JournalWriter(journal)
    self.inbox = inbox
    self.store = store
    self.poller = poller
    self.shared = shared
    self.say = say
  }

  /// Runs until the mailbox is closed.
  mutating func run() {
    while let messages = inbox.takeAll(waiting: 0.01) {
      for message in messages {
        handle(message)
        tick()
      }
      tick()
    }
    publish()
    do { try writer.journal?.close() } catch { say(.warning, "\(error)") }
    shared.noteThread("worker")
  }

  private mutating func tick() {
    let now = Clock.milliseconds()
    guard now - lastTick >= 10 else { return }
    lastTick = now
    perform(instance.handle(.tick, now: now))
    tendJournal(now)
    publish()
  }

  private func publish() {
    let statistics = instance.statistics
    let partitions = instance.partitionCount
    shared.update {
      $0.statistics = statistics
      $0.partitions = partitions
    }
  }

  private mutating func handle(_ message: WorkerMessage) {
    let now = Clock.milliseconds()
    switch message {
    case .consumer(let event): handle(event, now)
    case .acquired(let partitions):
      for partition in partitions { perform(instance.handle(.acquired(partition, local: recovered(partition.partition)), now: now)) }
    case .acquireFailed(let partitions, let reason): perform(instance.handle(.acquireFailed(partitions, reason), now: now))
    case .acquireRefused(let partition, let reason): perform(instance.handle(.acquireRefused(partition, reason), now: now))
    case .flushFinished(let id, let outcome):
      if outcome == .committed { shared.update { $0.lastCommit = Clock.nanoseconds() } }
      perform(instance.handle(.flushFinished(id, outcome), now: now))
    case .drain: perform(instance.handle(.drain, now: now))
    }
  }

  private mutating func handle(_ event: ConsumerEvent, _ now: Milliseconds) {
    switch event {
    case .records(let set):
      if !hasRecords {
        hasRecords = true
        shared.update { $0.firstRecords = Clock.nanoseconds() }
      }
      let records = Records(
        count: set.count, payloads: set.payloads, payloadLengths: set.payloadLengths, keys: set.keys, keyLengths: set.keyLengths,
        offsets: set.offsets, timestamps: set.timestamps)
      perform(withExtendedLifetime(set) { instance.handle(.records(PartitionID(set.at), records), now: now) })
    case .endOfPartition(let at, let offset): perform(instance.handle(.endOfPartition(PartitionID(at), Offset(offset)), now: now))
    case .assigned(let partitions):
      poller.post(.heard)
      perform(instance.handle(.assigned(partitions.map(PartitionID.init)), now: now))
    case .revoked(let partitions): perform(instance.handle(.revoked(partitions.map(PartitionID.init)), now: now))
    case .lost(let partitions): perform(instance.handle(.lost(partitions.map(PartitionID.init)), now: now))
    case .offsetOutOfRange(let at, let reason): perform(instance.handle(.offsetOutOfRange(PartitionID(at), reason), now: now))
    case .topicMissing(let topic): say(.warning, "topic \(topic) does not exist yet: waiting for it")
    case .error(let text): say(.warning, "Kafka: \(text)")
    case .fatal(let text): poller.post(.failed(RunError(.refused, "Kafka: \(text)")))
    }
  }

  private func recovered(_ id: PartitionID) -> LocalState? {
    let (state, warning) = writer.recover(id)
    if let warning { say(.warning, warning) }
    return state
  }

  /// Performs effects in order. The journal is given what it is to hold before anything else learns of it: a flush takes
  /// only what the journal has been given.
  private mutating func perform(_ effects: [Effect]) {
    var trouble: JournalWriter.Trouble?
    for effect in effects {
      if case .journal(let entry) = effect {
        writer.note(entry)
        continue
      }
      trouble = writeJournal() ?? trouble
      switch effect {
      case .acquire(let partitions): store.post(.acquire(partitions))
      case .start(let id, let offset), .seek(let id, let offset): poller.post(.start(id, offset))
      case .leaveOut(let id): poller.post(.leaveOut(id))
      case .release(let id, let epoch):
        if let epoch { store.post(.release(id, epoch)) }
        poller.post(.release(id))
      case .journal: break
      case .flush(let request): store.post(.flush(request))
      case .resolve(let request): store.post(.resolve(request))
      case .pause(let ids): poller.post(.pause(ids))
      case .resume(let ids): poller.post(.resume(ids))
      case .acknowledge(let offsets): poller.post(.acknowledge(offsets))
      case .compact(let id, let epoch): store.post(.compact(id, epoch))
      case .say(let severity, let text): say(severity, text)
      case .alert(let id, let kind, let stops, let text):
        say(stops ? .error : .warning, text)
        store.post(.alert(id, kind: kind, text))
        // The goal cannot be reached any more.
        if endsOnAlert, stops { poller.post(.failed(RunError(.refused, text))) }
      case .fail(let reason): poller.post(.failed(RunError(.refused, reason)))
      case .drained: poller.post(.drained)
      }
    }
    trouble = writeJournal() ?? trouble
    // What these effects start or resume comes before the pause that the trouble asks for.
    if let trouble { blocked(by: trouble) }
  }

  // MARK: Journal

  /// Writes what the effects so far gave.
  private mutating func writeJournal() -> JournalWriter.Trouble? {
    guard writer.canWrite else { return nil }
    let begin = Clock.threadNanoseconds()
    defer { shared.update { $0.journalNanoseconds += Clock.threadNanoseconds() - begin } }
    return writer.write(now: Clock.milliseconds())
  }

  /// A full disk is waited for: partitions pause, so that few entries wait. A failing disk ends the run.
  private mutating func blocked(by trouble: JournalWriter.Trouble) {
    switch trouble {
    case .full(let reason): perform(instance.handle(.journalBlocked(reason), now: Clock.milliseconds()))
    case .failed(let reason): poller.post(.failed(RunError(.again, reason)))
    }
  }

  private mutating func tendJournal(_ now: Milliseconds) {
    guard let journal = writer.journal else { return }
    let begin = Clock.threadNanoseconds()
    let (isReady, trouble) = writer.tend(now: now)
    if isReady { perform(instance.handle(.journalReady, now: now)) }
    if let trouble { blocked(by: trouble) }
    for line in journal.takeWarnings() { say(.warning, "journal: \(line)") }
    shared.update {
      $0.journalNanoseconds += Clock.threadNanoseconds() - begin
      $0.journalBytes = journal.bytesOnDisk
    }
  }
}

extension PartitionID {
  init(_ at: TopicPartition) { self.init(topic: at.topic, partition: at.partition) }
}

extension TopicPartition {
  init(_ id: PartitionID) { self.init(topic: id.topic, partition: id.partition) }
}
