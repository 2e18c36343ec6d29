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
    let toLander = Mailbox<LandingMessage>(), toPoller = Mailbox<ConsumerCommand>()
    let lander = Unshared(
      LandingLoop(
        settings, store: store, metadata: consumer.metadata, inbox: toLander, poller: toPoller, goal: goal, say: say,
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
