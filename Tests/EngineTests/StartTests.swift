import Aggregation
import Engine
import Testing

/// A partition that is taken over anew is fetched already, from somewhere else: nothing of that is taken for what comes next.
@Suite struct StartTests {
  let id = PartitionID(topic: "t", partition: 0)
  let tests = InstanceTests()

  /// Assigned, fenced at 5, and acquired under epoch 2 with `next`; returns the number of the start.
  private func fencedAndBack(_ instance: Instance, next: Int64 = 0) throws -> UInt64 {
    tests.start(instance, [id])
    let request = try #require(tests.flush(in: tests.feed(instance, id, 0..<5, now: 1)))
    _ = instance.handle(.flushFinished(request.id, .fenced([id])), now: 2)
    _ = instance.handle(.tick, now: 3)
    #expect(tests.acquires(instance.handle(.tick, now: 60_000)))
    return try #require(number(instance.handle(.acquired(tests.acquired(id, epoch: 2, next: next), local: nil), now: 60_001), Offset(next)))
  }

  private func number(_ effects: [Effect], _ offset: Offset) -> UInt64? {
    for case .start(id, offset, let number) in effects { return number }
    return nil
  }

  @Test func whatWasFetchedBeforeAStartIsNotTakenForWhatComesNext() throws {
    let instance = tests.instance()
    let number = try fencedAndBack(instance)
    // Behind the end of another fetch: folded, it would book 0 to 4 as a gap.
    _ = tests.feed(instance, id, 5..<9, now: 60_002)
    _ = instance.handle(.endOfPartition(id, Offset(9)), now: 60_002)
    #expect(instance.nextOffset(of: id) == Offset(0))
    _ = instance.handle(.started(id, number: number), now: 60_003)
    let request = try #require(tests.flush(in: tests.feed(instance, id, 0..<9, now: 70_000)))
    #expect(request.parts[0].delta.ledger.applied == 9)
    #expect(request.parts[0].delta.ledger.gap == 0)
  }

  @Test func anOffsetThatIsGoneBeforeAStartStopsNothing() throws {
    let instance = tests.instance()
    _ = try fencedAndBack(instance)
    let effects = instance.handle(.offsetOutOfRange(id, "offset out of range"), now: 60_002)
    #expect(!effects.contains { if case .alert = $0 { true } else { false } })
  }

  @Test func aStartThatFailsIsTriedAgain() throws {
    let instance = tests.instance()
    let first = try fencedAndBack(instance)
    let failed = instance.handle(.startFailed(id, number: first, "t/0 is not read yet: timed out"), now: 60_100)
    #expect(failed.contains { if case .say(.warning, "t/0 is not read yet: timed out; trying again") = $0 { true } else { false } })
    #expect(!tests.starts(instance.handle(.tick, now: 60_101)))
    #expect(instance.observe(memory: false).partitions.map(\.phase) == [.acquiring])
    let second = try #require(number(instance.handle(.tick, now: 61_000), Offset(0)))
    #expect(second > first)
    // An answer to the first one says nothing of the second.
    _ = instance.handle(.started(id, number: first), now: 61_001)
    _ = tests.feed(instance, id, 5..<9, now: 61_002)
    #expect(instance.nextOffset(of: id) == Offset(0))
    _ = instance.handle(.started(id, number: second), now: 61_003)
    _ = tests.feed(instance, id, 0..<9, now: 61_004)
    #expect(instance.nextOffset(of: id) == Offset(9))
    #expect(!tests.starts(instance.handle(.tick, now: 90_000)))
    #expect(instance.observe(memory: false).partitions.map(\.phase) == [.running])
  }

  /// 0.2 s at first, 5 s at most, each up to twice that.
  @Test func aStartThatGoesOnFailingIsTriedLessAndLessOftenAndSaidNowAndThen() throws {
    let instance = tests.instance()
    var number = try fencedAndBack(instance)
    var now: Milliseconds = 61_000, waits: [Milliseconds] = [], said = 0
    for _ in 0..<20 {
      let failed = instance.handle(.startFailed(id, number: number, "no"), now: now)
      said += failed.count { if case .say(.warning, _) = $0 { true } else { false } }
      let begin = now
      var next: UInt64?
      while next == nil, now < begin + 20_000 {
        now += 100
        next = self.number(instance.handle(.tick, now: now), Offset(0))
      }
      number = try #require(next)
      waits.append(now - begin)
    }
    #expect(waits[0] <= 500)
    #expect(waits.allSatisfy { $0 <= 10_100 })
    #expect(waits.suffix(5).allSatisfy { $0 >= 5000 })
    #expect(said == 2)
  }

  @Test func aPartitionThatGoesMeanwhileIsNotStartedAgain() throws {
    let instance = tests.instance()
    let number = try fencedAndBack(instance)
    _ = instance.handle(.startFailed(id, number: number, "no"), now: 60_100)
    _ = instance.handle(.revoked([id]), now: 60_101)
    #expect(!tests.starts(instance.handle(.tick, now: 90_000)))
    _ = instance.handle(.startFailed(id, number: number, "no"), now: 90_001)
    _ = instance.handle(.started(id, number: number), now: 90_002)
  }

  /// A start resumes the partition at the consumer.
  @Test func aStartThatIsTriedAgainWhileEverythingIsPausedIsFollowedByAPause() throws {
    let instance = tests.instance()
    let first = try fencedAndBack(instance)
    _ = instance.handle(.journalBlocked("no space left on device"), now: 60_002)
    _ = instance.handle(.startFailed(id, number: first, "no"), now: 60_100)
    let effects = instance.handle(.tick, now: 61_000)
    let start = try #require(effects.firstIndex { if case .start = $0 { true } else { false } })
    #expect(effects[start...].contains { if case .pause([id]) = $0 { true } else { false } })
  }
}
