import Aggregation
import Decoding

/// What landing reads of a topology: its fields as columns, and the event id beside them.
///
/// Landing knows no aggregate, no watermark, no lateness and no duplicate: it keeps what came.
public struct LandingPlan: Sendable, Equatable {
  /// As the topology compiles.
  public let plan: Plan
  /// Fields that become columns: the topology's, then the event id where there is one.
  public let fields: [FieldPlan]
  /// Index of the event id in `fields`.
  public let identifier: Int?

  public init(_ plan: Plan) {
    self.plan = plan
    if let path = plan.idPath {
      identifier = plan.fields.count
      fields = plan.fields + [FieldPlan(name: "event_id", path: path, kind: .string, presence: .required)]
    } else {
      identifier = nil
      fields = plan.fields
    }
  }

  /// The plan that the decoder is made for.
  var reading: Plan {
    var reading = plan
    reading.fields = fields
    reading.idPath = nil
    return reading
  }
}

/// What some records of one partition are to landing: each offset of `[from, to)` is landed, refused, or a hole.
public struct LandingReading: Sendable, Equatable {
  public var from: Offset
  public var to: Offset
  /// Indices of the records to land.
  public var landed: [UInt32] = []
  public var refused: [QuarantinedEvent] = []
  /// Offsets without an event: tombstones, and what compaction or a transaction left empty. Ascending, apart.
  public var holes: [Range<Int64>] = []
  /// Event-time span of what is landed.
  public var earliest: EventTime?
  public var latest: EventTime?

  init(at offset: Offset) {
    from = offset
    to = offset
  }

  mutating func addHole(_ range: Range<Int64>) {
    if let last = holes.last, last.upperBound == range.lowerBound {
      holes[holes.count - 1] = last.lowerBound..<range.upperBound
    } else if !range.isEmpty {
      holes.append(range)
    }
  }
}

/// Decodes records for landing. One belongs to one thread.
public final class LandingReader {
  public let plan: LandingPlan
  /// The columns of the last reading; texts are valid until the next.
  public private(set) var batch: EventBatch
  private let decoder: Decoder

  /// - Parameter capacity: most records of one reading.
  public init(_ plan: LandingPlan, capacity: Int) {
    self.plan = plan
    batch = EventBatch(capacity: capacity, fieldCount: plan.fields.count)
    // Nothing here looks at hashes: any seed will do.
    decoder = Decoder(plan: plan.reading, seed: 0, columns: .all)
  }

  /// Reads `records` from `next` on; earlier ones have been landed already. O(bytes).
  ///
  /// An event is refused when the stream cannot read it either (see `Decoder`), when a text of it holds U+0000, which a
  /// column cannot hold, and when it lies further after its record's timestamp than the topology allows.
  public func read(_ records: Records, from next: Offset) -> LandingReading {
    decoder.decode(records, into: &batch)
    var reading = LandingReading(at: next)
    reading.landed.reserveCapacity(records.count)
    var earliest = Int64.max
    var latest = Int64.min
    for i in 0..<records.count {
      let offset = records.offsets[i]
      guard offset >= reading.to.value else { continue }
      reading.addHole(reading.to.value..<offset)
      reading.to = Offset(offset + 1)
      let time = batch.times[i]
      if batch.status[i] == EventBatch.tombstone {
        reading.addHole(offset..<(offset + 1))
      } else if let reason = refusal(i, records) {
        reading.refused.append(refused(i, reason, records))
      } else {
        reading.landed.append(UInt32(i))
        earliest = min(earliest, time)
        latest = max(latest, time)
      }
    }
    if !reading.landed.isEmpty {
      reading.earliest = EventTime(microseconds: earliest)
      reading.latest = EventTime(microseconds: latest)
    }
    return reading
  }

  private func refusal(_ i: Int, _ records: Records) -> QuarantineReason? {
    if batch.status[i] != EventBatch.decoded { return QuarantineReason(rawValue: batch.status[i]) ?? .invalidJSON }
    guard let stamp = EventTime(recordTimestamp: records.timestamps[i]) else { return nil }
    return batch.times[i] - plan.plan.maxFutureSkew > stamp.microseconds ? .farFuture : nil
  }

  private func refused(_ i: Int, _ reason: QuarantineReason, _ records: Records) -> QuarantinedEvent {
    func kept(_ pointer: UnsafePointer<UInt8>?, _ length: UInt32) -> [UInt8] {
      guard let pointer else { return [] }
      return Array(UnsafeBufferPointer(start: pointer, count: min(Int(length), Limits.quarantinePayload)))
    }
    let failed = batch.failedField[i]
    let field =
      switch (reason, failed) {
      case (.farFuture, _), (_, EventBatch.timeField): plan.plan.timePath.joined(separator: ".")
      default: Int(failed) < plan.fields.count ? plan.fields[Int(failed)].name : ""
      }
    return QuarantinedEvent(
      offset: Offset(records.offsets[i]), reason: reason, field: field, timestamp: records.timestamps[i],
      eventTime: reason == .farFuture ? EventTime(microseconds: batch.times[i]) : nil,
      payload: kept(records.payloads[i], records.payloadLengths[i]), payloadBytes: Int(records.payloadLengths[i]),
      key: kept(records.keys[i], records.keyLengths[i]))
  }
}
