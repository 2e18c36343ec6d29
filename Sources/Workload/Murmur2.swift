/// The partition that Kafka's Java client and librdkafka's `murmur2` partitioners choose for a key.
/// O(key length).
public func murmur2Partition(of key: [UInt8], partitions: Int) -> Int {
  Int(murmur2(key) & 0x7FFF_FFFF) % partitions
}

/// MurmurHash2, 32 bits, with Kafka's seed.
func murmur2(_ bytes: [UInt8]) -> UInt32 {
  let m: UInt32 = 0x5BD1_E995
  var h: UInt32 = 0x9747_B28C ^ UInt32(truncatingIfNeeded: bytes.count)
  var at = 0
  while bytes.count - at >= 4 {
    var k = UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24
    k &*= m
    k ^= k >> 24
    k &*= m
    h = (h &* m) ^ k
    at += 4
  }
  let left = bytes.count - at
  if left > 0 {
    for i in (0..<left).reversed() { h ^= UInt32(bytes[at + i]) << UInt32(8 * i) }
    h &*= m
  }
  h ^= h >> 13
  h &*= m
  return h ^ (h >> 15)
}
