/// Maps keyed 64-bit hashes of members to dense ids, so that sets of members can be bitmaps.
///
/// Two members are taken for one if their hashes collide: with n members in a partition the chance that this
/// happens at all is below n² / 2⁶⁵ (3·10⁻⁸ for a million). Linear probing at load 0.5 or less; the hash is keyed, so
/// that nobody who chooses member names can aim at one probe sequence.
struct MemberDictionary: ~Copyable {
  private var keys: UnsafeMutablePointer<UInt64>
  private var ids: UnsafeMutablePointer<UInt32>
  private var mask: Int
  /// Hash of each id.
  private(set) var hashes: [UInt64] = []

  var count: Int { hashes.count }
  /// Bytes held, about.
  var bytes: Int { (mask + 1) * 12 + hashes.capacity * 8 }

  init(minimumCapacity: Int = 1024) {
    var size = 1024
    while size < minimumCapacity * 2 { size *= 2 }
    mask = size - 1
    keys = .allocate(capacity: size)
    keys.initialize(repeating: 0, count: size)
    ids = .allocate(capacity: size)
  }

  deinit {
    keys.deallocate()
    ids.deallocate()
  }

  /// The id of the member with hash `h`, a new one if it is new. O(1) expected.
  @inline(__always)
  mutating func id(of h: UInt64) -> UInt32 {
    let key = h == 0 ? 1 : h
    var slot = Int(truncatingIfNeeded: mix(key)) & mask
    while true {
      let k = keys[slot]
      if k == key { return ids[slot] }
      if k == 0 { break }
      slot = (slot + 1) & mask
    }
    let id = UInt32(hashes.count)
    hashes.append(key)
    keys[slot] = key
    ids[slot] = id
    if hashes.count * 2 > mask { grow() }
    return id
  }

  /// Reads the home slot: called for many members in a row it lets their cache misses overlap.
  @inline(__always)
  func touch(_ h: UInt64) -> UInt64 { keys[Int(truncatingIfNeeded: mix(h == 0 ? 1 : h)) & mask] }

  private mutating func grow() {
    let size = (mask + 1) * 2
    keys.deallocate()
    ids.deallocate()
    keys = .allocate(capacity: size)
    keys.initialize(repeating: 0, count: size)
    ids = .allocate(capacity: size)
    mask = size - 1
    for id in 0..<hashes.count {
      var slot = Int(truncatingIfNeeded: mix(hashes[id])) & mask
      while keys[slot] != 0 { slot = (slot + 1) & mask }
      keys[slot] = hashes[id]
      ids[slot] = UInt32(id)
    }
  }
}
