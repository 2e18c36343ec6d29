import Aggregation
import Engine
import Kafka

/// What the lander's thread is told.
enum LandingMessage: Sendable {
  case consumer(ConsumerEvent)
  case started(PartitionID, number: UInt64)
  case startFailed(PartitionID, number: UInt64, String)
  /// Land what there is, give everything back.
  case drain

  /// Whether it keeps its place among the records: it is about what comes before it.
  var isInOrderOfRecords: Bool {
    switch self {
    case .consumer(.records), .consumer(.endOfPartition), .consumer(.offsetOutOfRange), .started, .startFailed: true
    case .consumer, .drain: false
    }
  }
}

/// The thread that polls librdkafka for landing.
struct LandingPoll {
  let consumer: Consumer
  let lander: Mailbox<LandingMessage>
  let commands: Mailbox<ConsumerCommand>
  let mostWaiting: Int
  let say: @Sendable (Severity, String) -> Void
  private var rebalance = Rebalance()
  private var isOver = false
  private var failure: RunError?
  private let drainTime: DrainTime
  /// When a drain was told to begin; nil: it was not, or all had been caught up before.
  private(set) var drainBegan: Milliseconds?

  init(
    consumer: Consumer, lander: Mailbox<LandingMessage>, commands: Mailbox<ConsumerCommand>, mostWaiting: Int, drainTime: DrainTime,
    say: @escaping @Sendable (Severity, String) -> Void
  ) {
    self.consumer = consumer
    self.lander = lander
    self.commands = commands
    self.mostWaiting = mostWaiting
    self.drainTime = drainTime
    self.say = say
  }

  /// Polls until all is given back, or landing has failed.
  mutating func run(shouldDrain: () -> Bool) -> RunError? {
    while !isOver {
      look(shouldDrain)
      if isDrainLate {
        say(.warning, "the drain took too long: what is not landed will be read again")
        break
      }
      for event in consumer.poll(timeout: 20) { take(event) }
      carryOut()
      // PostgreSQL is slower than Kafka: librdkafka holds what it has fetched, and is polled once a minute.
      let patience = Clock.milliseconds() + 60_000
      while lander.depth > mostWaiting, !isOver, !isDrainLate, Clock.milliseconds() < patience {
        lander.awaitRoom(depth: mostWaiting, waiting: 0.05)
        look(shouldDrain)
        carryOut()
      }
    }
    return failure
  }

  private var isDrainLate: Bool { drainTime.isOverForWorkers(drainBegan, now: Clock.milliseconds()) }

  private mutating func look(_ shouldDrain: () -> Bool) {
    guard drainBegan == nil, shouldDrain() else { return }
    drainBegan = Clock.milliseconds()
    lander.post(.drain)
  }

  private mutating func take(_ event: ConsumerEvent) {
    switch event {
    case .assigned(let partitions): answer(rebalance.assigned(partitions.map(PartitionID.init)))
    case .revoked(let partitions): answer(rebalance.revoked(partitions.map(PartitionID.init)))
    case .lost(let partitions): rebalance.lost(partitions.map(PartitionID.init))
    case .records, .endOfPartition, .offsetOutOfRange: break
    case .topicMissing(let topic): return say(.warning, "topic \(topic) does not exist yet: waiting for it")
    case .error(let text): return say(.warning, "Kafka: \(text)")
    case .fatal(let text): return end(.refused("Kafka: \(text)"))
    }
    lander.post(.consumer(event))
  }

  private func answer(_ answer: Rebalance.Answer?) {
    if case .refused(let reason) = rebalance.carryOut(answer, by: consumer.perform) { say(.warning, reason) }
  }

  private mutating func carryOut() {
    for command in commands.takeAll(waiting: 0) ?? [] {
      switch rebalance.carryOut(command, by: consumer.perform) {
      case .done: break
      case .started(let id, let number): lander.post(.started(id, number: number))
      case .startFailed(let id, let number, let reason): lander.post(.startFailed(id, number: number, reason))
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
