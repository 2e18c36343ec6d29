/// Every bound of the core in one place, with its reason.
public enum Limits {
  /// Largest payload that is decoded, bytes: Kafka's default `message.max.bytes` with room to spare; larger ones are quarantined.
  public static let payload = 4 << 20
  /// Bytes of a refused payload that are kept; the topic holds the rest.
  public static let quarantinePayload = 64 << 10
  /// Longest text of a `by` field, bytes: eight of them fit into a B-tree entry of PostgreSQL (2,704 bytes).
  public static let keyField = 256
  /// Most `by` fields of an aggregate.
  public static let keyFields = 8
  /// Most refused events that one Delta keeps; the ledger counts all.
  public static let quarantineEvents = 50_000
  /// Most bytes of refused payloads and keys that one Delta keeps.
  public static let quarantineBytes = 32 << 20
  /// Default of `max_groups`: groups of one window of one partition.
  public static let groups = 100_000
  /// First and last accepted event time: 1970-01-01 and 2105-12-31T23:59:59Z, so that seconds fit 32 bits and zone tables are finite.
  public static let earliestTime: Int64 = 0
  public static let latestTime: Int64 = 4_291_747_199_999_999
  /// Default of `max_future_skew`, microseconds.
  public static let maxFutureSkew: Int64 = 300_000_000
}
