/// A view of consumed messages of one partition, in offset order. It owns nothing: whoever holds the
/// messages keeps them until the batch has been decoded and folded.
public struct Records {
  public let count: Int
  /// nil: a null payload (tombstone). Empty payloads are not nil.
  public let payloads: UnsafePointer<UnsafePointer<UInt8>?>
  /// Bytes.
  public let payloadLengths: UnsafePointer<UInt32>
  public let keys: UnsafePointer<UnsafePointer<UInt8>?>
  /// Bytes.
  public let keyLengths: UnsafePointer<UInt32>
  public let offsets: UnsafePointer<Int64>
  /// Kafka record timestamps, milliseconds since the epoch; -1: none.
  public let timestamps: UnsafePointer<Int64>
  public init(
    count: Int, payloads: UnsafePointer<UnsafePointer<UInt8>?>, payloadLengths: UnsafePointer<UInt32>,
    keys: UnsafePointer<UnsafePointer<UInt8>?>, keyLengths: UnsafePointer<UInt32>, offsets: UnsafePointer<Int64>,
    timestamps: UnsafePointer<Int64>
  ) {
    self.count = count; self.payloads = payloads; self.payloadLengths = payloadLengths; self.keys = keys
    self.keyLengths = keyLengths; self.offsets = offsets; self.timestamps = timestamps
  }
}

/// One field of a batch, column-wise. Which columns are filled depends on what the plan uses the field for.
public struct FieldColumn {
  /// Keyed hash of the text: `by`, `where` and `distinct` fields.
  public let hashes: UnsafeMutablePointer<UInt64>
  /// Integers, scaled decimals.
  public let values: UnsafeMutablePointer<Int64>
  /// 1: present (or defaulted).
  public let present: UnsafeMutablePointer<UInt8>
  /// Text of `by` fields; points into the payload, the plan or the decoder's arena.
  public let texts: UnsafeMutablePointer<UnsafePointer<UInt8>?>
  public let lengths: UnsafeMutablePointer<UInt32>
}

/// Decoded events as columns: what decoding fills and aggregation reads. Reused from batch to batch.
public struct EventBatch: ~Copyable {
  /// `status` of an event that can be applied.
  public static let decoded: UInt8 = 0
  /// `status` of a null payload; any other value is a `QuarantineReason`.
  public static let tombstone: UInt8 = 255
  /// `failedField` where no field is to blame; 254 names the event time, 253 the event id.
  public static let noField: UInt8 = 255
  public static let timeField: UInt8 = 254
  public static let idField: UInt8 = 253

  public let capacity: Int
  public let fieldCount: Int
  public var count = 0
  public let status: UnsafeMutablePointer<UInt8>
  public let failedField: UnsafeMutablePointer<UInt8>
  /// Microseconds of event time.
  public let times: UnsafeMutablePointer<Int64>
  /// Keyed hash of the event id; never 0.
  public let identifiers: UnsafeMutablePointer<UInt64>
  /// 1: the Kafka key is not the partition key's value; an event without that value belongs to no partition.
  public let misrouted: UnsafeMutablePointer<UInt8>
  public let fields: UnsafeMutablePointer<FieldColumn>

  /// Room for `capacity` events of `fieldCount` fields: about 40 bytes and 30 bytes a field each.
  public init(capacity: Int, fieldCount: Int) {
    self.capacity = capacity
    self.fieldCount = fieldCount
    status = .allocate(capacity: capacity)
    failedField = .allocate(capacity: capacity)
    times = .allocate(capacity: capacity)
    identifiers = .allocate(capacity: capacity)
    misrouted = .allocate(capacity: capacity)
    fields = .allocate(capacity: max(1, fieldCount))
    for f in 0..<fieldCount {
      (fields + f).initialize(
        to: FieldColumn(
          hashes: .allocate(capacity: capacity), values: .allocate(capacity: capacity), present: .allocate(capacity: capacity),
          texts: .allocate(capacity: capacity), lengths: .allocate(capacity: capacity)))
    }
  }

  deinit {
    status.deallocate(); failedField.deallocate(); times.deallocate(); identifiers.deallocate(); misrouted.deallocate()
    for f in 0..<fieldCount {
      fields[f].hashes.deallocate(); fields[f].values.deallocate(); fields[f].present.deallocate()
      fields[f].texts.deallocate(); fields[f].lengths.deallocate()
    }
    fields.deallocate()
  }
}
