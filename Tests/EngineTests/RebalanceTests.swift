import Aggregation
import Engine
import Testing


/// Answers to the group, complete or not at all.
@Suite struct RebalanceTests {
  let a = PartitionID(topic: "t", partition: 0)
  let b = PartitionID(topic: "t", partition: 1)

  @Test func anAssignmentIsAnsweredOnceAllPartitionsAreDecided() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a, b]) == nil)
    rebalance.heard([a, b])
    #expect(rebalance.start(b, 7) == nil)
    #expect(rebalance.leaveOut(a) == .assign([a: Rebalance.leftOut, b: 7]))
    #expect(rebalance.start(a, 9) == .seek(a, 9))
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
    #expect(rebalance.assigned([a, b]) == nil)
    rebalance.heard([a, b])
    rebalance.lost([a, b])
    #expect(rebalance.leaveOut(a) == nil)
    #expect(rebalance.revoked([a]) == nil)
    rebalance.lost([a])
    #expect(rebalance.release(a) == nil)
  }

  @Test func aPartitionGivenUpBeforeItsAssignmentIsAnsweredIsLeftOut() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a, b]) == nil)
    rebalance.heard([a, b])
    #expect(rebalance.start(a, 3) == nil)
    #expect(rebalance.release(b) == .assign([a: 3, b: Rebalance.leftOut]))
  }

  /// A pause of what is not assigned yet has no effect: it is said again after the answer.
  @Test func aPauseOutlivesTheWaitForTheOtherPartitions() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a, b]) == nil)
    rebalance.heard([a, b])
    #expect(rebalance.start(a, 3) == nil)
    rebalance.pause([a])
    #expect(rebalance.start(b, 7) == .assign([a: 3, b: 7]))
    #expect(rebalance.takePaused() == [a])
    #expect(rebalance.takePaused() == [])
    rebalance.pause([a])
    #expect(rebalance.takePaused() == [])
  }

  @Test func aPauseOfALostAssignmentDoesNotReachTheNext() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a]) == nil)
    rebalance.heard([a])
    rebalance.pause([a])
    rebalance.lost([a])
    #expect(rebalance.assigned([a]) == nil)
    rebalance.heard([a])
    #expect(rebalance.start(a, 3) == .assign([a: 3]))
    #expect(rebalance.takePaused() == [])
  }

  /// An answer on its way when the partitions were lost does not answer the next assignment: fetching would begin where
  /// the engine does not expect it, and what is delivered meanwhile would look like a gap.
  @Test func whatTheEngineSaysBeforeItHasHeardOfAnAssignmentIsNotItsAnswer() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a]) == nil)
    rebalance.lost([a])
    #expect(rebalance.assigned([a]) == nil)
    #expect(rebalance.start(a, 3) == nil)
    rebalance.heard([a])
    #expect(rebalance.start(a, 3) == nil)
    #expect(rebalance.leaveOut(a) == nil)
    #expect(rebalance.release(a) == nil)
    rebalance.heard([a])
    #expect(rebalance.start(a, 9) == .assign([a: 9]))
  }

  /// Each worker of an instance hears of its own partitions; what one says does not wait for the others to hear.
  @Test func oneWorkersAnswerDoesNotWaitUntilAnotherHasHeard() {
    var rebalance = Rebalance()
    #expect(rebalance.assigned([a, b]) == nil)
    rebalance.heard([a])
    #expect(rebalance.start(a, 3) == nil)
    // Not heard of yet: an answer to an earlier assignment.
    #expect(rebalance.start(b, 5) == nil)
    rebalance.heard([b])
    #expect(rebalance.start(b, 7) == .assign([a: 3, b: 7]))
  }
}
