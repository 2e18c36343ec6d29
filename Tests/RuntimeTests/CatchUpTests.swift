import Aggregation
import Testing

@testable import Runtime

@Suite struct CatchUpTests {
  @Test func everyPartitionHasToReachItsEnd() {
    let a = PartitionID(topic: "t", partition: 0), b = PartitionID(topic: "t", partition: 1), empty = PartitionID(topic: "t", partition: 2)
    let goal = CatchUpGoal(ends: [a: Offset(10), b: Offset(5), empty: Offset(0)])
    #expect(!goal.isReached([:]))
    #expect(!goal.isReached([a: Offset(10)]))
    #expect(!goal.isReached([a: Offset(10), b: Offset(4)]))
    #expect(goal.isReached([a: Offset(11), b: Offset(5)]))
  }

  @Test func aMailboxGivesInOrderAndEnds() {
    let mailbox = Mailbox<Int>()
    mailbox.post(1)
    mailbox.post(2)
    #expect(mailbox.depth == 2)
    #expect(mailbox.takeAll(waiting: 0) == [1, 2])
    #expect(mailbox.takeAll(waiting: 0) == [])
    mailbox.post(3)
    mailbox.close()
    #expect(mailbox.takeAll(waiting: 0) == [3])
    #expect(mailbox.takeAll(waiting: 0) == nil)
  }
}
