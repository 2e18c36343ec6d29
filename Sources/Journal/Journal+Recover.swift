import Aggregation

/// Giving back what is held.
extension Journal {
  /// What is held of a partition, read from the disk and checked; nil: nothing, or nothing that can be used
  /// (`takeWarnings` says why).
  ///
  /// The Deltas are those above what was flushed when the snapshot was taken, or all since `opened`.
  ///
  /// - Throws: `.corrupt` if a record is damaged that was whole when the journal was opened; `.failed`.
  /// - Complexity: O(bytes held of the partition).
  public func recover(_ id: PartitionID) throws(JournalError) -> LocalState? {
    try requireWorking()
    guard let held = index.partitions[id], !held.isEmpty else { return nil }
    var state = LocalState(epoch: held.epoch, snapshot: nil, deltas: [])
    if let reference = held.snapshot {
      let reading = try onDisk { () throws(StorageError) in try SnapshotFile.read(reference, in: directory, storage) }
      switch reading {
      case .state(let bytes): state.snapshot = bytes
      case .unusable(let reason):
        forget(id, because: reason, in: &warnings)
        garbage += index.takeSuperseded()
        return nil
      }
    }
    state.deltas.reserveCapacity(held.deltas.count)
    for delta in held.deltas { state.deltas.append(try read(delta, of: id)) }
    return state
  }

  /// The encoded Delta at its place in the log.
  func read(_ delta: HeldDelta, of id: PartitionID) throws(JournalError) -> [UInt8] {
    let place = delta.location
    let segment = segments.first { $0.first == place.segment }!
    let bytes = try onDisk { () throws(StorageError) in try segment.file.read(place.length, at: place.position) }
    guard let frame = Frame.at(0, in: bytes, expected: segment.first...next), frame.length == place.length,
      let (record, payload) = LogRecord.decode(kind: frame.kind, bytes, frame.body),
      record == .delta(id, from: delta.from, to: delta.to) || record == .carried(id, from: delta.from, to: delta.to)
    else {
      throw JournalError(
        .corrupt, "the record of \(id) from \(delta.from.value) to \(delta.to.value) is damaged", file: segment.path,
        byte: place.position)
    }
    return Array(bytes[payload...])
  }
}
