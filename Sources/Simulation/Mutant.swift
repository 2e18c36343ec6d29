import Engine

/// Bugs that can be planted, to see that the simulator finds them.
public enum Mutant: String, CaseIterable, Sendable {
  // In the engine.
  case unknownCommitIsFailed = "unknown-commit-is-failed"
  case unknownCommitIsCommitted = "unknown-commit-is-committed"
  case acknowledgedBeforeCommit = "acknowledged-before-commit"
  case flushedBeforeJournal = "flushed-before-journal"
  case startsOneTooFar = "starts-one-too-far"
  case watermarkNotPersisted = "watermark-not-persisted"
  case chunksNotLoaded = "chunks-not-loaded"
  case horizonNotRebuilt = "horizon-not-rebuilt"
  case journalOfAnyEpoch = "journal-of-any-epoch"
  case retryChangesRequest = "retry-changes-request"
  case pauseForgotten = "pause-forgotten"
  case gapBookedAsApplied = "gap-booked-as-applied"
  case fencedGoesOn = "fenced-goes-on"
  case takesWhatWasFetchedBefore = "takes-what-was-fetched-before"
  // In what performs the statements.
  case epochUnchecked = "epoch-unchecked"
  case offsetUnchecked = "offset-unchecked"
  case rowsOutsideTransaction = "rows-outside-transaction"
  case compactionForgets = "compaction-forgets"
  case offsetResetInSilence = "offset-reset-in-silence"

  var mutation: Mutation {
    switch self {
    case .unknownCommitIsFailed: .unknownCommitIsFailed
    case .unknownCommitIsCommitted: .unknownCommitIsCommitted
    case .acknowledgedBeforeCommit: .acknowledgedBeforeCommit
    case .flushedBeforeJournal: .flushedBeforeJournal
    case .startsOneTooFar: .startsOneTooFar
    case .watermarkNotPersisted: .watermarkNotPersisted
    case .chunksNotLoaded: .chunksNotLoaded
    case .horizonNotRebuilt: .horizonNotRebuilt
    case .journalOfAnyEpoch: .journalOfAnyEpoch
    case .retryChangesRequest: .retryChangesRequest
    case .pauseForgotten: .pauseForgotten
    case .gapBookedAsApplied: .gapBookedAsApplied
    case .fencedGoesOn: .fencedGoesOn
    case .takesWhatWasFetchedBefore: .takesWhatWasFetchedBefore
    case .epochUnchecked, .offsetUnchecked, .rowsOutsideTransaction, .compactionForgets, .offsetResetInSilence: []
    }
  }

  /// What is wrong, for a person.
  public var text: String {
    switch self {
    case .unknownCommitIsFailed: "a COMMIT without an answer counts as failed"
    case .unknownCommitIsCommitted: "a COMMIT without an answer counts as committed"
    case .acknowledgedBeforeCommit: "Kafka is told of offsets before they are in the store"
    case .flushedBeforeJournal: "a flush is sent before the journal has what it takes"
    case .startsOneTooFar: "fetching begins one offset too far"
    case .watermarkNotPersisted: "a flush does not carry the watermark"
    case .chunksNotLoaded: "a takeover begins without the state chunks"
    case .horizonNotRebuilt: "a takeover begins without the ids of the deduplication horizon"
    case .journalOfAnyEpoch: "a journal is used whatever epoch it was written under"
    case .retryChangesRequest: "a flush that is tried again has become another one"
    case .pauseForgotten: "past the memory budget nothing pauses"
    case .gapBookedAsApplied: "offsets without a message are booked as applied"
    case .fencedGoesOn: "a fenced partition goes on"
    case .takesWhatWasFetchedBefore: "what was fetched before a partition was to be read anew is taken for what comes next"
    case .epochUnchecked: "offsets move whatever the epoch"
    case .offsetUnchecked: "offsets move wherever they stand"
    case .rowsOutsideTransaction: "rows are written outside of the flush's transaction"
    case .compactionForgets: "merging state chunks loses one"
    case .offsetResetInSilence: "an offset that Kafka no longer has is passed over in silence"
    }
  }
}
