import Aggregation

// What the threads of an instance say to each other. The runtime sends it through mailboxes between real threads, the
// simulator through queues in virtual time.

/// What the store's thread is asked for; it answers in the order of asking.
public enum StoreRequest: Sendable {
  case acquire([PartitionID])
  case flush(FlushRequest)
  case resolve(FlushRequest)
  case release(PartitionID, Epoch)
  case compact(PartitionID, Epoch)
  /// Kept only while the partition is under that epoch.
  case alert(PartitionID, Epoch, kind: String, String)
}

/// What the worker's thread asks the polling thread for.
public enum ConsumerCommand: Sendable {
  /// What follows knows of the assignment of these.
  case heard([PartitionID])
  case start(PartitionID, Offset)
  case release(PartitionID)
  case pause([PartitionID])
  case resume([PartitionID])
  case acknowledge([PartitionID: Offset])
  case drained
  case failed(RunEnd)
}

/// Why a run cannot go on.
public enum RunEnd: Error, Sendable, Equatable {
  /// An operator has to act; the text says how.
  case refused(String)
  /// This machine has a trouble that may pass (its disk): worth starting again.
  case again(String)
}

/// What the polling thread does to the consumer, in this order; after a call that fails the rest of its list is left out.
public enum ConsumerCall: Sendable, Equatable {
  /// Partitions that are fetched as well, each with the offset to begin at; an assignment of the group is answered by it.
  case assign([PartitionID: Int64])
  case unassign([PartitionID])
  case pause([PartitionID])
  case resume([PartitionID])
  case seek(PartitionID, Int64)
  case acknowledge([PartitionID: Offset])
  /// Nothing more is polled; nil: in order.
  case end(RunEnd?)
}

extension Rebalance {
  /// What a command of the worker makes of the consumer.
  public mutating func calls(for command: ConsumerCommand) -> [ConsumerCall] {
    switch command {
    case .heard(let ids):
      heard(ids)
      return []
    case .start(let id, let offset): return calls(for: start(id, offset.value))
    case .release(let id): return calls(for: release(id))
    case .pause(let ids): return [.pause(ids)]
    case .resume(let ids): return [.resume(ids)]
    case .acknowledge(let offsets): return [.acknowledge(offsets)]
    case .drained: return [.end(nil)]
    case .failed(let reason): return [.end(reason)]
    }
  }

  /// What an answer to the group makes of the consumer.
  public mutating func calls(for answer: Answer?) -> [ConsumerCall] {
    switch answer {
    case nil: return []
    case .assign(let partitions): return [.assign(partitions)]
    case .unassign(let partitions): return [.unassign(partitions)]
    case .seek(let id, let offset): return [.seek(id, offset), .resume([id])]
    }
  }
}
