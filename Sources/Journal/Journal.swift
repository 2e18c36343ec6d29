// The journal's files
// ===================
//
// A journal keeps, on the disk of one instance, what PostgreSQL does not have yet and what makes a restart fast. It is a
// cache: PostgreSQL and Kafka rebuild whatever it loses.
//
// Limits. One process and one thread use a directory at a time; a lock file sees to that. Records have at most 1 GiB,
// snapshots any length. A directory belongs to one topology and hash seed. Integers are little endian, checksums CRC32C.
//
// Layout.
//
//     lock                            held by flock while the journal is open; the text in it is the process id
//     00000000000000000001.log        a segment; the number is the LSN of its first record
//     00000000000000000007.snapshot   a partition's whole state; snapshots are numbered on their own
//     ….tmp                           a segment or snapshot in the making; opening removes it
//
//     segment:  "tidemark", u32 version, u32 header length, u64 first LSN, u64 hash seed,
//               u16 length and text of the topology's fingerprint, u32 checksum of the header;
//               frames; zeros up to the end of the file, which is preallocated
//     frame:    u32 checksum of what follows, u32 length of the frame, u64 LSN, u64 synced, u8 type, body
//               (see Frame.swift; "synced" tells how much was durable when the record was written)
//     body:     1 roster     u32 count, for each: partition, epoch, base, end, flushed, u8 has snapshot, [snapshot]
//               2 opened     partition, i64 epoch, i64 offset
//               3 delta      partition, i64 from, i64 to, encoded Delta
//               4 carried    as delta; a copy of one in an older segment
//               5 flushed    partition, i64 offset
//               6 dropped    partition
//               7 snapshot   partition, u64 number, i64 flushed, u64 bytes, u32 checksum
//     partition: u16 length and text of the topic, i32 number
//
// LSNs have no gap, from the first record of the oldest segment to the last record. A segment is filled before the next
// one is begun, and its last byte is durable before the next one exists. Every segment begins with a roster: the epoch,
// the offsets and the snapshot of every partition at that place. So the segments before it are needed for their Deltas
// alone, and the oldest can go as soon as no partition needs a Delta in it.
//
// Operation. An append becomes one run of frames, one write and, by the policy, one sync. Before it, snapshots in it are
// written to a file aside, synced, renamed, and the directory is synced; the record that refers to a file comes last.
// Files are only deleted after everything that made them superfluous is durable; segments oldest first, the directory
// synced after each. A partition that is quiet would hold on to old segments for ever: when the log is more than twice
// what is needed in it, Deltas still needed are copied from the oldest segment to the head of the log ("carried").
//
// If the disk is full, the file is cut back to where it ended, and the append can be tried again. If the disk fails, the
// journal takes nothing more: after a failed sync nobody knows what is on it.
//
// Recovery. Opening reads every segment, checks every frame, and keeps of each Delta only where it is. In the newest
// segment the log may end in a torn record, one that was being written when the power went. It is cut. A damaged record
// is told from a torn one by whole records behind it, if one of those says that it was synced, or if no sector of it is
// missing. It is refused, with segment and byte: nothing behind it can be trusted to continue what is before it.
// A snapshot that cannot be read costs its partition what is held of it, and a warning. `recover` reads a
// partition's snapshot and Deltas, and checks them again.

import Aggregation

/// The write-ahead log of an instance. Not for use by two threads at a time.
///
/// What it holds of a partition is a chain of Deltas without a hole, perhaps with a snapshot beneath, or nothing.
public final class Journal {
  public let directory: String
  public let identity: JournalIdentity
  public let options: JournalOptions
  /// What opening found that an operator should know: a torn tail that was cut, snapshots that cannot be used.
  public internal(set) var openingReport: [String] = []
  public internal(set) var statistics = JournalStatistics()

  let storage: any Storage
  private let stopwatch: (() -> UInt64)?
  private let lock: any StorageLock
  /// Ascending; the last is written to. Empty until the first append.
  var segments: [Segment] = []
  var index = LogIndex()
  /// LSN of the next record.
  var next = LogSequenceNumber(1)
  /// Records below this are durable.
  var synced = LogSequenceNumber(1)
  /// When the first record that is not synced was written.
  private var dirtySince: Int64?
  /// Set by what the journal cannot go on after.
  private var failure: JournalError?
  var nextSnapshot: UInt64 = 1
  /// Records that opening and recovery owe the log: they go ahead of the next append.
  var owed: [LogRecord] = []
  var warnings: [String] = []
  /// Snapshot files that can be deleted, and bytes of all.
  var garbage: [SnapshotReference] = []
  var snapshotBytes = 0
  var frames = FrameBuffer()

  /// Opens the journal in `directory`, making it if there is none.
  ///
  /// - Parameter stopwatch: monotonic nanoseconds, for `statistics.syncNanoseconds`.
  /// - Throws: `.locked`, `.foreign`, `.corrupt`, `.failed`; also `.full` if there is no room for the directory.
  /// - Complexity: reads all segments; snapshots are only looked for.
  public init(
    directory: String, identity: JournalIdentity, options: JournalOptions = JournalOptions(),
    storage: any Storage = PosixStorage(), stopwatch: (() -> UInt64)? = nil
  ) throws(JournalError) {
    precondition(identity.fingerprint.utf8.count <= Int(UInt16.max), "the fingerprint has to fit the header")
    precondition(options.segmentBytes > 0, "a segment holds something")
    self.directory = directory
    self.identity = identity
    self.options = options
    self.storage = storage
    self.stopwatch = stopwatch
    lock = try Self.takeLock(directory, storage)
    do {
      try open()
    } catch {
      lock.release()
      throw error
    }
  }

  /// Whether `directory` holds files of a journal, besides its lock.
  /// - Throws: `.failed`.
  public static func isHeld(_ directory: String, storage: any Storage = PosixStorage()) throws(JournalError) -> Bool {
    try onDisk { () throws(StorageError) in try storage.list(directory).contains { FileName.meaning($0) != nil } }
  }

  /// Deletes the files of the journal in `directory`; others and the lock file stay.
  /// - Throws: `.locked` if a process has it open, `.failed`.
  public static func remove(_ directory: String, storage: any Storage = PosixStorage()) throws(JournalError) {
    let lock = try takeLock(directory, storage)
    defer { lock.release() }
    try onDisk { () throws(StorageError) in
      // Newest first: what is left of an interrupted removal still begins at its oldest segment.
      for name in try storage.list(directory).sorted(by: >) where FileName.meaning(name) != nil {
        try storage.remove(directory + "/" + name)
      }
      try storage.syncDirectory(directory)
    }
  }

  private static func takeLock(_ directory: String, _ storage: any Storage) throws(JournalError) -> any StorageLock {
    let outcome = try onDisk { () throws(StorageError) in
      try storage.createDirectory(directory)
      return try storage.lock(directory + "/" + FileName.lock)
    }
    switch outcome {
    case .taken(let lock): return lock
    case .held(let process):
      throw JournalError(
        .locked, "the journal in \(directory) is in use by process \(process.isEmpty ? "(unknown)" : process)", file: directory)
    }
  }

  /// Partitions that are open in the log, sorted; whether anything is held of one, `recover` tells.
  public var partitions: [PartitionID] { index.partitions.keys.sorted() }

  /// Bytes of segments, with what is preallocated, and of snapshots.
  public var bytesOnDisk: Int { segments.reduce(snapshotBytes) { $0 + $1.allocated } }

  /// Texts since the last call: a snapshot that could not be used, a file that could not be deleted.
  public func takeWarnings() -> [String] {
    defer { warnings = [] }
    return warnings
  }

  /// Appends entries, in order, with one write.
  ///
  /// Entries of another epoch than the partition was opened under, and Deltas that end below what is held, are left out
  /// and counted. `opened` at an offset where the held chain does not end throws the chain away.
  ///
  /// - Parameter now: milliseconds of the caller's clock, for `SyncPolicy.interval`.
  /// - Throws: `.full`: nothing of `entries` is in the journal, and they may be appended again.
  ///   `.failed`: the journal takes nothing more until it is opened again.
  /// - Complexity: one copy, one checksum and one write of the bytes.
  public func append(_ entries: [JournalEntry], now: Int64) throws(JournalError) {
    try requireWorking()
    let rotated = try store(entries)
    if dirtySince == nil, synced < next { dirtySince = now }
    if options.sync == .always { try sync() } else { try tick(now: now) }
    try retire()
    if rotated { try carryForward() }
  }

  /// Syncs if the policy says that it is time.
  /// - Throws: `.failed`, as `append`.
  public func tick(now: Int64) throws(JournalError) {
    guard case .interval(let milliseconds) = options.sync, let dirtySince, now - dirtySince >= milliseconds else { return }
    try sync()
  }

  /// Returns when everything appended is durable.
  /// - Throws: `.failed`, as `append`.
  public func sync() throws(JournalError) {
    try requireWorking()
    guard synced < next, let segment = segments.last else { return }
    let started = stopwatch?() ?? 0
    do {
      try segment.file.sync()
    } catch {
      throw fail(error)
    }
    statistics.syncs += 1
    statistics.syncNanoseconds += (stopwatch?() ?? 0) - started
    synced = next
    dirtySince = nil
  }

  /// Syncs, closes the files and gives up the lock. The journal is of no use afterwards; a second call does nothing.
  /// - Throws: `.failed` if the last records may not be durable; it is closed all the same.
  public func close() throws(JournalError) {
    if isClosed { return }
    var problem: JournalError?
    if failure == nil {
      do { try sync() } catch { problem = error }
    }
    isClosed = true
    failure = JournalError(.failed, "the journal in \(directory) is closed", file: directory)
    for segment in segments { try? segment.file.close() }
    segments = []
    lock.release()
    if let problem { throw problem }
  }
  private var isClosed = false

  func requireWorking() throws(JournalError) {
    if let failure { throw failure }
  }

  /// Ends the journal's work for good: what is on the disk is no longer known.
  func fail(_ error: StorageError) -> JournalError {
    let cause = JournalError(.failed, error.description, file: error.path)
    failure = JournalError(.failed, "the journal stopped at an earlier error: \(error)", file: error.path)
    return cause
  }
}
