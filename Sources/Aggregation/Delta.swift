/// What one run of offsets `[from, to)` of one partition changes: the unit of the whole system.
///
/// Deltas of one partition compose, `[a,b) + [b,c) = [a,c)`; state is a fold over Deltas and nothing else.
/// The journal's records, PostgreSQL's state chunks and snapshots are all encoded Deltas. A Delta carries
/// members as keyed 64-bit hashes and group keys as text, so it means the same in every process.
public struct Delta: Sendable, Equatable {
  public var from: Offset
  public var to: Offset
  /// Greatest accepted event time of the partition up to `to`; nil before the first accepted event.
  public var watermark: EventTime?
  public var ledger: LedgerCounts
  /// One per aggregate of the plan, in its order.
  public var aggregates: [AggregateDelta]
  /// What was refused, with its raw bytes, in offset order.
  public var quarantine: [QuarantinedEvent]
  /// Refused events beyond the cap on `quarantine`: counted in the ledger, bytes left in the topic.
  public var quarantineOmitted: Int
  /// Event ids seen, for deduplication. In journal records and snapshots; left out of state chunks.
  public var identifiers: [SeenIdentifier]

  public init(from: Offset, to: Offset, aggregateCount: Int) {
    self.from = from
    self.to = to
    watermark = nil
    ledger = LedgerCounts()
    aggregates = Array(repeating: AggregateDelta(), count: aggregateCount)
    quarantine = []
    quarantineOmitted = 0
    identifiers = []
  }
}

/// Where every consumed offset went: each is in exactly one of the first six.
public struct LedgerCounts: Sendable, Equatable {
  public var applied: Int64 = 0
  /// Matched no aggregate's `where`, or was a tombstone.
  public var filtered: Int64 = 0
  public var duplicate: Int64 = 0
  public var late: Int64 = 0
  public var quarantined: Int64 = 0
  /// Offsets that hold no message: compaction, transaction markers, retention accepted by an operator.
  public var gap: Int64 = 0

  /// Null payloads, a part of `filtered`.
  public var tombstones: Int64 = 0
  /// Accepted events whose Kafka key is not the partition key's value; a part of the others.
  public var misrouted: Int64 = 0
  /// Event-time span of applied events.
  public var earliest: EventTime?
  public var latest: EventTime?
  public init() {}

  /// Sum of the six buckets: equals `to - from` of the Delta that holds it (invariant 4).
  public var total: Int64 { applied + filtered + duplicate + late + quarantined + gap }
}

/// What changes in one aggregate.
public struct AggregateDelta: Sendable, Equatable {
  public var groups: [GroupIncrement] = []
  /// Late events that would have belonged to a row of this aggregate, per row.
  public var late: [LateIncrement] = []
  public init() {}
}

/// The key of a row of an aggregate.
public struct RowKey: Hashable, Sendable {
  public var windowStart: EventTime
  /// Texts of the `by` fields, in their order.
  public var fields: [String]
  public init(windowStart: EventTime, fields: [String]) { self.windowStart = windowStart; self.fields = fields }

  /// By bytes, as PostgreSQL compares them and groups are hashed: Swift's `==` takes "é" of one character and of two for equal.
  public static func == (a: RowKey, b: RowKey) -> Bool {
    a.windowStart == b.windowStart && a.fields.elementsEqual(b.fields) { $0.utf8.elementsEqual($1.utf8) }
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(windowStart)
    for var field in fields {
      hasher.combine(field.utf8.count)
      field.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
  }
}

extension [String] {
  /// Bytes of its texts that lie apart; those of up to 15 lie inside the array. O(count).
  var outlyingBytes: Int { reduce(0) { $0 + ($1.utf8.count > 15 ? $1.utf8.count + 32 : 0) } }
}

/// Increments of one row.
public struct GroupIncrement: Sendable, Equatable {
  public var key: RowKey
  public var windowEnd: EventTime
  /// Keyed hash of `key.fields`: the group's identity in memory.
  public var keyHash: UInt64
  /// One per measure of the aggregate, in its order.
  public var measures: [MeasureIncrement]
  public init(key: RowKey, windowEnd: EventTime, keyHash: UInt64, measures: [MeasureIncrement]) {
    self.key = key; self.windowEnd = windowEnd; self.keyHash = keyHash; self.measures = measures
  }
}

/// The increment of one measure of one row.
public enum MeasureIncrement: Sendable, Equatable {
  case count(Int64)
  /// Sum of the present values and how many they are (`sum` and `average`). No value: NULL in SQL.
  case sum(Int128, present: Int64)
  /// nil: no value present.
  case minimum(Int64?)
  case maximum(Int64?)
  /// Keyed hashes of members that the row had not seen before. Their number is the increment.
  case distinct([UInt64])
}

/// Late events of one row.
public struct LateIncrement: Sendable, Equatable {
  public var key: RowKey
  public var count: Int64
  public init(key: RowKey, count: Int64) { self.key = key; self.count = count }
}

/// An event id and the second of watermark at which it was last seen.
public struct SeenIdentifier: Sendable, Equatable {
  public var hash: UInt64
  public var seconds: UInt32
  @inlinable public init(hash: UInt64, seconds: UInt32) { self.hash = hash; self.seconds = seconds }
}

/// Why an event is in quarantine. Raw values are stored and printed; they never change their meaning.
public enum QuarantineReason: UInt8, Sendable, CaseIterable {
  case emptyPayload = 1
  case invalidJSON = 2
  case notAnObject = 3
  case missingField = 4
  case wrongType = 5
  case invalidTime = 6
  /// Before 1970 or after 2105.
  case timeOutOfRange = 7
  case farFuture = 8
  case late = 9
  case oversizedPayload = 10
  case oversizedField = 11
  /// U+0000, which PostgreSQL's text cannot hold.
  case nulCharacter = 12
  case numberOutOfRange = 13

  /// The name in `tidemark.quarantine.reason`: snake case.
  public var name: String {
    switch self {
    case .emptyPayload: "empty_payload"
    case .invalidJSON: "invalid_json"
    case .notAnObject: "not_an_object"
    case .missingField: "missing_field"
    case .wrongType: "wrong_type"
    case .invalidTime: "invalid_time"
    case .timeOutOfRange: "time_out_of_range"
    case .farFuture: "far_future"
    case .late: "late"
    case .oversizedPayload: "oversized_payload"
    case .oversizedField: "oversized_field"
    case .nulCharacter: "nul_character"
    case .numberOutOfRange: "number_out_of_range"
    }
  }
}

/// A refused event.
public struct QuarantinedEvent: Sendable, Equatable {
  public var offset: Offset
  public var reason: QuarantineReason
  /// Name of the field that was refused, or empty.
  public var field: String
  /// The record's Kafka timestamp in milliseconds since the epoch; -1: none.
  public var timestamp: Int64
  /// nil where the event's time could not be read.
  public var eventTime: EventTime?
  /// The payload, cut at `Limits.quarantinePayload`; `payloadBytes` is its whole length.
  public var payload: [UInt8]
  public var payloadBytes: Int
  public var key: [UInt8]
  public init(
    offset: Offset, reason: QuarantineReason, field: String, timestamp: Int64, eventTime: EventTime?, payload: [UInt8],
    payloadBytes: Int, key: [UInt8]
  ) {
    self.offset = offset; self.reason = reason; self.field = field; self.timestamp = timestamp
    self.eventTime = eventTime; self.payload = payload; self.payloadBytes = payloadBytes; self.key = key
  }
}
