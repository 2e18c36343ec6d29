/// A typed parameter of a statement, sent in PostgreSQL's binary form. Arrays have one dimension.
public enum Parameter: Sendable {
  case text(String?)
  case integer(Int64?)
  case boolean(Bool?)
  case bytes([UInt8]?)
  /// Microseconds since 1970-01-01T00:00:00Z; `timestamptz`.
  case timestamp(Int64?)
  case texts([String?])
  case integers([Int64?])
  /// Microseconds since 1970-01-01T00:00:00Z; `timestamptz[]`.
  case timestamps([Int64?])
  case byteArrays([[UInt8]?])

  /// Object identifiers of PostgreSQL's types (`pg_type.dat`); they never change.
  enum TypeID {
    static let boolean: UInt32 = 16, bytes: UInt32 = 17, integer: UInt32 = 20, text: UInt32 = 25, timestamp: UInt32 = 1184
    static let byteArrays: UInt32 = 1001, integers: UInt32 = 1016, texts: UInt32 = 1009, timestamps: UInt32 = 1185
  }

  var type: UInt32 {
    switch self {
    case .text: TypeID.text
    case .integer: TypeID.integer
    case .boolean: TypeID.boolean
    case .bytes: TypeID.bytes
    case .timestamp: TypeID.timestamp
    case .texts: TypeID.texts
    case .integers: TypeID.integers
    case .timestamps: TypeID.timestamps
    case .byteArrays: TypeID.byteArrays
    }
  }

  /// 2000-01-01T00:00:00Z, PostgreSQL's epoch, in microseconds since 1970.
  static let postgresEpoch: Int64 = 946_684_800_000_000

  /// nil: NULL. O(size).
  var encoded: [UInt8]? {
    switch self {
    case .text(let value): value.map { Array($0.utf8) }
    case .integer(let value): value.map(Self.bigEndian)
    case .boolean(let value): value.map { [$0 ? 1 : 0] }
    case .bytes(let value): value
    case .timestamp(let value): value.map { Self.bigEndian($0 - Self.postgresEpoch) }
    case .texts(let values): Self.array(values, TypeID.text) { out, text in out.append(contentsOf: text.utf8) }
    case .integers(let values): Self.array(values, TypeID.integer) { out, n in Self.append(n, to: &out) }
    case .timestamps(let values): Self.array(values, TypeID.timestamp) { out, t in Self.append(t - Self.postgresEpoch, to: &out) }
    case .byteArrays(let values): Self.array(values, TypeID.bytes) { out, bytes in out.append(contentsOf: bytes) }
    }
  }

  private static func bigEndian(_ value: Int64) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

  private static func append<T: FixedWidthInteger>(_ value: T, to out: inout [UInt8]) {
    withUnsafeBytes(of: value.bigEndian) { out.append(contentsOf: $0) }
  }

  /// Layout: dimensions, has-null flag, element type, then per dimension its length and lower bound, then the elements,
  /// each a length (-1: NULL) and bytes. Source: PostgreSQL `array_recv`.
  private static func array<T>(_ values: [T?], _ element: UInt32, _ write: (inout [UInt8], T) -> Void) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(20 + values.count * 16)
    append(Int32(values.isEmpty ? 0 : 1), to: &out)
    append(Int32(values.contains { $0 == nil } ? 1 : 0), to: &out)
    append(element, to: &out)
    if values.isEmpty { return out }
    append(Int32(values.count), to: &out)
    append(Int32(1), to: &out)
    for value in values {
      guard let value else {
        append(Int32(-1), to: &out)
        continue
      }
      let at = out.count
      append(Int32(0), to: &out)
      write(&out, value)
      let length = Int32(out.count - at - 4).bigEndian
      withUnsafeBytes(of: length) { for i in 0..<4 { out[at + i] = $0[i] } }
    }
    return out
  }
}
