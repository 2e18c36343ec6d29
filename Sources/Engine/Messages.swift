import Aggregation

// What the threads of an instance say to each other. The runtime sends it through mailboxes between real threads, the
// simulator through queues in virtual time.

/// What the worker's thread is told; `Event` is what a poll finds.
public enum WorkerMessage<Event> {
  case consumer(Event)
  case acquired([AcquiredPartition])
  case acquireFailed([PartitionID], String)
  case acquireRefused(PartitionID, String)
  case started(PartitionID, number: UInt64)
  case startFailed(PartitionID, number: UInt64, String)
  case flushFinished(UInt64, FlushOutcome)
  case drain
}

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
  /// Answered by `started` or `startFailed`, behind what was fetched before it; not at all where an assignment that the worker
  /// has not heard of makes it void.
  case start(PartitionID, Offset, number: UInt64)
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
}

extension Rebalance {
  /// What carrying out a command came to.
  public enum Carried: Equatable {
    case done
    /// The start of that number; what is fetched from here on begins at its offset.
    case started(PartitionID, number: UInt64)
    case startFailed(PartitionID, number: UInt64, String)
    /// The consumer would not. The group changed its mind between question and answer: its next callback says how.
    case refused(String)
    /// Nothing more is polled; nil: in order.
    case ended(RunEnd?)
  }

  /// Carries out a command of the worker by calls to the consumer; after a call that fails the rest is left out.
  public mutating func carryOut(_ command: ConsumerCommand, by perform: (ConsumerCall) throws -> Void) -> Carried {
    switch command {
    case .heard(let ids):
      heard(ids)
      return .done
    case .start(let id, let offset, let number):
      guard let answer = start(id, offset.value) else { return .done }
      guard case .refused(let reason) = carryOut(answer, by: perform) else { return .started(id, number: number) }
      if case .assign = answer { notTaken(id) }
      return .startFailed(id, number: number, "\(id) is not read yet: \(reason)")
    case .release(let id): return carryOut(release(id), by: perform)
    case .pause(let ids): return Self.carryOut([.pause(ids)], by: perform)
    case .resume(let ids): return Self.carryOut([.resume(ids)], by: perform)
    case .acknowledge(let offsets): return Self.carryOut([.acknowledge(offsets)], by: perform)
    case .drained: return .ended(nil)
    case .failed(let reason): return .ended(reason)
    }
  }

  /// The same for an answer to the group.
  public func carryOut(_ answer: Answer?, by perform: (ConsumerCall) throws -> Void) -> Carried { Self.carryOut(calls(for: answer), by: perform) }

  private static func carryOut(_ calls: [ConsumerCall], by perform: (ConsumerCall) throws -> Void) -> Carried {
    do { for call in calls { try perform(call) } } catch { return .refused("\(error)") }
    return .done
  }

  /// What an answer to the group makes of the consumer.
  public func calls(for answer: Answer?) -> [ConsumerCall] {
    switch answer {
    case nil: return []
    case .assign(let partitions): return [.assign(partitions)]
    case .unassign(let partitions): return [.unassign(partitions)]
    case .seek(let id, let offset): return [.seek(id, offset), .resume([id])]
    }
  }
}
