/// Bugs planted on purpose, so that the simulator can show that it finds them. Nothing but the simulator plants any:
/// everywhere else the set is empty, and a test of an empty set is all that it costs.
package struct Mutation: OptionSet, Sendable {
  package let rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A COMMIT without an answer counts as failed: its events go with the next flush.
  package static let unknownCommitIsFailed = Mutation(rawValue: 1 << 0)
  /// A COMMIT without an answer counts as committed.
  package static let unknownCommitIsCommitted = Mutation(rawValue: 1 << 1)
  /// Kafka is told of offsets when their flush is sent, not when it is in the store.
  package static let acknowledgedBeforeCommit = Mutation(rawValue: 1 << 2)
  /// A flush is sent before the journal has what it takes.
  package static let flushedBeforeJournal = Mutation(rawValue: 1 << 3)
  /// Fetching begins one offset too far.
  package static let startsOneTooFar = Mutation(rawValue: 1 << 4)
  /// A flush does not carry the watermark.
  package static let watermarkNotPersisted = Mutation(rawValue: 1 << 5)
  /// A takeover begins without the state chunks.
  package static let chunksNotLoaded = Mutation(rawValue: 1 << 6)
  /// A takeover begins without the ids of the deduplication horizon.
  package static let horizonNotRebuilt = Mutation(rawValue: 1 << 7)
  /// A journal is used whatever epoch it was written under.
  package static let journalOfAnyEpoch = Mutation(rawValue: 1 << 8)
  /// A flush that is tried again takes along what came meanwhile, and leaves it to the next one, too.
  package static let retryChangesRequest = Mutation(rawValue: 1 << 9)
  /// Past a budget nothing pauses.
  package static let pauseForgotten = Mutation(rawValue: 1 << 10)
  /// Offsets without a message are booked as applied.
  package static let gapBookedAsApplied = Mutation(rawValue: 1 << 11)
  /// A fenced partition goes on.
  package static let fencedGoesOn = Mutation(rawValue: 1 << 12)
  /// What was fetched before a partition was to be read anew is taken for what comes next.
  package static let takesWhatWasFetchedBefore = Mutation(rawValue: 1 << 13)
}
