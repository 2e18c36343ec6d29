/// To what a journal belongs: records of another topology or of another hash seed mean something else.
public struct JournalIdentity: Sendable, Equatable {
  /// Fingerprint of the topology that the records were made under; at most 65,535 bytes of UTF-8.
  public var fingerprint: String
  /// Seed of the hashes of members, group keys and event ids in the records.
  public var seed: UInt64
  public init(fingerprint: String, seed: UInt64) { self.fingerprint = fingerprint; self.seed = seed }
}

/// When written records are forced to the disk. Nothing is ever lost for correctness: PostgreSQL and Kafka rebuild what
/// a journal does not hold. A process that dies loses nothing under any policy; only a power failure or a kernel panic does.
public enum SyncPolicy: Sendable, Equatable {
  /// Before `append` returns: a power failure loses nothing that was appended. One disk round trip per append.
  case always
  /// So many milliseconds after the first record that is not synced yet, at the next `append` or `tick`: a power failure
  /// loses at most that time's records and the time between two calls.
  case interval(milliseconds: Int64)
  /// When the kernel likes: a power failure loses any number of the newest segment's records. (A full segment, a snapshot,
  /// and whatever allows a file to be deleted are synced under this policy, too.)
  case never
}

/// How a journal works.
public struct JournalOptions: Sendable {
  /// Size of a segment in bytes; an append that is larger gets a segment of its own size.
  public var segmentBytes: Int
  public var sync: SyncPolicy
  public init(segmentBytes: Int = 64 << 20, sync: SyncPolicy = .interval(milliseconds: 200)) {
    self.segmentBytes = segmentBytes; self.sync = sync
  }
}

/// What a journal has done since it was opened.
public struct JournalStatistics: Sendable, Equatable {
  public var appends = 0
  public var records = 0
  /// Bytes written to segments: frames, without preallocation.
  public var bytes = 0
  public var syncs = 0
  /// Time spent in syncs; 0 without a stopwatch.
  public var syncNanoseconds: UInt64 = 0
  public var snapshots = 0
  public var snapshotBytes = 0
  public var segmentsCreated = 0
  public var segmentsRemoved = 0
  /// Bytes of records copied to the head of the log so that an old segment could go.
  public var carriedBytes = 0
  /// Entries of an epoch, or of offsets, that the partition has left behind: not written.
  public var stale = 0
  /// Partitions thrown away because `opened` did not continue what was held.
  public var discontinued = 0
  public init() {}
}
