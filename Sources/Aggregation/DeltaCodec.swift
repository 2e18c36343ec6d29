/// Deltas as bytes: one form for journal records, state chunks and snapshots.
///
/// Layout (little endian; `v` = unsigned LEB128, `z` = zigzag LEB128, `u64` fixed):
///
///     u8 version = 1, u8 parts (1 identifiers, 2 quarantine)
///     z from, z to, optional watermark
///     ledger: v applied filtered duplicate late quarantined gap tombstones misrouted, optional earliest, latest
///     v aggregates, for each: v groups, for each group
///         z window start, v window length, u64 key hash, v fields, (v length, bytes) each
///         v measures, each: u8 kind, then count z | sum zlow64 zhigh64 present v | optional z | v n, n × u64
///       v late, for each: z window start, v fields, texts, z count
///     v quarantine omitted
///     [v quarantine, for each: z offset, u8 reason, text field, z timestamp, optional time, v payload bytes, bytes, bytes key]
///     [v identifiers, for each u64 hash; then for each u32 seconds]
///
/// "optional" is one byte 0 or 1, then the value. Checksums are the carrier's business (journal frame, PostgreSQL's pages).
public enum DeltaCodec {
  static let version: UInt8 = 1

  public struct Parts: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let identifiers = Parts(rawValue: 1)
    public static let quarantine = Parts(rawValue: 2)
    /// Everything: journal records and snapshots.
    public static let all: Parts = [.identifiers, .quarantine]
    /// What another instance needs to go on: state chunks.
    public static let state: Parts = []
  }

  /// Bytes that cannot be a Delta, with where.
  public struct DecodingError: Error, Equatable, CustomStringConvertible {
    public var byte: Int
    public var reason: String
    public var description: String { "not a Delta at byte \(byte): \(reason)" }
  }

  /// - Complexity: O(size).
  public static func encode(_ delta: Delta, _ parts: Parts) -> [UInt8] {
    var out = ByteWriter()
    out.bytes.reserveCapacity(256 + delta.identifiers.count * 12)
    out.byte(version)
    out.byte(parts.rawValue)
    out.zigzag(delta.from.value)
    out.zigzag(delta.to.value)
    out.optional(delta.watermark?.microseconds)
    let l = delta.ledger
    for count in [l.applied, l.filtered, l.duplicate, l.late, l.quarantined, l.gap, l.tombstones, l.misrouted] {
      out.varint(UInt64(count))
    }
    out.optional(l.earliest?.microseconds)
    out.optional(l.latest?.microseconds)
    out.varint(UInt64(delta.aggregates.count))
    for aggregate in delta.aggregates {
      out.varint(UInt64(aggregate.groups.count))
      for group in aggregate.groups { encode(group, &out) }
      out.varint(UInt64(aggregate.late.count))
      for late in aggregate.late {
        out.zigzag(late.key.windowStart.microseconds)
        out.texts(late.key.fields)
        out.zigzag(late.count)
      }
    }
    out.varint(UInt64(delta.quarantineOmitted))
    if parts.contains(.quarantine) {
      out.varint(UInt64(delta.quarantine.count))
      for event in delta.quarantine {
        out.zigzag(event.offset.value)
        out.byte(event.reason.rawValue)
        out.text(event.field)
        out.zigzag(event.timestamp)
        out.optional(event.eventTime?.microseconds)
        out.varint(UInt64(event.payloadBytes))
        out.blob(event.payload)
        out.blob(event.key)
      }
    }
    if parts.contains(.identifiers) {
      out.varint(UInt64(delta.identifiers.count))
      for seen in delta.identifiers { out.fixed(seen.hash) }
      for seen in delta.identifiers { out.fixed(seen.seconds) }
    }
    return out.bytes
  }

  private static func encode(_ group: GroupIncrement, _ out: inout ByteWriter) {
    out.zigzag(group.key.windowStart.microseconds)
    out.varint(UInt64(group.windowEnd.microseconds - group.key.windowStart.microseconds))
    out.fixed(group.keyHash)
    out.texts(group.key.fields)
    out.varint(UInt64(group.measures.count))
    for measure in group.measures {
      switch measure {
      case .count(let n): out.byte(0); out.zigzag(n)
      case .sum(let sum, let present):
        out.byte(1)
        out.fixed(UInt64(truncatingIfNeeded: sum))
        out.fixed(UInt64(truncatingIfNeeded: sum >> 64))
        out.varint(UInt64(present))
      case .minimum(let value): out.byte(2); out.optional(value)
      case .maximum(let value): out.byte(3); out.optional(value)
      case .distinct(let hashes): out.byte(4); out.words(hashes)
      }
    }
  }

  /// - Throws: `DecodingError` for anything that `encode` cannot have written; lengths are checked before memory is taken.
  public static func decode(_ bytes: [UInt8]) throws(DecodingError) -> Delta {
    var input = ByteReader(bytes)
    guard try input.byte() == version else { throw DecodingError(byte: 0, reason: "unknown version \(bytes[0])") }
    let parts = Parts(rawValue: try input.byte())
    var delta = Delta(from: Offset(try input.zigzag()), to: Offset(try input.zigzag()), aggregateCount: 0)
    delta.watermark = try input.optional().map(EventTime.init(microseconds:))
    delta.ledger.applied = try input.count64()
    delta.ledger.filtered = try input.count64()
    delta.ledger.duplicate = try input.count64()
    delta.ledger.late = try input.count64()
    delta.ledger.quarantined = try input.count64()
    delta.ledger.gap = try input.count64()
    delta.ledger.tombstones = try input.count64()
    delta.ledger.misrouted = try input.count64()
    delta.ledger.earliest = try input.optional().map(EventTime.init(microseconds:))
    delta.ledger.latest = try input.optional().map(EventTime.init(microseconds:))
    let aggregates = try input.length(of: 2)
    for _ in 0..<aggregates {
      var aggregate = AggregateDelta()
      let groups = try input.length(of: 12)
      aggregate.groups.reserveCapacity(groups)
      for _ in 0..<groups { aggregate.groups.append(try decodeGroup(&input)) }
      for _ in 0..<(try input.length(of: 3)) {
        let start = EventTime(microseconds: try input.zigzag())
        let fields = try input.texts()
        aggregate.late.append(LateIncrement(key: RowKey(windowStart: start, fields: fields), count: try input.zigzag()))
      }
      delta.aggregates.append(aggregate)
    }
    delta.quarantineOmitted = Int(try input.count64())
    if parts.contains(.quarantine) {
      for _ in 0..<(try input.length(of: 8)) {
        let offset = Offset(try input.zigzag())
        let code = try input.byte()
        guard let reason = QuarantineReason(rawValue: code) else {
          throw DecodingError(byte: input.at, reason: "unknown quarantine reason \(code)")
        }
        let field = try input.text()
        let timestamp = try input.zigzag()
        let time = try input.optional().map(EventTime.init(microseconds:))
        let payloadBytes = Int(try input.count64())
        delta.quarantine.append(
          QuarantinedEvent(
            offset: offset, reason: reason, field: field, timestamp: timestamp, eventTime: time, payload: try input.blob(),
            payloadBytes: payloadBytes, key: try input.blob()))
      }
    }
    if parts.contains(.identifiers) {
      let count = try input.length(of: 12)
      let hashes = try input.fixedWords(count)
      delta.identifiers.reserveCapacity(count)
      for h in hashes { delta.identifiers.append(SeenIdentifier(hash: h, seconds: try input.fixed32())) }
    }
    guard input.isAtEnd else { throw DecodingError(byte: input.at, reason: "bytes after the end") }
    return delta
  }

  private static func decodeGroup(_ input: inout ByteReader) throws(DecodingError) -> GroupIncrement {
    let start = try input.zigzag()
    let length = try input.count64()
    let hash = try input.fixed64()
    let fields = try input.texts()
    var measures: [MeasureIncrement] = []
    for _ in 0..<(try input.length(of: 2)) {
      switch try input.byte() {
      case 0: measures.append(.count(try input.zigzag()))
      case 1:
        let low = try input.fixed64()
        let high = try input.fixed64()
        let sum = Int128(truncatingIfNeeded: UInt128(low) | (UInt128(high) << 64))
        measures.append(.sum(sum, present: try input.count64()))
      case 2: measures.append(.minimum(try input.optional()))
      case 3: measures.append(.maximum(try input.optional()))
      case 4: measures.append(.distinct(try input.fixedWords(try input.length(of: 8))))
      case let kind: throw DecodingError(byte: input.at, reason: "unknown measure kind \(kind)")
      }
    }
    let (end, overflow) = start.addingReportingOverflow(length)
    if overflow { throw DecodingError(byte: input.at, reason: "window out of range") }
    return GroupIncrement(
      key: RowKey(windowStart: EventTime(microseconds: start), fields: fields), windowEnd: EventTime(microseconds: end),
      keyHash: hash, measures: measures)
  }

  /// Composes encoded Deltas in offset order into one that holds their state; windows whose end is at or before `bound`
  /// are left out. nil: nothing is left.
  public static func compose(_ chunks: [[UInt8]], dropping bound: EventTime?) throws(DecodingError) -> [UInt8]? {
    guard let first = chunks.first else { return nil }
    let head = try decode(first)
    var pending = PendingDelta(at: head.from, aggregateCount: head.aggregates.count)
    for chunk in chunks {
      var delta = try decode(chunk)
      delta.from = pending.delta.to  // flushes without groups leave no chunk: what lies between changed no state
      for a in delta.aggregates.indices {
        delta.aggregates[a].late = []
        if let bound { delta.aggregates[a].groups.removeAll { $0.windowEnd <= bound } }
      }
      pending.append(delta)
    }
    let composed = pending.take()
    if composed.aggregates.allSatisfy({ $0.groups.isEmpty }) { return nil }
    return encode(composed, .state)
  }
}
