import CSimdJSON
import Testing

@Suite struct ChecksumTests {
  @Test func isCastagnoli() {
    #expect(tm_crc32c(0, "123456789", 9) == 0xE306_9283)
    #expect(tm_crc32c(0, [UInt8](repeating: 0, count: 32), 32) == 0x8A91_36AA)
    #expect(tm_crc32c(0, [UInt8](repeating: 0xFF, count: 32), 32) == 0x62A8_AB43)
    #expect(tm_crc32c(0, nil, 0) == 0)
  }

  @Test func instructionAndTableAgreeAtEveryLengthAndAlignment() {
    let bytes = content(1, 300)
    bytes.withUnsafeBytes { raw in
      for start in 0..<9 {
        for length in 0..<(raw.count - start) {
          let from = raw.baseAddress! + start
          let whole = tm_crc32c(5, from, length)
          #expect(whole == tm_crc32c_by_table(5, from, length))
          let half = length / 2
          #expect(tm_crc32c(tm_crc32c(5, from, half), from + half, length - half) == whole)
        }
      }
    }
  }
}
