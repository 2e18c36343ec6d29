import Aggregation
import Engine
import Foundation
import Kafka

/// The ends of all partitions now; topics that do not exist yet are waited for. nil: told to end meanwhile.
func endOffsets(_ topics: [String], _ kafka: KafkaSettings, shouldEnd: () -> Bool, _ say: (Severity, String) -> Void) throws -> CatchUpGoal? {
  let metadata = try ClusterMetadata(kafka)
  var ends: [PartitionID: Offset] = [:]
  for topic in topics {
    var count: Int?
    var said = false
    while count == nil {
      if shouldEnd() { return nil }
      count = try metadata.partitionCount(topic)
      if count == nil {
        if !said { say(.warning, "topic \(topic) does not exist yet: waiting for it") }
        said = true
        Thread.sleep(forTimeInterval: 0.5)
      }
    }
    for partition in 0..<Int32(count ?? 0) {
      ends[PartitionID(topic: topic, partition: partition)] = Offset(try metadata.watermarks(TopicPartition(topic: topic, partition: partition)).high)
    }
  }
  return CatchUpGoal(ends: ends)
}
