import Aggregation

/// Position of a record in the log: 1 for the first, then one more for each.
struct LogSequenceNumber: Hashable, Comparable, Sendable {
  var value: UInt64
  init(_ value: UInt64) { self.value = value }
  static func < (a: LogSequenceNumber, b: LogSequenceNumber) -> Bool { a.value < b.value }
  var next: LogSequenceNumber { LogSequenceNumber(value + 1) }
}

/// The snapshot file that a record refers to.
struct SnapshotReference: Equatable, Sendable {
  /// The file's number, which is its name.
  var id: UInt64
  var flushed: Offset
  /// Length and checksum of the state in it.
  var bytes: UInt64
  var checksum: UInt32
}

/// What the log says, without the Deltas' bytes. What it means is `LogIndex.apply`'s business.
enum LogRecord: Equatable, Sendable {
  /// First record of every segment: all partitions, as they are there.
  case roster([RosterLine])
  case opened(PartitionID, Epoch, Offset)
  /// An encoded Delta that continues the partition's chain at `from`.
  case delta(PartitionID, from: Offset, to: Offset)
  /// A Delta written before, copied from a segment that is about to go.
  case carried(PartitionID, from: Offset, to: Offset)
  case flushed(PartitionID, Offset)
  case dropped(PartitionID)
  case snapshot(PartitionID, SnapshotReference)
}

/// A partition in a roster.
struct RosterLine: Equatable, Sendable {
  var partition: PartitionID
  var epoch: Epoch
  var base: Offset
  var end: Offset
  var flushed: Offset
  var snapshot: SnapshotReference?
}

/// The part of a record's body before the Delta's bytes: integers little endian, texts after their length.
extension LogRecord {
  /// The type byte in the frame. Numbers never change their meaning.
  var kind: UInt8 {
    switch self {
    case .roster: 1
    case .opened: 2
    case .delta: 3
    case .carried: 4
    case .flushed: 5
    case .dropped: 6
    case .snapshot: 7
    }
  }

  static let kinds: ClosedRange<UInt8> = 1...7

  /// - Complexity: O(size).
  func encoded() -> [UInt8] {
    var out = FieldWriter()
    switch self {
    case .roster(let lines):
      out.fixed(UInt32(lines.count))
      for line in lines {
        out.partition(line.partition)
        out.fixed(line.epoch.value)
        out.fixed(line.base.value)
        out.fixed(line.end.value)
        out.fixed(line.flushed.value)
        out.fixed(UInt8(line.snapshot == nil ? 0 : 1))
        if let snapshot = line.snapshot { out.snapshot(snapshot) }
      }
    case .opened(let partition, let epoch, let offset):
      out.partition(partition)
      out.fixed(epoch.value)
      out.fixed(offset.value)
    case .delta(let partition, let from, let to), .carried(let partition, let from, let to):
      out.partition(partition)
      out.fixed(from.value)
      out.fixed(to.value)
    case .flushed(let partition, let offset):
      out.partition(partition)
      out.fixed(offset.value)
    case .dropped(let partition):
      out.partition(partition)
    case .snapshot(let partition, let reference):
      out.partition(partition)
      out.snapshot(reference)
    }
    return out.bytes
  }

  /// The record in `bytes[range]` and where the Delta's bytes begin; nil for what `encoded` cannot have made.
  static func decode(kind: UInt8, _ bytes: [UInt8], _ range: Range<Int>) -> (record: LogRecord, payload: Int)? {
    var input = FieldReader(bytes, range)
    guard let record = read(kind, &input) else { return nil }
    switch record {
    case .delta, .carried: return (record, input.at)
    default: return input.at == range.upperBound ? (record, input.at) : nil
    }
  }

  private static func read(_ kind: UInt8, _ input: inout FieldReader) -> LogRecord? {
    if kind == 1 {
      guard let count = input.fixed(UInt32.self) else { return nil }
      var lines: [RosterLine] = []
      for _ in 0..<count {
        guard let line = readLine(&input) else { return nil }
        lines.append(line)
      }
      return .roster(lines)
    }
    guard let partition = input.partition() else { return nil }
    switch kind {
    case 2:
      guard let epoch = input.fixed(Int64.self), let offset = input.fixed(Int64.self) else { return nil }
      return .opened(partition, Epoch(epoch), Offset(offset))
    case 3, 4:
      guard let from = input.fixed(Int64.self), let to = input.fixed(Int64.self) else { return nil }
      return kind == 3
        ? .delta(partition, from: Offset(from), to: Offset(to)) : .carried(partition, from: Offset(from), to: Offset(to))
    case 5: return input.fixed(Int64.self).map { .flushed(partition, Offset($0)) }
    case 6: return .dropped(partition)
    case 7: return input.snapshot().map { .snapshot(partition, $0) }
    default: return nil
    }
  }

  private static func readLine(_ input: inout FieldReader) -> RosterLine? {
    guard let partition = input.partition(), let epoch = input.fixed(Int64.self), let base = input.fixed(Int64.self),
      let end = input.fixed(Int64.self), let flushed = input.fixed(Int64.self), let flag = input.fixed(UInt8.self)
    else { return nil }
    var line = RosterLine(
      partition: partition, epoch: Epoch(epoch), base: Offset(base), end: Offset(end), flushed: Offset(flushed), snapshot: nil)
    if flag == 1 {
      guard let snapshot = input.snapshot() else { return nil }
      line.snapshot = snapshot
    }
    return line
  }
}
