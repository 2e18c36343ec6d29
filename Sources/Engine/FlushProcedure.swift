import Aggregation

/// One step that the store is asked for on the way of a flush.
public enum FlushStatement: Sendable, Equatable {
  case begin
  /// Moves the offset rows of all parts that stand where their Deltas begin, under their epochs; answered by `moved`.
  case moveOffsets
  /// Adds the rows of one aggregate. `isolating`: a row that does not fit its columns is put aside, the others are added.
  case addRows(aggregate: Int, isolating: Bool)
  /// Ledger, state chunks, quarantine, late counts, and the notification.
  case writeBooks
  case commit
  case rollback
  /// Reads the offset rows of all parts, outside of any transaction; answered by `standing`.
  case readOffsets
}

/// What came of a statement. After `failed` no transaction is open any more.
public enum StatementResult: Sendable, Equatable {
  case done
  /// So many offset rows were moved.
  case moved(Int)
  case standing([PartitionID: OffsetRow])
  case failed(StoreFailure)
}

/// Where a partition stands in the store.
public struct OffsetRow: Sendable, Equatable {
  public var next: Offset
  public var epoch: Epoch
  public init(next: Offset, epoch: Epoch) { self.next = next; self.epoch = epoch }
}

/// Why a statement failed, by what follows from it.
public struct StoreFailure: Error, Sendable, Equatable {
  public enum Consequence: Sendable, Equatable {
    /// No answer any more: whether the statement took effect is not known.
    case connectionLost
    /// Nothing took effect; trying again is right.
    case retry
    /// A value does not fit its column.
    case data
    /// An operator has to act.
    case refused
  }
  public var consequence: Consequence
  public var message: String
  public init(_ consequence: Consequence, _ message: String) { self.consequence = consequence; self.message = message }
}

/// Decides how a flush goes on after each statement's result: the one transaction that moves offsets and writes all that
/// moving them means, and the look at the offset rows when it is not known how that ended.
///
///     beginning ─► moving ─► adding 0 … n-1 ─► booking ─► committing ─► committed
///                    │  fewer moved than asked     │           └─ no answer ─► unknown
///                    ▼                             └─ a value does not fit ─► once more, isolating
///               rolling back ─► reading ─► committed | fenced | failed
///
/// A failure anywhere before COMMIT wrote nothing. - Complexity: O(parts).
public struct FlushProcedure: Sendable {
  public enum Step: Sendable, Equatable {
    case perform(FlushStatement)
    case ended(FlushOutcome)
  }

  private enum State { case beginning, moving, adding(Int), booking, committing, rollingBack, reading, resolving }

  private let request: FlushRequest
  private let aggregates: Int
  private var state: State
  private var isolating = false
  private var dataError = ""

  /// The flush itself.
  public init(_ request: FlushRequest, aggregates: Int) {
    self.request = request
    self.aggregates = aggregates
    state = .beginning
  }

  /// Only the look at the offset rows, after a COMMIT without an answer.
  public init(resolving request: FlushRequest) {
    self.request = request
    aggregates = 0
    state = .resolving
  }

  /// The first step.
  public func begin() -> Step {
    if case .resolving = state { return .perform(.readOffsets) }
    return .perform(.begin)
  }

  /// The step after one that ended so.
  public mutating func next(after result: StatementResult) -> Step {
    if case .failed(let failure) = result { return failed(failure) }
    switch (state, result) {
    case (.beginning, _):
      state = .moving
      return .perform(.moveOffsets)
    case (.moving, .moved(request.parts.count)): return add(0)
    case (.moving, _):
      // The rows that this transaction moved itself would look committed: it is rolled back before they are read.
      state = .rollingBack
      return .perform(.rollback)
    case (.adding(let index), _): return add(index + 1)
    case (.booking, _):
      state = .committing
      return .perform(.commit)
    case (.committing, _): return .ended(.committed)
    case (.rollingBack, _):
      state = .reading
      return .perform(.readOffsets)
    case (.reading, .standing(let rows)): return .ended(outcome(rows, "an offset row was locked while it moved"))
    case (.resolving, .standing(let rows)): return .ended(outcome(rows, "the flush was not committed"))
    case (.reading, _), (.resolving, _): preconditionFailure("reading offset rows is answered with them")
    }
  }

  private mutating func add(_ index: Int) -> Step {
    guard index < aggregates else {
      state = .booking
      return .perform(.writeBooks)
    }
    state = .adding(index)
    return .perform(.addRows(aggregate: index, isolating: isolating))
  }

  private mutating func failed(_ failure: StoreFailure) -> Step {
    switch state {
    case .resolving: return .ended(.unknown(failure.message))
    case .committing where failure.consequence == .connectionLost: return .ended(.unknown(failure.message))
    case .committing: return .ended(.failed(failure.message))
    default: break
    }
    switch failure.consequence {
    case .connectionLost, .retry: return .ended(.failed(failure.message))
    case .refused: return .ended(.fatal(failure.message))
    case .data:
      guard !isolating else { return .ended(.fatal("\(failure.message) (at first: \(dataError))")) }
      isolating = true
      dataError = failure.message
      state = .beginning
      return .perform(.begin)
    }
  }

  /// What the offset rows say. One transaction moves all parts, so a single row that is ours and stands at its end proves
  /// them all.
  private func outcome(_ rows: [PartitionID: OffsetRow], _ otherwise: String) -> FlushOutcome {
    var fenced: [PartitionID] = []
    for part in request.parts {
      guard let row = rows[part.partition], row.epoch == part.epoch else {
        fenced.append(part.partition)
        continue
      }
      if row.next == part.delta.to { return .committed }
      // Ours by epoch, but elsewhere: somebody moved the row by hand. What is in memory does not continue it.
      if row.next != part.delta.from { fenced.append(part.partition) }
    }
    return fenced.isEmpty ? .failed(otherwise) : .fenced(fenced)
  }
}
