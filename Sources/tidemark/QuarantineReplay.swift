import Aggregation
import ArgumentParser
import Foundation
import Kafka
import Warehouse

extension Quarantine {
  struct Replay: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Send refused events to Kafka again, to be judged anew.",
      discussion: """
        Bytes and key go as they came, into the partition that they came from; the record's time is now. What was too far in the
        future may count by then, what a changed topology understands will count, what is late or no JSON is refused again.

        Every topology and every consumer of the topic sees the events once more: one that took them before counts them twice,
        unless it deduplicates by their ids; --to sends them to another topic instead, where the key decides the partition. Each
        event is marked when Kafka has it (tidemark.quarantine.replayed_at) and not sent a second time without --again; a crash
        between the two sends up to a thousand again. Events longer than 64 KiB are not held whole in the quarantine: they are
        counted and named, the topic still has them.

        EXAMPLES
          tidemark quarantine replay --topology-name product-events --reason far_future --dry-run
          tidemark quarantine replay --topology-name product-events --reason far_future
          tidemark quarantine replay --topology-name product-events --topic product.events --partition 3 --offset 1234
        """)
    @Option(help: ArgumentHelp("The topology that refused them.", valueName: "name")) var topologyName: String
    @Option(help: ArgumentHelp("Only this topic.", valueName: "name")) var topic: String?
    @Option(help: ArgumentHelp("Only this partition.", valueName: "number")) var partition: Int32?
    @Option(help: ArgumentHelp("Only this offset.", valueName: "number")) var offset: Int64?
    @OptionGroup var reason: ReasonOption
    @Option(help: ArgumentHelp("Send them to this topic instead.", valueName: "name")) var to: String?
    @Flag(help: "Also those that were sent before.") var again = false
    @Flag(help: "Say how many would be sent; send nothing.") var dryRun = false
    @OptionGroup var kafka: KafkaOptions
    @OptionGroup var postgres: PostgresOptions

    func validate() throws {
      if offset != nil, topic == nil || partition == nil { throw ValidationError("--offset: name the event with --topic and --partition, too") }
    }

    private static let batch = 1000

    func run() throws {
      try reportingFailures {
        let books = Books(try connect(postgres.target))
        var wanted = Books.QuarantineFilter()
        (wanted.topology, wanted.topic, wanted.partition, wanted.offset) = (topologyName, topic, partition, offset)
        (wanted.reason, wanted.limit) = (reason.reason, Self.batch)
        let found: (whole: Int64, cut: Int64)
        do throws(WarehouseError) {
          try books.require(topologyName)
          found = try books.replayable(wanted, again: again)
        } catch { throw Failure(error) }
        if dryRun {
          Console.write("\(Console.grouped(found.whole)) refused events would be sent")
          if found.cut > 0 { Console.note("\(Console.grouped(found.cut)) are not held whole and would not be") }
          return
        }
        try send(wanted, of: found.whole, books)
      }
    }

    private func send(_ wanted: Books.QuarantineFilter, of total: Int64, _ books: Books) throws {
      let settings = try kafka.settings()
      var producers: [String: Producer] = [:]
      var sent = 0
      var cut: [(partition: PartitionID, offset: Int64)] = []
      var last: (topic: String, partition: Int32, offset: Int64)?
      repeat {
        do {
          let batch = try books.replayBatch(wanted, again: again, after: last) { rows in
            for row in rows {
              let topic = to ?? row.partition.topic
              let producer = try producers[topic] ?? producer(settings, topic)
              producers[topic] = producer
              try producer.send(key: row.key.isEmpty ? nil : row.key, payload: row.payload, partition: to == nil ? row.partition.partition : nil)
            }
            for producer in producers.values { try producer.flush() }
          }
          sent += batch.sent
          cut += batch.cut
          last = batch.last
          Console.progress("\(Console.grouped(sent)) of \(Console.grouped(total)) sent")
        } catch let error as WarehouseError { throw Failure(error) } catch let error as KafkaError {
          throw Failure(.unavailable, "\(error.message); \(Console.grouped(sent)) were sent and marked before; of the last batch some may have been sent, none is marked")
        }
      } while last != nil
      Console.write("\(sent) refused events sent to \(to ?? topic ?? "their topics")")
      for event in cut.prefix(10) { Console.note("\(event.partition) offset \(event.offset) is not held whole: not sent, the topic has it") }
      if cut.count > 10 { Console.note("and \(Console.grouped(cut.count - 10)) more") }
    }

    /// A topic that is not there is not made by accident.
    private func producer(_ settings: KafkaSettings, _ topic: String) throws -> Producer {
      guard try ClusterMetadata(settings).partitionCount(topic) != nil else {
        throw Failure(.data, "there is no topic \(topic) in Kafka\(to == nil ? "" : ": make it first, or leave --to out")")
      }
      return try Producer(settings, topic: topic)
    }
  }

  struct ReasonOption: ParsableArguments {
    @Option(help: ArgumentHelp("Only this reason, such as late or invalid_json.", valueName: "reason")) var reason: String?

    func validate() throws {
      if let reason, !QuarantineReason.allCases.contains(where: { $0.name == reason }) {
        throw ValidationError("--reason \(reason): expected one of \(QuarantineReason.allCases.map(\.name).joined(separator: ", "))")
      }
    }
  }
}
