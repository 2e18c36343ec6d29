import Aggregation

/// Freeing the disk.
extension Journal {
  /// Deletes snapshots that are superseded and the oldest segments while no partition needs a Delta in them. What made
  /// them superfluous is synced before. A file that cannot be deleted stays until the next time, with a warning.
  func retire() throws(JournalError) {
    guard !garbage.isEmpty || oldestCanGo else { return }
    try sync()
    do {
      while let reference = garbage.last {
        try storage.remove(path(reference))
        snapshotBytes -= SnapshotFile.headerSize + Int(reference.bytes)
        garbage.removeLast()
      }
      while oldestCanGo {
        try storage.remove(segments[0].path)
        let segment = segments.removeFirst()
        statistics.segmentsRemoved += 1
        try? segment.file.close()
        // One by one: a crash must not bring back an older segment without the ones between.
        try storage.syncDirectory(directory)
      }
    } catch {
      warnings.append("a file of the journal that is not needed cannot be deleted: \(error)")
    }
  }

  private var oldestCanGo: Bool {
    // The last one's roster has to be there before any segment goes.
    segments.count > 1 && !segments.last!.isEmpty && index.live[segments[0].first] == nil
  }

  /// Copies what is needed from the oldest segments to the head of the log and deletes them, as long as the log is more
  /// than twice what is needed in it. Each byte copied has one freed for it, so the cost per byte appended is bounded.
  func carryForward() throws(JournalError) {
    guard let newest = segments.last else { return }
    // What every segment needs for itself is no garbage.
    let overhead = newest.headerSize + Outgoing(index.roster).size
    while let oldest = segments.first, oldest.first < newest.first {
      let used = segments.dropLast().reduce(0) { $0 + $1.end - overhead }
      guard used > 2 * index.liveBytes + 2 * options.segmentBytes else { return }
      var copies: [Outgoing] = []
      for (id, held) in index.partitions.sorted(by: { $0.key < $1.key }) {
        for delta in held.deltas where delta.location.segment == oldest.first {
          copies.append(Outgoing(.carried(id, from: delta.from, to: delta.to), payload: try read(delta, of: id)))
        }
      }
      if copies.isEmpty { return }
      do {
        _ = try write(copies)
      } catch {
        // Without room to copy, the old segment stays; the append before is not concerned.
        if error.kind == .full { return }
        throw error
      }
      statistics.carriedBytes += copies.reduce(0) { $0 + $1.size }
      try retire()
      guard segments.first !== oldest else { return }
    }
  }
}
