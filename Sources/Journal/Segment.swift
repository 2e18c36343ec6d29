/// A file of the log.
final class Segment {
  let first: LogSequenceNumber
  let path: String
  let file: any StorageFile
  /// Bytes of its header: where the first frame begins.
  let headerSize: Int
  /// Where the next frame begins.
  var end: Int
  /// Bytes that the file has room for.
  var allocated: Int

  init(first: LogSequenceNumber, path: String, file: any StorageFile, headerSize: Int, end: Int, allocated: Int) {
    self.first = first; self.path = path; self.file = file
    self.headerSize = headerSize; self.end = end; self.allocated = allocated
  }

  /// No record yet, not even the roster.
  var isEmpty: Bool { end == headerSize }
}

/// The first bytes of a segment.
struct SegmentHeader {
  static let magic = Array("tidemark".utf8)
  static let version: UInt32 = 1

  /// What the first bytes of a file are.
  enum Reading: Equatable {
    case header(first: LogSequenceNumber, JournalIdentity, size: Int)
    /// Whole, but of a version that this code does not know.
    case otherVersion(UInt32)
    case broken
  }

  static func encode(first: LogSequenceNumber, _ identity: JournalIdentity) -> [UInt8] {
    var out = FieldWriter()
    out.bytes = magic
    out.fixed(version)
    out.fixed(UInt32(38 + identity.fingerprint.utf8.count))
    out.fixed(first.value)
    out.fixed(identity.seed)
    out.text(identity.fingerprint)
    out.fixed(out.bytes.withUnsafeBytes { crc32c($0) })
    return out.bytes
  }

  static func read(_ bytes: [UInt8]) -> Reading {
    var input = FieldReader(bytes, 8..<max(8, bytes.count))
    guard bytes.starts(with: magic), let version = input.fixed(UInt32.self), let size = input.fixed(UInt32.self),
      size >= 20, Int(size) <= bytes.count
    else { return .broken }
    let sum = bytes.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[..<(Int(size) - 4)])) }
    guard sum == load(UInt32.self, bytes, Int(size) - 4) else { return .broken }
    guard version == Self.version else { return .otherVersion(version) }
    guard let first = input.fixed(UInt64.self), let seed = input.fixed(UInt64.self), let fingerprint = input.text(),
      input.at == Int(size) - 4
    else { return .broken }
    return .header(first: LogSequenceNumber(first), JournalIdentity(fingerprint: fingerprint, seed: seed), size: Int(size))
  }
}

/// Names of the journal's files.
enum FileName {
  static let lock = "lock"

  static func segment(_ first: LogSequenceNumber) -> String { digits(first.value) + ".log" }
  static func snapshot(_ id: UInt64) -> String { digits(id) + ".snapshot" }
  static func temporary(_ name: String) -> String { name + ".tmp" }

  private static func digits(_ value: UInt64) -> String {
    let text = String(value)
    return String(repeating: "0", count: 20 - text.count) + text
  }

  enum Meaning: Equatable { case segment(LogSequenceNumber), snapshot(UInt64), temporary }

  /// nil: not a file of the journal; it is left alone.
  static func meaning(_ name: String) -> Meaning? {
    guard name.utf8.count > 20, name.utf8.prefix(20).allSatisfy({ (48...57).contains($0) }),
      let number = UInt64(name.prefix(20))
    else { return nil }
    switch name.dropFirst(20) {
    case ".log": return .segment(LogSequenceNumber(number))
    case ".snapshot": return .snapshot(number)
    case ".log.tmp", ".snapshot.tmp": return .temporary
    default: return nil
    }
  }
}
