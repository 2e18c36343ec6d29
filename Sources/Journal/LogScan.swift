/// Reads the frames of a segment in order and judges what stands where they end.
struct LogScan {
  /// The smallest unit that a disk writes whole.
  private static let sector = 512

  let bytes: [UInt8]
  private(set) var position: Int
  /// LSN of the frame that should be at `position`.
  private(set) var next: LogSequenceNumber

  init(_ bytes: [UInt8], from position: Int, next: LogSequenceNumber) {
    self.bytes = bytes; self.position = position; self.next = next
  }

  /// The frame at `position`; nil: there is none, see `verdict`.
  mutating func nextFrame() -> Frame? {
    guard let frame = Frame.at(position, in: bytes, expected: next...next) else { return nil }
    position += frame.length
    next = next.next
    return frame
  }

  /// What stands where the frames end.
  enum Verdict: Equatable {
    /// Nothing: zeros up to the end of the file.
    case clean
    /// A record that was being written when the power went: it and `bytes - 1` behind it can be cut.
    case torn(bytes: Int)
    /// A record that was whole once.
    case corrupt(String)
  }

  /// - Complexity: O(bytes left), and O(their square) at worst if they imitate frames.
  func verdict() -> Verdict {
    guard let last = lastNonzero() else { return .clean }
    let torn = Verdict.torn(bytes: last + 1 - position)
    let (found, synced) = framesAfterward()
    guard let found else { return torn }
    if synced {
      return .corrupt("record \(next.value) is damaged; a record after it, at byte \(found), says that it was whole on the disk")
    }
    // Nobody has waited for these bytes to be durable. Without that, a power failure may leave later sectors written
    // and earlier ones not; those still hold the zeros of the preallocation. Anything else is damage.
    if hasVoid(position..<found) { return torn }
    return .corrupt("record \(next.value) is damaged, and a whole one follows at byte \(found)")
  }

  /// Where the first whole frame behind `position` begins, and whether one of those behind it says that the one missing
  /// was synced.
  func framesAfterward() -> (first: Int?, synced: Bool) {
    let room = UInt64((bytes.count - position) / Frame.headSize)
    let expected = next.next...LogSequenceNumber(next.value + 1 + room)
    var first: Int?
    var at = position + 1
    while at + Frame.headSize <= bytes.count {
      if let frame = Frame.at(at, in: bytes, expected: expected) {
        if first == nil { first = at }
        if frame.synced > next { return (first, true) }
        at += frame.length
      } else {
        at += 1
      }
    }
    return (first, false)
  }

  /// The last byte from `position` on that is not zero; a word at a time, as most of a new segment is zeros.
  private func lastNonzero() -> Int? {
    var end = bytes.count
    while end - 8 >= position, load(UInt64.self, bytes, end - 8) == 0 { end -= 8 }
    return bytes[position..<end].lastIndex { $0 != 0 }
  }

  /// Whether the part of some sector that lies in `range` is all zeros.
  private func hasVoid(_ range: Range<Int>) -> Bool {
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min((start / Self.sector + 1) * Self.sector, range.upperBound)
      if bytes[start..<end].allSatisfy({ $0 == 0 }) { return true }
      start = end
    }
    return false
  }
}
