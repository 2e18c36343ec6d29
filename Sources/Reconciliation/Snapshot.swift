import Aggregation
import Postgres
import Topologies
import Warehouse

/// One topology as one snapshot of the primary shows it: where both sides stand, and temporary tables of what the comparison
/// joins with. Lives as long as the transaction.
///
///     tm_position   topic, partition, stream_next, landing_next, holes, gaps     one row a partition
///     tm_refused    topic, partition, offset, reason                             what the stream refused
///     tm_view       view_name, topic, partition, view_next                       where landing stood when each view was read
///     tm_repeat     topic, partition, offset, in_view, in_stream                 copies of an id after the first
///     tm_foreign    topic, partition, offset, event_time                         raw rows that the landing did not write
///     tm_missing    topic, partition, offset, earliest, latest                   landed offsets without a raw row
///     tm_unlanded   earliest, latest, events                                     what the stream has counted and the landing has not
struct Snapshot {
  let topology: Topology
  let connection: Connection
  let raw: (name: String, identifier: String?)
  var name: Parameter { .text(topology.name) }

  /// Where the stream is complete, and the landing; microseconds, nil: nowhere.
  private(set) var streamThrough: Int64?
  private(set) var landingThrough: Int64?
  /// Both sides stand at the same offsets in every partition: then windows that are still open can be compared too.
  private(set) var standsEqual = false
  /// Events before this are not kept any more; nil: all are.
  private(set) var droppedBefore: Int64?
  private(set) var partitions: [(id: PartitionID, streamNext: Int64?, landingNext: Int64?)] = []

  /// What is complete on both sides.
  var completeThrough: Int64? {
    guard let streamThrough, let landingThrough else { return nil }
    return min(streamThrough, landingThrough)
  }

  init(_ topology: Topology, _ connection: Connection) throws(PostgresError) {
    self.topology = topology
    self.connection = connection
    raw = topology.rawTable()
    try readPositions()
  }

  private mutating func readPositions() throws(PostgresError) {
    try connection.script(
      """
      DROP TABLE IF EXISTS pg_temp.tm_position, pg_temp.tm_refused, pg_temp.tm_view, pg_temp.tm_repeat, pg_temp.tm_foreign, pg_temp.tm_missing,
        pg_temp.tm_unlanded;
      CREATE TEMPORARY TABLE tm_position (topic text COLLATE "C", partition integer, stream_next bigint, landing_next bigint,
        stream_first bigint, landing_first bigint, holes int8multirange NOT NULL DEFAULT '{}', gaps int8multirange NOT NULL DEFAULT '{}') ON COMMIT DROP;
      CREATE TEMPORARY TABLE tm_refused (topic text COLLATE "C", partition integer, "offset" bigint, reason text) ON COMMIT DROP;
      CREATE TEMPORARY TABLE tm_view (view_name text, topic text COLLATE "C", partition integer, view_next bigint) ON COMMIT DROP;
      CREATE TEMPORARY TABLE tm_repeat (topic text COLLATE "C", partition integer, "offset" bigint, in_view boolean, in_stream boolean) ON COMMIT DROP;
      CREATE TEMPORARY TABLE tm_foreign (topic text COLLATE "C", partition integer, "offset" bigint, event_time timestamptz) ON COMMIT DROP;
      CREATE TEMPORARY TABLE tm_missing (topic text COLLATE "C", partition integer, "offset" bigint, earliest timestamptz, latest timestamptz)
        ON COMMIT DROP
      """)
    try connection.execute(
      """
      INSERT INTO pg_temp.tm_position (topic, partition, stream_next, landing_next, stream_first, landing_first)
      SELECT topic, partition, s.next_offset, l.next_offset,
             (SELECT min(from_offset) FROM tidemark.ledger x WHERE x.topology = $1 AND (x.topic, x.partition) = (s.topic, s.partition)),
             (SELECT min(from_offset) FROM tidemark.landing_ledger x WHERE x.topology = $1 AND (x.topic, x.partition) = (l.topic, l.partition))
        FROM (SELECT * FROM tidemark.partition WHERE topology = $1) s
        FULL JOIN (SELECT * FROM tidemark.landing WHERE topology = $1) l USING (topic, partition)
      """, [name])
    try connection.execute(
      """
      INSERT INTO pg_temp.tm_view
      SELECT r.view_name, p->>0, (p->>1)::integer, (p->>2)::bigint
        FROM (SELECT DISTINCT ON (view_name) view_name, positions FROM tidemark.refresh
               WHERE topology = $1 AND outcome = 'done' ORDER BY view_name, id DESC) r, jsonb_array_elements(r.positions) p
      """, [name])
    try connection.execute("INSERT INTO pg_temp.tm_refused SELECT topic, partition, \"offset\", reason FROM tidemark.quarantine WHERE topology = $1", [name])
    // Tables of this transaction have no statistics of their own yet, and an empty guess makes a join quadratic.
    try connection.script(
      "ANALYZE pg_temp.tm_position, pg_temp.tm_refused, pg_temp.tm_view, pg_temp.tm_foreign, pg_temp.tm_missing, pg_temp.tm_repeat")
    let rows = try connection.execute("SELECT topic, partition, stream_next, landing_next FROM pg_temp.tm_position ORDER BY 1, 2")
    partitions = (0..<rows.count).map {
      (PartitionID(topic: rows.text($0, 0)!, partition: Int32(rows.integer($0, 1)!)), rows.integer($0, 2), rows.integer($0, 3))
    }
    standsEqual = !partitions.isEmpty && partitions.allSatisfy { $0.streamNext == $0.landingNext }
    try fillUnlanded()
    let through = try connection.execute(
      """
      SELECT \(Self.through("tidemark.partition")), \(Self.through("tidemark.landing")),
             (SELECT dropped_before FROM tidemark.raw_retention WHERE topology = $1)
      """, [name])
    streamThrough = through.timestamp(0, 0)
    landingThrough = through.timestamp(0, 1)
    droppedBefore = through.timestamp(0, 2)
  }

  /// The least watermark of partitions that are not at their end, minus the allowed lateness: as `analytics.freshness` counts.
  private static func through(_ table: String) -> String {
    """
    (SELECT COALESCE(min(p.watermark) FILTER (WHERE p.end_offset IS NULL OR p.next_offset < p.end_offset), max(p.watermark)) - min(t.allowed_lateness)
       FROM \(table) p JOIN tidemark.topology t ON t.name = p.topology WHERE p.topology = $1)
    """
  }
}
