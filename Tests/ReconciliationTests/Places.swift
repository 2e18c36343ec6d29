import Aggregation

@testable import Reconciliation

extension Difference {
  static let testPartition = PartitionID(topic: "t", partition: 0)
}
