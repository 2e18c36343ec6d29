import Aggregation
import Engine
import Testing

/// What a landing instance decides, transition by transition.
@Suite struct LandingInstanceTests {
  static let a = PartitionID(topic: "t", partition: 0)
  static let b = PartitionID(topic: "t", partition: 1)
  let a = Self.a, b = Self.b

  /// An instance with a clock that a test moves.
  struct Desk {
    var landing: LandingInstance
    var now: Milliseconds = 1_000_000

    init(_ change: (inout LandingLimits) -> Void = { _ in }) {
      var limits = LandingLimits()
      change(&limits)
      landing = LandingInstance(limits)
    }

    mutating func handle(_ event: LandingEvent) -> [LandingEffect] { landing.handle(event, now: now) }

    mutating func tick(_ milliseconds: Milliseconds = 0, isIdle: Bool = false) -> [LandingEffect] {
      now += milliseconds
      return handle(.tick(isIdle: isIdle))
    }

    /// Lets partitions be landed from offset 10 on, under epoch 1.
    mutating func begin(_ ids: PartitionID...) {
      #expect(handle(.assigned(ids)) == [.heard(ids), .acquire(ids)])
      start(ids)
    }

    mutating func start(_ ids: [PartitionID], at next: Int64 = 10, epoch: Int64 = 1) {
      let effects = handle(.acquired(Dictionary(uniqueKeysWithValues: ids.map { ($0, OffsetRow(next: Offset(next), epoch: Epoch(epoch))) })))
      let starts = effects.compactMap { if case .start(let id, _, let number) = $0 { (id, number) } else { nil } }
      #expect(starts.map(\.0) == ids.sorted())
      for (id, number) in starts { #expect(handle(.started(id, number: number)) == []) }
      for id in ids { #expect(landing.reading(id)?.next == Offset(next)) }
    }

    mutating func read(_ id: PartitionID, to: Int64, rows: Int = 1, bytes: Int = 100) -> [LandingEffect] {
      handle(.read(id, to: Offset(to), rows: rows, bytes: bytes))
    }
  }

  // MARK: The way of a batch

  @Test func aBatchIsLandedWhenItsTimeHasComeOrItIsFullOrNothingElseCame() {
    var desk = Desk()
    desk.begin(a)
    #expect(desk.read(a, to: 20) == [])
    #expect(desk.tick(499) == [])
    #expect(desk.tick(1) == [.land])
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard])
    #expect(desk.read(a, to: 21) == [])
    #expect(desk.tick(isIdle: true) == [.land])
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard])
    #expect(desk.read(a, to: 22, rows: 20_000) == [.land])
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard])
    #expect(desk.read(a, to: 23, bytes: 16 << 20) == [.land])
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard])
    // The end of the partition is accounted for, too.
    #expect(desk.handle(.reachedEnd(a, Offset(30))) == [])
    #expect(desk.landing.reading(a)?.next == Offset(30) && desk.landing.reading(a)?.end == Offset(30))
    #expect(desk.tick(isIdle: true) == [.land])
  }

  @Test func nothingIsAddedToABatchThatIsUnderWayOrWaits() {
    var desk = Desk()
    desk.begin(a, b)
    #expect(desk.read(a, to: 20, rows: 20_000) == [.land])
    #expect(!desk.landing.takesRecords && desk.landing.reading(a) == nil && desk.landing.reading(b) == nil)
    _ = desk.handle(.ended(.failed("no")))
    #expect(!desk.landing.takesRecords && desk.landing.reading(a) == nil)
    #expect(desk.tick(100) == [.land])
    _ = desk.handle(.ended(.committed))
    #expect(desk.landing.takesRecords && desk.landing.reading(a)?.next == Offset(20) && desk.landing.reading(b)?.next == Offset(10))
  }

  /// 0.1 s, doubled up to 5 s, for as long as it takes; said at first, every tenth time, and when it is another trouble.
  @Test func aBatchThatFailedIsTriedAgainWithLongerWaits() {
    var desk = Desk()
    desk.begin(a)
    #expect(desk.read(a, to: 20, rows: 20_000) == [.land])
    var said = 0
    for attempt in 0..<40 {
      let effects = desk.handle(.ended(.failed("away")))
      if effects == [.say(.warning, "a batch was not landed, trying again: away")] { said += 1 } else { #expect(effects == []) }
      let delay = min(Milliseconds(100) << min(attempt, 10), 5000)
      #expect(desk.tick(delay - 1) == [])
      #expect(desk.tick(1) == [.land], "attempt \(attempt)")
    }
    #expect(said == 4)
    #expect(desk.handle(.ended(.failed("another"))) == [.say(.warning, "a batch was not landed, trying again: another")])
    #expect(desk.tick(5000) == [.land])
    #expect(desk.handle(.ended(.committed)) == [.say(.info, "the batch is in PostgreSQL after 41 more attempts"), .acknowledge, .discard])
  }

  /// The rows of the batch may be there: nothing but the offset rows is asked until they have answered.
  @Test func aCommitWithoutAnAnswerIsNotRepeatedBeforeTheOffsetRowsWereRead() {
    for end in [LandingOutcome.committed, .failed("the batch was not committed"), .fenced([Self.a])] {
      var desk = Desk()
      desk.begin(a)
      #expect(desk.read(a, to: 20, rows: 20_000) == [.land])
      #expect(desk.handle(.ended(.unknown("gone"))) == [.say(.warning, "COMMIT got no answer, looking at the offset rows: gone")])
      for _ in 0..<20 {
        #expect(desk.tick(4999).allSatisfy { $0 == .resolve })
        #expect(!desk.tick(1).contains(.land))
        let effects = desk.handle(.ended(.unknown("gone")))
        #expect(!effects.contains(.land) && !effects.contains(.discard))
      }
      #expect(desk.tick(5000) == [.resolve])
      let effects = desk.handle(.ended(end))
      switch end {
      case .committed: #expect(effects.suffix(2) == [.acknowledge, .discard])
      // Now it is known that nothing was written.
      case .failed: #expect(!effects.contains(.discard) && desk.tick(5000) == [.land])
      default: #expect(effects.contains(.discard) && !effects.contains(.acknowledge))
      }
    }
  }

  @Test func anAnswerWithoutAQuestionChangesNothing() {
    var desk = Desk()
    desk.begin(a)
    #expect(desk.handle(.ended(.committed)) == [])
    #expect(desk.read(a, to: 20) == [])
    #expect(desk.handle(.ended(.failed("no"))) == [])
    #expect(desk.landing.reading(a)?.next == Offset(20))
  }

  @Test func whoIsFencedIsTakenOverAfterAWhileTheOthersAtOnce() {
    var desk = Desk()
    desk.begin(a, b)
    #expect(desk.read(a, to: 20) == [])
    #expect(desk.read(b, to: 30, rows: 20_000) == [.land])
    #expect(
      desk.handle(.ended(.fenced([b]))) == [
        .say(.warning, "fenced: t/1 stand elsewhere or belong to another instance now"), .discard, .pause([a, b]), .acquire([a]),
      ])
    #expect(desk.landing.reading(b) == nil)
    desk.start([a], at: 10, epoch: 2)
    #expect(desk.tick(9999) == [])
    #expect(desk.tick(1) == [.acquire([b])])
    desk.start([b], at: 44, epoch: 5)
  }

  @Test func whatPostgreSQLRefusesEndsTheRun() {
    var desk = Desk()
    desk.begin(a)
    #expect(desk.read(a, to: 20, rows: 20_000) == [.land])
    #expect(desk.handle(.ended(.fatal("no column"))) == [.discard, .fail("landing: no column")])
    #expect(desk.landing.isOver && desk.tick(60_000) == [] && desk.handle(.drain) == [])
    // What waits is taken, and thrown away.
    #expect(desk.landing.takesRecords && desk.landing.reading(a) == nil)
  }

  // MARK: The end

  @Test func aDrainLandsWhatIsInHandAndGivesEverythingBack() {
    var desk = Desk()
    desk.begin(a, b)
    #expect(desk.read(a, to: 20) == [])
    // What has no part in it is given back at once.
    #expect(desk.handle(.drain) == [.land, .giveBack([b: Epoch(1)]), .release(b)])
    #expect(desk.landing.reading(a) == nil)
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard, .giveBack([a: Epoch(1)]), .release(a), .drained])
    #expect(desk.landing.isOver)
  }

  @Test func aDrainWithNothingInHandEndsAtOnce() {
    var desk = Desk()
    #expect(desk.handle(.drain) == [.drained])
  }

  /// The wait for the next attempt ends with the drain; after three seconds the batch is given up, and no more is asked of
  /// a PostgreSQL that does not answer.
  @Test func aDrainTriesAtOnceAndGivesUpInTime() {
    for resolves in [false, true] {
      var desk = Desk()
      desk.begin(a, b)
      #expect(desk.read(a, to: 20, rows: 20_000) == [.land])
      let outcome = resolves ? LandingOutcome.unknown("away") : .failed("away")
      for _ in 0..<10 {
        _ = desk.handle(.ended(outcome))
        _ = desk.tick(5000)
      }
      _ = desk.handle(.ended(outcome))
      #expect(desk.tick(10) == [])
      #expect(desk.handle(.drain) == [resolves ? .resolve : .land, .release(b)])
      let begin = desk.now
      var attempts = 0
      while !desk.landing.isOver {
        attempts += 1
        #expect(desk.handle(.ended(outcome)).allSatisfy { if case .say = $0 { true } else { false } })
        var effects: [LandingEffect] = []
        while effects.isEmpty { effects = desk.tick(50) }
        guard effects != [resolves ? .resolve : .land] else { continue }
        let text = resolves
          ? "whether the last batch is in PostgreSQL is not known; who reads on looks at the offset rows"
          : "the last batch is not landed; it will be read again from Kafka"
        #expect(effects == [.say(.warning, "PostgreSQL does not take what is in hand (away): \(text)"), .discard, .release(a), .drained])
      }
      #expect(desk.now - begin == 3000 && attempts >= 3)
    }
  }

  @Test func aDrainWhilePartitionsCannotBeTakenOverEndsAtOnce() {
    var desk = Desk()
    #expect(desk.handle(.assigned([a])) == [.heard([a]), .acquire([a])])
    _ = desk.handle(.acquireFailed([a], "away"))
    #expect(desk.handle(.drain) == [.release(a), .drained])
  }

  @Test func whatIsAssignedDuringADrainIsNotTakenOver() {
    var desk = Desk()
    desk.begin(a)
    #expect(desk.read(a, to: 20, rows: 20_000) == [.land])
    _ = desk.handle(.drain)
    #expect(desk.handle(.assigned([b])) == [.heard([b])])
    #expect(desk.handle(.revoked([b])) == [.release(b)])
  }

  @Test func theGoalIsLookedForBetweenBatchesAndEndsTheRun() {
    var desk = Desk { $0.hasGoal = true }
    #expect(desk.tick() == [.lookForGoal])
    #expect(desk.tick(199) == [])
    #expect(desk.handle(.assigned([a])) == [.heard([a]), .acquire([a])])
    desk.start([a])
    #expect(desk.read(a, to: 20) == [])
    #expect(desk.tick(300) == [])
    #expect(desk.tick(300) == [.land])
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard, .lookForGoal])
    #expect(desk.handle(.caughtUp) == [.giveBack([a: Epoch(1)]), .release(a), .drained])
  }

  @Test func oldTablesAreDroppedNowAndThen() {
    var desk = Desk { $0.retentionEvery = 3_600_000 }
    #expect(desk.tick() == [.dropOldTables])
    #expect(desk.tick(3_599_999) == [])
    #expect(desk.tick(1) == [.dropOldTables])
    #expect(Desk().landing.limits.retentionEvery == nil)
  }
}
