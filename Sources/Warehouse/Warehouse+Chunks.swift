import Aggregation
import Postgres

/// State chunks are merged like the runs of a log-structured merge tree, so that a takeover reads few of them and each
/// byte is rewritten a logarithmic number of times.
extension Warehouse {
  /// Chunks of one level that are merged into one of the next.
  private static let fanIn = 16
  /// Bytes of the longest chunk that is made by merging: PostgreSQL holds at most 1 GB in a value.
  public static let longestChunk: Int64 = 64 << 20

  /// Merges a partition's chunks where a level has too many, and removes those whose windows are all final.
  /// Does nothing where the epoch is another one. - Complexity: amortised O(log(flushes)) for each byte of state.
  /// - Parameter longest: bytes of the longest chunk to be made.
  public func compact(_ id: PartitionID, _ epoch: Epoch, longest: Int64 = longestChunk) throws(WarehouseError) {
    do throws(PostgresError) {
      try transaction { connection throws(PostgresError) in
        let key: [Parameter] = [.text(plan.topology), .text(id.topic), .integer(Int64(id.partition))]
        // The row's lock keeps a takeover from reading chunks that are about to be replaced.
        let mine = try connection.execute(
          """
          SELECT watermark FROM tidemark.partition
           WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND epoch = $4 FOR UPDATE
          """, key + [.integer(epoch.value)])
        guard mine.count == 1 else { return }
        let bound = mine.timestamp(0, 0).map { $0 - plan.allowedLateness }
        if let bound {
          try connection.execute(
            "DELETE FROM tidemark.state_chunk WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND last_window_end <= $4",
            key + [.timestamp(bound)])
        }
        for level in Int64(0)..<8 {
          guard try merge(id, key, level, bound.map(EventTime.init(microseconds:)), longest, connection) else { break }
        }
      }
    } catch {
      throw WarehouseError(error, "compacting the state chunks of \(id)")
    }
  }

  /// Merges the chunks of a level, as many together as make one of at most `longest` bytes; whether one was added to the next
  /// level. Those of more than half of that stay where they are: a few large ones (a backlog, an outage) must not keep all
  /// the small ones after them from being merged.
  private func merge(_ id: PartitionID, _ key: [Parameter], _ level: Int64, _ bound: EventTime?, _ longest: Int64, _ connection: Connection)
    throws(PostgresError) -> Bool
  {
    let small = try connection.execute(
      """
      SELECT to_offset, length(bytes) FROM tidemark.state_chunk
       WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND level = $4 AND length(bytes) <= $5 ORDER BY to_offset
      """, key + [.integer(level), .integer(longest / 2)])
    guard small.count >= Self.fanIn else { return false }
    var runs: [(ends: [Int64], bytes: Int64)] = []
    for row in 0..<small.count {
      let end = small.integer(row, 0)!, bytes = small.integer(row, 1)!
      if let last = runs.last, last.bytes + bytes <= longest {
        runs[runs.count - 1].ends.append(end)
        runs[runs.count - 1].bytes += bytes
      } else {
        runs.append(([end], bytes))
      }
    }
    var isAdded = false
    for run in runs where try merge(id, key, level, run.ends, bound, connection) { isAdded = true }
    return isAdded
  }

  /// Merges the chunks of a level that end at these offsets into one of the next level; false: all their windows are final.
  private func merge(
    _ id: PartitionID, _ key: [Parameter], _ level: Int64, _ ends: [Int64], _ bound: EventTime?, _ connection: Connection
  ) throws(PostgresError) -> Bool {
    let rows = try connection.execute(
      """
      DELETE FROM tidemark.state_chunk WHERE topology = $1 AND topic = $2 AND partition = $3::bigint AND level = $4 AND to_offset = ANY ($5)
      RETURNING from_offset, to_offset, last_window_end, bytes
      """, key + [.integer(level), .integers(ends)])
    let chunks = (0..<rows.count).map { row in
      (from: rows.integer(row, 0)!, to: rows.integer(row, 1)!, end: rows.timestamp(row, 2)!, bytes: rows.bytes(row, 3)!)
    }.sorted { $0.to < $1.to }
    let composed: [UInt8]?
    do { composed = try DeltaCodec.compose(chunks.map(\.bytes), dropping: bound) } catch {
      throw PostgresError(.refused, message: "a state chunk of \(id) cannot be read: \(error)")
    }
    guard let composed else { return false }
    try writeChunk(
      id, from: Offset(chunks[0].from), to: Offset(chunks.last!.to), level: level + 1,
      EventTime(microseconds: chunks.map(\.end).max()!), composed, connection)
    return true
  }
}
