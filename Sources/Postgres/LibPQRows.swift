import CLibPQ

/// The answer to a statement; columns by position, from 0. It owns libpq's result.
///
/// Values come in binary form; the getters trap on a column of another type, which is a mistake in the program.
public final class Rows {
  private let raw: OpaquePointer

  init(_ raw: OpaquePointer) { self.raw = raw }
  deinit { PQclear(raw) }

  public var count: Int { Int(PQntuples(raw)) }
  public var columnCount: Int { Int(PQnfields(raw)) }
  public var columnNames: [String] { (0..<PQnfields(raw)).map { String(cString: PQfname(raw, $0)) } }

  /// Rows that an INSERT, UPDATE or DELETE touched.
  public var affected: Int { Int(String(cString: PQcmdTuples(raw))) ?? 0 }

  private func value(_ row: Int, _ column: Int) -> UnsafeRawBufferPointer? {
    precondition(row < count && column < columnCount, "row \(row), column \(column) of \(count) × \(columnCount)")
    guard PQgetisnull(raw, Int32(row), Int32(column)) == 0 else { return nil }
    return UnsafeRawBufferPointer(start: PQgetvalue(raw, Int32(row), Int32(column)), count: Int(PQgetlength(raw, Int32(row), Int32(column))))
  }

  private func type(_ column: Int) -> UInt32 { PQftype(raw, Int32(column)) }

  /// The value as text: of text-like columns in binary answers, of every column in textual ones. nil: NULL.
  public func text(_ row: Int, _ column: Int) -> String? {
    value(row, column).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Columns of type smallint, integer, bigint. nil: NULL.
  public func integer(_ row: Int, _ column: Int) -> Int64? {
    guard let bytes = value(row, column) else { return nil }
    switch type(column) {
    case 20: return Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
    case 23: return Int64(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
    case 21: return Int64(Int16(bigEndian: bytes.loadUnaligned(as: Int16.self)))
    case let other: preconditionFailure("column \(column) has type \(other), expected an integer")
    }
  }

  /// nil: NULL.
  public func boolean(_ row: Int, _ column: Int) -> Bool? {
    precondition(type(column) == Parameter.TypeID.boolean, "column \(column) is no boolean")
    return value(row, column).map { $0[0] != 0 }
  }

  /// `timestamptz` in microseconds since 1970-01-01T00:00:00Z. nil: NULL.
  public func timestamp(_ row: Int, _ column: Int) -> Int64? {
    precondition(type(column) == Parameter.TypeID.timestamp, "column \(column) is no timestamptz")
    return value(row, column).map { Int64(bigEndian: $0.loadUnaligned(as: Int64.self)) + Parameter.postgresEpoch }
  }

  /// `bytea`, copied. nil: NULL.
  public func bytes(_ row: Int, _ column: Int) -> [UInt8]? {
    precondition(type(column) == Parameter.TypeID.bytes, "column \(column) is no bytea")
    return value(row, column).map { Array($0) }
  }
}
