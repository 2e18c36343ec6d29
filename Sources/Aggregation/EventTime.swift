/// A moment of event time: microseconds since 1970-01-01T00:00:00Z, the resolution of PostgreSQL's `timestamptz`.
public struct EventTime: Hashable, Comparable, Sendable {
  public var microseconds: Int64
  @inlinable public init(microseconds: Int64) { self.microseconds = microseconds }
  /// The moment of a Kafka record's timestamp, milliseconds since the epoch. nil: it has none (-1), or one so far off that
  /// 64 bits of microseconds do not hold it: producers set what they like.
  @inlinable public init?(recordTimestamp milliseconds: Int64) {
    let (microseconds, overflow) = milliseconds.multipliedReportingOverflow(by: 1000)
    guard milliseconds >= 0, !overflow else { return nil }
    self.microseconds = microseconds
  }
  @inlinable public static func < (a: EventTime, b: EventTime) -> Bool { a.microseconds < b.microseconds }
  /// Whole seconds since the epoch, rounded down. O(1).
  @inlinable public var seconds: Int64 {
    microseconds >= 0 ? microseconds / 1_000_000 : (microseconds - 999_999) / 1_000_000
  }
}

/// The NEXT offset to read of a partition: everything below it is accounted for.
public struct Offset: Hashable, Comparable, Sendable {
  public var value: Int64
  @inlinable public init(_ value: Int64) { self.value = value }
  @inlinable public static func < (a: Offset, b: Offset) -> Bool { a.value < b.value }
}

/// The fencing number of a partition's ownership; raised by one whenever an instance is assigned the partition.
public struct Epoch: Hashable, Comparable, Sendable {
  public var value: Int64
  @inlinable public init(_ value: Int64) { self.value = value }
  @inlinable public static func < (a: Epoch, b: Epoch) -> Bool { a.value < b.value }
}

/// One partition of one topic.
public struct PartitionID: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var topic: String
  public var partition: Int32
  public init(topic: String, partition: Int32) { self.topic = topic; self.partition = partition }
  public static func < (a: PartitionID, b: PartitionID) -> Bool {
    a.topic == b.topic ? a.partition < b.partition : a.topic < b.topic
  }
  /// `topic/partition`, as every message of Tidemark names it.
  public var description: String { "\(topic)/\(partition)" }
}
