import Aggregation

/// A run of offsets of one partition that is landed as a whole.
public struct LandingPart: Sendable, Equatable {
  public var partition: PartitionID
  public var epoch: Epoch
  public var from: Offset
  public var to: Offset
  /// Events that became rows, and the sum of their offsets.
  public var landed: Int64 = 0
  public var offsetSum: Int128 = 0
  public var refused: [QuarantinedEvent] = []
  public var holes: [Range<Int64>] = []
  public var earliest: EventTime?
  public var latest: EventTime?
  /// The partition's end in Kafka as last seen; nil: never reached.
  public var endOffset: Offset?

  public init(_ partition: PartitionID, epoch: Epoch, at offset: Offset) {
    self.partition = partition
    self.epoch = epoch
    from = offset
    to = offset
  }

  /// Adds what adjoins.
  public mutating func append(_ reading: LandingReading, offsetSum: Int128) {
    precondition(reading.from == to, "\(partition): a reading from \(reading.from.value) does not follow \(to.value)")
    to = reading.to
    landed += Int64(reading.landed.count)
    self.offsetSum += offsetSum
    refused += reading.refused
    holes += reading.holes
    earliest = [earliest, reading.earliest].compactMap { $0 }.min()
    latest = [latest, reading.latest].compactMap { $0 }.max()
  }

  /// Offsets without an event.
  public var holeCount: Int64 { holes.reduce(0) { $0 + Int64($1.count) } }
}

/// How landing a batch ended.
public enum LandingOutcome: Sendable, Equatable {
  case committed
  /// These partitions belong to somebody else, or stand elsewhere; nothing was written.
  case fenced([PartitionID])
  /// Nothing was written; worth trying again.
  case failed(String)
  /// The connection died during COMMIT: only the offset rows know. Ask again.
  case unknown(String)
  /// Nothing was written, and an operator has to act.
  case fatal(String)
}

/// Decides how landing a batch goes on after each statement's result.
///
///     beginning ─► moving ─► copying ─► booking ─► committing ─► committed
///                    │          │ what is not jsonb:      └─ no answer ─► reading
///                    ▼          └─ once more, staged
///               rolling back ─► reading ─► committed | fenced | failed
///
/// A failure anywhere before COMMIT wrote nothing. - Complexity: O(parts).
public struct LandingProcedure: Sendable {
  public enum Statement: Sendable, Equatable {
    case begin
    /// Moves the offset rows of all parts that stand where they begin, under their epochs; answered by `moved`.
    case moveOffsets
    /// Adds the rows. `staged`: payloads that are not jsonb are kept as bytes.
    case copyRows(staged: Bool)
    /// Ledger and quarantine.
    case writeBooks
    case commit
    case rollback
    /// Reads the offset rows of all parts; answered by `standing`.
    case readOffsets
  }
  public enum Result: Sendable, Equatable {
    case done
    case moved(Int)
    case standing([PartitionID: (next: Offset, epoch: Epoch)])
    /// `isMissingPartition`: no table is there for the day of an event; it will be on the next attempt.
    case failed(StoreFailure, isMissingPartition: Bool)

    public static func == (a: Result, b: Result) -> Bool {
      switch (a, b) {
      case (.done, .done): true
      case (.moved(let a), .moved(let b)): a == b
      case (.standing(let a), .standing(let b)): a.keys == b.keys && a.allSatisfy { b[$0.key].map { [value = $0.value] in $0 == value } == true }
      case (.failed(let a, let m), .failed(let b, let n)): a == b && m == n
      default: false
      }
    }
  }
  public enum Step: Sendable, Equatable {
    case perform(Statement)
    case ended(LandingOutcome)
  }
  private enum State { case beginning, moving, copying, booking, committing, rollingBack, reading }

  private let parts: [LandingPart]
  private var state: State
  /// Whether payloads are looked at one by one.
  public private(set) var isStaged: Bool

  public init(_ parts: [LandingPart], staged: Bool) {
    self.parts = parts
    isStaged = staged
    state = .beginning
  }

  /// Only the look at the offset rows, after a COMMIT without an answer.
  public init(resolving parts: [LandingPart]) {
    self.parts = parts
    isStaged = false
    state = .reading
  }

  public func begin() -> Step { .perform(state == .reading ? .readOffsets : .begin) }

  public mutating func next(after result: Result) -> Step {
    if case .failed(let failure, let isMissingPartition) = result { return failed(failure, isMissingPartition) }
    switch (state, result) {
    case (.beginning, _): return go(.moving, .moveOffsets)
    case (.moving, .moved(parts.count)): return go(.copying, .copyRows(staged: isStaged))
    // Rows that this transaction moved itself would look committed: it is rolled back before they are read.
    case (.moving, _): return go(.rollingBack, .rollback)
    case (.copying, _): return go(.booking, .writeBooks)
    case (.booking, _): return go(.committing, .commit)
    case (.committing, _): return .ended(.committed)
    case (.rollingBack, _): return go(.reading, .readOffsets)
    case (.reading, .standing(let rows)): return .ended(verdict(rows))
    case (.reading, _): preconditionFailure("reading offset rows is answered with them")
    }
  }

  private mutating func go(_ state: State, _ statement: Statement) -> Step {
    self.state = state
    return .perform(statement)
  }

  private mutating func failed(_ failure: StoreFailure, _ isMissingPartition: Bool) -> Step {
    if state == .reading { return .ended(.unknown(failure.message)) }
    if state == .committing, failure.consequence == .connectionLost { return .ended(.unknown(failure.message)) }
    if isMissingPartition { return .ended(.failed(failure.message)) }
    switch failure.consequence {
    case .connectionLost, .retry: return .ended(.failed(failure.message))
    case .refused: return .ended(.fatal(failure.message))
    case .data:
      guard state == .copying, !isStaged else { return .ended(.fatal(failure.message)) }
      isStaged = true
      return go(.beginning, .begin)
    }
  }

  /// One transaction moves all parts, so a single row that is ours and stands at its end proves them all.
  private func verdict(_ rows: [PartitionID: (next: Offset, epoch: Epoch)]) -> LandingOutcome {
    var fenced: [PartitionID] = []
    for part in parts {
      guard let row = rows[part.partition], row.epoch == part.epoch else {
        fenced.append(part.partition)
        continue
      }
      if part.from < part.to, row.next == part.to { return .committed }
      if row.next != part.from { fenced.append(part.partition) }
    }
    return fenced.isEmpty ? .failed("the batch was not committed") : .fenced(fenced)
  }
}
