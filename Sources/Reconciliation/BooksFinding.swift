import Aggregation

/// Something in the books of stream or landing that does not add up, down to the offsets.
public struct BooksFinding: Sendable, Equatable {
  /// Raw values are stored and printed; they never change their meaning.
  public enum Kind: String, Sendable, CaseIterable {
    /// Offsets between two ranges of the stream's ledger, or after its last one, that none covers.
    case ledgerHole = "ledger_hole"
    /// Offsets that the stream's ledger has twice.
    case ledgerOverlap = "ledger_overlap"
    /// The partition stands before its ledger's end.
    case ledgerEnd = "ledger_end"
    /// A range's buckets are not what its offsets hold, or do not sum up to them.
    case ledgerBuckets = "ledger_buckets"
    /// A range does not begin with the watermark that the one before ended with.
    case ledgerWatermark = "ledger_watermark"
    /// The ledger counts as gap what the landing has events for.
    case gapWithEvents = "gap_with_events"
    case landingHole = "landing_hole"
    case landingOverlap = "landing_overlap"
    case landingEnd = "landing_end"
    /// A landed event is gone.
    case rawMissing = "raw_missing"
    /// A row that the landing did not write.
    case rawForeign = "raw_foreign"
    /// A row that the landing did not write, with an id that another row has.
    case rawDuplicate = "raw_duplicate"
    /// One side began later than the other.
    case coverage
  }
  public var kind: Kind
  public var partition: PartitionID
  /// `[from, to)`.
  public var from: Int64
  public var to: Int64
  public var reason: String

  public init(_ kind: Kind, _ partition: PartitionID, from: Int64, to: Int64, _ reason: String) {
    self.kind = kind
    self.partition = partition
    self.from = from
    self.to = to
    self.reason = reason
  }

  /// Whether nothing is wrong, only worth knowing: one side was started later.
  public var isExplained: Bool { kind == .coverage }
}

/// One range of a ledger, as the check of its joints reads it, in order of `from`.
struct LedgerRange: Equatable {
  var from: Int64
  var to: Int64
  var watermarkBefore: Int64?
  var watermarkAfter: Int64?
}

/// The joints of one partition's ledger: ranges join without hole or overlap, and end where the partition stands.
///
/// Fed range by range, in order, so that a ledger of any length is checked in constant memory.
struct LedgerJoints {
  enum Side { case stream, landing }
  let side: Side
  let partition: PartitionID
  /// Where the partition stands; nil: it has no row.
  let next: Int64?
  private(set) var findings: [BooksFinding] = []
  private(set) var first: LedgerRange?
  private var end: Int64?
  private var watermark: Int64?

  init(_ side: Side, _ partition: PartitionID, next: Int64?) {
    self.side = side
    self.partition = partition
    self.next = next
  }

  private var name: String { side == .stream ? "the ledger" : "the landing's ledger" }

  mutating func add(_ range: LedgerRange) {
    if first == nil { first = range }
    if let end, range.from > end {
      note(.ledgerHole, .landingHole, end, range.from, "no range of \(name) covers \(range.from - end) offsets")
    } else if let end, range.from < end {
      note(.ledgerOverlap, .landingOverlap, range.from, min(end, range.to), "\(min(end, range.to) - range.from) offsets are in \(name) twice")
    } else if side == .stream, end != nil, range.watermarkBefore != watermark {
      note(
        .ledgerWatermark, .ledgerWatermark, range.from, range.to, "the range does not begin with the watermark that the one before ended with")
    }
    end = max(end ?? range.to, range.to)
    watermark = range.watermarkAfter
  }

  /// After the last range. `other`: where the other side's ledger begins; nil: it has none.
  mutating func finish(otherFirst other: Int64?) {
    guard let next else {
      if let first, let end { note(.ledgerEnd, .landingEnd, first.from, end, "\(name) has ranges of a partition that has no row") }
      return
    }
    guard let end, let first else {
      if let other, next > other { note(.ledgerHole, .landingHole, other, next, "no range of \(name) covers \(next - other) offsets") }
      return
    }
    if next > end {
      note(
        .ledgerHole, .landingHole, end, next, "the partition stands at \(next), \(name) ends at \(end): no range covers \(next - end) offsets")
    } else if next < end {
      note(.ledgerEnd, .landingEnd, next, end, "the partition stands at \(next), before \(name)'s end at \(end)")
    }
    guard let other, first.from > other else { return }
    if side == .stream, first.watermarkBefore != nil {
      note(.ledgerHole, .landingHole, other, first.from, "no range of \(name) covers \(first.from - other) offsets before the first, which has a watermark already")
    } else {
      findings.append(
        BooksFinding(.coverage, partition, from: other, to: first.from, "\(name) begins at \(first.from), the other side's at \(other)"))
    }
  }

  private mutating func note(_ stream: BooksFinding.Kind, _ landing: BooksFinding.Kind, _ from: Int64, _ to: Int64, _ reason: String) {
    findings.append(BooksFinding(side == .stream ? stream : landing, partition, from: from, to: to, reason))
  }
}
