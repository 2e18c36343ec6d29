import Aggregation

/// A record about to be written.
struct Outgoing {
  var record: LogRecord
  /// The record's own bytes, and the Delta's behind them.
  var head: [UInt8]
  var payload: [UInt8]

  init(_ record: LogRecord, payload: [UInt8] = []) {
    self.record = record
    self.payload = payload
    head = record.encoded()
  }

  var size: Int { Frame.headSize + head.count + payload.count }
}

/// From entries to bytes in a segment.
extension Journal {
  /// Writes entries and takes them into the index; true: into a new segment.
  func store(_ entries: [JournalEntry]) throws(JournalError) -> Bool {
    var draft = Draft(firstSnapshot: nextSnapshot)
    for entry in entries { draft.take(entry, over: index) }
    let dropped = owed.map { Outgoing($0) }
    var outgoing = dropped + draft.outgoing
    guard !outgoing.isEmpty else {
      statistics.stale += draft.stale
      return false
    }
    var written: [SnapshotReference] = []
    let rotated: Bool
    do throws(JournalError) {
      for (place, partition, flushed, state) in draft.snapshots {
        let reference = try writeSnapshot(state, draft.firstSnapshot + UInt64(written.count), flushed)
        written.append(reference)
        outgoing[dropped.count + place] = Outgoing(.snapshot(partition, reference))
      }
      rotated = try write(outgoing)
    } catch {
      for reference in written { try? storage.remove(path(reference)) }
      throw error
    }
    owed = []
    nextSnapshot += UInt64(written.count)
    snapshotBytes += written.reduce(0) { $0 + SnapshotFile.headerSize + Int($1.bytes) }
    statistics.snapshots += written.count
    statistics.snapshotBytes += written.reduce(0) { $0 + Int($1.bytes) }
    statistics.stale += draft.stale
    statistics.discontinued += draft.discontinued
    statistics.appends += 1
    return rotated
  }

  /// Writes records with one write and applies them; true: into a new segment. After `.full` nothing has changed.
  func write(_ outgoing: [Outgoing]) throws(JournalError) -> Bool {
    if let large = outgoing.first(where: { $0.size > Frame.maxSize }) {
      throw JournalError(.failed, "a record of \(large.size) bytes is larger than a journal takes", file: directory)
    }
    let size = outgoing.reduce(0) { $0 + $1.size }
    let rotated = segments.last.map { !$0.isEmpty && $0.end + size > options.segmentBytes } ?? true
    let records = rotated || segments.last!.isEmpty ? [Outgoing(index.roster)] + outgoing : outgoing
    let total = records.count > outgoing.count ? size + records[0].size : size
    if rotated { try rotate(room: total) }
    let segment = segments.last!
    frames.empty(reserving: total)
    var lsn = next
    for record in records {
      frames.append(record.record.kind, head: record.head, payload: record.payload, lsn: lsn, synced: synced)
      lsn = lsn.next
    }
    do {
      if segment.end + total > segment.allocated {
        let size = max(options.segmentBytes, segment.end + total)
        segment.allocated = try segment.file.preallocate(size) ? size : segment.end + total
      }
      try segment.file.write(frames.bytes, at: segment.end)
    } catch {
      try cutBack(segment)
      if error.isFull { throw JournalError(error) }
      throw fail(error)
    }
    var position = segment.end
    for record in records {
      let applied = index.apply(record.record, at: Location(segment: segment.first, position: position, length: record.size))
      precondition(applied, "the draft lets only records pass that follow from those before")
      position += record.size
    }
    garbage += index.takeSuperseded()
    segment.end = position
    next = lsn
    statistics.records += records.count
    statistics.bytes += total
    return rotated
  }

  /// Takes back what a failed write may have left behind the segment's end, durably: old bytes must not come back
  /// between those that are written there next.
  private func cutBack(_ segment: Segment) throws(JournalError) {
    do {
      try segment.file.truncate(segment.end)
      try segment.file.sync()
      segment.allocated = segment.end
    } catch {
      throw fail(error)
    }
  }

  /// Begins a segment, with room for at least `room` bytes of frames. The one before is durable then, and cut to its length.
  private func rotate(room: Int) throws(JournalError) {
    try sync()
    let name = directory + "/" + FileName.segment(next)
    let aside = FileName.temporary(name)
    let header = SegmentHeader.encode(first: next, identity)
    let size = max(options.segmentBytes, header.count + room)
    do {
      let new = try storage.create(aside)
      let preallocated = try new.preallocate(size)
      try new.write(header, at: 0)
      try new.sync()
      try new.close()
      try storage.rename(aside, to: name)
      try storage.syncDirectory(directory)
      // Opened anew, it is called by its name in errors.
      let file = try storage.open(name)
      segments.append(
        Segment(
          first: next, path: name, file: file, headerSize: header.count, end: header.count,
          allocated: preallocated ? size : header.count))
    } catch {
      // A header without records would be no harm either: opening goes on writing there.
      try? storage.remove(aside)
      try? storage.remove(name)
      if error.isFull { throw JournalError(error) }
      throw fail(error)
    }
    statistics.segmentsCreated += 1
    guard segments.count > 1 else { return }
    let old = segments[segments.count - 2]
    if old.allocated > old.end, (try? old.file.truncate(old.end)) != nil { old.allocated = old.end }
  }

  private func writeSnapshot(_ state: [UInt8], _ id: UInt64, _ flushed: Offset) throws(JournalError) -> SnapshotReference {
    do {
      return try SnapshotFile.write(state, id: id, flushed: flushed, in: directory, storage)
    } catch {
      if error.isFull { throw JournalError(error) }
      throw fail(error)
    }
  }

  func path(_ reference: SnapshotReference) -> String { directory + "/" + FileName.snapshot(reference.id) }
}
