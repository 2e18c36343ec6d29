import Aggregation
import Engine
import Runtime
import Synchronization
import Testing

@testable import Observability

@Suite struct HealthTests {
  private func health(budget: Double = 60, _ change: (FakeInstance) -> Void = { _ in }) -> Health {
    let fake = FakeInstance.running()
    change(fake)
    let instance = fake.observed
    return Health(instance, books: instance.books(), now: instance.clock(), monotonic: instance.monotonic(), lagBudget: budget)
  }

  @Test func anInstanceThatRunsIsReady() {
    #expect(health().isAlive)
    #expect(health().obstacles == [])
  }

  @Test func beingBehindTheBudgetIsNotReady() {
    #expect(health(budget: 7).isReady)
    #expect(health(budget: 6.9).obstacles == ["events: 7 s behind, the budget is 6 s"])
  }

  @Test func aThreadWithoutSignsOfLifeIsNotAlive() {
    let stuck = health { fake in fake.status.withLock { $0.signsOfLife["worker"] = fake.now.withLock { $0 } - 90_001 } }
    #expect(stuck.stuck == ["events: thread worker has done nothing for 90 s"])
    #expect(!stuck.isReady)
    let ended = health { fake in
      fake.status.withLock {
        $0.signsOfLife["worker"] = fake.now.withLock { $0 } - 90_001
        $0.phase = .ended
      }
    }
    #expect(ended.isAlive)
  }

  @Test(arguments: [(RunStatus.Phase.opening, "waits for PostgreSQL"), (.joining, "no partitions assigned yet"), (.draining, "draining"), (.ended, "ended")])
  func onlyARunThatRunsIsReady(phase: RunStatus.Phase, words: String) {
    #expect(health { fake in fake.status.withLock { $0.phase = phase } }.obstacles == ["events: \(words)"])
  }

  @Test func postgresHasToAnswer() {
    #expect(health { fake in fake.books.withLock { $0 = BooksWatch.State() } }.obstacles == ["PostgreSQL has not answered yet"])
    #expect(health { fake in fake.books.withLock { $0.answeredAt! -= 30_000 } }.obstacles == ["PostgreSQL has not answered yet"])
    #expect(health { fake in fake.books.withLock { $0.trouble = .init(since: 1, reason: "host=secret") } }.obstacles == ["PostgreSQL cannot be read"])
    #expect(health { fake in fake.status.withLock { $0.storeTroubles[0] = .init(since: 1, reason: "x") } }.obstacles == ["events: PostgreSQL does not take flushes"])
  }

  @Test func pausesAndStopsAreObstacles() {
    #expect(health { fake in fake.status.withLock { $0.workers[0].load.isPausedForBudget = true } }.obstacles == ["events: paused, too much waits for PostgreSQL"])
    #expect(health { fake in fake.status.withLock { $0.workers[0].load.isJournalBlocked = true } }.obstacles == ["events: paused, the journal takes no records"])
    #expect(health { fake in fake.status.withLock { $0.workers[0].load.partitions[0].phase = .stopped } }.obstacles == ["events: 1 partitions are stopped or fenced"])
    #expect(health { fake in fake.status.withLock { $0.workers[0].load.partitions[0].phase = .acquiring } }.obstacles == ["events: 1 partitions are being taken over"])
  }

  @Test func lagIsTheWorstInSecondsAndTheSumInEvents() {
    let a = Lag(flushed: 10, end: 10, recordTime: 0, watermark: nil, now: 100_000)
    #expect(a.seconds == 0 && a.events == 0)
    let b = Lag(flushed: 10, end: 15, recordTime: 40_000, watermark: nil, now: 100_000)
    #expect(b.seconds == 60 && b.events == 5)
    #expect(Lag(flushed: 10, end: 15, recordTime: nil, watermark: nil, now: 0).seconds == nil)
    #expect(Lag(flushed: 10, end: nil, recordTime: 1, watermark: nil, now: 0) == Lag())
    #expect(Lag.worst([a, b, Lag()]).events == 5)
    #expect(Lag.worst([a, b, Lag()]).seconds == 60)
    #expect(Lag.worst([Lag()]).events == nil)
  }
}
