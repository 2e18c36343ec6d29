import Aggregation
import ArgumentParser
import Foundation
import Kafka
import Observability
import Warehouse

/// RFC 3339 in UTC, with as many fractional digits as there are.
func timeText(_ time: EventTime) -> String { TimeText.rfc3339(time) }

struct Quarantine: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Events that were refused: which, where, why.", subcommands: [List.self, Show.self, Replay.self])

  struct FilterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Only this topology.", valueName: "name")) var topologyName: String?
    @Option(help: ArgumentHelp("Only this topic.", valueName: "name")) var topic: String?
    @Option(help: ArgumentHelp("Only this partition.", valueName: "number")) var partition: Int32?

    var filter: Books.QuarantineFilter {
      var filter = Books.QuarantineFilter()
      filter.topology = topologyName
      filter.topic = topic
      filter.partition = partition
      return filter
    }
  }

  struct Row: Encodable {
    var topology: String, topic: String
    var partition: Int32
    var offset: Int64
    var reason: String, field: String
    var recordTime: String?, eventTime: String?
    var payloadBytes: Int64
    var payload: String
    var replayedAt: String?

    init(_ row: Books.QuarantineRow) {
      topology = row.topology
      topic = row.partition.topic
      partition = row.partition.partition
      offset = row.offset
      reason = row.reason
      field = row.field
      recordTime = row.recordTime.map(timeText)
      eventTime = row.eventTime.map(timeText)
      payloadBytes = row.payloadBytes
      payload = String(decoding: row.payload, as: UTF8.self)
      replayedAt = row.replayedAt.map(timeText)
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List refused events with offsets and reasons.",
      discussion: """
        EXAMPLES
          tidemark quarantine list
          tidemark quarantine list --reason invalid_json --limit 20 --format json
        """)
    @OptionGroup var filter: FilterOptions
    @OptionGroup var reason: ReasonOption
    @Option(help: ArgumentHelp("Most events listed.", valueName: "count")) var limit = 100
    @Option(help: "table or json.") var format = ListingFormat.table
    @OptionGroup var postgres: PostgresOptions

    func validate() throws {
      if limit < 1 { throw ValidationError("--limit \(limit): expected at least 1") }
    }

    func run() throws {
      try reportingFailures {
        let books = Books(try connect(postgres.target))
        var wanted = filter.filter
        wanted.reason = reason.reason
        wanted.limit = limit
        let rows: [Books.QuarantineRow]
        let counts: [(reason: String, count: Int64)]
        do throws(WarehouseError) {
          if let topology = wanted.topology { try books.require(topology) }
          rows = try books.quarantine(wanted)
          counts = try books.quarantineCounts(wanted)
        } catch { throw Failure(error) }
        guard format == .table else { return Console.write(Console.json(rows.map(Row.init))) }
        Console.write(
          Console.table(
            ["partition", "offset", "reason", "field", "event time", "bytes", "payload"],
            rows.map(Row.init).map {
              [
                "\($0.topic)/\($0.partition)", "\($0.offset)", $0.reason, $0.field.isEmpty ? "-" : $0.field, $0.eventTime ?? "-",
                "\($0.payloadBytes)", preview($0.payload),
              ]
            }, right: [1, 5]))
        let total = counts.reduce(0) { $0 + $1.count }
        let reasons = counts.map { "\(Console.grouped($0.count)) \($0.reason)" }.joined(separator: ", ")
        let rest = total > rows.count ? "; \(rows.count) are listed (--limit)" : ""
        Console.note("\(Console.grouped(total)) in quarantine\(reasons.isEmpty ? "" : ": \(reasons)")\(rest)")
      }
    }

    private func preview(_ text: String) -> String { text.count > 60 ? text.prefix(57) + "..." : text }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print one refused event: its bytes as they came.",
      discussion: """
        EXAMPLES
          tidemark quarantine show --topic product.events --partition 3 --offset 1234
        """)
    @OptionGroup var filter: FilterOptions
    @Option(help: ArgumentHelp("The event's offset.", valueName: "number")) var offset: Int64
    @Flag(help: "Only the payload, byte by byte as it came.") var raw = false
    @OptionGroup var postgres: PostgresOptions

    func validate() throws {
      if filter.topic == nil || filter.partition == nil { throw ValidationError("name the event: --topic NAME --partition N --offset N") }
    }

    func run() throws {
      try reportingFailures {
        let books = Books(try connect(postgres.target))
        var wanted = filter.filter
        wanted.offset = offset
        let rows: [Books.QuarantineRow]
        do throws(WarehouseError) { rows = try books.quarantine(wanted) } catch { throw Failure(error) }
        guard let row = rows.first else { throw Failure(.data, "no such event in quarantine") }
        if raw { return FileHandle.standardOutput.write(Data(row.payload)) }
        Console.write(Console.json(Row(row)))
      }
    }
  }
}

struct AcceptGap: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "accept-gap",
    abstract: "Let a stopped partition go on past offsets that Kafka no longer has.",
    discussion: """
      The ledger gets an entry that counts the offsets as gap, with your name; the partition's alert is resolved; its owner
      takes it over anew within a minute. Without --to the partition goes on at the first offset that Kafka still has.

      EXAMPLES
        tidemark accept-gap --topology-name product-events --topic product.events --partition 3 --kafka broker:9092
      """)
  @Option(help: ArgumentHelp("The topology's name.", valueName: "name")) var topologyName: String
  @Option(help: ArgumentHelp("The topic.", valueName: "name")) var topic: String
  @Option(help: ArgumentHelp("The partition.", valueName: "number")) var partition: Int32
  @Option(help: ArgumentHelp("The offset to go on at.", valueName: "offset")) var to: Int64?
  @Flag(help: "Of the landing, not of the stream.") var landing = false
  @OptionGroup var kafka: KafkaOptions
  @OptionGroup var postgres: PostgresOptions

  func run() throws {
    try reportingFailures {
      let id = PartitionID(topic: topic, partition: partition)
      let range: (low: Int64, high: Int64)
      do { range = try ClusterMetadata(kafka.settings()).watermarks(TopicPartition(topic: topic, partition: partition)) } catch let error as KafkaError {
        throw Failure(.unavailable, error.message)
      }
      let target = to ?? range.low
      guard (range.low...range.high).contains(target) else {
        throw Failure(.data, "\(id): Kafka has offsets \(range.low) to \(range.high); --to \(target) is outside")
      }
      let books = Books(try connect(postgres.target))
      let moved: Int64?
      do throws(WarehouseError) {
        let name = ProcessInfo.processInfo.userName
        moved =
          landing
          ? try books.acceptLandingGap(topologyName, id, to: target, operator: name)
          : try books.acceptGap(topologyName, id, to: target, operator: name)
      } catch { throw Failure(error) }
      guard let moved else { throw Failure(.data, "\(id) of \(topologyName) is not behind offset \(target): nothing to accept") }
      Console.write("\(id): offsets \(moved) to \(target) are accepted as a gap of \(target - moved)")
    }
  }
}
