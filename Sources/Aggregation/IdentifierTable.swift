/// Event ids seen within the deduplication horizon, each with the second of watermark at which it was last seen.
///
/// An id is remembered until the watermark has moved on by more than the horizon since it was last seen, accepted or
/// not. That rule needs nothing but the log from where the horizon begins, so a takeover rebuilds the table by re-reading it.
/// Expired entries are swept when the table fills: amortised O(1).
struct IdentifierTable: ~Copyable {
  private var keys: UnsafeMutablePointer<UInt64>
  private var seen: UnsafeMutablePointer<UInt32>
  private var mask: Int
  private(set) var count = 0
  /// Seconds.
  let horizon: Int64

  var bytes: Int { (mask + 1) * 12 }

  init(horizon: Int64) {
    self.horizon = horizon
    mask = 4095
    keys = .allocate(capacity: mask + 1)
    keys.initialize(repeating: 0, count: mask + 1)
    seen = .allocate(capacity: mask + 1)
  }

  deinit {
    keys.deallocate()
    seen.deallocate()
  }

  @inline(__always)
  func touch(_ key: UInt64) -> UInt64 { keys[Int(truncatingIfNeeded: mix(key)) & mask] }

  /// Notes that `key` was seen while the watermark stood at second `now`; true if it was remembered already.
  @inline(__always)
  mutating func note(_ key: UInt64, now: Int64) -> Bool {
    var slot = Int(truncatingIfNeeded: mix(key)) & mask
    while true {
      let k = keys[slot]
      if k == key {
        let duplicate = now - Int64(seen[slot]) <= horizon
        seen[slot] = UInt32(truncatingIfNeeded: now)
        return duplicate
      }
      if k == 0 { break }
      slot = (slot + 1) & mask
    }
    keys[slot] = key
    seen[slot] = UInt32(truncatingIfNeeded: now)
    count += 1
    if count * 10 > (mask + 1) * 7 { sweep(now: now) }
    return false
  }

  /// Drops what has expired and makes room: the new size fits what is left at half load.
  private mutating func sweep(now: Int64) {
    let old = (keys: keys, seen: seen, size: mask + 1)
    var live = 0
    for i in 0..<old.size where old.keys[i] != 0 && now - Int64(old.seen[i]) <= horizon { live += 1 }
    var size = 4096
    while size < live * 2 { size *= 2 }
    keys = .allocate(capacity: size)
    keys.initialize(repeating: 0, count: size)
    seen = .allocate(capacity: size)
    mask = size - 1
    count = live
    for i in 0..<old.size where old.keys[i] != 0 && now - Int64(old.seen[i]) <= horizon {
      var slot = Int(truncatingIfNeeded: mix(old.keys[i])) & mask
      while keys[slot] != 0 { slot = (slot + 1) & mask }
      keys[slot] = old.keys[i]
      seen[slot] = old.seen[i]
    }
    old.keys.deallocate()
    old.seen.deallocate()
  }

  /// All that is remembered at second `now`, in no order. O(capacity).
  func live(now: Int64) -> [SeenIdentifier] {
    var result: [SeenIdentifier] = []
    result.reserveCapacity(count)
    for i in 0...mask where keys[i] != 0 && now - Int64(seen[i]) <= horizon {
      result.append(SeenIdentifier(hash: keys[i], seconds: seen[i]))
    }
    return result
  }
}
