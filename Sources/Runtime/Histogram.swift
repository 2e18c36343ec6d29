/// Counts of values by size.
public struct Histogram: Sendable, Equatable {
  /// Upper bounds in seconds, ascending; what is above the last is counted apart.
  public let bounds: [Double]
  /// One more than bounds.
  public private(set) var counts: [Int64]
  /// Seconds.
  public private(set) var sum = 0.0
  public private(set) var count: Int64 = 0

  /// From 25 ms to a day; closest together where the goals for freshness are.
  public static let latency: [Double] = [
    0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400,
  ]

  public init(bounds: [Double]) {
    self.bounds = bounds
    counts = Array(repeating: 0, count: bounds.count + 1)
  }

  /// Adds `times` values of `seconds`; a negative one (a clock that is ahead) counts as 0. O(log bounds).
  public mutating func add(_ seconds: Double, times: Int64 = 1) {
    let value = max(0, seconds)
    var low = 0
    var high = bounds.count
    while low < high {
      let middle = (low + high) / 2
      if bounds[middle] < value { low = middle + 1 } else { high = middle }
    }
    counts[low] += times
    sum += value * Double(times)
    count += times
  }

  /// What was added since `earlier`, an earlier state of this histogram.
  public func since(_ earlier: Histogram) -> Histogram {
    var result = self
    for i in counts.indices { result.counts[i] -= earlier.counts[i] }
    result.count -= earlier.count
    result.sum -= earlier.sum
    return result
  }

  /// The value below which `share` (0 to 1) of the values are, interpolated within its bucket; the last bound where it is
  /// above. nil: no values.
  public func quantile(_ share: Double) -> Double? {
    guard count > 0 else { return nil }
    let wanted = share * Double(count)
    var below = 0.0
    for (i, n) in counts.enumerated() where n > 0 {
      if below + Double(n) >= wanted {
        guard i < bounds.count else { return bounds.last }
        let low = i == 0 ? 0 : bounds[i - 1]
        return low + (bounds[i] - low) * max(0, wanted - below) / Double(n)
      }
      below += Double(n)
    }
    return bounds.last
  }
}
