import Aggregation
import Postgres

/// Rolls the ledgers of stream and landing up, part by part; `Schema.ledgerRollUp` says to what and why that is safe.
///
/// Each part is a transaction of its own, so it can be stopped, or killed, at any moment: the next one goes on. Instances
/// flush and land meanwhile.
public struct LedgerRollUp {
  /// Rows of one part: a transaction of about a second.
  static let most = 50_000
  private let session: BatchSession

  public init(_ session: BatchSession) { self.session = session }

  /// Whose ledger.
  public enum Side: Sendable, Equatable, CaseIterable {
    case stream, landing

    /// As messages call it.
    public var ledger: String { self == .stream ? "the ledger" : "the landing's ledger" }
    var partitions: String { self == .stream ? "tidemark.partition" : "tidemark.landing" }
    var function: String { self == .stream ? "tidemark.roll_up_ledger" : "tidemark.roll_up_landing_ledger" }
  }

  /// What became of one partition's ledger.
  public struct Outcome: Sendable, Equatable {
    public var side: Side
    public var topology: String
    public var partition: PartitionID
    /// Rows that were merged, and the rows that they became.
    public var before: Int64 = 0
    public var after: Int64 = 0
    /// Why it was left as it is; nil: it was not.
    public var held: String?
  }

  /// All partitions, or those of one topology.
  /// - Parameter progress: told after each part.
  public func run(topology: String?, progress: (Outcome) -> Void) throws(WarehouseError) -> [Outcome] {
    if let topology, let unknown = try session.run({ connection throws(PostgresError) in try unknownTopology(topology, connection) }) { throw unknown }
    var partitions: [Outcome] = []
    for side in Side.allCases {
      partitions += try session.run { connection throws(PostgresError) in
        let rows = try connection.execute(
          "SELECT topology, topic, partition FROM \(side.partitions) WHERE $1::text IS NULL OR topology = $1 ORDER BY 1, 2, 3", [.text(topology)])
        return (0..<rows.count).map {
          Outcome(side: side, topology: rows.text($0, 0)!, partition: PartitionID(topic: rows.text($0, 1)!, partition: Int32(rows.integer($0, 2)!)))
        }
      }
    }
    var outcomes: [Outcome] = []
    for partition in partitions { outcomes.append(try rollUp(partition, progress)) }
    return outcomes
  }

  private func rollUp(_ partition: Outcome, _ progress: (Outcome) -> Void) throws(WarehouseError) -> Outcome {
    var outcome = partition
    var position: Int64? = 0
    while let from = position {
      position = try session.run { connection throws(PostgresError) in
        let rows = try connection.execute(
          "SELECT rows_before, rows_after, next_position, held FROM \(outcome.side.function)($1, $2, $3::bigint::integer, $4, $5::bigint::integer)",
          [
            .text(outcome.topology), .text(outcome.partition.topic), .integer(Int64(outcome.partition.partition)), .integer(from),
            .integer(Int64(Self.most)),
          ])
        outcome.before += rows.integer(0, 0)!
        outcome.after += rows.integer(0, 1)!
        outcome.held = rows.text(0, 3)
        return rows.integer(0, 2)
      }
      progress(outcome)
    }
    return outcome
  }
}
