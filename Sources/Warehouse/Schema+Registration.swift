import Aggregation
import Postgres
import Topologies

/// A topology's entry in the books, as statements that decide for themselves: whoever runs them, `tidemark migrate` or psql,
/// gets the same, or the same refusal. Run as `tidemark_owner`, after the topology's tables were made.
extension Schema {
  /// The SQLSTATE of what a migration refuses; the message says the way out.
  static let refusal = "TM001"

  /// A seed that the database makes up: 64 bits of a random UUID's hash.
  public static let randomSeed = "('x' || left(md5(gen_random_uuid()::text), 16))::bit(64)::bigint"

  /// - Parameter seed: SQL of the keyed hash's seed, for a topology that is new to the database.
  static func registration(of topology: Topology, seed: String) -> [String] { columnChecks(topology) + [register(topology, seed)] }

  /// A table that stood there before may have other columns: nothing is altered in silence.
  private static func columnChecks(_ topology: Topology) -> [String] {
    let plan = topology.plan()
    return plan.aggregates.map { aggregate in
      let table = AggregateTable(aggregate, in: plan)
      let wanted = table.columns.map { "\($0.name) \($0.type)" }
      return block(
        """
        DECLARE v_found text[]; v_wanted text[] := ARRAY[\(wanted.map(SQL.literal).joined(separator: ", "))];
        BEGIN
          SELECT array_agg(attname || ' ' || format_type(atttypid, NULL) ORDER BY attnum) INTO v_found FROM pg_attribute
           WHERE attrelid = to_regclass(\(SQL.literal(table.qualifiedName))) AND attnum > 0 AND NOT attisdropped;
          IF NOT (v_found @> v_wanted AND v_found <@ v_wanted) THEN
            RAISE EXCEPTION USING ERRCODE = '\(refusal)', MESSAGE =
              \(SQL.literal("table \(table.qualifiedName) exists with other columns: it has (")) || array_to_string(v_found, ', ')
              || \(SQL.literal("), topology \(topology.name) needs (\(wanted.joined(separator: ", "))): rename the aggregate, or move the table away"));
          END IF;
        END
        """)
    }
  }

  private static func register(_ topology: Topology, _ seed: String) -> String {
    let name = SQL.literal(topology.name), fingerprint = SQL.literal(topology.fingerprint)
    let lateness = "interval '\(topology.allowedLateness.microseconds) microseconds'"
    let within = "interval '\(topology.deduplicateWithin?.microseconds ?? 0) microseconds'"
    let consumed =
      "topology \(topology.name) has consumed events already, and \(topology.file) now computes something else (fingerprint "
      + "\(topology.fingerprint), PostgreSQL has "
    let wayOut =
      "): give the changed topology and its aggregates new names, so that it reads the topics from their beginning beside the old one"
    let aggregates = topology.aggregates.map { aggregate in
      """
        INSERT INTO tidemark.aggregate AS a (table_name, topology, name)
        VALUES (\(SQL.literal(aggregate.tableName)), \(name), \(SQL.literal(aggregate.name)))
        ON CONFLICT (table_name) DO UPDATE SET name = excluded.name WHERE a.topology = excluded.topology;
        IF NOT FOUND THEN
          RAISE EXCEPTION USING ERRCODE = '\(refusal)', MESSAGE = \(SQL.literal(
            "\(topology.file):\(aggregate.line):\(aggregate.column): table analytics.\(aggregate.tableName) belongs to another topology: rename the aggregate"));
        END IF;
      """
    }
    return block(
      """
      DECLARE v_known text;
      BEGIN
        SELECT fingerprint INTO v_known FROM tidemark.topology WHERE name = \(name) FOR UPDATE;
        IF NOT FOUND THEN
          INSERT INTO tidemark.topology (name, fingerprint, hash_seed, allowed_lateness, deduplicate_within)
          VALUES (\(name), \(fingerprint), \(seed), \(lateness), \(within));
        ELSIF v_known <> \(fingerprint) THEN
          IF EXISTS (SELECT FROM tidemark.partition WHERE topology = \(name)) THEN
            RAISE EXCEPTION USING ERRCODE = '\(refusal)', MESSAGE = \(SQL.literal(consumed)) || v_known || \(SQL.literal(wayOut));
          END IF;
          UPDATE tidemark.topology SET fingerprint = \(fingerprint), allowed_lateness = \(lateness), updated_at = now() WHERE name = \(name);
          DELETE FROM tidemark.aggregate WHERE topology = \(name);
        END IF;
        UPDATE tidemark.topology SET deduplicate_within = \(within) WHERE name = \(name) AND deduplicate_within IS DISTINCT FROM \(within);
      \(aggregates.joined(separator: "\n"))
      END
      """)
  }

  /// `DO`, between quotes that the body does not hold: names of files may hold anything.
  private static func block(_ body: String) -> String {
    var tag = "$tidemark$"
    while body.contains(tag) { tag = "\(tag.dropLast())_$" }
    return "DO \(tag) \(body) \(tag)"
  }
}
