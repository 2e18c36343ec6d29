import Aggregation
import Engine
import Testing

/// Partitions that come, stop and go while landing.
@Suite struct LandingPartitionTests {
  typealias Desk = LandingInstanceTests.Desk
  let a = LandingInstanceTests.a, b = LandingInstanceTests.b

  @Test func whatIsAssignedIsTakenOverAndStarted() {
    var desk = Desk()
    #expect(desk.handle(.assigned([b, a])) == [.heard([b, a]), .acquire([a, b])])
    #expect(
      desk.handle(.acquired([a: OffsetRow(next: Offset(5), epoch: Epoch(1)), b: OffsetRow(next: Offset(7), epoch: Epoch(3))])) == [
        .start(a, Offset(5), number: 1), .start(b, Offset(7), number: 2), .say(.info, "landing t/0, t/1"),
      ])
    #expect(desk.landing.partitionCount == 2)
  }

  /// Records that were fetched before a seek are still on their way: what lies between would look like a hole.
  @Test func whatWasFetchedBeforeAStartIsNotRead() {
    var desk = Desk()
    desk.begin(a)
    #expect(desk.read(a, to: 20, rows: 20_000) == [.land])
    #expect(desk.handle(.ended(.fenced([b]))).contains(.acquire([a])))
    let effects = desk.handle(.acquired([a: OffsetRow(next: Offset(10), epoch: Epoch(2))]))
    #expect(effects == [.start(a, Offset(10), number: 2)])
    #expect(desk.landing.takesRecords && desk.landing.reading(a) == nil)
    #expect(desk.read(a, to: 900) == [] && desk.handle(.reachedEnd(a, Offset(900))) == [])
    // The answer to an earlier start says nothing about this one.
    #expect(desk.handle(.started(a, number: 1)) == [] && desk.landing.reading(a) == nil)
    #expect(desk.handle(.started(a, number: 2)) == [])
    #expect(desk.landing.reading(a)?.next == Offset(10) && desk.landing.reading(a)?.epoch == Epoch(2))
    #expect(desk.tick(60_000) == [])
  }

  @Test func aStartThatFailedIsTriedAgainLater() {
    var desk = Desk()
    _ = desk.handle(.assigned([a]))
    _ = desk.handle(.acquired([a: OffsetRow(next: Offset(10), epoch: Epoch(2))]))
    #expect(desk.handle(.startFailed(a, number: 7, "of another one")) == [])
    #expect(desk.handle(.startFailed(a, number: 1, "it would not")) == [.say(.warning, "it would not")])
    #expect(desk.tick(9999) == [])
    #expect(desk.tick(1) == [.acquire([a])])
  }

  /// 0.2 s, doubled up to 5 s, and said once in ten times.
  @Test func partitionsThatTheStoreCannotHandOverAreAskedForAgain() {
    var desk = Desk()
    _ = desk.handle(.assigned([a]))
    var said = 0
    for attempt in 0..<20 {
      let effects = desk.handle(.acquireFailed([a], "away"))
      if effects == [.say(.warning, "cannot take over t/0 yet: away; trying again")] { said += 1 } else { #expect(effects == []) }
      let delay = min(Milliseconds(200) << min(attempt, 10), 5000)
      #expect(desk.tick(delay - 1) == [])
      #expect(desk.tick(1) == [.acquire([a])])
    }
    #expect(said == 2)
    desk.start([a])
    // Next time it begins anew.
    #expect(desk.handle(.assigned([b])) == [.heard([b]), .acquire([b])])
    #expect(desk.handle(.acquireFailed([b], "away")).count == 1)
    #expect(desk.tick(200) == [.acquire([b])])
  }

  @Test func aStoreThatRefusesEndsTheRun() {
    var desk = Desk()
    _ = desk.handle(.assigned([a]))
    #expect(desk.handle(.acquireRefused("migrate first")) == [.fail("migrate first")])
    #expect(desk.landing.isOver)
  }

  @Test func whatIsRevokedIsLandedAndThenGivenBack() {
    var desk = Desk()
    desk.begin(a, b)
    #expect(desk.read(a, to: 20) == [])
    #expect(desk.handle(.revoked([a, b])) == [.land, .giveBack([b: Epoch(1)]), .release(b)])
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard, .giveBack([a: Epoch(1)]), .release(a)])
    #expect(desk.handle(.revoked([a])) == [.release(a)])
    #expect(desk.landing.partitionCount == 0 && !desk.landing.isOver)
  }

  /// The group waits for it; what stays is read again.
  @Test func aRevocationDoesNotWaitLongForAPostgreSQLThatIsAway() {
    var desk = Desk()
    desk.begin(a, b)
    #expect(desk.read(a, to: 20) == [])
    #expect(desk.read(b, to: 20, rows: 20_000) == [.land])
    _ = desk.handle(.ended(.failed("away")))
    #expect(desk.handle(.revoked([a])) == [])
    let begin = desk.now
    var effects: [LandingEffect] = []
    while effects.isEmpty || effects == [.land] {
      if effects == [.land] { #expect(desk.handle(.ended(.failed("away"))).allSatisfy { if case .say = $0 { true } else { false } }) }
      effects = desk.tick(50)
    }
    #expect(desk.now - begin == 8000)
    #expect(effects.dropFirst() == [.discard, .pause([b]), .acquire([b]), .release(a)])
    #expect(desk.landing.partitionCount == 1)
  }

  @Test func whatIsLostIsForgottenAndTheBatchTriedAtOnce() {
    var desk = Desk()
    desk.begin(a, b)
    #expect(desk.read(a, to: 20) == [])
    #expect(desk.handle(.lost([a])) == [.release(a), .land])
    // It comes back before the end of the batch is known: taken over now, it would fence it.
    #expect(desk.handle(.assigned([a])) == [.heard([a])])
    #expect(desk.tick(50) == [])
    #expect(desk.handle(.ended(.committed)) == [.acknowledge, .discard, .acquire([a])])
    #expect(desk.landing.reading(b) != nil)
    #expect(desk.handle(.lost([b])) == [.release(b)])
  }

  // MARK: Kafka lacks the offset

  private func lacks(_ desk: inout Desk, first: Int64 = 50) -> [LandingEffect] { desk.handle(.offsetOutOfRange(a, "gone", first: Offset(first))) }

  private func text(_ offset: Int64, _ first: Int64) -> String {
    "t/0: Kafka no longer has offset \(offset) that landing is to go on at (gone), the first is \(first): the partition is stopped; "
      + "`tidemark accept-gap --landing` lets it go on past the gap"
  }

  /// Kafka's first offset moves on all the time: that alone is no news. The alert is counted each time.
  @Test func aStoppedPartitionSaysSoOnceAndAgainWhenSomethingChanged() {
    var desk = Desk()
    desk.begin(a, b)
    #expect(desk.read(b, to: 20) == [])
    #expect(
      lacks(&desk) == [.say(.error, text(10, 50)), .pause([a]), .alert(a, kind: "landing_offset_out_of_range", text(10, 50))])
    #expect(desk.landing.reading(a) == nil && desk.landing.reading(b) != nil)
    #expect(lacks(&desk) == [])
    #expect(desk.tick(500) == [.land])
    _ = desk.handle(.ended(.committed))
    var said = 0, rounds = 0
    while desk.now < 1_000_000 + 3_600_000 + 60_000 {
      let effects = desk.tick(1000)
      guard effects == [.acquire([a])] else { continue }
      desk.start([a], epoch: 2)
      rounds += 1
      let first = Int64(50 + rounds)
      let found = lacks(&desk, first: first)
      if found.first == .say(.error, text(10, first)) { said += 1 }
      #expect(found.suffix(2) == [.pause([a]), .alert(a, kind: "landing_offset_out_of_range", text(10, first))])
    }
    #expect(said == 1 && rounds > 300)
    // Another offset is lacking: somebody accepted too little.
    while desk.tick(1000) != [.acquire([a])] {}
    desk.start([a], at: 11, epoch: 3)
    #expect(lacks(&desk).first == .say(.error, text(11, 50)))
  }

  @Test func aPartitionThatGoesOnSaysSoAndMayStopAnew() {
    var desk = Desk()
    desk.begin(a)
    _ = lacks(&desk)
    while desk.tick(1000) != [.acquire([a])] {}
    desk.start([a], at: 50, epoch: 3)
    #expect(desk.read(a, to: 60) == [.say(.info, "t/0 goes on at offset 50; Kafka lacked 10")])
    #expect(desk.read(a, to: 70) == [])
    // What is in hand is landed first.
    #expect(lacks(&desk, first: 99) == [.say(.error, text(70, 99)), .pause([a]), .alert(a, kind: "landing_offset_out_of_range", text(70, 99)), .land])
    _ = desk.handle(.ended(.failed("away")))
    // As long as its end is not known it is not taken over anew: that would fence it.
    for _ in 0..<30 { for effect in desk.tick(1000) where effect == .land { _ = desk.handle(.ended(.failed("away"))) } }
    while desk.tick(1000) != [.land] {}
    #expect(desk.handle(.ended(.committed)).contains(.acquire([a])))
  }

  @Test func aRunThatIsToEndEndsWhenAPartitionStops() {
    var desk = Desk { $0.hasGoal = true }
    #expect(desk.tick() == [.lookForGoal])
    desk.begin(a)
    #expect(lacks(&desk).last == .fail(text(10, 50)))
    #expect(desk.landing.isOver)
  }
}
