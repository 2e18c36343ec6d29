import Aggregation

/// A partition's state in a file of its own: `"tidesnap", u32 version, u32 CRC32C of all that follows, u64 id, u64 length`,
/// the encoded Delta.
enum SnapshotFile {
  static let headerSize = 32
  private static let magic = Array("tidesnap".utf8)
  private static let version: UInt32 = 1

  /// Writes it aside, makes it durable and gives it its name.
  /// - Throws: what the storage throws; then nothing with the snapshot's name is left.
  static func write(
    _ state: [UInt8], id: UInt64, flushed: Offset, in directory: String, _ storage: any Storage
  ) throws(StorageError) -> SnapshotReference {
    let path = directory + "/" + FileName.snapshot(id)
    let aside = FileName.temporary(path)
    let (header, sum) = header(state, id)
    do {
      let file = try storage.create(aside)
      try file.write(header, at: 0)
      try file.write(state, at: headerSize)
      try file.sync()
      try file.close()
      try storage.rename(aside, to: path)
      try storage.syncDirectory(directory)
    } catch {
      // What cannot be removed now is removed by the next opening.
      try? storage.remove(aside)
      try? storage.remove(path)
      throw error
    }
    return SnapshotReference(id: id, flushed: flushed, bytes: UInt64(state.count), checksum: sum)
  }

  private static func header(_ state: [UInt8], _ id: UInt64) -> (bytes: [UInt8], sum: UInt32) {
    var summed = FieldWriter()
    summed.fixed(id)
    summed.fixed(UInt64(state.count))
    let sum = state.withUnsafeBytes { crc32c($0, after: summed.bytes.withUnsafeBytes { crc32c($0) }) }
    var out = FieldWriter()
    out.bytes = magic
    out.fixed(version)
    out.fixed(sum)
    return (out.bytes + summed.bytes, sum)
  }

  /// A snapshot as it was written, or why it cannot be used.
  enum Reading {
    case state([UInt8])
    case unusable(String)
  }

  /// - Throws: only what is not a fault of this file: the storage itself fails.
  static func read(_ reference: SnapshotReference, in directory: String, _ storage: any Storage) throws(StorageError) -> Reading {
    let path = directory + "/" + FileName.snapshot(reference.id)
    let file: any StorageFile
    do {
      file = try storage.open(path)
    } catch {
      guard error.isMissing else { throw error }
      return .unusable("\(path) is missing")
    }
    let size = try file.size()
    guard let length = Int(exactly: reference.bytes), size == headerSize + length else {
      return .unusable("\(path) has \(size) bytes, not \(reference.bytes) and \(headerSize) of header")
    }
    let found = try file.read(headerSize, at: 0)
    let state = try file.read(length, at: headerSize)
    let (expected, sum) = header(state, reference.id)
    guard found == expected, sum == reference.checksum else { return .unusable("\(path): its checksum does not hold") }
    return .state(state)
  }
}

extension StorageFile {
  func write(_ bytes: [UInt8], at position: Int) throws(StorageError) {
    var failure: StorageError?
    bytes.withUnsafeBytes {
      do throws(StorageError) { try write($0, at: position) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}
