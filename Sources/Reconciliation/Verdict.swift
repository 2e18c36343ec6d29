/// Why stream and batch differ. Raw values are stored and printed; they never change their meaning.
public enum DifferenceClass: String, Sendable, CaseIterable {
  /// The stream refused events as late, the batch has them.
  case late
  /// The stream counted an id again because its first copy was older than the deduplication horizon, or the batch did not.
  case duplicate
  /// One side refused events that the other has.
  case quarantined
  /// Offsets that the stream's ledger does not cover, or that are gone from the landed events.
  case missingOffsets = "missing_offsets"
  /// The stream has offsets that are not landed yet.
  case landingBehind = "landing_behind"
  /// Landed offsets that the stream has not reached yet.
  case streamBehind = "stream_behind"
  /// The nightly view was read before these offsets were landed: it was not refreshed.
  case viewStale = "view_stale"
  /// Rows among the landed events that the landing did not write.
  case rawForeign = "raw_foreign"
  /// The view was made for another version of the topology.
  case definitionChanged = "definition_changed"
  /// Beyond the cardinality cap events go to the group `__overflow__`.
  case overflow
  /// Members whose events lie in several partitions are counted in each by the stream.
  case misrouted
  /// PostgreSQL refused an increment: it lies in `tidemark.rejected_row`.
  case rejected
  /// Within the stated bound.
  case approximate
  case unexplained
}

/// All that is known of a row that differs.
///
/// The batch side predicts, from the landed events and from what either side has put on record (refusals, offsets, holes),
/// which values each side must have. A prediction that comes true explains the difference; nothing else does.
public struct DifferenceFacts: Sendable, Equatable {
  public var inStream = true
  public var inBatch = true
  /// Values of the measures as texts; nil: NULL, or no row.
  public var stream: [String?] = []
  public var batch: [String?] = []
  public var predictedStream: [String?] = []
  /// The same if the offsets that the ledger does not cover were counted all the same: a range of the ledger is gone.
  public var predictedCovered: [String?] = []
  public var predictedBatch: [String?] = []
  /// The same without rows that the landing did not write.
  public var predictedOwn: [String?] = []
  /// Events that only one side counts, by why.
  public var counts: [DifferenceClass: Int64] = [:]
  /// Events that the stream counted as late for this row.
  public var lateCounted: Int64 = 0
  /// Refused events of this row's offsets whose bytes, and so whose offsets, were not kept.
  public var lateOmitted: Bool = false
  /// Index of a measure that counts events; nil: none.
  public var countMeasure: Int?
  /// Index of a measure that one event moves by one at most, such as distinct members, where none counts events; nil: none.
  public var boundMeasure: Int?
  /// Landed events that are gone and may have belonged to this row.
  public var goneFromRaw: Int64 = 0
  /// Events that the stream has counted and the landing has not landed, and that may belong to this row's window.
  public var landingBehind: Int64 = 0
  /// Events that the landing refused and the stream did not.
  public var refusedByLanding: Int64 = 0
  /// Landed events in ranges of which the stream's ledger counts more as gap than is empty.
  public var inGaps: Int64 = 0
  /// The window has a group `__overflow__`, and as many events in all as it should.
  public var isOverflowWindow = false
  /// This row is that group: it has what others lack.
  public var isOverflowRow = false
  /// Events of the increments of this row that PostgreSQL refused; `.max`: there are some, and nothing counts them.
  public var rejected: Int64 = 0
  public var isDefinitionChanged = false
  /// A repair wrote the stream's row once: the predictions of it are what the repair wrote.
  public var isRepaired = false
  /// Thousandths of a percent; 0: exact.
  public var tolerance = 0
  public init() {}
}

/// What a difference is, in one word and in a sentence.
public struct Verdict: Sendable, Equatable {
  public var classes: [DifferenceClass]
  public var reason: String
  /// The view follows from the landed events, and those are whole as far as this row goes: it may replace the stream's row.
  public var isRepairable: Bool
  public var isExplained: Bool { !classes.contains(.unexplained) }

  /// - Complexity: O(measures).
  public init(_ given: DifferenceFacts) {
    let facts = Self.settled(given)
    let found = DifferenceClass.allCases.filter { facts.counts[$0, default: 0] > 0 }
    let words = found.map { Self.words($0, facts.counts[$0]!) }
    func verdict(_ classes: [DifferenceClass], _ reason: String, repairable: Bool) -> Verdict {
      Verdict(classes: classes, reason: reason, isRepairable: repairable)
    }
    if facts.isDefinitionChanged {
      self = verdict([.definitionChanged], "the view was made for another version of the topology: migrate and refresh", repairable: false)
    } else if Self.isWithin(facts) {
      self = verdict([.approximate], "within the stated tolerance", repairable: false)
    } else if !Self.equal(facts.predictedBatch, facts.batch) {
      let reason = "the view does not follow from the landed events: they were changed after it was refreshed"
      if found.contains(.viewStale), !Self.equal(facts.predictedStream, facts.stream) {
        // That the view is old says nothing of the stream's row.
        let stream = Self.residual(facts, found, words)
        self = verdict(stream.classes, "\(reason); \(stream.reason)", repairable: false)
      } else {
        self = verdict(found.contains(.viewStale) ? [.viewStale] : [.viewStale, .unexplained], reason, repairable: false)
      }
    } else if facts.isRepaired, found.isEmpty, Self.equal(facts.predictedStream, facts.stream) {
      // The row is as the repair left it: it is the batch that has changed since.
      var changed = facts
      changed.predictedStream = facts.predictedBatch
      self = Self.residual(changed, found, words)
    } else if Self.equal(facts.predictedStream, facts.stream) {
      let isTrusted = !found.contains(.viewStale) && !found.contains(.rawForeign) && !found.contains(.streamBehind)
      self =
        found.isEmpty
        ? verdict([.misrouted], "members with events in several partitions count in each", repairable: isTrusted)
        : verdict(found, words.joined(separator: ", "), repairable: isTrusted)
    } else {
      self = Self.residual(facts, found, words)
    }
  }

  /// Of two things that may have been the case, the one that the values show: whether the view holds foreign rows, and whether
  /// the stream has counted what its ledger does not cover.
  private static func settled(_ given: DifferenceFacts) -> DifferenceFacts {
    var facts = given
    if !equal(facts.predictedBatch, facts.batch), equal(facts.predictedOwn, facts.batch) {
      facts.predictedBatch = facts.predictedOwn
      facts.counts[.rawForeign] = 0
    }
    if !equal(facts.predictedStream, facts.stream), facts.counts[.missingOffsets, default: 0] > 0,
      abs(surplus(facts.predictedCovered, facts)) <= abs(surplus(facts.predictedStream, facts))
    {
      facts.predictedStream = facts.predictedCovered
      facts.counts[.missingOffsets] = 0
    }
    return facts
  }

  private init(classes: [DifferenceClass], reason: String, isRepairable: Bool) {
    self.classes = classes
    self.reason = reason
    self.isRepairable = isRepairable
  }

  /// What the landed events alone do not explain: facts that are known of the whole partition, or of the row only in number.
  private static func residual(_ facts: DifferenceFacts, _ found: [DifferenceClass], _ words: [String]) -> Verdict {
    let surplus = surplus(facts.predictedStream, facts)
    var sources: [(DifferenceClass, Int64, String)] = []
    if let at = facts.countMeasure, facts.stream[at] == facts.predictedStream[at], facts.inStream {
      // The right number of events, and other values: no event too many or too few explains that.
    } else if surplus > 0 {
      sources = [
        (.missingOffsets, facts.goneFromRaw, "landed events are gone"), (.landingBehind, facts.landingBehind, "offsets are not landed yet"),
        (.quarantined, facts.refusedByLanding, "events were refused by the landing"),
        (.overflow, facts.isOverflowWindow && facts.isOverflowRow ? .max : 0, "beyond the cardinality cap"),
      ]
    } else {
      let late = facts.lateOmitted ? max(0, facts.lateCounted - facts.counts[.late, default: 0]) : 0
      sources = [
        (.late, late, "late beyond what the quarantine keeps"), (.missingOffsets, facts.inGaps, "events lie where the ledger says gap"),
        (.rejected, facts.rejected, "of increments that PostgreSQL refused"),
        (.overflow, facts.isOverflowWindow && !facts.isOverflowRow ? .max : 0, "beyond the cardinality cap"),
      ]
    }
    for (kind, capacity, text) in sources where capacity >= max(1, abs(surplus)) {
      let number = capacity == .max ? "" : "\(abs(surplus)) "
      let gone = surplus > 0 && kind != .overflow
      return Verdict(
        classes: DifferenceClass.allCases.filter { $0 == kind || found.contains($0) }, reason: (words + [number + text]).joined(separator: ", "),
        isRepairable: !gone && !found.contains(.rawForeign) && !found.contains(.viewStale))
    }
    let expected = facts.predictedStream.map { $0 ?? "NULL" }.joined(separator: ", ")
    let row = facts.inStream ? "the stream's row should hold (\(expected))" : "the stream has no such row, it should hold (\(expected))"
    return Verdict(
      classes: found.filter { $0 != .unexplained } + [.unexplained],
      reason: (words + ["\(isNothing(facts) ? "no event makes the stream's row" : row)"]).joined(separator: ", "),
      isRepairable: !found.contains(.viewStale) && !found.contains(.rawForeign) && facts.goneFromRaw == 0 && facts.landingBehind == 0)
  }

  private static func isNothing(_ facts: DifferenceFacts) -> Bool { facts.predictedStream.allSatisfy { $0 == nil } }

  /// By how many events the stream has more than predicted; by whether it has more where no measure counts them.
  private static func surplus(_ prediction: [String?], _ facts: DifferenceFacts) -> Int64 {
    if equal(facts.stream, prediction) { return 0 }
    if let at = facts.countMeasure ?? facts.boundMeasure, facts.stream[at] != prediction[at] {
      return (Int64(facts.stream[at] ?? "0") ?? 0) - (Int64(prediction[at] ?? "0") ?? 0)
    }
    for (stream, predicted) in zip(facts.stream, prediction) where stream != predicted {
      return (Double(stream ?? "0") ?? 0) > (Double(predicted ?? "0") ?? 0) ? 1 : -1
    }
    return facts.inStream ? 1 : -1
  }

  private static func words(_ kind: DifferenceClass, _ count: Int64) -> String {
    switch kind {
    case .late: "\(count) late"
    case .duplicate: "\(count) beyond the deduplication horizon"
    case .quarantined: "\(count) quarantined by the stream"
    case .missingOffsets: "\(count) at offsets that the stream's ledger does not cover"
    case .streamBehind: "\(count) not consumed by the stream yet"
    case .viewStale: "\(count) landed since the view was refreshed"
    case .rawForeign: "\(count) among the landed events that the landing did not write"
    default: "\(count) \(kind.rawValue)"
    }
  }

  /// Texts of numbers of one column type: equal values have equal texts but for trailing zeros of decimals. A side without
  /// a row has no events.
  static func equal(_ a: [String?], _ b: [String?]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { x, y in x == y || canonical(x) == canonical(y) }
  }

  private static func canonical(_ text: String?) -> String? {
    guard var text, text.contains(".") else { return text }
    while text.hasSuffix("0") { text.removeLast() }
    if text.hasSuffix(".") { text.removeLast() }
    return text
  }

  private static func isWithin(_ facts: DifferenceFacts) -> Bool {
    guard facts.tolerance > 0, facts.inStream, facts.inBatch else { return false }
    return zip(facts.stream, facts.batch).allSatisfy { stream, batch in
      if stream == batch { return true }
      guard let stream = stream.flatMap(Double.init), let batch = batch.flatMap(Double.init) else { return false }
      return abs(stream - batch) * 100_000 <= abs(batch) * Double(facts.tolerance)
    }
  }
}
