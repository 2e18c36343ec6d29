import Aggregation
import Engine
import Testing

/// Answers to the group, and what is fetched when.
@Suite struct RebalanceTests {
  let a = PartitionID(topic: "t", partition: 0)
  let b = PartitionID(topic: "t", partition: 1)

  /// The partitions that are kept stand still until then, and so does the group's next change.
  @Test func anAssignmentIsAnsweredAtOnceAndFetchedWhenTheStoreHasSpoken() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a, b]) == .assign([:]))
    rebalance.heard([a, b])
    #expect(rebalance.start(b, 7) == .assign([b: 7]))
    // Much later, perhaps: PostgreSQL was away.
    #expect(rebalance.start(a, 9) == .assign([a: 9]))
    // Taken over anew: it is fetched already.
    #expect(rebalance.start(a, 5) == .seek(a, 5))
  }

  struct WouldNot: Error, CustomStringConvertible { var description: String { "would not" } }

  /// There is no second assignment of a partition that the group leaves where it is.
  @Test func whatTheConsumerWouldNotTakeIsAssignedByTheNextStart() {
    var rebalance = Rebalance()
    _ = rebalance.assigned([a])
    rebalance.heard([a])
    var calls: [ConsumerCall] = []
    #expect(
      rebalance.carryOut(.start(a, Offset(7), number: 1)) { _ in throw WouldNot() } == .startFailed(a, number: 1, "t/0 is not read yet: would not"))
    #expect(rebalance.carryOut(.start(a, Offset(7), number: 2)) { calls.append($0) } == .started(a, number: 2))
    #expect(rebalance.carryOut(.start(a, Offset(8), number: 3)) { calls.append($0) } == .started(a, number: 3))
    #expect(calls == [.assign([a: 7]), .seek(a, 8), .resume([a])])
  }

  /// Resumed, it would be fetched from where it stood.
  @Test func aPartitionThatCouldNotSeekIsNotResumed() {
    var rebalance = Rebalance()
    var calls: [ConsumerCall] = []
    let carried = rebalance.carryOut(.start(a, Offset(7), number: 1)) { call in
      calls.append(call)
      throw WouldNot()
    }
    #expect(carried == .startFailed(a, number: 1, "t/0 is not read yet: would not"))
    #expect(calls == [.seek(a, 7)])
  }

  @Test func whatAnotherCallIsRefusedIsSaid() {
    var rebalance = Rebalance()
    #expect(rebalance.carryOut(.pause([a])) { _ in throw WouldNot() } == .refused("would not"))
    #expect(rebalance.carryOut(.pause([a])) { _ in } == .done)
    #expect(rebalance.carryOut(.drained) { _ in throw WouldNot() } == .ended(nil))
    #expect(rebalance.carryOut(.failed(.again("disk"))) { _ in } == .ended(.again("disk")))
  }

  @Test func nothingIsAnsweredAtOnce() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([]) == .assign([:]))
    #expect(rebalance.revoked([]) == .unassign([]))
  }

  @Test func aRevocationWaitsForEveryRelease() {
    var rebalance = Rebalance()
    #expect(rebalance.revoked([a, b]) == nil)
    #expect(rebalance.release(b) == nil)
    #expect(rebalance.release(a) == .unassign([a, b]))
    #expect(rebalance.release(a) == nil)
  }

  @Test func lostPartitionsNeedNoAnswer() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a, b]) == .assign([:]))
    rebalance.heard([a, b])
    rebalance.lost([a, b])
    #expect(rebalance.revoked([a]) == nil)
    rebalance.lost([a])
    #expect(rebalance.release(a) == nil)
  }

  @Test func aPartitionGivenUpBeforeItIsFetchedIsNotAssignedLater() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a]) == .assign([:]))
    rebalance.heard([a])
    #expect(rebalance.revoked([a]) == nil)
    #expect(rebalance.release(a) == .unassign([a]))
    #expect(rebalance.start(a, 3) == .seek(a, 3))
  }

  /// An answer on its way when the partitions were lost does not answer the next assignment: fetching would begin where
  /// the engine does not expect it, and what is delivered meanwhile would look like a gap.
  @Test func whatTheEngineSaysBeforeItHasHeardOfAnAssignmentIsNotItsAnswer() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a]) == .assign([:]))
    rebalance.lost([a])
    #expect(rebalance.assigned([a]) == .assign([:]))
    #expect(rebalance.start(a, 3) == nil)
    rebalance.heard([a])
    #expect(rebalance.start(a, 3) == nil)
    #expect(rebalance.release(a) == nil)
    rebalance.heard([a])
    #expect(rebalance.start(a, 9) == .assign([a: 9]))
  }

  /// Each worker of an instance hears of its own partitions; what one says does not wait for the others to hear.
  @Test func oneWorkersAnswerDoesNotWaitUntilAnotherHasHeard() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a, b]) == .assign([:]))
    rebalance.heard([a])
    #expect(rebalance.start(a, 3) == .assign([a: 3]))
    // Not heard of yet: an answer to an earlier assignment.
    #expect(rebalance.start(b, 5) == nil)
    rebalance.heard([b])
    #expect(rebalance.start(b, 7) == .assign([b: 7]))
  }
}
