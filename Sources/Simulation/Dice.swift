/// SplitMix64: one seed, one run. Every part of a world has dice of its own, so that a fault less in one part leaves the
/// others as they were.
struct Dice {
  private var state: UInt64

  /// - Parameter stream: the part of the world that throws them.
  init(_ seed: UInt64, _ stream: UInt64 = 0) {
    state = seed &* 0x9E37_79B9_7F4A_7C15 &+ stream &* 0xD1B5_4A32_D192_ED03 &+ 0x632B_E59B_D9B4_E019
    _ = next()
    _ = next()
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// 0 to `bound - 1`.
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }
  mutating func between(_ low: Int, _ high: Int) -> Int { low + below(high - low + 1) }
  mutating func milliseconds(_ low: Int, _ high: Int) -> Int64 { Int64(between(low, high)) }
  mutating func flip() -> Bool { next() & 1 == 0 }
  /// True once in `10_000 / share` times.
  mutating func chance(_ share: Int) -> Bool { below(10_000) < share }
  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

  mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
    var result = elements
    for i in stride(from: result.count - 1, to: 0, by: -1) { result.swapAt(i, below(i + 1)) }
    return result
  }
}
