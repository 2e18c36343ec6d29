import Aggregation
import Foundation
import Journal
import Testing

/// The same on real files.
@Suite struct PosixStorageTests {
  /// A directory of this test's own, removed afterwards.
  private func withDirectory(_ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory.path + "/tidemark-journal-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  @Test func keepsItsRecordsOnRealFiles() throws {
    try withDirectory { base in
      let path = base + "/a/b"
      let options = JournalOptions(segmentBytes: 64 << 10, sync: .always)
      var entries = [opened(0), opened(1)]
      for n in 1...60 { entries += [delta(0, to: Int64(n), bytes: 5000), delta(1, to: Int64(n), bytes: 50)] }
      entries += [flushed(0, 55), snapshot(0, flushed: 55, bytes: 100_000), delta(0, to: 61, bytes: 200_000), delta(1, to: 61)]
      do {
        let journal = try Journal(directory: path, identity: identity, options: options)
        for entry in entries { try journal.append([entry], now: 0) }
        #expect(try Model(entries).difference(journal) == nil)
        try journal.close()
      }
      let journal = try Journal(directory: path, identity: identity, options: options)
      #expect(journal.openingReport == [])
      #expect(try Model(entries).difference(journal) == nil)
      let sizes = try FileManager.default.contentsOfDirectory(atPath: path).filter { $0 != "lock" }.map {
        try Int(FileManager.default.attributesOfItem(atPath: path + "/" + $0)[.size] as! UInt64)
      }
      #expect(sizes.reduce(0, +) == journal.bytesOnDisk)
    }
  }

  @Test func lockNamesTheProcess() throws {
    try withDirectory { path in
      let journal = try Journal(directory: path, identity: identity)
      let error = #expect(throws: JournalError.self) { _ = try Journal(directory: path, identity: identity) }
      #expect(error?.kind == .locked)
      #expect(error?.message.hasSuffix("in use by process \(ProcessInfo.processInfo.processIdentifier)") == true)
      try journal.close()
      try Journal(directory: path, identity: identity).close()
    }
  }

  @Test func removesOnlyItsOwnFiles() throws {
    try withDirectory { path in
      let journal = try Journal(directory: path, identity: identity)
      try journal.append([opened(0), delta(0, to: 3), snapshot(0, flushed: 3)], now: 0)
      try journal.close()
      let notes = path + "/notes.log"
      #expect(FileManager.default.createFile(atPath: notes, contents: Data([1])))
      try Journal.remove(path)
      #expect(try FileManager.default.contentsOfDirectory(atPath: path).sorted() == ["lock", "notes.log"])
    }
  }

  @Test func opensOnTornWrite() throws {
    try withDirectory { path in
      let entries = [opened(0), delta(0, to: 3), delta(0, to: 9)]
      let journal = try Journal(directory: path, identity: identity)
      for entry in entries { try journal.append([entry], now: 0) }
      let end = headerSize + journal.statistics.bytes
      try journal.close()
      let file = try #require(FileHandle(forUpdatingAtPath: path + "/00000000000000000001.log"))
      #expect(try file.seekToEnd() == 64 << 20)
      try file.truncate(atOffset: UInt64(end - 10))
      try file.close()
      let again = try Journal(directory: path, identity: identity)
      #expect(again.openingReport.count == 1)
      #expect(try Model(entries.dropLast()).difference(again) == nil)
      try again.append([entries[2]], now: 0)
      #expect(try Model(entries).difference(again) == nil)
    }
  }

  @Test func errorsNameCallAndPath() throws {
    try withDirectory { path in
      let storage = PosixStorage()
      let missing = #expect(throws: StorageError.self) { _ = try storage.open(path + "/none") }
      #expect(missing?.call == "open" && missing?.path == path + "/none" && missing?.isMissing == true)
      #expect(FileManager.default.createFile(atPath: path, contents: Data()))
      let error = #expect(throws: JournalError.self) { _ = try Journal(directory: path, identity: identity) }
      #expect(error?.kind == .failed)
      #expect(error?.message.contains(path) == true)
    }
  }
}
