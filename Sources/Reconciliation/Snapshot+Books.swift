import Aggregation
import Postgres
import Topologies
import Warehouse

/// The books of both sides, checked: the joints of the ledgers, the raw rows against the landing's ledger, and the stream's
/// buckets counted again from the raw rows.
extension Snapshot {
  /// Ranges and offsets of one kind that are looked at one by one; there may be more, and then the last finding says so.
  private static let most = 1000

  /// All findings, by kind and partition; fills `tm_position`'s holes and gaps, `tm_missing`, `tm_foreign`, `tm_repeat`.
  func checkBooks() throws(PostgresError) -> [BooksFinding] {
    var findings = try joints()
    try fillHoles(findings)
    findings += try compareRawWithLanding()
    try fillRepeats()
    findings += try recountBuckets()
    return findings
  }

  // MARK: Joints

  private func joints() throws(PostgresError) -> [BooksFinding] {
    var findings: [BooksFinding] = []
    for (id, streamNext, landingNext) in partitions {
      let streamFirst = try first("tidemark.ledger", id)
      let landingFirst = try first("tidemark.landing_ledger", id)
      var stream = LedgerJoints(.stream, id, next: streamNext)
      try feed(&stream, "tidemark.ledger", "watermark_before, watermark_after", id)
      stream.finish(otherFirst: landingFirst)
      var landing = LedgerJoints(.landing, id, next: landingNext)
      try feed(&landing, "tidemark.landing_ledger", "NULL::timestamptz, NULL::timestamptz", id)
      landing.finish(otherFirst: streamFirst)
      findings += stream.findings.prefix(Self.most) + landing.findings.prefix(Self.most)
    }
    return findings
  }

  private func key(_ id: PartitionID) -> [Parameter] { [name, .text(id.topic), .integer(Int64(id.partition))] }

  private func first(_ table: String, _ id: PartitionID) throws(PostgresError) -> Int64? {
    try connection.execute("SELECT min(from_offset) FROM \(table) WHERE topology = $1 AND topic = $2 AND partition = $3::bigint", key(id)).integer(0, 0)
  }

  private func feed(_ joints: inout LedgerJoints, _ table: String, _ watermarks: String, _ id: PartitionID) throws(PostgresError) {
    try connection.execute(
      """
      DECLARE ranges NO SCROLL CURSOR FOR SELECT from_offset, to_offset, \(watermarks) FROM \(table)
       WHERE topology = $1 AND topic = $2 AND partition = $3::bigint ORDER BY from_offset
      """, key(id))
    while true {
      let rows = try connection.execute("FETCH 10000 FROM ranges")
      if rows.count == 0 { break }
      for row in 0..<rows.count {
        joints.add(
          LedgerRange(
            from: rows.integer(row, 0)!, to: rows.integer(row, 1)!, watermarkBefore: rows.timestamp(row, 2), watermarkAfter: rows.timestamp(row, 3)))
      }
    }
    try connection.script("CLOSE ranges")
  }

  /// Offsets that the stream's ledger does not cover, and those that it counts as gap as a whole.
  private func fillHoles(_ findings: [BooksFinding]) throws(PostgresError) {
    for finding in findings where finding.kind == .ledgerHole || finding.kind == .coverage {
      // A side that began later lacks what came before; of the landing that shows in the raw rows.
      try connection.execute(
        """
        UPDATE pg_temp.tm_position SET holes = holes + int8multirange(int8range($1, $2))
         WHERE topic = $3 AND partition = $4::bigint AND ($5 OR stream_first > landing_first)
        """,
        [
          .integer(finding.from), .integer(finding.to), .text(finding.partition.topic), .integer(Int64(finding.partition.partition)),
          .boolean(finding.kind == .ledgerHole),
        ])
    }
    try connection.execute(
      """
      UPDATE pg_temp.tm_position p
         SET holes = p.holes + COALESCE(g.whole, '{}'), gaps = COALESCE(g.part, '{}')
        FROM (SELECT topic, partition, range_agg(int8range(from_offset, to_offset)) FILTER (WHERE gap = to_offset - from_offset) AS whole,
                     range_agg(int8range(from_offset, to_offset)) FILTER (WHERE gap < to_offset - from_offset) AS part
                FROM tidemark.ledger WHERE topology = $1 AND gap > 0 GROUP BY 1, 2) g
       WHERE (p.topic, p.partition) = (g.topic, g.partition)
      """, [name])
  }

  // MARK: Raw rows against the landing's ledger

  /// Where a ledger's ranges begin and end, as arrays in memory: `width_bucket` finds an offset's range by bisection.
  private func slots(_ table: String) -> String {
    """
    slots AS (SELECT topic, partition, array_agg(from_offset ORDER BY from_offset) AS starts, array_agg(to_offset ORDER BY from_offset) AS ends
                FROM \(table) WHERE topology = $1 GROUP BY 1, 2)
    """
  }

  private func compareRawWithLanding() throws(PostgresError) -> [BooksFinding] {
    // Ranges of which rows were dropped by age cannot be counted any more.
    try connection.script("DROP TABLE IF EXISTS pg_temp.tm_suspect")
    try connection.execute(
      """
      CREATE TEMPORARY TABLE tm_suspect ON COMMIT DROP AS
      WITH \(slots("tidemark.landing_ledger")),
      found AS (
        SELECT e.topic, e.partition, width_bucket(e."offset", s.starts) AS slot, count(*) AS n, sum(e."offset") AS total, max(e."offset") AS last
          FROM \(raw.name) e LEFT JOIN slots s USING (topic, partition) GROUP BY 1, 2, 3),
      known AS (
        SELECT l.*, row_number() OVER (PARTITION BY topic, partition ORDER BY from_offset) AS slot
          FROM tidemark.landing_ledger l WHERE topology = $1)
      SELECT topic, partition, k.from_offset, k.to_offset, k.holes, k.earliest, k.latest, k.landed_at
        FROM known k FULL JOIN found f USING (topic, partition, slot)
       WHERE (k.landed, k.offset_sum) IS DISTINCT FROM (COALESCE(f.n, 0), COALESCE(f.total, 0)) OR f.last >= k.to_offset
      """.replacing("$1", with: SQL.literal(topology.name)))
    try connection.execute(
      "DELETE FROM pg_temp.tm_suspect WHERE earliest < COALESCE((SELECT dropped_before FROM tidemark.raw_retention WHERE topology = $1), '-infinity')",
      [name])
    guard try connection.execute("SELECT count(*) FROM pg_temp.tm_suspect").integer(0, 0)! > 0 else { return [] }
    try connection.script("ANALYZE pg_temp.tm_suspect")
    try connection.execute(
      """
      INSERT INTO pg_temp.tm_missing
      SELECT s.topic, s.partition, o, s.earliest, s.latest
        FROM (SELECT * FROM pg_temp.tm_suspect WHERE from_offset IS NOT NULL ORDER BY 1, 2, 3 LIMIT \(Self.most)) s,
             generate_series(s.from_offset, s.to_offset - 1) o
       WHERE NOT o <@ s.holes
         AND NOT EXISTS (SELECT FROM \(raw.name) e WHERE (e.topic, e.partition, e."offset") = (s.topic, s.partition, o))
         AND NOT EXISTS (SELECT FROM tidemark.landing_quarantine q WHERE q.topology = $1 AND (q.topic, q.partition, q."offset") = (s.topic, s.partition, o))
      """, [name])
    // Of several rows of one offset the one that is as old as the range is the landing's own; of a merged range, the first one.
    try connection.execute(
      """
      INSERT INTO pg_temp.tm_foreign
      SELECT topic, partition, "offset", event_time FROM (
        SELECT e.topic, e.partition, e."offset", e.event_time, s.from_offset, s.holes,
               row_number() OVER (PARTITION BY e.topic, e.partition, e."offset"
                 ORDER BY NOT e.landed_at BETWEEN COALESCE(s.first_landed_at, s.landed_at) AND s.landed_at,
                          CASE WHEN s.batches > 1 THEN e.landed_at END, e.event_time) AS n
          FROM \(raw.name) e
          JOIN (SELECT DISTINCT topic, partition FROM pg_temp.tm_suspect) p USING (topic, partition)
          LEFT JOIN tidemark.landing_ledger s ON s.topology = $1 AND (s.topic, s.partition) = (e.topic, e.partition)
               AND e."offset" >= s.from_offset AND e."offset" < s.to_offset) x
       WHERE from_offset IS NULL OR n > 1 OR "offset" <@ holes
          OR EXISTS (SELECT FROM tidemark.landing_quarantine q
                      WHERE q.topology = $1 AND (q.topic, q.partition, q."offset") = (x.topic, x.partition, x."offset"))
      """, [name])
    try connection.script("ANALYZE pg_temp.tm_missing; ANALYZE pg_temp.tm_foreign")
    return try missing() + foreign()
  }

  private func missing() throws(PostgresError) -> [BooksFinding] {
    let rows = try connection.execute(
      "SELECT topic, partition, \"offset\" FROM pg_temp.tm_missing ORDER BY 1, 2, 3 LIMIT \(Self.most)")
    var findings: [BooksFinding] = []
    for row in 0..<rows.count {
      let id = PartitionID(topic: rows.text(row, 0)!, partition: Int32(rows.integer(row, 1)!))
      let offset = rows.integer(row, 2)!
      if let last = findings.last, last.partition == id, last.to == offset {
        findings[findings.count - 1].to = offset + 1
      } else {
        findings.append(BooksFinding(.rawMissing, id, from: offset, to: offset + 1, "landed, but not among the raw events any more"))
      }
    }
    return findings
  }

  private func foreign() throws(PostgresError) -> [BooksFinding] {
    let same = raw.identifier.map { "b.\(SQL.identifier($0)) = own.id" } ?? "b.\"offset\" = own.\"offset\""
    let rows = try connection.execute(
      """
      WITH own AS (
        SELECT f.*\(raw.identifier.map { ", a.\(SQL.identifier($0)) AS id" } ?? "")
          FROM (SELECT * FROM pg_temp.tm_foreign ORDER BY 1, 2, 3 LIMIT 100) f JOIN \(raw.name) a USING (topic, partition, "offset", event_time)),
      twins AS (
        SELECT DISTINCT own.topic, own.partition, own."offset", own.event_time, true AS is_twin FROM own
          JOIN \(raw.name) b ON (b.topic, b.partition) = (own.topic, own.partition) AND \(same)
               AND (b."offset", b.event_time) <> (own."offset", own.event_time))
      SELECT topic, partition, "offset", COALESCE(is_twin, false) FROM own LEFT JOIN twins USING (topic, partition, "offset", event_time) ORDER BY 1, 2, 3
      """)
    return (0..<rows.count).map { row in
      let offset = rows.integer(row, 2)!
      let isTwin = rows.boolean(row, 3)!
      return BooksFinding(
        isTwin ? .rawDuplicate : .rawForeign, PartitionID(topic: rows.text(row, 0)!, partition: Int32(rows.integer(row, 1)!)), from: offset,
        to: offset + 1, isTwin ? "a second row of an event that the landing did not write" : "a row that the landing did not write")
    }
  }

  // MARK: Repeats

  /// Copies of an id after the first: what the view leaves out, and what the stream does by its horizon. The watermark at
  /// each copy is that of the log below it, as the stream's.
  private func fillRepeats() throws(PostgresError) {
    guard let identifier = raw.identifier, let within = topology.deduplicateWithin else { return }
    let id = SQL.identifier(identifier)
    try connection.execute(
      """
      INSERT INTO pg_temp.tm_repeat
      WITH ids AS (SELECT topic, partition, \(id) AS id FROM \(raw.name) GROUP BY 1, 2, 3 HAVING count(*) > 1),
      marks AS (
        SELECT topic, partition, "offset", event_time, \(id) AS id, f.is_foreign,
               max(CASE WHEN f.is_foreign THEN NULL ELSE event_time END) OVER (PARTITION BY topic, partition ORDER BY "offset", event_time) AS mark
          FROM \(raw.name) LEFT JOIN (SELECT *, true AS is_foreign FROM pg_temp.tm_foreign) f USING (topic, partition, "offset", event_time)
         WHERE EXISTS (SELECT FROM ids)),
      copies AS (
        SELECT m.*, q.reason IS NOT NULL OR m.is_foreign IS NOT NULL AS is_unseen,
               row_number() OVER (PARTITION BY m.topic, m.partition, m.id ORDER BY m."offset", m.event_time) > 1 AS in_view
          FROM marks m JOIN ids USING (topic, partition, id)
          LEFT JOIN pg_temp.tm_refused q ON (q.topic, q.partition, q."offset") = (m.topic, m.partition, m."offset"))
      SELECT topic, partition, "offset", in_view,
             NOT is_unseen AND COALESCE(floor(extract(epoch FROM mark)) - floor(extract(epoch FROM
               lag(mark) OVER (PARTITION BY topic, partition, id, is_unseen ORDER BY "offset"))) <= \(within.microseconds / 1_000_000), false)
        FROM copies
      """, [name])
    try connection.script("DELETE FROM pg_temp.tm_repeat WHERE NOT in_view AND NOT in_stream; ANALYZE pg_temp.tm_repeat")
  }

  // MARK: Buckets

  /// The stream's buckets, counted again from what was landed and what was refused. Ranges are left out that cannot be
  /// counted: not landed yet, or never (an operator moved the landing on), rows dropped by age, refused bytes not kept.
  private func recountBuckets() throws(PostgresError) -> [BooksFinding] {
    let passes = topology.anyFilter() ?? "true"
    let topologyName = SQL.literal(topology.name)
    let sql = """
      WITH \(slots("tidemark.ledger")),
      e AS (
        SELECT e.topic, e.partition, width_bucket(e."offset", s.starts) AS slot, q.reason, COALESCE(r.in_stream, false) AS is_repeat, (\(passes)) AS passes
          FROM \(raw.name) e JOIN slots s USING (topic, partition)
          LEFT JOIN pg_temp.tm_refused q ON (q.topic, q.partition, q."offset") = (e.topic, e.partition, e."offset")
          LEFT JOIN pg_temp.tm_repeat r ON (r.topic, r.partition, r."offset") = (e.topic, e.partition, e."offset")
         WHERE e."offset" < s.ends[width_bucket(e."offset", s.starts)]
           AND NOT EXISTS (SELECT FROM pg_temp.tm_foreign f WHERE (f.topic, f.partition, f."offset", f.event_time) = (e.topic, e.partition, e."offset", e.event_time))),
      counted AS (
        SELECT topic, partition, slot, count(*) AS n, count(*) FILTER (WHERE reason IS NULL AND is_repeat) AS duplicate,
               count(*) FILTER (WHERE reason IS NULL AND NOT is_repeat AND passes) AS applied,
               count(*) FILTER (WHERE reason IS NULL AND NOT is_repeat AND NOT passes) AS filtered
          FROM e GROUP BY 1, 2, 3),
      refused AS (
        SELECT q.topic, q.partition, width_bucket(q."offset", s.starts) AS slot, count(*) FILTER (WHERE side = 0 AND reason = 'late') AS late,
               count(*) FILTER (WHERE side = 0 AND reason <> 'late') AS quarantined, count(*) FILTER (WHERE side = 1) AS unlanded,
               count(*) FILTER (WHERE side = 1 AND stream_reason IS NULL) AS landing_only
          FROM (SELECT topic, partition, "offset", reason, 0 AS side, NULL AS stream_reason FROM pg_temp.tm_refused
                UNION ALL SELECT l.topic, l.partition, l."offset", l.reason, 1, o.reason FROM tidemark.landing_quarantine l
                            LEFT JOIN pg_temp.tm_refused o ON (o.topic, o.partition, o."offset") = (l.topic, l.partition, l."offset")
                           WHERE l.topology = $1) q
          JOIN slots s USING (topic, partition) WHERE q."offset" < s.ends[width_bucket(q."offset", s.starts)] GROUP BY 1, 2, 3),
      known AS (SELECT l.*, row_number() OVER (PARTITION BY topic, partition ORDER BY from_offset) AS slot FROM tidemark.ledger l WHERE topology = $1),
      both_sides AS (
        SELECT k.*, COALESCE(c.n, 0) AS n, COALESCE(c.applied, 0) AS c_applied, COALESCE(c.filtered, 0) + k.tombstones AS c_filtered,
               COALESCE(c.duplicate, 0) AS c_duplicate, COALESCE(r.late, 0) AS c_late, COALESCE(r.quarantined, 0) AS c_quarantined,
               COALESCE(r.unlanded, 0) AS unlanded, COALESCE(r.landing_only, 0) AS landing_only,
               (SELECT count(*) FROM pg_temp.tm_missing m WHERE (m.topic, m.partition) = (k.topic, k.partition)
                   AND m."offset" >= k.from_offset AND m."offset" < k.to_offset) AS missing
          FROM known k
          JOIN pg_temp.tm_position p USING (topic, partition)
          LEFT JOIN counted c USING (topic, partition, slot) LEFT JOIN refused r USING (topic, partition, slot)
         WHERE NOT EXISTS (SELECT FROM tidemark.landing_ledger a WHERE a.topology = $1 AND (a.topic, a.partition) = (k.topic, k.partition)
                             AND a.instance LIKE 'operator %' AND a.from_offset < k.to_offset AND a.to_offset > k.from_offset)
           AND k.to_offset <= p.landing_next AND k.from_offset >= p.landing_first AND k.quarantine_omitted = 0
           AND COALESCE(k.earliest, 'infinity') >= COALESCE((SELECT dropped_before FROM tidemark.raw_retention WHERE topology = $1), '-infinity'))
      SELECT topic, partition, from_offset, to_offset,
             applied, filtered, duplicate, late, quarantined, gap, c_applied, c_filtered, c_duplicate, c_late, c_quarantined,
             to_offset - from_offset - n - unlanded - missing - tombstones AS c_gap, missing, landing_only
        FROM both_sides
       WHERE to_offset - from_offset <> applied + filtered + duplicate + late + quarantined + gap
          OR (late, quarantined) <> (c_late, c_quarantined)
          OR gap <> to_offset - from_offset - n - unlanded - missing - tombstones
          OR (missing = 0 AND landing_only = 0 AND (applied, filtered, duplicate) <> (c_applied, c_filtered, c_duplicate))
       ORDER BY 1, 2, 3 LIMIT \(Self.most)
      """.replacing("$1", with: topologyName)
    let rows = try connection.execute(sql)
    let names = ["applied", "filtered", "duplicate", "late", "quarantined", "gap"]
    return (0..<rows.count).map { row in
      func number(_ column: Int) -> Int64 { rows.integer(row, column)! }
      let (from, to) = (number(2), number(3))
      let stated = (4..<10).map(number), counted = (10..<16).map(number)
      let id = PartitionID(topic: rows.text(row, 0)!, partition: Int32(number(1)))
      let isUnsure = number(16) + number(17) > 0
      let changes = names.indices.filter { stated[$0] != counted[$0] && (!isUnsure || $0 > 2) }
        .map { "\(names[$0]) \(stated[$0]), counted \(counted[$0])" }
      if stated[5] > counted[5] {
        return BooksFinding(.gapWithEvents, id, from: from, to: to, "the ledger counts \(stated[5]) offsets as gap, \(stated[5] - counted[5]) of them hold events")
      }
      let sum = stated.reduce(0, +)
      let reason = sum == to - from ? changes.joined(separator: "; ") : "its buckets sum to \(sum), its offsets to \(to - from)"
      return BooksFinding(.ledgerBuckets, id, from: from, to: to, reason)
    }
  }
}
