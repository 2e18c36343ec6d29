import Postgres
import Topologies

/// What the batch side adds to a migration, in its order.
extension Schema {
  /// Run as `tidemark_owner`.
  static let batchBooks: [String] = landingBooks + nightlyBooks + reconciliationBooks

  /// The batch side reads the stream's rows, and replaces them where a repair was asked for. Run as `tidemark_owner`.
  static func batchGrants(of topology: Topology) -> [String] {
    topology.aggregates.flatMap { aggregate -> [String] in
      let name = "analytics.\(SQL.identifier(aggregate.tableName))"
      return [
        """
        DO $$ BEGIN
          IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = to_regclass(\(SQL.literal(name))) AND polname = 'tidemark_batch') THEN
            CREATE POLICY tidemark_batch ON \(name) TO tidemark_batch USING (true) WITH CHECK (true);
          END IF;
        END $$
        """,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON \(name) TO tidemark_batch",
      ]
    }
  }

  /// Run as `tidemark_batch`.
  static func batchTables(of topologies: [Topology]) -> [String] {
    topologies.flatMap { rawTable(of: $0) + nightlyViews(of: $0) } + [rawEvents] + kpiSnapshot(topologies)
  }

  /// Run as `tidemark_owner`, at the end.
  static let batchViews: [String] = [kpiView]
}
