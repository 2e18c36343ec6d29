import Aggregation
import Decoding
import Engine
import Testing

extension Instance {
  /// Takes an event; what it starts is started at once.
  func take(_ event: InstanceEvent, now: Milliseconds) -> [Effect] {
    var effects = handle(event, now: now)
    for case .start(let id, _, let number) in effects { effects += handle(.started(id, number: number), now: now) }
    return effects
  }
}

/// The engine with no world around it: events in, effects compared.
@Suite struct InstanceTests {
  let id = PartitionID(topic: "t", partition: 0)
  let other = PartitionID(topic: "t", partition: 1)

  static let plan = Plan(
    topology: "test", fingerprint: "f", topics: ["t"], idPath: nil, timePath: ["at"], timeFormat: .epochSeconds,
    fields: [FieldPlan(name: "user", path: ["user"], kind: .string, presence: .required)], partitionKey: 0,
    aggregates: [
      AggregatePlan(
        name: "a", window: .tumbling(length: 60_000_000), by: [], filter: [],
        measures: [MeasurePlan(name: "n", kind: .count), MeasurePlan(name: "users", kind: .distinct(field: 0))], groupLimit: 10)
    ], allowedLateness: 3_600_000_000, deduplicateWithin: nil, maxFutureSkew: 300_000_000)

  func instance(_ change: (inout InstanceLimits) -> Void = { _ in }) -> Instance {
    var limits = InstanceLimits()
    change(&limits)
    return Instance(plan: Self.plan, seed: 1, limits: limits, dice: 1)
  }

  func acquired(_ id: PartitionID, epoch: Int64 = 1, next: Int64 = 0, chunks: [[UInt8]] = []) -> AcquiredPartition {
    AcquiredPartition(
      partition: id, epoch: Epoch(epoch), previousEpoch: Epoch(epoch - 1), nextOffset: Offset(next), watermark: nil, chunks: chunks,
      horizon: nil)
  }

  func feed(_ instance: Instance, _ id: PartitionID, _ offsets: Range<Int64>, now: Milliseconds) -> [Effect] {
    let messages = offsets.map {
      RecordBuffer.Message(offset: $0, timestamp: 1_700_000_000_000, key: Array("u".utf8), payload: Array("{\"at\":1700000000,\"user\":\"u\($0)\"}".utf8))
    }
    return RecordBuffer(messages).withRecords { instance.handle(.records(id, $0), now: now) }
  }

  func starts(_ effects: [Effect]) -> Bool { effects.contains { if case .start = $0 { true } else { false } } }

  func flush(in effects: [Effect]) -> FlushRequest? {
    for case .flush(let request) in effects { return request }
    return nil
  }

  func start(_ instance: Instance, _ partitions: [PartitionID]) {
    _ = instance.handle(.assigned(partitions), now: 0)
    for p in partitions { _ = instance.take(.acquired(acquired(p), local: nil), now: 0) }
  }

  @Test func anAcquiredPartitionStartsAtPostgreSQLsOffset() {
    let instance = instance()
    let first = instance.handle(.assigned([id]), now: 0)
    guard case .acquire([id])? = first.last else { Issue.record("no acquire: \(first)"); return }
    let effects = instance.take(.acquired(acquired(id, next: 77), local: nil), now: 1)
    #expect(effects.contains { if case .start(id, Offset(77), _) = $0 { true } else { false } })
  }

  @Test func aRetryWritesWhatTheFirstAttemptWouldHaveWritten() throws {
    let instance = instance()
    start(instance, [id])
    let request = try #require(flush(in: feed(instance, id, 0..<10, now: 10)))
    #expect(request.parts[0].delta.ledger.applied == 10)
    #expect(flush(in: feed(instance, id, 10..<15, now: 2000)) == nil)
    _ = instance.handle(.flushFinished(request.id, .failed("deadlock detected")), now: 2001)
    let again = try #require(flush(in: instance.handle(.tick, now: 20_000)))
    #expect(again == request)
    let next = try #require(flush(in: instance.handle(.flushFinished(request.id, .committed), now: 20_001)))
    #expect(next.parts[0].delta.from == Offset(10) && next.parts[0].delta.to == Offset(15))
  }

  @Test func anUnknownCommitIsResolvedBeforeAnythingElseIsWritten() throws {
    let instance = instance()
    start(instance, [id])
    let request = try #require(flush(in: feed(instance, id, 0..<10, now: 10)))
    _ = instance.handle(.flushFinished(request.id, .unknown("connection reset")), now: 20)
    let effects = feed(instance, id, 10..<20, now: 10_000)
    #expect(flush(in: effects) == nil)
    #expect(effects.contains { if case .resolve(request) = $0 { true } else { false } })
    let next = try #require(flush(in: instance.handle(.flushFinished(request.id, .committed), now: 10_001)))
    #expect(next.parts[0].delta.from == Offset(10))
  }

  /// PostgreSQL may be silent: then a drain ends when its time is up, not when the statement's is.
  /// What is revoked as well gets no more time by that, whichever comes first.
  @Test(arguments: [(Milliseconds(2000), Milliseconds(6000), Milliseconds(8000)), (6000, 2000, 10_000), (1000, 4000, 7000), (4000, 1000, 9000)])
  func aDrainWaitsForAFlushUnderWayOnlyAsLongAsItsTime(drain: Milliseconds, revoked: Milliseconds, end: Milliseconds) throws {
    let instance = instance { ($0.drainTime, $0.endTime) = (8000, 6000) }
    start(instance, [id])
    let request = try #require(flush(in: feed(instance, id, 0..<10, now: 0)))
    var effects: [Effect] = []
    for now in [drain, revoked].sorted() { effects += instance.handle(now == drain ? .drain : .revoked([id]), now: now) }
    func isOver() -> Bool { effects.contains { if case .drained = $0 { true } else { false } } }
    #expect(!isOver())
    effects = instance.handle(.tick, now: end - 1)
    #expect(!isOver())
    effects = instance.handle(.tick, now: end)
    #expect(isOver())
    #expect(effects.contains { if case .release(id, Epoch(1)) = $0 { true } else { false } })
    // Its end does not matter any more.
    effects = instance.handle(.flushFinished(request.id, .committed), now: 60_000)
    #expect(!isOver())
  }

  /// PostgreSQL may stay away after a COMMIT without an answer: it is asked again and again, more and more rarely, and not
  /// every attempt is worth a line.
  @Test func anUnknownCommitIsAskedForPatientlyWhilePostgreSQLIsAway() throws {
    let instance = instance()
    start(instance, [id])
    let request = try #require(flush(in: feed(instance, id, 0..<10, now: 0)))
    var effects = instance.handle(.flushFinished(request.id, .unknown("connection reset")), now: 0)
    var (resolves, warnings) = ([Milliseconds](), 0)
    for now in stride(from: Milliseconds(0), to: 600_000, by: 10) {
      effects += instance.handle(.tick, now: now)
      if effects.contains(where: { if case .resolve = $0 { true } else { false } }) {
        resolves.append(now)
        effects += instance.handle(.flushFinished(request.id, .unknown("connection refused")), now: now)
      }
      warnings += effects.count { if case .say(.warning, _) = $0 { true } else { false } }
      effects = []
    }
    #expect((60...150).contains(resolves.count), "\(resolves.count) attempts in ten minutes")
    #expect((2...20).contains(warnings), "\(warnings) warnings in ten minutes")
    #expect(resolves[0] <= 200 && resolves[1] <= 600)
    #expect(zip(resolves, resolves.dropFirst()).allSatisfy { $1 - $0 <= 10_010 })
    #expect(instance.handle(.flushFinished(request.id, .committed), now: 600_000).contains { if case .acknowledge = $0 { true } else { false } })
  }

  @Test func aFencedPartitionIsDroppedAndTheRestOfItsFlushGoesOn() throws {
    let instance = instance { $0.flushInterval = 1000 }
    start(instance, [id, other])
    let first = try #require(flush(in: feed(instance, id, 0..<5, now: 10)))
    _ = feed(instance, id, 5..<9, now: 20)
    _ = feed(instance, other, 0..<5, now: 30)
    _ = instance.handle(.flushFinished(first.id, .committed), now: 40)
    let both = try #require(flush(in: instance.handle(.tick, now: 2000)))
    #expect(both.parts.map(\.partition) == [id, other])
    let effects = instance.handle(.flushFinished(both.id, .fenced([id])), now: 2010)
    let rest = try #require(flush(in: effects))
    #expect(rest.parts == [both.parts[1]])
    #expect(flush(in: feed(instance, id, 9..<20, now: 9000)) == nil)
    #expect(instance.statistics.fenced == 1)
  }

  /// A zombie may wake up in the middle of taking partitions over, and fence their owner. The owner takes them back soon,
  /// more patiently each time: the zombie is to hear first that it has lost them.
  @Test func aFencedPartitionThatIsStillAssignedIsTakenBackSoonAndThenMorePatiently() throws {
    let instance = instance { $0.flushInterval = 100; $0.reacquireAfter = 30_000; $0.reacquireFencedAfter = 5000 }
    start(instance, [id])
    var now: Milliseconds = 10
    var next: Int64 = 0
    /// Milliseconds from a fence to the acquisition that follows it.
    func fenced(epoch: Int64) throws -> Milliseconds {
      let request = try #require(flush(in: feed(instance, id, next..<(next + 5), now: now)))
      _ = instance.handle(.flushFinished(request.id, .fenced([id])), now: now)
      let begin = now
      while now < begin + 100_000 {
        now += 100
        if instance.handle(.tick, now: now).contains(where: { if case .acquire([id]) = $0 { true } else { false } }) {
          _ = instance.take(.acquired(acquired(id, epoch: epoch, next: next), local: nil), now: now)
          return now - begin
        }
      }
      return now - begin
    }
    #expect((5000...10_100).contains(try fenced(epoch: 3)))
    #expect((10_000...20_100).contains(try fenced(epoch: 5)))
    #expect((20_000...40_100).contains(try fenced(epoch: 7)))
    #expect((30_000...60_100).contains(try fenced(epoch: 9)))
    now += 200
    let good = try #require(flush(in: feed(instance, id, next..<(next + 5), now: now)))
    _ = instance.handle(.flushFinished(good.id, .committed), now: now)
    (now, next) = (now + 200, next + 5)
    #expect((5000...10_100).contains(try fenced(epoch: 11)))
  }

  @Test func partitionsPauseOverTheBudgetAndNothingIsDropped() throws {
    let instance = instance { $0.pendingBytes = 20_000; $0.eagerFlushBytes = 10_000 }
    start(instance, [id])
    let request = try #require(flush(in: feed(instance, id, 0..<10, now: 10)))
    let effects = feed(instance, id, 10..<5000, now: 20)
    #expect(effects.contains { if case .pause([id]) = $0 { true } else { false } })
    let next = try #require(flush(in: instance.handle(.flushFinished(request.id, .committed), now: 30)))
    #expect(next.parts[0].delta.ledger.applied == 4990)
    let after = instance.handle(.flushFinished(next.id, .committed), now: 40)
    #expect(after.contains { if case .resume([id]) = $0 { true } else { false } })
  }

  @Test func aRevokedPartitionIsGivenUpAfterItsLastFlush() throws {
    let instance = instance()
    start(instance, [id])
    let request = try #require(flush(in: feed(instance, id, 0..<5, now: 10)))
    let revoked = instance.handle(.revoked([id]), now: 20)
    #expect(!revoked.contains { if case .release = $0 { true } else { false } })
    let done = instance.handle(.flushFinished(request.id, .committed), now: 30)
    #expect(done.contains { if case .release(id, Epoch(1)) = $0 { true } else { false } })
  }

  @Test(arguments: [(1, true), (0, false), (2, false)] as [(Int64, Bool)])
  func aLocalJournalIsUsedOnlyUnderTheEpochBefore(epoch: Int64, used: Bool) throws {
    let writer = instance()
    start(writer, [id])
    var deltas: [[UInt8]] = []
    for range in [0..<5, 5..<9] as [Range<Int64>] {
      for case .journal(.delta(_, _, _, let bytes)) in feed(writer, id, range, now: 1) { deltas.append(bytes) }
    }
    #expect(deltas.count == 2)
    let reader = instance()
    _ = reader.handle(.assigned([id]), now: 0)
    let effects = reader.handle(
      .acquired(acquired(id, epoch: 2, next: 5), local: LocalState(epoch: Epoch(epoch), snapshot: nil, deltas: deltas)), now: 0)
    #expect(effects.contains { if case .start(id, Offset(used ? 9 : 5), _) = $0 { true } else { false } })
    if used { #expect(flush(in: effects)?.parts[0].delta.ledger.applied == 4) } else { #expect(flush(in: effects) == nil) }
  }

  @Test func anOffsetThatIsGoneStopsThePartitionWithAnAlert() {
    let instance = instance()
    start(instance, [id])
    let effects = instance.handle(.offsetOutOfRange(id, "offset out of range"), now: 5)
    #expect(effects.contains { if case .alert(id, Epoch(1), kind: "offset_out_of_range", stops: true, _) = $0 { true } else { false } })
    #expect(flush(in: feed(instance, id, 90..<99, now: 5000)) == nil)
  }

  @Test func aTopicThatEndsBelowWhatWasConsumedStopsThePartition() {
    let instance = instance()
    _ = instance.handle(.assigned([id]), now: 0)
    var partition = acquired(id, next: 1000)
    partition.horizon = DeduplicationHorizon(offset: Offset(300), watermark: nil)
    let started = instance.take(.acquired(partition, local: nil), now: 0)
    #expect(started.contains { if case .start(id, Offset(300), _) = $0 { true } else { false } })
    let effects = instance.handle(.endOfPartition(id, Offset(500)), now: 5)
    #expect(effects.contains { if case .alert(id, Epoch(1), kind: "topic_ends_early", stops: true, _) = $0 { true } else { false } })
  }

  @Test func aHorizonThatKafkaHoldsInPartIsRebuiltAsFarAsItGoesAndSaid() {
    let instance = instance()
    _ = instance.handle(.assigned([id]), now: 0)
    var partition = acquired(id, next: 1000)
    partition.horizon = DeduplicationHorizon(offset: Offset(300), watermark: nil)
    partition.beginning = Offset(700)
    let started = instance.take(.acquired(partition, local: nil), now: 0)
    #expect(started.contains { if case .start(id, Offset(700), _) = $0 { true } else { false } })
    #expect(started.contains { if case .alert(id, Epoch(1), kind: "horizon_incomplete", stops: false, _) = $0 { true } else { false } })
  }

  @Test func aStoppedPartitionIsTakenOverAnewAfterAWhile() {
    let instance = instance()
    start(instance, [id])
    _ = instance.handle(.offsetOutOfRange(id, "offset out of range"), now: 5)
    #expect(!instance.handle(.tick, now: 20_000).contains { if case .acquire = $0 { true } else { false } })
    #expect(instance.handle(.tick, now: 100_000).contains { if case .acquire([id]) = $0 { true } else { false } })
    // An operator has accepted the gap meanwhile.
    let effects = instance.take(.acquired(acquired(id, epoch: 3, next: 90), local: nil), now: 100_001)
    #expect(effects.contains { if case .start(id, Offset(90), _) = $0 { true } else { false } })
    #expect(flush(in: feed(instance, id, 90..<99, now: 200_000)) != nil)
  }

  /// Events wait for as long as a takeover takes: what is read up to the end is not kept for a flush interval more.
  @Test func aPartitionThatWasTakenOverIsFlushedAsSoonAsItsEndIsReached() throws {
    let instance = instance { $0.flushInterval = 1000 }
    start(instance, [id])
    let first = try #require(flush(in: feed(instance, id, 0..<10, now: 10)))
    #expect(flush(in: feed(instance, id, 10..<90, now: 20)) == nil)
    _ = instance.handle(.flushFinished(first.id, .committed), now: 30)
    #expect(flush(in: feed(instance, id, 90..<100, now: 40)) == nil)
    let second = try #require(flush(in: instance.handle(.endOfPartition(id, Offset(100)), now: 50)))
    #expect(second.parts[0].delta.to == Offset(100))
    _ = instance.handle(.flushFinished(second.id, .committed), now: 60)
    // From here on the interval holds.
    #expect(flush(in: feed(instance, id, 100..<110, now: 70)) == nil)
    #expect(flush(in: instance.handle(.endOfPartition(id, Offset(110)), now: 80)) == nil)
    #expect(flush(in: instance.handle(.tick, now: 1050)) != nil)
  }

  /// The end may be long in coming where events never cease; what has piled up is flushed a moment after it can be read.
  @Test func aPartitionThatWasTakenOverIsFlushedSoonAlsoWhereItsEndIsNotSeen() throws {
    let instance = instance { $0.flushInterval = 1000 }
    start(instance, [id])
    let first = try #require(flush(in: feed(instance, id, 0..<10, now: 1000)))
    _ = instance.handle(.flushFinished(first.id, .committed), now: 1010)
    _ = instance.handle(.assigned([other]), now: 1020)
    #expect(starts(instance.take(.acquired(acquired(other, next: 40), local: nil), now: 1030)))
    #expect(flush(in: feed(instance, other, 40..<90, now: 1100)) == nil)
    let soon = try #require(flush(in: feed(instance, other, 90..<200, now: 1200)))
    #expect(soon.parts.map(\.partition) == [other] && soon.parts[0].delta.to == Offset(200))
    _ = instance.handle(.flushFinished(soon.id, .committed), now: 1210)
    #expect(flush(in: feed(instance, other, 200..<300, now: 1500)) == nil)
    #expect(flush(in: instance.handle(.tick, now: 2200)) != nil)
  }

  @Test func aDrainingInstanceTakesNothingMore() {
    let instance = instance()
    start(instance, [id])
    #expect(instance.handle(.drain, now: 5).contains { if case .drained = $0 { true } else { false } })
    let effects = instance.handle(.assigned([other]), now: 6)
    #expect(!effects.contains { if case .acquire = $0 { true } else { false } })
  }

  func acquires(_ effects: [Effect]) -> Bool { effects.contains { if case .acquire = $0 { true } else { false } } }
  /// Two acquisitions raise the epoch twice, and the second fences the first: this very instance.
  @Test func aRetryFromBeforeAPartitionWasLostDoesNotAcquireItTwice() {
    let instance = instance()
    _ = instance.handle(.assigned([id]), now: 0)
    _ = instance.handle(.acquireFailed([id], "away"), now: 1)
    _ = instance.handle(.lost([id]), now: 2)
    #expect(acquires(instance.handle(.assigned([id]), now: 3)))
    #expect(!acquires(instance.handle(.tick, now: 60_000)))
  }

  @Test func theAnswerToAnEarlierAcquisitionIsNotTaken() {
    let instance = instance()
    _ = instance.handle(.assigned([id]), now: 0)
    _ = instance.handle(.lost([id]), now: 1)
    _ = instance.handle(.assigned([id]), now: 2)
    #expect(!starts(instance.take(.acquired(acquired(id, epoch: 1), local: nil), now: 3)))
    #expect(starts(instance.take(.acquired(acquired(id, epoch: 2), local: nil), now: 4)))
    let request = flush(in: feed(instance, id, 0..<5, now: 5))
    #expect(request?.parts[0].epoch == Epoch(2))
  }

  /// Given back at once, the acquisition still under way would raise the epoch above the next owner's and fence it.
  @Test func aRevokedPartitionWaitsForItsAcquisition() {
    let instance = instance()
    _ = instance.handle(.assigned([id, other]), now: 0)
    let revoked = instance.handle(.revoked([id, other]), now: 1)
    #expect(!revoked.contains { if case .release = $0 { true } else { false } })
    let answered = instance.take(.acquired(acquired(id, epoch: 7), local: nil), now: 2)
    #expect(!starts(answered))
    #expect(answered.contains { if case .release(id, Epoch(7)) = $0 { true } else { false } })
    let failed = instance.handle(.acquireFailed([other], "away"), now: 3)
    #expect(failed.contains { if case .release(other, nil) = $0 { true } else { false } })
    #expect(!acquires(instance.handle(.tick, now: 60_000)))
  }

  @Test func aRevokedPartitionDoesNotWaitForEver() {
    let instance = instance()
    _ = instance.handle(.assigned([id]), now: 0)
    _ = instance.handle(.revoked([id]), now: 1)
    #expect(instance.handle(.tick, now: 60_000).contains { if case .release(id, nil) = $0 { true } else { false } })
  }

  @Test func anOffsetThatIsGoneOfAPartitionThatIsNotFetchedChangesNothing() {
    let instance = instance()
    _ = instance.handle(.assigned([id]), now: 0)
    let effects = instance.handle(.offsetOutOfRange(id, "offset out of range"), now: 1)
    #expect(!effects.contains { if case .alert = $0 { true } else { false } })
    #expect(starts(instance.take(.acquired(acquired(id), local: nil), now: 2)))
  }

  /// Seeking resumes a partition, the disk is still full.
  @Test func aSeekWhileEverythingIsPausedIsFollowedByAPause() throws {
    let instance = instance()
    _ = instance.handle(.assigned([id]), now: 0)
    var partition = acquired(id, next: 1000)
    partition.horizon = DeduplicationHorizon(offset: Offset(300), watermark: nil)
    _ = instance.take(.acquired(partition, local: nil), now: 0)
    _ = instance.handle(.journalBlocked("no space left on device"), now: 1)
    let effects = instance.handle(.offsetOutOfRange(id, "offset out of range"), now: 2)
    let seek = try #require(effects.firstIndex { if case .start(id, Offset(1000), _) = $0 { true } else { false } })
    #expect(effects[seek...].contains { if case .pause([id]) = $0 { true } else { false } })
  }
}
