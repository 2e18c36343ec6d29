import Topologies

/// What a generated stream is like. Equal options and topology give equal streams, byte for byte.
public struct GeneratorOptions: Sendable, Equatable {
  /// 2024-06-01T00:00:00Z in milliseconds since the epoch: the default `start`, fixed so that runs can be repeated.
  public static let fixedStart: Int64 = 1_717_200_000_000

  /// How many messages, planted ones included.
  public var events = 1_000_000
  /// Members of the partition key; few of them produce much, most of them little.
  public var users = 10_000
  public var seed: UInt64 = 1
  /// Arrival of the first event, milliseconds since the epoch.
  public var start = Self.fixedStart
  /// From the first arrival to the end of the stream; arrivals are evenly spread.
  public var span = TimeSpan(microseconds: 86_400_000_000)
  public var partitions = 4
  /// Length that payloads are padded to; those that are longer by themselves stay so. 0: no padding.
  public var payloadBytes = 290
  /// Greatest distance between an event's time and its arrival, milliseconds; less where the allowed lateness is less.
  public var jitterMilliseconds: Int64 = 5_000
  /// Chances per event, 0 to 1, together at most 1. What cannot be planted (late before anything was accepted,
  /// a duplicate where none is in reach) comes as a regular event; `EventGenerator.counts` tells what was planted.
  public var late = 0.0
  public var duplicates = 0.0
  public var invalid = 0.0
  public var farFuture = 0.0
  public var tombstones = 0.0
  public var emptyPayloads = 0.0

  public init() {}

  /// Arrivals, milliseconds: from the epoch to 2100, so that event times stay within what is accepted.
  static let starts: ClosedRange<Int64> = 0...4_102_444_800_000

  /// - Throws: `GeneratorError` naming the first option out of its range.
  public func validate() throws(GeneratorError) {
    func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(GeneratorError) {
      if !holds { throw GeneratorError(message: message()) }
    }
    try require(events >= 0, "events is \(events), must be at least 0")
    try require((1...(1 << 40)).contains(users), "users is \(users), must be 1 to 2^40")
    try require((1...100_000).contains(partitions), "partitions is \(partitions), must be 1 to 100000")
    try require((0...1_048_576).contains(payloadBytes), "payload bytes is \(payloadBytes), must be 0 to 1048576")
    try require(jitterMilliseconds >= 0, "jitter is \(jitterMilliseconds) ms, must be at least 0")
    try require(span.microseconds >= 0, "span is \(span), must not be negative")
    try require(
      Self.starts.contains(start) && Self.starts.contains(start + span.microseconds / 1000),
      "start is \(start) ms with a span of \(span), events must arrive between 1970 and 2100")
    let rates = [
      ("late", late), ("duplicates", duplicates), ("invalid", invalid), ("far future", farFuture), ("tombstones", tombstones),
      ("empty payloads", emptyPayloads),
    ]
    for (name, rate) in rates { try require((0...1).contains(rate), "the rate of \(name) is \(rate), must be 0 to 1") }
    let sum = rates.reduce(0) { $0 + $1.1 }
    try require(sum <= 1 + 1e-9, "the rates of late, duplicate, invalid, far-future, tombstone and empty events add up to \(sum), must be at most 1")
  }
}

/// An option of the generator is out of its range.
public struct GeneratorError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String
  public var description: String { "generate: \(message)" }
}
