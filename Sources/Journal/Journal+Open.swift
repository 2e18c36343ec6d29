import Aggregation

/// Finding out what is on the disk.
extension Journal {
  /// Fills index and segments from the directory. Only called by `init`.
  func open() throws(JournalError) {
    var found: [LogSequenceNumber] = []
    var snapshots: Set<UInt64> = []
    for name in try onDisk({ () throws(StorageError) in try storage.list(directory) }) {
      switch FileName.meaning(name) {
      case .segment(let first): found.append(first)
      case .snapshot(let id): snapshots.insert(id)
      case .temporary: try onDisk { () throws(StorageError) in try storage.remove(directory + "/" + name) }
      case nil: continue
      }
    }
    found.sort()
    for first in found {
      if segments.isEmpty { next = first }
      try readSegment(first, isLast: first == found.last)
    }
    synced = next
    _ = index.takeSuperseded()
    settleSnapshots(snapshots)
    for (id, held) in index.partitions.sorted(by: { $0.key < $1.key }) {
      if let hole = held.hole { forget(id, because: hole, in: &openingReport) }
    }
    garbage = index.takeSuperseded()
  }

  private func readSegment(_ first: LogSequenceNumber, isLast: Bool) throws(JournalError) {
    let path = directory + "/" + FileName.segment(first)
    let (file, bytes) = try onDisk { () throws(StorageError) in
      let file = try storage.open(path)
      return (file, try file.read(try file.size(), at: 0))
    }
    guard let headerSize = try checkHeader(bytes, path, first, isLast) else {
      return try onDisk { () throws(StorageError) in try storage.remove(path) }
    }
    guard first == next else {
      throw JournalError(
        .corrupt, "the segment does not begin with record \(next.value), the next after the segment before it", file: path,
        byte: 0)
    }
    let segment = Segment(
      first: first, path: path, file: file, headerSize: headerSize, end: headerSize, allocated: bytes.count)
    try readFrames(bytes, segment, isLast)
    segments.append(segment)
    // What was read may be in the kernel's memory alone; from here on, it counts as durable.
    if isLast { try onDisk { () throws(StorageError) in try file.sync() } }
  }

  /// Size of the header; nil: a segment in which nothing has ever been, to be removed.
  private func checkHeader(
    _ bytes: [UInt8], _ path: String, _ first: LogSequenceNumber, _ isLast: Bool
  ) throws(JournalError) -> Int? {
    let wayOut = "use another --data-dir, or remove this one: PostgreSQL and Kafka have everything in it"
    switch SegmentHeader.read(bytes) {
    case .header(first, identity, let size): return size
    case .header(first, let other, _):
      let what =
        other.fingerprint == identity.fingerprint
        ? "under hash seed \(other.seed), not \(identity.seed)"
        : "for topology \(other.fingerprint), not \(identity.fingerprint)"
      throw JournalError(.foreign, "the journal was written \(what); \(wayOut)", file: path)
    case .header(let inside, _, _):
      throw JournalError(.corrupt, "the segment says that it begins with record \(inside.value)", file: path, byte: 0)
    case .otherVersion(let version):
      throw JournalError(
        .foreign, "the journal has format \(version), this program knows \(SegmentHeader.version); \(wayOut)", file: path)
    case .broken:
      let before = LogSequenceNumber(first.value == 0 ? 0 : first.value - 1)
      guard isLast, LogScan(bytes, from: 0, next: before).framesAfterward().first == nil else {
        throw JournalError(.corrupt, "the header of the segment is damaged", file: path, byte: 0)
      }
      openingReport.append("\(path), byte 0: removed \(bytes.count) bytes of a segment without a whole record")
      return nil
    }
  }

  private func readFrames(_ bytes: [UInt8], _ segment: Segment, _ isLast: Bool) throws(JournalError) {
    var scan = LogScan(bytes, from: segment.headerSize, next: next)
    while let frame = scan.nextFrame() {
      let location = Location(segment: segment.first, position: frame.position, length: frame.length)
      guard let (record, _) = LogRecord.decode(kind: frame.kind, bytes, frame.body),
        (record.kind == 1) == (frame.position == segment.headerSize), index.apply(record, at: location)
      else {
        throw JournalError(
          .corrupt, "record \(frame.lsn.value) does not follow from those before", file: segment.path, byte: frame.position)
      }
      if case .snapshot(_, let reference) = record { nextSnapshot = max(nextSnapshot, reference.id + 1) }
    }
    segment.end = scan.position
    next = scan.next
    switch scan.verdict() {
    case .clean: return
    case .torn(let count) where isLast:
      try onDisk { () throws(StorageError) in try segment.file.truncate(scan.position) }
      segment.allocated = scan.position
      openingReport.append("\(segment.path), byte \(scan.position): cut \(count) bytes of a record that was not written whole")
    case .torn:
      throw JournalError(
        .corrupt, "record \(next.value) is damaged, and another segment follows", file: segment.path, byte: scan.position)
    case .corrupt(let reason):
      throw JournalError(.corrupt, reason, file: segment.path, byte: scan.position)
    }
  }

  /// Deletes snapshots that nothing refers to, and gives up partitions whose snapshot is not there.
  private func settleSnapshots(_ found: Set<UInt64>) {
    var needed: Set<UInt64> = []
    for (id, held) in index.partitions.sorted(by: { $0.key < $1.key }) {
      guard let snapshot = held.snapshot else { continue }
      if found.contains(snapshot.id) {
        needed.insert(snapshot.id)
        snapshotBytes += SnapshotFile.headerSize + Int(snapshot.bytes)
      } else {
        forget(id, because: "\(path(snapshot)) is missing", in: &openingReport)
        _ = index.takeSuperseded()
      }
    }
    for id in found.sorted() {
      nextSnapshot = max(nextSnapshot, id + 1)
      guard !needed.contains(id) else { continue }
      do {
        try storage.remove(directory + "/" + FileName.snapshot(id))
      } catch {
        openingReport.append("a snapshot that is not needed cannot be deleted: \(error)")
      }
    }
  }

  /// Gives up what is held of a partition; the log learns of it with the next append.
  func forget(_ id: PartitionID, because reason: String, in report: inout [String]) {
    report.append("\(id): what the journal holds of it cannot be used: \(reason)")
    index.forget(id)
    owed.append(.dropped(id))
  }
}
