import ArgumentParser
import Foundation
import Kafka
import Topologies
import Workload

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Send a seeded stream of events to Kafka, with faults at wanted rates.",
    discussion: """
      The same seed and options give the same stream, byte for byte. --expect writes the exact result that the stream must
      have in PostgreSQL, computed by plain code that shares nothing with the engine.

      EXAMPLES
        tidemark generate --topic product.events --events 1000000 --users 10000
        tidemark generate --topic product.events --events 100000 --invalid 0.01 --duplicates 0.01 --far-future 0.01 \\
          --tombstones 0.01 --late 0.01 --expect expected.json
        tidemark generate --topic product.events --events 5000000 --rate 50000 --span 100s --start 1717243200000
        tidemark generate --topic product.events --events 5000000 --span 100s --start 1717243200000 --expect expected.json --expect-only
      """)
  @Option(help: ArgumentHelp("The topic.", valueName: "name")) var topic: String
  @Option(help: ArgumentHelp("The topology whose events are made (default: product-events).", valueName: "file")) var topology: String?
  @Option(help: ArgumentHelp("How many events.", valueName: "count")) var events = 1_000_000
  @Option(help: ArgumentHelp("How many users.", valueName: "count")) var users = 10_000
  @Option(help: ArgumentHelp("Seed of everything that is random.", valueName: "number")) var seed: UInt64 = 1
  @Option(help: ArgumentHelp("Partitions: the topic's, or of the topic if it has to be made.", valueName: "count")) var partitions: Int?
  @Option(help: ArgumentHelp("Time that the events span.", valueName: "time")) var span = Duration(milliseconds: 86_400_000)
  @Option(help: ArgumentHelp("Time of the first event: RFC 3339, epoch milliseconds, or now (default: 2024-06-01T00:00:00Z).", valueName: "time"))
  var start: String?
  @Option(help: ArgumentHelp("Length of a payload, bytes.", valueName: "bytes")) var payloadBytes = 290
  @Option(help: ArgumentHelp("Share of late events, 0 to 1.", valueName: "share")) var late = 0.0
  @Option(help: ArgumentHelp("Share of duplicates.", valueName: "share")) var duplicates = 0.0
  @Option(help: ArgumentHelp("Share of events that cannot be read.", valueName: "share")) var invalid = 0.0
  @Option(help: ArgumentHelp("Share of events too far in the future.", valueName: "share")) var farFuture = 0.0
  @Option(help: ArgumentHelp("Share of tombstones (null payloads).", valueName: "share")) var tombstones = 0.0
  @Option(help: ArgumentHelp("Share of empty payloads.", valueName: "share")) var empty = 0.0
  @Option(help: ArgumentHelp("At most so many events a second; a --start to come is waited for.", valueName: "events")) var rate: Int?
  @Option(help: ArgumentHelp("Write the exact expected result there, as JSON.", valueName: "file")) var expect: String?
  @Flag(help: "Send nothing, write only what is expected (of a topic with --partitions): it takes longer than the stream itself.") var expectOnly = false
  @OptionGroup var kafka: KafkaOptions

  func validate() throws {
    if let rate, rate < 1 { throw ValidationError("--rate \(rate): expected at least 1") }
    if expectOnly, expect == nil { throw ValidationError("--expect-only: give --expect FILE as well") }
    _ = try options(partitions: partitions ?? 4)
  }

  func options(partitions: Int) throws -> GeneratorOptions {
    var options = GeneratorOptions()
    options.events = events
    options.users = users
    options.seed = seed
    options.partitions = partitions
    options.span = TimeSpan(microseconds: span.milliseconds * 1000)
    options.payloadBytes = payloadBytes
    options.late = late
    options.duplicates = duplicates
    options.invalid = invalid
    options.farFuture = farFuture
    options.tombstones = tombstones
    options.emptyPayloads = empty
    if let start {
      if start == "now" {
        options.start = Int64(Date().timeIntervalSince1970 * 1000)
      } else if let milliseconds = Int64(start), milliseconds >= 0 {
        options.start = milliseconds
      } else if let date = ISO8601DateFormatter().date(from: start) {
        options.start = Int64(date.timeIntervalSince1970 * 1000)
      } else {
        throw ValidationError("--start \(start): expected now, a time such as 2024-06-01T00:00:00Z, or epoch milliseconds")
      }
    }
    do { try options.validate() } catch { throw ValidationError(error.message) }
    return options
  }

  func run() throws {
    try reportingFailures {
      let topology = try self.topology.map { try loadTopologies([$0])[0] } ?? ProductEvents.topology()
      if expectOnly { return try computeExpectation(topology) }
      let settings = try kafka.settings()
      let sender = try Sender(settings, topic: topic, partitions: Int32(partitions ?? 4), rate: rate)
      let count: Int
      do { count = try ClusterMetadata(settings).partitionCount(topic) ?? partitions ?? 4 } catch { throw Failure(.unavailable, "\(error)") }
      if let partitions, partitions != count {
        throw Failure(.data, "topic \(topic) has \(count) partitions, not \(partitions): leave --partitions out, or use another topic")
      }
      let wanted = try options(partitions: count)
      var generator = try generator(topology, wanted)
      var expectation = expect == nil ? nil : Expectation(topology)
      if rate != nil { sender.wait(until: Date(timeIntervalSince1970: Double(wanted.start) / 1000)) }
      while let event = generator.next() {
        try sender.send(key: event.key, payload: event.payload, timestamp: event.timestampMilliseconds, partition: Int32(event.partition))
        expectation?.add(event)
      }
      try sender.finish()
      if let expectation { try write(expectation) }
      Console.write("\(sender.sent) events to \(topic): \(text(generator.counts))")
    }
  }

  private func generator(_ topology: Topology, _ options: GeneratorOptions) throws -> EventGenerator {
    do throws(GeneratorError) { return try EventGenerator(topology, options) } catch { throw Failure(.data, error.message) }
  }

  /// The same stream, sent nowhere.
  private func computeExpectation(_ topology: Topology) throws {
    var generator = try generator(topology, try options(partitions: partitions ?? 4))
    var expectation = Expectation(topology)
    while let event = generator.next() { expectation.add(event) }
    try write(expectation)
    Console.write("\(events) events expected: \(text(generator.counts))")
  }

  private func write(_ expectation: Expectation) throws {
    guard let expect else { return }
    do { try expectation.result.write(to: expect) } catch { throw Failure(.data, "\(expect): cannot be written: \(error.localizedDescription)") }
  }

  private func text(_ c: PlantedCounts) -> String {
    "\(c.regular) regular, \(c.late) late, \(c.duplicate) duplicate, \(c.invalid) invalid, \(c.farFuture) far future, \(c.tombstone) tombstones, "
      + "\(c.emptyPayload) empty"
  }
}
