/// What the generator keeps of one partition, to plant what depends on its past.
struct PartitionMemory: Sendable {
  struct Remembered: Sendable {
    var payload: [UInt8]
    var key: [UInt8]?
    /// Milliseconds.
    var time: Int64
    /// The second of watermark at which its id was last seen.
    var seen: Int64
  }
  /// Duplicates come from among so many of the latest accepted events.
  static let reach = 64

  /// Greatest accepted event time, milliseconds since the epoch.
  private(set) var watermark: Int64?
  private var recent: [Remembered] = []
  private var oldest = 0

  mutating func accept(_ payload: [UInt8], key: [UInt8]?, time: Int64, remember: Bool) {
    let mark = max(watermark ?? time, time)
    watermark = mark
    guard remember else { return }
    let event = Remembered(payload: payload, key: key, time: time, seen: mark / 1000)
    if recent.count < Self.reach {
      recent.append(event)
    } else {
      recent[oldest] = event
      oldest = (oldest + 1) % Self.reach
    }
  }

  /// An accepted event that, sent again now, is neither late nor forgotten; nil: there is none. Its id is seen anew.
  /// - Parameters:
  ///   - lateness: microseconds.
  ///   - horizon: seconds; nil: ids are not compared.
  mutating func recall(lateness: Int64, horizon: Int64?, _ random: inout SeededRandom) -> Remembered? {
    guard let watermark, !recent.isEmpty else { return nil }
    let first = random.below(recent.count)
    for i in 0..<recent.count {
      let at = (first + i) % recent.count
      let inTime = (watermark - recent[at].time) * 1000 <= lateness
      let known = horizon.map { watermark / 1000 - recent[at].seen <= $0 } ?? true
      guard inTime, known else { continue }
      recent[at].seen = watermark / 1000
      return recent[at]
    }
    return nil
  }
}
