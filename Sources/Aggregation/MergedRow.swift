/// What one flush adds to one row, over all its partitions: numbers only, members are counted.
public struct MergedRow: Sendable, Equatable {
  public var key: RowKey
  public var values: [MergedValue]

  /// The increments of aggregate `index` over all parts, merged by key and sorted by it: rows are locked in one order by
  /// every instance, so that flushes never deadlock on them. O(n log n).
  public static func merge(_ parts: [FlushRequest.Part], aggregate index: Int) -> [MergedRow] {
    var rows: [MergedRow] = []
    var places: [RowKey: Int] = [:]
    for part in parts {
      for group in part.delta.aggregates[index].groups {
        let values = group.measures.map(MergedValue.init)
        if let at = places[group.key] {
          for v in values.indices { rows[at].values[v].add(values[v]) }
        } else {
          places[group.key] = rows.count
          rows.append(MergedRow(key: group.key, values: values))
        }
      }
    }
    return rows.sorted { $0.key.precedes($1.key) }
  }
}

/// One measure of a merged row.
public enum MergedValue: Sendable, Equatable {
  case number(Int64)
  case sum(Int128, present: Int64)
  case minimum(Int64?)
  case maximum(Int64?)

  public init(_ increment: MeasureIncrement) {
    switch increment {
    case .count(let n): self = .number(n)
    case .distinct(let members): self = .number(Int64(members.count))
    case .sum(let sum, let present): self = .sum(sum, present: present)
    case .minimum(let value): self = .minimum(value)
    case .maximum(let value): self = .maximum(value)
    }
  }

  public mutating func add(_ other: MergedValue) {
    switch (self, other) {
    case (.number(let a), .number(let b)): self = .number(a + b)
    case (.sum(let a, let m), .sum(let b, let n)): self = .sum(a + b, present: m + n)
    case (.minimum(let a), .minimum(let b)): self = .minimum(a.map { a in b.map { min(a, $0) } ?? a } ?? b)
    case (.maximum(let a), .maximum(let b)): self = .maximum(a.map { a in b.map { max(a, $0) } ?? a } ?? b)
    default: preconditionFailure("increments of different measures")
    }
  }

  /// What a bigint column gains: events, new members, or present values.
  public var number: Int64 {
    switch self {
    case .number(let n): n
    case .sum(_, let present): present
    case .minimum, .maximum: 0
    }
  }

  /// nil: no value is present.
  public func sumText(_ scale: Int) -> String? {
    guard case .sum(let sum, let present) = self, present > 0 else { return nil }
    return decimalText(sum, scale: scale)
  }

  public var extreme: Int64? {
    switch self {
    case .minimum(let value), .maximum(let value): value
    case .number, .sum: nil
    }
  }

  /// For an operator to read and, if need be, to add by hand.
  public func text(_ scale: Int) -> String {
    switch self {
    case .number(let n): String(n)
    case .sum(_, let present): "\(sumText(scale) ?? "NULL") over \(present)"
    case .minimum(let value), .maximum(let value): value.map { decimalText(Int128($0), scale: scale) } ?? "NULL"
    }
  }
}

extension RowKey {
  /// By window, then by the bytes of the key's texts.
  public func precedes(_ other: RowKey) -> Bool {
    if windowStart != other.windowStart { return windowStart < other.windowStart }
    for (a, b) in zip(fields, other.fields) where !a.utf8.elementsEqual(b.utf8) { return a.utf8.lexicographicallyPrecedes(b.utf8) }
    return fields.count < other.fields.count
  }
}

/// `value` × 10^-scale, exactly: `-12.05`.
public func decimalText(_ value: Int128, scale: Int) -> String {
  let digits = String(value.magnitude)
  let sign = value < 0 ? "-" : ""
  guard scale > 0 else { return sign + digits }
  let padded = String(repeating: "0", count: max(0, scale + 1 - digits.count)) + digits
  return "\(sign)\(padded.dropLast(scale)).\(padded.suffix(scale))"
}
