import Engine
import Kafka
import Testing

@testable import Runtime

/// Which worker owns which partition, and what each is told.
@Suite struct WorkersTests {
  private let partitions = (0..<12).map { TopicPartition(topic: "product.events", partition: Int32($0)) }

  @Test(arguments: 1...8) func aTopicsPartitionsAreSharedEvenly(count: Int) {
    var owned = Array(repeating: 0, count: count)
    for at in partitions { owned[Workers.owner(of: at, among: count)] += 1 }
    #expect(owned.max()! - owned.min()! <= 1)
  }

  @Test func topicsOfOnePartitionAreSpread() {
    let owners = Set((0..<40).map { Workers.owner(of: TopicPartition(topic: "topic.\($0)", partition: 0), among: 4) })
    #expect(owners.count == 4)
  }

  @Test func everyPartitionIsToldOnceAndToItsOwner() {
    let inboxes = (0..<3).map { _ in WorkerInbox() }
    let workers = Workers(inboxes)
    workers.post(partitions) { .assigned($0) }
    workers.post([partitions[0]]) { .revoked($0) }
    var told: [TopicPartition: Int] = [:]
    for (number, inbox) in inboxes.enumerated() {
      let messages = inbox.takeAll(waiting: 0) ?? []
      let isOwner = Workers.owner(of: partitions[0], among: 3) == number
      #expect(messages.count == (isOwner ? 2 : 1))
      for case .consumer(.assigned(let own)) in messages {
        for at in own {
          #expect(Workers.owner(of: at, among: 3) == number)
          told[at, default: 0] += 1
        }
      }
    }
    #expect(told.count == 12 && told.values.allSatisfy { $0 == 1 })
  }
}
