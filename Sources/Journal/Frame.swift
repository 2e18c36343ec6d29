/// A record's frame: `u32 CRC32C of all that follows, u32 length of the whole frame, u64 LSN, u64 synced, u8 type`, the body.
///
/// `synced` says what was durable when the record was written: every LSN below it.
struct Frame: Equatable {
  static let headSize = 25
  /// Largest frame: its length fits the field with room to spare.
  static let maxSize = 1 << 30

  var position: Int
  var length: Int
  var lsn: LogSequenceNumber
  var synced: LogSequenceNumber
  var kind: UInt8
  var body: Range<Int> { position + Frame.headSize..<position + length }

  /// The frame at `position` if it is whole, its checksum holds and its LSN is one of `expected`.
  /// - Complexity: O(length of the frame), O(1) where there is no such LSN.
  static func at(_ position: Int, in bytes: [UInt8], expected: ClosedRange<LogSequenceNumber>) -> Frame? {
    guard bytes.count - position >= headSize else { return nil }
    let lsn = LogSequenceNumber(load(UInt64.self, bytes, position + 8))
    guard expected.contains(lsn) else { return nil }
    let length = Int(load(UInt32.self, bytes, position + 4))
    guard length >= headSize, length <= bytes.count - position else { return nil }
    let synced = LogSequenceNumber(load(UInt64.self, bytes, position + 16))
    let kind = bytes[position + 24]
    guard synced <= lsn, LogRecord.kinds.contains(kind) else { return nil }
    let sum = bytes.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[position + 4..<position + length])) }
    guard sum == load(UInt32.self, bytes, position) else { return nil }
    return Frame(position: position, length: length, lsn: lsn, synced: synced, kind: kind)
  }
}

/// Frames laid out for one write; the memory is used again.
struct FrameBuffer {
  private(set) var bytes: [UInt8] = []

  /// Above this, memory goes back after an append.
  private static let keptCapacity = 16 << 20

  mutating func empty(reserving size: Int) {
    if bytes.capacity > Self.keptCapacity { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
    bytes.reserveCapacity(size)
  }

  /// Cost: one copy of the payload and its checksum.
  mutating func append(
    _ kind: UInt8, head: [UInt8], payload: [UInt8], lsn: LogSequenceNumber, synced: LogSequenceNumber
  ) {
    let start = bytes.count
    put(UInt32(0))
    put(UInt32(Frame.headSize + head.count + payload.count))
    put(lsn.value)
    put(synced.value)
    bytes.append(kind)
    bytes.append(contentsOf: head)
    bytes.append(contentsOf: payload)
    bytes.withUnsafeMutableBytes {
      let sum = crc32c(UnsafeRawBufferPointer(rebasing: $0[(start + 4)...]))
      $0.storeBytes(of: sum.littleEndian, toByteOffset: start, as: UInt32.self)
    }
  }

  private mutating func put<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }
}
