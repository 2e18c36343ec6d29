/// How many events carry which time, near a reference: what a histogram of ages is made from once it is known when they
/// became visible.
///
/// Times are kept as distances from the reference, exact up to 64 ms and within 1/32 of the distance beyond (the layout of
/// HdrHistogram). About 10 KB. It is of no consequence for results.
public struct TimeTally: Sendable, Equatable {
  /// Milliseconds since the epoch.
  public let reference: Int64
  public private(set) var count: Int64 = 0
  private var after: [UInt32]
  private var before: [UInt32]

  /// What producers say may be any number: times are kept where sums and distances of them never overflow.
  private static var latest: Int64 { .max / 1000 }

  private static let exponents = 38
  private static let slots = (exponents + 2) * 32

  public init(reference: Int64) {
    self.reference = Self.fitting(reference)
    after = Array(repeating: 0, count: Self.slots)
    before = Array(repeating: 0, count: Self.slots)
  }

  /// Adds one event; its time in milliseconds since the epoch. O(1).
  @inline(__always)
  public mutating func add(_ time: Int64) {
    let distance = Self.fitting(time) - reference
    count += 1
    if distance >= 0 { after[Self.slot(distance)] &+= 1 } else { before[Self.slot(-distance)] &+= 1 }
  }

  @inline(__always)
  private static func fitting(_ time: Int64) -> Int64 { min(max(time, -latest), latest) }

  @inline(__always)
  private static func slot(_ distance: Int64) -> Int {
    let value = UInt64(bitPattern: distance) & (1 << 42 - 1)
    if value < 64 { return Int(value) }
    let exponent = 58 - value.leadingZeroBitCount
    return exponent * 32 + Int(value >> UInt64(exponent))
  }

  /// The middle of a slot.
  private static func distance(_ slot: Int) -> Int64 {
    if slot < 64 { return Int64(slot) }
    let exponent = slot / 32 - 1
    let low = Int64(slot - exponent * 32) << Int64(exponent)
    return low + (1 << Int64(exponent)) / 2
  }

  /// Calls `body` with every time and how many events carry it. O(slots): a few thousand.
  public func forEach(_ body: (_ time: Int64, _ count: Int64) -> Void) {
    for slot in 0..<Self.slots {
      if after[slot] > 0 { body(reference + Self.distance(slot), Int64(after[slot])) }
      if before[slot] > 0 { body(reference - Self.distance(slot), Int64(before[slot])) }
    }
  }
}

/// Times of the events of one partition that wait for a flush: the Kafka record's and the event's own.
public struct FreshnessTally: Sendable, Equatable {
  public private(set) var records: TimeTally?
  public private(set) var events: TimeTally?

  public init() {}

  /// Adds the records of a batch from offset `from` on. All have a record time; an event time is counted where the event
  /// could be decoded and is not late. O(records), a few nanoseconds each.
  /// - Parameter lateBefore: microseconds; earlier events are late.
  public mutating func add(_ batch: borrowing EventBatch, _ records: Records, from: Offset, lateBefore: Int64) {
    var first = 0
    while first < records.count, records.offsets[first] < from.value { first += 1 }
    guard first < records.count else { return }
    let stamps = records.timestamps
    let reference = stamps[first] >= 0 ? stamps[first] : batch.times[first] / 1000
    var recordTally = self.records.take() ?? TimeTally(reference: reference)
    var eventTally = self.events.take() ?? TimeTally(reference: reference)
    for i in first..<records.count {
      if stamps[i] >= 0 { recordTally.add(stamps[i]) }
      if batch.status[i] == EventBatch.decoded, batch.times[i] >= lateBefore { eventTally.add(batch.times[i] / 1000) }
    }
    self.records = recordTally
    self.events = eventTally
  }
}
