/// Rows in the binary form of `COPY … FROM STDIN (FORMAT binary)`, one after the other in one growing buffer.
///
/// Layout of a row: the number of fields (16 bits), then for each its length (32 bits, -1: NULL) and bytes, big-endian.
/// Source: PostgreSQL documentation, COPY, "Binary Format". Header and trailer are added by `Connection.copy`.
public struct CopyBuffer: Sendable {
  public private(set) var bytes: [UInt8] = []
  public private(set) var rowCount = 0

  public init() {}

  /// Empties the buffer and keeps its memory.
  public mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    rowCount = 0
  }

  /// Begins a row of so many fields; that many calls have to follow.
  public mutating func beginRow(fields: Int) {
    append(Int16(fields))
    rowCount += 1
  }

  public mutating func null() { append(Int32(-1)) }

  /// `bigint`.
  public mutating func integer(_ value: Int64) {
    append(Int32(8))
    append(value)
  }

  /// `integer`.
  public mutating func integer32(_ value: Int32) {
    append(Int32(4))
    append(value)
  }

  public mutating func boolean(_ value: Bool) {
    append(Int32(1))
    bytes.append(value ? 1 : 0)
  }

  /// `timestamptz`; microseconds since 1970-01-01T00:00:00Z.
  public mutating func timestamp(_ microseconds: Int64) {
    append(Int32(8))
    append(microseconds - Parameter.postgresEpoch)
  }

  /// `text` or `bytea`.
  public mutating func bytes(_ value: UnsafeBufferPointer<UInt8>) {
    append(Int32(value.count))
    bytes.append(contentsOf: value)
  }

  /// `jsonb`: a version, then the text. PostgreSQL parses it.
  public mutating func jsonb(_ text: UnsafeBufferPointer<UInt8>) {
    append(Int32(text.count + 1))
    bytes.append(1)
    bytes.append(contentsOf: text)
  }

  /// `numeric`: `value` × 10^-scale, scale 0 to 9.
  ///
  /// Layout: number of base-10,000 digits, weight of the first, sign, digits after the point, then the digits; 16 bits
  /// each. Source: PostgreSQL `numeric_recv`.
  public mutating func numeric(_ value: Int64, scale: Int) {
    // Shifted so that the point lies between two base-10,000 digits.
    let fraction = (scale + 3) / 4
    var rest = Int128(value.magnitude)
    for _ in 0..<(fraction * 4 - scale) { rest *= 10 }
    var digits: [Int16] = []
    while rest > 0 {
      digits.append(Int16(rest % 10_000))
      rest /= 10_000
    }
    let weight = digits.count - 1 - fraction
    digits.reverse()
    while digits.last == 0 { digits.removeLast() }
    append(Int32(8 + digits.count * 2))
    append(Int16(digits.count))
    append(Int16(digits.isEmpty ? 0 : weight))
    append(value < 0 ? UInt16(0x4000) : 0)
    append(Int16(scale))
    for digit in digits { append(digit) }
  }

  private mutating func append<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }
}
