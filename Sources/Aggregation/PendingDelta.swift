/// A Delta that grows: composes Deltas of adjoining ranges, one batch after another.
public struct PendingDelta: Sendable {
  public private(set) var delta: Delta
  private var groups: [[RowIdentity: Int]]
  private var late: [[RowKey: Int]]
  /// Bytes of quarantined payloads and keys held.
  public private(set) var quarantineBytes = 0
  /// Bytes held, about.
  public private(set) var bytes = 0

  private struct RowIdentity: Hashable {
    var start: EventTime
    var keyHash: UInt64
  }

  /// Nothing, at `offset`.
  public init(at offset: Offset, aggregateCount: Int) {
    delta = Delta(from: offset, to: offset, aggregateCount: aggregateCount)
    groups = Array(repeating: [:], count: aggregateCount)
    late = Array(repeating: [:], count: aggregateCount)
  }

  public var isEmpty: Bool { delta.from == delta.to }

  /// `self = self + next`. Traps if `next` does not begin where this ends: offsets would be lost or counted twice.
  /// Identifiers are not kept: they go to the journal with each batch. O(groups of `next` + new members).
  public mutating func append(_ next: Delta) {
    precondition(next.from == delta.to, "Deltas compose only if they adjoin")
    delta.to = next.to
    if let w = next.watermark { delta.watermark = delta.watermark.map { max($0, w) } ?? w }
    delta.ledger.add(next.ledger)
    for a in delta.aggregates.indices {
      for group in next.aggregates[a].groups {
        let identity = RowIdentity(start: group.key.windowStart, keyHash: group.keyHash)
        if let at = groups[a][identity] {
          for m in group.measures.indices {
            bytes += delta.aggregates[a].groups[at].measures[m].add(group.measures[m])
          }
        } else {
          groups[a][identity] = delta.aggregates[a].groups.count
          delta.aggregates[a].groups.append(group)
          bytes += 200 + group.key.fields.outlyingBytes + group.measures.reduce(0) { $0 + 24 + $1.memberCount * 8 }
        }
      }
      for item in next.aggregates[a].late {
        if let at = late[a][item.key] {
          delta.aggregates[a].late[at].count += item.count
        } else {
          late[a][item.key] = delta.aggregates[a].late.count
          delta.aggregates[a].late.append(item)
          bytes += 150 + item.key.fields.outlyingBytes
        }
      }
    }
    delta.quarantineOmitted += next.quarantineOmitted
    for event in next.quarantine {
      let size = event.payload.count + event.key.count
      guard delta.quarantine.count < Limits.quarantineEvents, quarantineBytes + size <= Limits.quarantineBytes else {
        delta.quarantineOmitted += 1
        continue
      }
      quarantineBytes += size
      bytes += size + 120
      delta.quarantine.append(event)
    }
  }

  /// Everything gathered so far; what follows begins empty at its end.
  public mutating func take() -> Delta {
    let taken = delta
    self = PendingDelta(at: taken.to, aggregateCount: taken.aggregates.count)
    return taken
  }
}

extension MeasureIncrement {
  /// Members held, 0 for other kinds.
  public var memberCount: Int {
    if case .distinct(let hashes) = self { return hashes.count }
    return 0
  }

  /// Adds another increment of the same measure; returns the bytes that it grew by.
  @discardableResult
  public mutating func add(_ other: MeasureIncrement) -> Int {
    switch (self, other) {
    case (.count(let a), .count(let b)): self = .count(a + b)
    case (.sum(let a, let n), .sum(let b, let k)): self = .sum(a + b, present: n + k)
    case (.minimum(let a), .minimum(let b)): self = .minimum(a.map { x in b.map { min(x, $0) } ?? x } ?? b)
    case (.maximum(let a), .maximum(let b)): self = .maximum(a.map { x in b.map { max(x, $0) } ?? x } ?? b)
    case (.distinct(var a), .distinct(let b)):
      self = .count(0)  // so that `a` is the only owner and grows in place
      a.append(contentsOf: b)
      self = .distinct(a)
      return b.count * 8
    default: preconditionFailure("increments of different measures")
    }
    return 0
  }
}

extension LedgerCounts {
  /// Adds the counts of an adjoining range.
  public mutating func add(_ other: LedgerCounts) {
    applied += other.applied
    filtered += other.filtered
    duplicate += other.duplicate
    late += other.late
    quarantined += other.quarantined
    gap += other.gap
    tombstones += other.tombstones
    misrouted += other.misrouted
    earliest = earliest.map { e in other.earliest.map { min(e, $0) } ?? e } ?? other.earliest
    latest = latest.map { l in other.latest.map { max(l, $0) } ?? l } ?? other.latest
  }
}

extension Delta {
  /// The same Delta with rows, members and ids in one order, so that equal changes compare equal.
  public func canonical() -> Delta {
    var result = self
    for a in result.aggregates.indices {
      for g in result.aggregates[a].groups.indices {
        for m in result.aggregates[a].groups[g].measures.indices {
          if case .distinct(let hashes) = result.aggregates[a].groups[g].measures[m] {
            result.aggregates[a].groups[g].measures[m] = .distinct(hashes.sorted())
          }
        }
      }
      result.aggregates[a].groups.sort { ($0.key.windowStart, $0.keyHash) < ($1.key.windowStart, $1.keyHash) }
      result.aggregates[a].late.sort {
        $0.key.windowStart == $1.key.windowStart
          ? $0.key.fields.lexicographicallyPrecedes($1.key.fields) : $0.key.windowStart < $1.key.windowStart
      }
    }
    result.identifiers.sort { ($0.hash, $0.seconds) < ($1.hash, $1.seconds) }
    return result
  }
}
