import Aggregation
import Engine
import Journal
import Kafka

typealias WorkerInbox = Mailbox<WorkerMessage<ConsumerEvent>>

/// A thread that owns partitions: it folds their events, writes their journal, and hands everything else on. It shares
/// nothing with the other workers of its instance.
struct WorkerLoop {
  let number: Int
  let instance: Instance
  let inbox: WorkerInbox
  let store: Mailbox<StoreRequest>
  let poller: Mailbox<ConsumerCommand>
  let shared: SharedStatus
  let say: @Sendable (Severity, String) -> Void

  private let worker: InstanceWorker
  private var hasRecords = false
  private var lastTick: Milliseconds = 0
  private var lastLook: Milliseconds = 0
  private var lastCount: Milliseconds = 0
  private var shown = WorkerStatus()

  init(
    number: Int, instance: Instance, journal: Journal?, inbox: WorkerInbox, store: Mailbox<StoreRequest>, poller: Mailbox<ConsumerCommand>,
    shared: SharedStatus, endsOnAlert: Bool, say: @escaping @Sendable (Severity, String) -> Void
  ) {
    self.number = number
    self.instance = instance
    worker = InstanceWorker(instance: instance, journal: journal, endsOnAlert: endsOnAlert, stopwatch: { Clock.threadNanoseconds() }) { order in
      switch order {
      case .store(let request): store.post(request)
      case .poller(let command): poller.post(command)
      case .say(let severity, let text): say(severity, text)
      }
    }
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
    look(Clock.milliseconds())
    do { try worker.writer.journal?.close() } catch { say(.warning, "\(error)") }
    shared.noteThread("worker")
  }

  private mutating func tick() {
    let now = Clock.milliseconds()
    guard now - lastTick >= 10 else { return }
    lastTick = now
    worker.tick(now: now)
    publish()
    if now - lastLook >= 500 { look(now) }
  }

  /// Shows how the instance stands; bytes of its state are counted now and then.
  private mutating func look(_ now: Milliseconds) {
    lastLook = now
    let counts = now - lastCount >= 5000
    if counts { lastCount = now }
    shown.load = instance.observe(memory: counts)
    if let journal = worker.writer.journal?.statistics {
      shown.journalWritten = journal.bytes + journal.snapshotBytes
      shown.journalSyncs = journal.syncs
    }
    shown.waiting = inbox.depth
    shown.waitingForStore = store.depth
    publish()
    shared.showLife("worker \(number)")
  }

  /// Ages of the events that a flush has just made visible.
  private func noteAges() {
    let tallies = instance.takeVisible()
    guard !tallies.isEmpty else { return }
    shared.update { status in
      guard let visible = status.lastFlushes[number] else { return }
      for tally in tallies {
        tally.records?.forEach { status.recordAges.add(Double(visible - $0) / 1000, times: $1) }
        tally.events?.forEach { status.eventAges.add(Double(visible - $0) / 1000, times: $1) }
      }
    }
  }

  private mutating func publish() {
    shown.statistics = instance.statistics
    shown.partitions = instance.partitionCount
    shown.journalNanoseconds = worker.journalNanoseconds
    shown.journalBytes = worker.writer.journal?.bytesOnDisk ?? 0
    shared.publish(shown, of: number)
  }

  private mutating func handle(_ message: WorkerMessage<ConsumerEvent>) {
    let now = Clock.milliseconds()
    if case .flushFinished(_, .committed) = message { shared.update { $0.lastCommit = Clock.nanoseconds() } }
    worker.handle(message, now: now) { handle($0, now) }
    if case .flushFinished = message { noteAges() }
  }

  private mutating func handle(_ event: ConsumerEvent, _ now: Milliseconds) {
    switch event {
    case .records(let set):
      if !hasRecords {
        hasRecords = true
        let now = Clock.nanoseconds()
        shared.update { if $0.firstRecords == 0 { $0.firstRecords = now } }
      }
      let records = Records(
        count: set.count, payloads: set.payloads, payloadLengths: set.payloadLengths, keys: set.keys, keyLengths: set.keyLengths,
        offsets: set.offsets, timestamps: set.timestamps)
      withExtendedLifetime(set) { worker.handle(.records(PartitionID(set.at), records), now: now) }
    case .endOfPartition(let at, let offset): worker.handle(.endOfPartition(PartitionID(at), Offset(offset)), now: now)
    case .assigned(let partitions): worker.handle(.assigned(partitions.map(PartitionID.init)), now: now)
    case .revoked(let partitions): worker.handle(.revoked(partitions.map(PartitionID.init)), now: now)
    case .lost(let partitions): worker.handle(.lost(partitions.map(PartitionID.init)), now: now)
    case .offsetOutOfRange(let at, let reason): worker.handle(.offsetOutOfRange(PartitionID(at), reason), now: now)
    case .topicMissing, .error, .fatal: preconditionFailure("what concerns no partition stays with the polling thread")
    }
  }
}

extension PartitionID {
  init(_ at: TopicPartition) { self.init(topic: at.topic, partition: at.partition) }
}

extension TopicPartition {
  init(_ id: PartitionID) { self.init(topic: id.topic, partition: id.partition) }
}
