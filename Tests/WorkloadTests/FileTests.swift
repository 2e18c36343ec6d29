import Foundation
import Testing
import Workload

func temporaryFile(_ name: String) -> String {
  FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-\(UUID().uuidString.prefix(8))-\(name)").path
}
func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

@Suite struct FileTests {
  private func lines(_ bytes: [UInt8]) throws -> [String] {
    let path = temporaryFile("lines")
    defer { remove(path) }
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let reader = try LineReader(path: path)
    var result: [String] = []
    while let line = try reader.next() { result.append(String(decoding: line, as: UTF8.self)) }
    return result
  }

  @Test func linesEndWithLFOrCRLFOrTheFile() throws {
    #expect(try lines(Array("a\nb\r\n\n\r\nc".utf8)) == ["a", "b", "c"])
    #expect(try lines([]) == [])
    #expect(try lines(Array("\n\n".utf8)) == [])
    let long = String(repeating: "x", count: 700_000)
    #expect(try lines(Array("\(long)\n1\n".utf8)) == [long, "1"])
  }

  /// `printf 'one\ntwo\n' | gzip -n`.
  static let gzip: [UInt8] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xcb, 0xcf, 0x4b, 0xe5, 0x2a, 0x29, 0xcf, 0xe7, 0x02, 0x00, 0xe6, 0x0b, 0xba, 0x12, 0x08,
    0x00, 0x00, 0x00,
  ]

  @Test func gzipIsReadWhateverItsName() throws { #expect(try lines(Self.gzip) == ["one", "two"]) }

  @Test func damagedGzipIsRefused() throws {
    #expect(throws: LineReaderError.self) { try lines(Array(Self.gzip.dropLast(6))) }
    var flipped = Self.gzip
    flipped[20] ^= 1
    #expect(throws: LineReaderError.self) { try lines(flipped) }
  }

  @Test func aMissingFileIsNamed() {
    do {
      _ = try LineReader(path: "/nowhere/events.ndjson")
      Issue.record("it opened")
    } catch { #expect(error.description.contains("/nowhere/events.ndjson")) }
  }

  /// Vectors of Kafka's Java client, `Utils.murmur2`.
  @Test(arguments: [
    ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536), ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
  ])
  func partitionsAreKafkas(key: String, hash: Int) {
    #expect(murmur2Partition(of: Array(key.utf8), partitions: 1000) == (hash & 0x7FFF_FFFF) % 1000)
  }
}
