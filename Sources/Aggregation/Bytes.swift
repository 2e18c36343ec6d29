/// Writes the codec's primitives into one growing buffer.
struct ByteWriter {
  var bytes: [UInt8] = []

  @inline(__always) mutating func byte(_ b: UInt8) { bytes.append(b) }

  mutating func varint(_ value: UInt64) {
    var v = value
    while v >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: v) | 0x80)
      v >>= 7
    }
    bytes.append(UInt8(v))
  }

  mutating func zigzag(_ value: Int64) { varint(UInt64(bitPattern: (value << 1) ^ (value >> 63))) }

  mutating func optional(_ value: Int64?) {
    if let value { byte(1); zigzag(value) } else { byte(0) }
  }

  mutating func fixed<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  /// Count, then words of 8 bytes, copied whole.
  mutating func words(_ values: [UInt64]) {
    varint(UInt64(values.count))
    #if _endian(little)
      values.withUnsafeBytes { bytes.append(contentsOf: $0) }
    #else
      for v in values { fixed(v) }
    #endif
  }

  mutating func blob(_ blob: [UInt8]) {
    varint(UInt64(blob.count))
    bytes.append(contentsOf: blob)
  }

  mutating func text(_ text: String) {
    varint(UInt64(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  mutating func texts(_ texts: [String]) {
    varint(UInt64(texts.count))
    for t in texts { text(t) }
  }
}

/// Reads them back; every length is checked against what is left before memory is taken.
struct ByteReader {
  private let bytes: [UInt8]
  private(set) var at = 0
  init(_ bytes: [UInt8]) { self.bytes = bytes }
  var isAtEnd: Bool { at == bytes.count }

  private func fail(_ reason: String) -> DeltaCodec.DecodingError { DeltaCodec.DecodingError(byte: at, reason: reason) }

  mutating func byte() throws(DeltaCodec.DecodingError) -> UInt8 {
    guard at < bytes.count else { throw fail("ends too early") }
    at += 1
    return bytes[at - 1]
  }

  mutating func varint() throws(DeltaCodec.DecodingError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let b = try byte()
      if shift == 63, b > 1 { throw fail("number too large") }
      value |= UInt64(b & 0x7F) << shift
      if b & 0x80 == 0 { return value }
      shift += 7
      if shift > 63 { throw fail("number too long") }
    }
  }

  mutating func zigzag() throws(DeltaCodec.DecodingError) -> Int64 {
    let v = try varint()
    return Int64(bitPattern: v >> 1) ^ -Int64(bitPattern: v & 1)
  }

  /// A number that must not be negative.
  mutating func count64() throws(DeltaCodec.DecodingError) -> Int64 {
    guard let value = Int64(exactly: try varint()) else { throw fail("count too large") }
    return value
  }

  /// A number of items that take at least `size` bytes each.
  mutating func length(of size: Int) throws(DeltaCodec.DecodingError) -> Int {
    let n = try varint()
    guard n <= UInt64((bytes.count - at) / size) else { throw fail("\(n) items do not fit into the \(bytes.count - at) bytes left") }
    return Int(n)
  }

  mutating func optional() throws(DeltaCodec.DecodingError) -> Int64? {
    switch try byte() {
    case 0: return nil
    case 1: return try zigzag()
    default: throw fail("an optional starts with 0 or 1")
    }
  }

  private mutating func fixed<T: FixedWidthInteger>(_: T.Type) throws(DeltaCodec.DecodingError) -> T {
    let size = MemoryLayout<T>.size
    guard bytes.count - at >= size else { throw fail("ends too early") }
    let value = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: T.self) }
    at += size
    return T(littleEndian: value)
  }

  mutating func fixed64() throws(DeltaCodec.DecodingError) -> UInt64 { try fixed(UInt64.self) }
  mutating func fixed32() throws(DeltaCodec.DecodingError) -> UInt32 { try fixed(UInt32.self) }

  mutating func fixedWords(_ count: Int) throws(DeltaCodec.DecodingError) -> [UInt64] {
    guard count <= (bytes.count - at) / 8 else { throw fail("ends too early") }
    let start = at
    at += count * 8
    return bytes.withUnsafeBytes { raw in
      [UInt64](unsafeUninitializedCapacity: count) { buffer, filled in
        for i in 0..<count { buffer[i] = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: start + i * 8, as: UInt64.self)) }
        filled = count
      }
    }
  }

  mutating func blob() throws(DeltaCodec.DecodingError) -> [UInt8] {
    let n = try length(of: 1)
    at += n
    return Array(bytes[(at - n)..<at])
  }

  mutating func text() throws(DeltaCodec.DecodingError) -> String {
    let n = try length(of: 1)
    at += n
    return String(decoding: bytes[(at - n)..<at], as: UTF8.self)
  }

  mutating func texts() throws(DeltaCodec.DecodingError) -> [String] {
    var result: [String] = []
    for _ in 0..<(try length(of: 1)) { result.append(try text()) }
    return result
  }
}
