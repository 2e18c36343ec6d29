/// One message for Kafka, and what the generator meant by it.
public struct GeneratedEvent: Sendable, Equatable {
  /// nil where the topology names no partition key.
  public var key: [UInt8]?
  /// nil: a tombstone.
  public var payload: [UInt8]?
  /// The record's Kafka timestamp, the event's arrival, in milliseconds since the epoch.
  public var timestampMilliseconds: Int64
  /// From 0. To be set on the record, so that the order within the partition is the generator's.
  public var partition: Int
  public var planted: Planted

  public init(key: [UInt8]?, payload: [UInt8]?, timestampMilliseconds: Int64, partition: Int, planted: Planted = .regular) {
    self.key = key
    self.payload = payload
    self.timestampMilliseconds = timestampMilliseconds
    self.partition = partition
    self.planted = planted
  }
}

/// What the generator planted in an event.
public enum Planted: Hashable, Sendable {
  /// Valid, in time, its id never seen before.
  case regular
  /// Further behind the greatest accepted event time of its partition than the topology's allowed lateness.
  case late
  /// The bytes of an event that its partition accepted shortly before.
  case duplicate
  /// Further after its record's timestamp than the topology's `max_future_skew`.
  case farFuture
  case invalid(Invalidity)
  /// Null payload.
  case tombstone
  /// Payload of length 0.
  case emptyPayload

  /// How an event is spoiled; the generator takes these in turn.
  public enum Invalidity: String, Hashable, Sendable, CaseIterable {
    /// Cut within a string.
    case truncatedJSON = "truncated_json"
    /// Bytes that are not UTF-8.
    case garbage
    /// The event id or a required field is left out; the time where there is neither.
    case missingField = "missing_field"
    /// A field holds a value of another type; left out where the topology reads no field: truncated then.
    case wrongType = "wrong_type"
    /// The time cannot be read.
    case badTime = "bad_time"
  }
}

/// How many events of each kind a generator has produced so far; together `events`.
public struct PlantedCounts: Sendable, Equatable {
  public var regular = 0
  public var late = 0
  public var duplicate = 0
  public var farFuture = 0
  public var invalid = 0
  public var tombstone = 0
  public var emptyPayload = 0
  public init() {}

  public var total: Int { regular + late + duplicate + farFuture + invalid + tombstone + emptyPayload }

  mutating func count(_ planted: Planted) {
    switch planted {
    case .regular: regular += 1
    case .late: late += 1
    case .duplicate: duplicate += 1
    case .farFuture: farFuture += 1
    case .invalid: invalid += 1
    case .tombstone: tombstone += 1
    case .emptyPayload: emptyPayload += 1
    }
  }
}
