import Aggregation
import Engine
import Kafka
import Warehouse

/// The thread that lands: it decodes what came, gathers it, and does what `LandingInstance` decides. It alone waits for
/// PostgreSQL.
struct LandingLoop {
  private let settings: LandingSettings
  private let store: LandingStore
  private let metadata: ClusterMetadata
  private let inbox: Mailbox<LandingMessage>
  private let poller: Mailbox<ConsumerCommand>
  /// End offsets to reach before the run ends by itself; nil: it goes on.
  private let goal: CatchUpGoal?
  private let say: @Sendable (Severity, String) -> Void
  private let publish: @Sendable (LandingStatus) -> Void

  private var landing: LandingInstance
  private let reader: LandingReader
  private var batch = LandingBatch()
  /// Records that came before a batch was full whose end is not known yet, and how many of them are in it.
  private var rest: (set: RecordSet, at: Int)?
  private var status = LandingStatus()
  /// Records decoded at a time.
  private static let decoded = 4096

  init(
    _ settings: LandingSettings, store: LandingStore, metadata: ClusterMetadata, inbox: Mailbox<LandingMessage>, poller: Mailbox<ConsumerCommand>,
    goal: CatchUpGoal?, say: @escaping @Sendable (Severity, String) -> Void, publish: @escaping @Sendable (LandingStatus) -> Void
  ) {
    self.settings = settings
    self.store = store
    self.metadata = metadata
    self.inbox = inbox
    self.poller = poller
    self.goal = goal
    self.say = say
    self.publish = publish
    var limits = LandingLimits()
    limits.interval = settings.interval
    limits.batchRows = settings.batchRows
    limits.batchBytes = settings.batchBytes
    limits.drainTime = settings.drainTime.landing
    limits.retentionEvery = settings.keepDays == nil ? nil : 3_600_000
    limits.hasGoal = goal != nil
    landing = LandingInstance(limits)
    reader = LandingReader(settings.plan, capacity: Self.decoded)
  }

  /// Runs until the mailbox is closed. While a batch waits for PostgreSQL, records wait in the mailbox (the polling thread
  /// sees that they do), and what the group or an operator wants overtakes them.
  mutating func run() {
    while true {
      let takesRecords = landing.takesRecords || landing.isOver
      if takesRecords, let (set, at) = rest {
        rest = nil
        consume(set, from: at)
        handle(.tick(isIdle: false))
        continue
      }
      switch inbox.take(waiting: 0.05, where: { takesRecords || !$0.isInOrderOfRecords }) {
      case .message(let message):
        take(message)
        handle(.tick(isIdle: false))
      case .nothing: handle(.tick(isIdle: true))
      case .closed: return
      }
    }
  }

  private mutating func take(_ message: LandingMessage) {
    switch message {
    case .drain: handle(.drain)
    case .started(let id, let number): handle(.started(id, number: number))
    case .startFailed(let id, let number, let reason): handle(.startFailed(id, number: number, reason))
    case .consumer(.records(let set)): consume(set, from: 0)
    case .consumer(.endOfPartition(let at, let end)): reachedEnd(PartitionID(at), Offset(end))
    case .consumer(.assigned(let partitions)): handle(.assigned(partitions.map(PartitionID.init)))
    case .consumer(.revoked(let partitions)): handle(.revoked(partitions.map(PartitionID.init)))
    case .consumer(.lost(let partitions)): handle(.lost(partitions.map(PartitionID.init)))
    case .consumer(.offsetOutOfRange(let at, let reason)):
      guard landing.reading(PartitionID(at)) != nil else { break }
      let first = try? metadata.watermarks(at).low
      handle(.offsetOutOfRange(PartitionID(at), reason, first: first.map(Offset.init)))
    case .consumer(.topicMissing), .consumer(.error), .consumer(.fatal): preconditionFailure("what concerns no partition stays with the polling thread")
    }
  }

  // MARK: Records

  private mutating func consume(_ set: RecordSet, from start: Int) {
    let id = PartitionID(set.at)
    var at = start
    while at < set.count, let (epoch, next, _) = landing.reading(id) {
      noteBeginning()
      let count = min(Self.decoded, set.count - at)
      let records = Records(
        count: count, payloads: set.payloads + at, payloadLengths: set.payloadLengths + at, keys: set.keys + at, keyLengths: set.keyLengths + at,
        offsets: set.offsets + at, timestamps: set.timestamps + at)
      at += count
      let to = withExtendedLifetime(set) {
        let reading = reader.read(records, from: next)
        if reading.to > reading.from { batch.append(reading, of: id, epoch, reader, records, table: store.table) }
        return reading.to
      }
      if to > next { handle(.read(id, to: to, rows: batch.rowCount, bytes: batch.bytes)) }
    }
    if at < set.count, !landing.takesRecords, !landing.isOver { rest = (set, at) }
  }

  private mutating func reachedEnd(_ id: PartitionID, _ end: Offset) {
    guard let (epoch, next, known) = landing.reading(id), known != end else { return }
    noteBeginning()
    batch.reachEnd(end, of: id, epoch, at: next)
    handle(.reachedEnd(id, end))
  }

  private mutating func noteBeginning() { if status.firstRecords == 0 { status.firstRecords = Clock.nanoseconds() } }

  // MARK: Effects

  private mutating func handle(_ event: LandingEvent) {
    var events = [event]
    while !events.isEmpty {
      for effect in landing.handle(events.removeFirst(), now: Clock.milliseconds()) {
        if let answer = perform(effect) { events.append(answer) }
      }
    }
    if status.partitions != landing.partitionCount {
      status.partitions = landing.partitionCount
      publish(status)
    }
  }

  /// Does it; what it is answered with.
  private mutating func perform(_ effect: LandingEffect) -> LandingEvent? {
    switch effect {
    case .heard(let ids): poller.post(.heard(ids))
    case .start(let id, let offset, let number): poller.post(.start(id, offset, number: number))
    case .pause(let ids): poller.post(.pause(ids))
    case .release(let id): poller.post(.release(id))
    case .fail(let reason): poller.post(.failed(.refused(reason)))
    case .drained: poller.post(.drained)
    case .say(let severity, let text): say(severity, text)
    case .acquire(let ids): return acquire(ids)
    case .land: return .ended(store.land(batch))
    case .resolve: return .ended(store.resolve(batch))
    case .acknowledge: acknowledge()
    case .discard: batch = LandingBatch()
    case .giveBack(let epochs): attempt { () throws(WarehouseError) in try store.release(epochs) }
    case .alert(let id, let kind, let text): attempt { () throws(WarehouseError) in try store.alert(id, kind: kind, text) }
    case .lookForGoal: return (try? store.progress()).flatMap { goal?.isReached($0) } == true ? .caughtUp : nil
    case .dropOldTables: dropOldTables()
    }
    return nil
  }

  private func acquire(_ ids: [PartitionID]) -> LandingEvent {
    do { return .acquired(try store.acquire(ids) { id in Offset(try metadata.watermarks(TopicPartition(id)).low) }) } catch let error as WarehouseError
      where error.code == .refused
    { return .acquireRefused(error.message) } catch { return .acquireFailed(ids, "\(error)") }
  }

  private mutating func acknowledge() {
    status.landed += batch.parts.reduce(0) { $0 + $1.landed }
    status.refused += batch.parts.reduce(0) { $0 + Int64($1.refused.count) }
    status.holes += batch.parts.reduce(0) { $0 + $1.holeCount }
    status.transactions += 1
    status.lastCommit = Clock.nanoseconds()
    publish(status)
    poller.post(.acknowledge(Dictionary(uniqueKeysWithValues: batch.parts.map { ($0.partition, $0.to) })))
  }

  /// Work that only tidies: a failure is said, and the next occasion tries again.
  private func attempt(_ body: () throws(WarehouseError) -> Void) {
    do { try body() } catch { say(.warning, "\(error)") }
  }

  private func dropOldTables() {
    guard let days = settings.keepDays else { return }
    attempt { () throws(WarehouseError) in
      let (dropped, kept) = try store.dropTables(olderThan: days)
      if !dropped.isEmpty { say(.info, "dropped what is older than \(days) days: \(dropped.joined(separator: ", "))") }
      if let kept { say(.warning, "\(kept); trying again in an hour") }
    }
  }
}
