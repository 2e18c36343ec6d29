/// Mixing of already keyed 64-bit hashes. Text is hashed where it is decoded, with the topology's seed.

/// Spreads the bits of `x`: a multiply and a shift, enough for keys that are hashes themselves.
@inlinable @inline(__always) func mix(_ x: UInt64) -> UInt64 {
  var h = x &* 0x9E37_79B9_7F4A_7C15
  h ^= h >> 32
  return h
}

/// Hash of a group key from the hashes of its fields, in order.
@inlinable @inline(__always) func combine(_ h: UInt64, _ field: UInt64) -> UInt64 {
  mix(h ^ field) &+ 0x2545_F491_4F6C_DD1D
}

/// Keyed hash of text, as the decoder computes it: `Decoding` supplies it to the core.
public typealias TextHash = @Sendable (String) -> UInt64
