/// A set of dense ids: sorted 16-bit arrays while sparse, 65,536-bit pages once dense (the layout of Roaring
/// bitmaps: Chambi, Lemire et al., 2016, without runs).
struct Bitmap {
  private struct Page {
    /// Sorted low halves while there are at most `Page.sparse`; empty once `words` is used.
    var low: [UInt16] = []
    var words: [UInt64] = []
    static let sparse = 1024
  }
  private var pages: [Page] = []
  private(set) var count = 0

  init() {}

  /// Adds `id`; true if it is new. O(1) when dense, O(log n) and a short move when sparse.
  @inline(__always)
  mutating func insert(_ id: UInt32) -> Bool {
    let page = Int(id >> 16)
    while pages.count <= page { pages.append(Page()) }
    if !pages[page].words.isEmpty {
      let word = Int(id & 0xFFFF) >> 6
      let bit: UInt64 = 1 << UInt64(id & 63)
      if pages[page].words[word] & bit != 0 { return false }
      pages[page].words[word] |= bit
      count += 1
      return true
    }
    return insertSparse(page, UInt16(id & 0xFFFF))
  }

  @inline(never)
  private mutating func insertSparse(_ page: Int, _ value: UInt16) -> Bool {
    var lower = 0
    var upper = pages[page].low.count
    if upper > 0, pages[page].low[upper - 1] < value { lower = upper }
    while lower < upper {
      let middle = (lower + upper) / 2
      if pages[page].low[middle] < value { lower = middle + 1 } else { upper = middle }
    }
    if lower < pages[page].low.count, pages[page].low[lower] == value { return false }
    pages[page].low.insert(value, at: lower)
    count += 1
    if pages[page].low.count > Page.sparse {
      var words = [UInt64](repeating: 0, count: 1024)
      for v in pages[page].low { words[Int(v) >> 6] |= 1 << UInt64(v & 63) }
      pages[page].low = []
      pages[page].words = words
    }
    return true
  }

  /// Calls `body` with every id, ascending.
  func forEach(_ body: (UInt32) -> Void) {
    for (p, page) in pages.enumerated() {
      let high = UInt32(p) << 16
      for v in page.low { body(high | UInt32(v)) }
      for (w, word) in page.words.enumerated() {
        var rest = word
        while rest != 0 {
          body(high | UInt32(w << 6) | UInt32(rest.trailingZeroBitCount))
          rest &= rest - 1
        }
      }
    }
  }

  /// Bytes held, about.
  var bytes: Int { pages.reduce(16) { $0 + 80 + $1.low.capacity * 2 + $1.words.capacity * 8 } }
}
