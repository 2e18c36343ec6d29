import Aggregation

/// Writes little-endian integers and texts into one growing buffer.
struct FieldWriter {
  var bytes: [UInt8] = []

  mutating func fixed<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  /// A text of at most 65,535 bytes; Kafka's topic names have at most 249.
  mutating func text(_ text: String) {
    fixed(UInt16(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  mutating func partition(_ id: PartitionID) {
    text(id.topic)
    fixed(id.partition)
  }

  mutating func snapshot(_ reference: SnapshotReference) {
    fixed(reference.id)
    fixed(reference.flushed.value)
    fixed(reference.bytes)
    fixed(reference.checksum)
  }
}

/// Reads them back; nil where the range ends too early.
struct FieldReader {
  private let bytes: [UInt8]
  private let end: Int
  private(set) var at: Int

  init(_ bytes: [UInt8], _ range: Range<Int>) {
    self.bytes = bytes
    at = range.lowerBound
    end = min(range.upperBound, bytes.count)
  }

  mutating func fixed<T: FixedWidthInteger>(_: T.Type) -> T? {
    guard end - at >= MemoryLayout<T>.size else { return nil }
    defer { at += MemoryLayout<T>.size }
    return load(T.self, bytes, at)
  }

  mutating func text() -> String? {
    guard let length = fixed(UInt16.self), end - at >= Int(length) else { return nil }
    defer { at += Int(length) }
    return String(decoding: bytes[at..<at + Int(length)], as: UTF8.self)
  }

  mutating func partition() -> PartitionID? {
    guard let topic = text(), let number = fixed(Int32.self) else { return nil }
    return PartitionID(topic: topic, partition: number)
  }

  mutating func snapshot() -> SnapshotReference? {
    guard let id = fixed(UInt64.self), let flushed = fixed(Int64.self), let length = fixed(UInt64.self),
      let checksum = fixed(UInt32.self)
    else { return nil }
    return SnapshotReference(id: id, flushed: Offset(flushed), bytes: length, checksum: checksum)
  }
}

/// A little-endian integer; traps outside of the array.
@inline(__always) func load<T: FixedWidthInteger>(_: T.Type, _ bytes: [UInt8], _ at: Int) -> T {
  bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: at, as: T.self)) }
}
