import Aggregation
import Engine
import Foundation
import Kafka
import Warehouse

/// The thread that lands: it decodes what came, gathers it, and writes it in one transaction after the other. It alone
/// waits for PostgreSQL.
struct LandingLoop {
  let settings: LandingSettings
  let store: LandingStore
  let metadata: ClusterMetadata
  let inbox: Mailbox<LandingMessage>
  let poller: Mailbox<LandingCommand>
  /// End offsets to reach before the run ends by itself; nil: it goes on.
  var goal: CatchUpGoal?
  let say: @Sendable (Severity, String) -> Void
  let publish: @Sendable (LandingStatus) -> Void

  private struct Task {
    var epoch: Epoch
    var next: Offset
    /// The partition's end in Kafka as last noted.
    var end: Offset?
    /// Stopped (Kafka lacks its next offset) or fenced: what comes of it is ignored.
    var isStopped = false
  }
  private var tasks: [PartitionID: Task] = [:]
  private var assignments = 0
  private let reader: LandingReader
  private var batch = LandingBatch()
  private var batchSince: Milliseconds = 0
  private var status = LandingStatus()
  /// Partitions to be taken over anew, and when.
  private var reacquire: [PartitionID: Milliseconds] = [:]
  private var nextRetention: Milliseconds = 0
  private var isDraining = false
  private var isOver = false
  private static let decoded = 4096
  private static let reacquireAfter: Milliseconds = 10_000
  private static let retentionEvery: Milliseconds = 3_600_000

  init(
    settings: LandingSettings, store: LandingStore, metadata: ClusterMetadata, inbox: Mailbox<LandingMessage>, poller: Mailbox<LandingCommand>,
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
    reader = LandingReader(settings.plan, capacity: Self.decoded)
  }

  /// Runs until the mailbox is closed.
  mutating func run() {
    while let messages = inbox.takeAll(waiting: 0.05) {
      for message in messages where !isOver { handle(message) }
      if isOver { continue }
      if !batch.isEmpty, isDraining || messages.isEmpty || Clock.milliseconds() - batchSince >= settings.interval { land() }
      tick()
    }
  }

  private mutating func handle(_ message: LandingMessage) {
    switch message {
    case .drain: isDraining = true
    case .consumer(.records(let set)): consume(set)
    case .consumer(.endOfPartition(let at, let end)):
      let id = PartitionID(at)
      guard let task = tasks[id], !task.isStopped, task.end != Offset(end) else { break }
      noteBeginning()
      tasks[id]?.end = Offset(end)
      batch.reachEnd(Offset(end), of: id, task.epoch, at: task.next)
      tasks[id]?.next = batch.nextOffset(id) ?? task.next
    case .consumer(.assigned(let partitions)): assigned(partitions.map(PartitionID.init))
    case .consumer(.revoked(let partitions)):
      land()
      for id in partitions.map(PartitionID.init) { give(id) }
      poller.post(.unassign(partitions.map(PartitionID.init)))
    case .consumer(.lost(let partitions)):
      // Somebody else lands them from where PostgreSQL stands: what is in hand would be fenced.
      land()
      for id in partitions.map(PartitionID.init) { forget(id) }
    case .consumer(.offsetOutOfRange(let at, let reason)): outOfRange(PartitionID(at), reason)
    case .consumer(.topicMissing(let topic)): say(.warning, "topic \(topic) does not exist yet: waiting for it")
    case .consumer(.error(let text)): say(.warning, "Kafka: \(text)")
    case .consumer(.fatal(let text)): fail(RunError(.refused, "Kafka: \(text)"))
    }
  }

  private mutating func fail(_ error: RunError) {
    isOver = true
    poller.post(.failed(error))
  }

  // MARK: Partitions

  private mutating func assigned(_ partitions: [PartitionID]) {
    assignments += 1
    for id in partitions { forget(id) }
    guard !isDraining else { return poller.post(.assign(number: assignments, [:])) }
    // Without an answer librdkafka waits; PostgreSQL is tried until it is there, or until the run ends.
    while !isOver {
      do {
        poller.post(.assign(number: assignments, try acquire(partitions)))
        if !partitions.isEmpty { say(.info, "landing \(partitions.sorted().map(\.description).joined(separator: ", "))") }
        break
      } catch let error as WarehouseError where error.code == .refused {
        return fail(RunError(.refused, error.message))
      } catch {
        say(.warning, "cannot take partitions over yet: \(error)")
        Thread.sleep(forTimeInterval: 0.5)
      }
    }
  }

  private mutating func acquire(_ partitions: [PartitionID]) throws -> [PartitionID: Offset] {
    let acquired = try store.acquire(partitions) { id in Offset(try metadata.watermarks(TopicPartition(id)).low) }
    for (id, row) in acquired {
      tasks[id] = Task(epoch: row.epoch, next: row.next)
      reacquire[id] = nil
    }
    show()
    return acquired.mapValues(\.next)
  }

  private mutating func forget(_ id: PartitionID) {
    tasks[id] = nil
    reacquire[id] = nil
    show()
  }

  private mutating func give(_ id: PartitionID) {
    if let task = tasks[id] { do { try store.release(id, task.epoch) } catch { say(.warning, "\(error)") } }
    forget(id)
  }

  private mutating func outOfRange(_ id: PartitionID, _ reason: String) {
    guard let task = tasks[id], !task.isStopped else { return }
    land()
    let low = (try? metadata.watermarks(TopicPartition(id)).low).map { ", the first is \($0)" } ?? ""
    let text =
      "\(id): Kafka no longer has offset \(task.next.value) that landing is to go on at (\(reason))\(low): the partition is stopped; "
      + "`tidemark accept-gap --landing` lets it go on past the gap"
    tasks[id]?.isStopped = true
    reacquire[id] = Clock.milliseconds() + Self.reacquireAfter
    say(.error, text)
    do { try store.alert(id, kind: "landing_offset_out_of_range", text) } catch { say(.warning, "\(error)") }
    if settings.untilCaughtUp { fail(RunError(.refused, text)) }
  }

  // MARK: Records

  private mutating func consume(_ set: RecordSet) {
    let id = PartitionID(set.at)
    noteBeginning()
    var at = 0
    while at < set.count, let task = tasks[id], !task.isStopped, !isOver {
      let count = min(Self.decoded, set.count - at)
      let records = Records(
        count: count, payloads: set.payloads + at, payloadLengths: set.payloadLengths + at, keys: set.keys + at, keyLengths: set.keyLengths + at,
        offsets: set.offsets + at, timestamps: set.timestamps + at)
      withExtendedLifetime(set) {
        let reading = reader.read(records, from: task.next)
        if reading.to > reading.from {
          batch.append(reading, of: id, task.epoch, reader, records, table: store.table)
          tasks[id]?.next = reading.to
        }
      }
      at += count
      if batch.rowCount >= settings.batchRows || batch.bytes >= settings.batchBytes { land() }
    }
  }

  private mutating func noteBeginning() {
    if batch.isEmpty { batchSince = Clock.milliseconds() }
    if status.firstRecords == 0 { status.firstRecords = Clock.nanoseconds() }
  }

  // MARK: Landing

  /// Lands what is in hand; tries until its end is known, or the run is over.
  private mutating func land() {
    batch.removeIdle()
    defer { batch = LandingBatch() }
    guard !batch.isEmpty else { return }
    var delay: Milliseconds = 100
    var isUnknown = false
    while !isOver {
      switch isUnknown ? store.resolve(batch) : store.land(batch) {
      case .committed:
        status.landed += batch.parts.reduce(0) { $0 + $1.landed }
        status.refused += batch.parts.reduce(0) { $0 + Int64($1.refused.count) }
        status.holes += batch.parts.reduce(0) { $0 + $1.holeCount }
        status.transactions += 1
        status.lastCommit = Clock.nanoseconds()
        poller.post(.acknowledge(Dictionary(uniqueKeysWithValues: batch.parts.map { ($0.partition, $0.to) })))
        return show()
      case .fenced(let fenced):
        say(.warning, "fenced: \(fenced.map(\.description).joined(separator: ", ")) stand elsewhere or belong to another instance now")
        // Nothing of the batch was written: the others are read again from where they stand.
        for part in batch.parts where tasks[part.partition] != nil {
          tasks[part.partition]?.isStopped = true
          reacquire[part.partition] = Clock.milliseconds() + (fenced.contains(part.partition) ? Self.reacquireAfter : 0)
        }
        return
      case .failed(let reason):
        say(.warning, "a batch was not landed, trying again: \(reason)")
        isUnknown = false
      case .unknown(let reason):
        say(.warning, "COMMIT got no answer, looking at the offset rows: \(reason)")
        isUnknown = true
      case .fatal(let reason): return fail(RunError(.refused, "landing: \(reason)"))
      }
      if isDraining, delay > 20_000 { return fail(RunError(.unreachable, "PostgreSQL does not take the last batch; it will be read again")) }
      Thread.sleep(forTimeInterval: Double(delay) / 1000)
      delay = min(delay * 2, isDraining ? 30_000 : 5000)
    }
  }

  private func show() {
    var status = status
    status.partitions = tasks.count
    publish(status)
  }

  // MARK: Now and then

  private mutating func tick() {
    let now = Clock.milliseconds()
    let due = reacquire.filter { $0.value <= now }.map(\.key).sorted()
    if !due.isEmpty, !isDraining {
      do { for (id, offset) in try acquire(due) { poller.post(.seek(id, offset)) } } catch { say(.warning, "\(error)") }
    }
    if let days = settings.keepDays, now >= nextRetention {
      nextRetention = now + Self.retentionEvery
      do throws(WarehouseError) {
        let (dropped, kept) = try store.dropTables(olderThan: days)
        if !dropped.isEmpty { say(.info, "dropped what is older than \(days) days: \(dropped.joined(separator: ", "))") }
        if let kept { say(.warning, "\(kept); trying again in an hour") }
      } catch { say(.warning, "\(error)") }
    }
    if goal != nil, batch.isEmpty, let offsets = try? store.progress(), goal?.isReached(offsets) == true {
      goal = nil
      isDraining = true
    }
    if isDraining, batch.isEmpty, !isOver {
      for id in tasks.keys.sorted() { give(id) }
      isOver = true
      poller.post(.drained)
    }
  }
}

/// The ends of all partitions now; topics that do not exist yet are waited for. nil: told to end meanwhile.
func endOffsets(_ topics: [String], _ kafka: KafkaSettings, shouldEnd: () -> Bool, _ say: (Severity, String) -> Void) throws -> CatchUpGoal? {
  let metadata = try ClusterMetadata(kafka)
  var ends: [PartitionID: Offset] = [:]
  for topic in topics {
    var count: Int?
    var said = false
    while count == nil {
      if shouldEnd() { return nil }
      count = try metadata.partitionCount(topic)
      if count == nil {
        if !said { say(.warning, "topic \(topic) does not exist yet: waiting for it") }
        said = true
        Thread.sleep(forTimeInterval: 0.5)
      }
    }
    for partition in 0..<Int32(count ?? 0) {
      ends[PartitionID(topic: topic, partition: partition)] = Offset(try metadata.watermarks(TopicPartition(topic: topic, partition: partition)).high)
    }
  }
  return CatchUpGoal(ends: ends)
}
