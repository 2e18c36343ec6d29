import Aggregation
import Engine
import Kafka

/// The thread that polls librdkafka. It waits for messages and, for moments, for the workers to have room; never for
/// PostgreSQL or the disk.
struct PollLoop {
  let consumer: Consumer
  let workers: Workers
  let commands: Mailbox<ConsumerCommand>
  let mostWaiting: Int
  let shared: SharedStatus
  let say: @Sendable (Severity, String) -> Void
  private var rebalance = Rebalance()
  private var isOver = false
  private var drained = 0
  private var failure: RunError?
  private var lastLook: Milliseconds = 0
  /// Whether ends of partitions are shown.
  var isObserved = false
  private let drainTime: DrainTime
  /// When a drain was told to begin; nil: it was not, or all had been caught up before.
  private(set) var drainBegan: Milliseconds?

  init(
    consumer: Consumer, workers: Workers, commands: Mailbox<ConsumerCommand>, mostWaiting: Int, drainTime: DrainTime,
    shared: SharedStatus, say: @escaping @Sendable (Severity, String) -> Void
  ) {
    self.consumer = consumer
    self.workers = workers
    self.commands = commands
    self.mostWaiting = mostWaiting
    self.drainTime = drainTime
    self.shared = shared
    self.say = say
  }

  /// Polls until all workers have drained, or one has failed.
  mutating func run(shouldDrain: () -> Bool) -> RunError? {
    while !isOver {
      if drainBegan == nil, shouldDrain() {
        say(.info, "draining: flushing, giving partitions back")
        drainBegan = Clock.milliseconds()
        shared.update { $0.phase = .draining }
        workers.drain()
      }
      if isDrainLate {
        say(.warning, "the drain took too long: what is not flushed will be read again")
        break
      }
      look()
      let events = consumer.poll(timeout: 20)
      for event in events { take(event) }
      carryOut()
      if !events.isEmpty { workers.awaitRoom(depth: mostWaiting, waiting: 0.1) }
      // Still no room (a disk that hangs): commands are served between waits, and librdkafka is polled once a minute, before
      // it takes this instance for dead.
      let patience = Clock.milliseconds() + 60_000
      while workers.depth > mostWaiting * 2, !isOver, !isDrainLate, Clock.milliseconds() < patience {
        carryOut()
        workers.awaitRoom(depth: mostWaiting, waiting: 0.1)
      }
    }
    shared.noteThread("poll")
    return failure
  }

  private var isDrainLate: Bool { drainTime.isOverForWorkers(drainBegan, now: Clock.milliseconds()) }

  /// Shows how far partitions reach, by what their last fetch said. Asks nobody.
  private mutating func look() {
    let now = Clock.milliseconds()
    guard now - lastLook >= 500 else { return }
    lastLook = now
    shared.showLife("poll")
    guard isObserved else { return }
    let ends = consumer.knownEnds
    shared.update { status in for (at, end) in ends { status.ends[PartitionID(at)] = max(end, status.ends[PartitionID(at)] ?? 0) } }
  }

  private func count(_ change: (inout RunStatus.Rebalances) -> Void) { shared.update { change(&$0.rebalances) } }

  /// Hands an event to the workers whose partitions it concerns. What concerns none is said here.
  private mutating func take(_ event: ConsumerEvent) {
    switch event {
    case .assigned(let partitions):
      count { ($0.assigned, $0.partitionsAssigned) = ($0.assigned + 1, $0.partitionsAssigned + partitions.count) }
      shared.update { if $0.phase == .joining { $0.phase = .running } }
      answer(rebalance.assigned(partitions.map(PartitionID.init)))
      workers.post(partitions) { .assigned($0) }
    case .revoked(let partitions):
      count { ($0.revoked, $0.partitionsRevoked) = ($0.revoked + 1, $0.partitionsRevoked + partitions.count) }
      answer(rebalance.revoked(partitions.map(PartitionID.init)))
      workers.post(partitions) { .revoked($0) }
    case .lost(let partitions):
      count { ($0.lost, $0.partitionsLost) = ($0.lost + 1, $0.partitionsLost + partitions.count) }
      rebalance.lost(partitions.map(PartitionID.init))
      workers.post(partitions) { .lost($0) }
    case .records(let set): workers[set.at].post(.consumer(event))
    case .endOfPartition(let at, _), .offsetOutOfRange(let at, _): workers[at].post(.consumer(event))
    case .topicMissing(let topic): say(.warning, "topic \(topic) does not exist yet: waiting for it")
    case .error(let text): say(.warning, "Kafka: \(text)")
    case .fatal(let text): end(.refused("Kafka: \(text)"))
    }
  }

  private func answer(_ answer: Rebalance.Answer?) {
    if case .refused(let reason) = rebalance.carryOut(answer, by: consumer.perform) { say(.warning, reason) }
  }

  private mutating func carryOut() {
    for command in commands.takeAll(waiting: 0) ?? [] {
      if case .drained = command {
        drained += 1
        guard drained == workers.count else { continue }
      }
      switch rebalance.carryOut(command, by: consumer.perform) {
      case .done: break
      case .started(let id, let number): workers[TopicPartition(id)].post(.started(id, number: number))
      case .startFailed(let id, let number, let reason): workers[TopicPartition(id)].post(.startFailed(id, number: number, reason))
      case .refused(let reason): say(.warning, reason)
      case .ended(let reason): end(reason)
      }
    }
  }

  private mutating func end(_ reason: RunEnd?) {
    isOver = true
    failure = reason.map(RunError.init)
  }
}

extension Consumer {
  /// Does what a call says.
  func perform(_ call: ConsumerCall) throws {
    switch call {
    case .assign(let partitions): try assign(partitions.map { (TopicPartition($0.key), offset: $0.value) })
    case .unassign(let partitions): unassign(partitions.map(TopicPartition.init))
    case .pause(let partitions): pause(partitions.map(TopicPartition.init))
    case .resume(let partitions): resume(partitions.map(TopicPartition.init))
    case .seek(let id, let offset): try seek(TopicPartition(id), to: offset)
    case .acknowledge(let offsets): acknowledge(offsets.map { (TopicPartition($0.key), offset: $0.value.value) })
    }
  }
}

extension RunError {
  init(_ end: RunEnd) {
    switch end {
    case .refused(let message): self.init(.refused, message)
    case .again(let message): self.init(.again, message)
    }
  }
}
