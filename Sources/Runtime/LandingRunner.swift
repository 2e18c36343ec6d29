import Aggregation
import Engine
import Foundation
import Kafka
import Synchronization
import Warehouse

/// Runs one landing instance: the thread that calls `run` polls Kafka and waits for nothing else, one thread decodes and
/// lands.
///
///     Kafka ──► poll ──records──► lander ──► PostgreSQL
///                ▲                  │
///                └─ start, release ─┘
public final class LandingRunner: Sendable {
  private let settings: LandingSettings
  private let say: @Sendable (Severity, String) -> Void
  private let shared = Mutex(LandingStatus())
  private let shouldDrain = Atomic<Bool>(false)

  /// - Parameter say: takes messages from any thread.
  public init(_ settings: LandingSettings, say: @escaping @Sendable (Severity, String) -> Void) {
    self.settings = settings
    self.say = say
  }

  /// From any thread.
  public var status: LandingStatus { shared.withLock { $0 } }

  /// Ends the run in order: what came is landed, partitions are given back. From any thread.
  public func drain() { shouldDrain.store(true, ordering: .relaxed) }

  private static let mostMessages = 10_000
  private static let mostWaiting = 4

  /// Runs until `drain`, or until caught up where that was asked for.
  public func run() throws(RunError) {
    let store = LandingStore(target: settings.postgres, instance: settings.instance, plan: settings.plan)
    guard try open(store) else { return }
    let consumer: Consumer
    let goal: CatchUpGoal?
    do {
      goal = settings.untilCaughtUp ? try endOffsets(settings.plan.plan.topics, settings.kafka, shouldEnd: { shouldDrain.load(ordering: .relaxed) }, say) : nil
      if settings.untilCaughtUp, goal == nil { return }
      consumer = try Consumer(settings.kafka, group: settings.group, topics: settings.plan.plan.topics, mostMessages: Self.mostMessages)
    } catch let error as KafkaError {
      throw RunError(error.code == .unreachable ? .unreachable : .refused, error.message)
    } catch {
      throw RunError(.refused, "\(error)")
    }
    let toLander = Mailbox<LandingMessage>(), toPoller = Mailbox<LandingCommand>()
    let lander = Unshared(
      LandingLoop(
        settings: settings, store: store, metadata: consumer.metadata, inbox: toLander, poller: toPoller, goal: goal, say: say,
        publish: { status in self.shared.withLock { $0 = status } }))
    let thread = Worker(name: "lander") { lander.value.run() }
    var poll = LandingPoll(consumer: consumer, lander: toLander, commands: toPoller, mostWaiting: Self.mostWaiting, drainTime: settings.drainTime, say: say)
    let failure = poll.run { shouldDrain.load(ordering: .relaxed) }
    let began = poll.drainBegan ?? Clock.milliseconds()
    toLander.close()
    if !thread.join(by: began + settings.drainTime.stores) {
      say(.warning, "PostgreSQL does not answer: ended without landing the last batch; it will be read again")
    }
    leave(Unshared(consumer), by: began + settings.drainTime.leave, say)
    if let failure { throw failure }
  }

  /// Waits for PostgreSQL with patience. false: told to drain meanwhile.
  private func open(_ store: LandingStore) throws(RunError) -> Bool {
    let end = Clock.milliseconds() + settings.patience
    while true {
      do {
        try store.open()
        return true
      } catch {
        guard error.code != .refused else { throw RunError(.refused, error.message) }
        guard Clock.milliseconds() < end else { throw RunError(.unreachable, error.message) }
      }
      if shouldDrain.load(ordering: .relaxed) { return false }
      Thread.sleep(forTimeInterval: 0.2)
    }
  }
}

/// What the lander's thread is told.
enum LandingMessage {
  case consumer(ConsumerEvent)
  /// Land what there is, give everything back.
  case drain
}

/// What the polling thread is to tell librdkafka.
enum LandingCommand {
  /// The answer to an assignment: all of it, but what is left out. An assignment that was lost meanwhile has another number.
  case assign(number: Int, [PartitionID: Offset])
  case seek(PartitionID, Offset)
  case unassign([PartitionID])
  case acknowledge([PartitionID: Offset])
  case drained
  case failed(RunError)
}

/// The thread that polls librdkafka for landing.
struct LandingPoll {
  let consumer: Consumer
  let lander: Mailbox<LandingMessage>
  let commands: Mailbox<LandingCommand>
  let mostWaiting: Int
  let say: @Sendable (Severity, String) -> Void
  private var isOver = false
  private var failure: RunError?
  /// Assignments so far: both sides count them, so that an answer to a lost one is known.
  private var assignments = 0
  private var isAnswerDue = false
  private var isRevocationDue = false
  private let drainTime: DrainTime
  /// When a drain was told to begin; nil: it was not, or all had been caught up before.
  private(set) var drainBegan: Milliseconds?

  init(
    consumer: Consumer, lander: Mailbox<LandingMessage>, commands: Mailbox<LandingCommand>, mostWaiting: Int, drainTime: DrainTime,
    say: @escaping @Sendable (Severity, String) -> Void
  ) {
    self.consumer = consumer
    self.lander = lander
    self.commands = commands
    self.mostWaiting = mostWaiting
    self.drainTime = drainTime
    self.say = say
  }

  mutating func run(shouldDrain: () -> Bool) -> RunError? {
    while !isOver {
      if drainBegan == nil, shouldDrain() {
        drainBegan = Clock.milliseconds()
        lander.post(.drain)
      }
      if isDrainLate {
        say(.warning, "the drain took too long: what is not landed will be read again")
        break
      }
      let events = consumer.poll(timeout: 20)
      for event in events {
        switch event {
        case .assigned: (assignments, isAnswerDue) = (assignments + 1, true)
        case .revoked: isRevocationDue = true
        case .lost: (isAnswerDue, isRevocationDue) = (false, false)
        default: break
        }
        lander.post(.consumer(event))
      }
      carryOut()
      // PostgreSQL is slower than Kafka: librdkafka holds what it has fetched, and is polled once a minute.
      let patience = Clock.milliseconds() + 60_000
      while lander.depth > mostWaiting, !isOver, !isDrainLate, Clock.milliseconds() < patience {
        lander.awaitRoom(depth: mostWaiting, waiting: 0.05)
        carryOut()
      }
    }
    return failure
  }

  private var isDrainLate: Bool { drainTime.isOverForWorkers(drainBegan, now: Clock.milliseconds()) }

  private mutating func carryOut() {
    for command in commands.takeAll(waiting: 0) ?? [] {
      do {
        switch command {
        case .assign(let number, let offsets):
          guard number == assignments, isAnswerDue else { break }
          isAnswerDue = false
          try consumer.assign(offsets.map { (TopicPartition($0.key), offset: $0.value.value) })
        case .seek(let id, let offset): try consumer.seek(TopicPartition(id), to: offset.value)
        case .unassign(let ids):
          guard isRevocationDue else { break }
          isRevocationDue = false
          consumer.unassign(ids.map(TopicPartition.init))
        case .acknowledge(let offsets): consumer.acknowledge(offsets.map { (TopicPartition($0.key), offset: $0.value.value) })
        case .drained: isOver = true
        case .failed(let error):
          failure = error
          isOver = true
        }
      } catch {
        // The group changed its mind between the question and the answer: the next callback says how.
        say(.warning, "\(error)")
      }
    }
  }
}
