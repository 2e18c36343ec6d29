import ArgumentParser
import Foundation
import Glibc
import Kafka

struct Broker: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A Kafka broker for development, in memory: librdkafka's own mock cluster.",
    discussion: """
      Prints its bootstrap servers as the one line on standard output and runs until it is ended. It keeps the newest 5 MB
      or 100,000 messages of each partition and forgets the rest. Topics that are not named here come into being when they
      are first used, with 4 partitions whatever --partitions says.

      With --control it has faults on demand: each line on standard input is an order, answered by a line on standard
      error, `done: ORDER` or `refused: REASON`. The end of standard input ends the broker.

        error FETCH 6 5             the next 5 Fetch requests fail with Kafka's error code 6
        drop HEARTBEAT 2            the connections of the next 2 Heartbeat requests are cut instead of answered
        clear FETCH                 what is left of both is taken back
        down 1, up 1                broker 1 cuts its connections and takes none, takes them again
        rtt 1 200                   broker 1 answers 200 ms late
        leader product.events 3 2   partition 3 moves to broker 2
        coordinator GROUP 2         the group's coordinator is broker 2

      EXAMPLES
        tidemark broker --partitions 8
        tidemark broker --partitions 8 --topic orders --topic payments
        (sleep 30; echo down 1; sleep 5; echo up 1; sleep 60) | tidemark broker --control
      """)
  @Option(help: ArgumentHelp("Partitions of the topics that it makes.", valueName: "count")) var partitions: Int32 = 4
  @Option(help: ArgumentHelp("Topics to make beside product.events and git.activity; may be repeated.", valueName: "name")) var topic: [String] = []
  @Option(help: ArgumentHelp("Brokers of the cluster.", valueName: "count")) var brokers: Int32 = 1
  @Flag(help: "Take orders for faults on standard input.") var control = false

  func validate() throws {
    guard (1...1000).contains(partitions) else { throw ValidationError("--partitions \(partitions): expected 1 to 1000") }
    guard (1...9).contains(brokers) else { throw ValidationError("--brokers \(brokers): expected 1 to 9") }
  }

  func run() throws {
    try reportingFailures {
      let signals = Signals()
      do {
        let broker = try DevelopmentBroker(brokers: brokers, partitions: partitions)
        for name in Set(topic + ["product.events", "git.activity"]) { try broker.createTopic(name, partitions: partitions) }
        Console.write(broker.bootstrapServers)
        if control {
          takeOrders(broker, signals)
        } else {
          while signals.count == 0 { Thread.sleep(forTimeInterval: 0.1) }
        }
        withExtendedLifetime(broker) {}
      } catch let error as KafkaError {
        throw Failure(.software, error.message)
      }
    }
  }

  /// Carries out one order a line until the input ends, or a signal says so.
  private func takeOrders(_ broker: DevelopmentBroker, _ signals: Signals) {
    let input = FileHandle.standardInput
    var bytes: [UInt8] = []
    while signals.count == 0 {
      var poller = pollfd(fd: input.fileDescriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&poller, 1, 100) > 0 else { continue }
      let more = input.availableData
      guard !more.isEmpty else { return }
      bytes += more
      while let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: bytes[..<end], as: UTF8.self).trimmingCharacters(in: .whitespaces)
        bytes.removeSubrange(...end)
        guard !line.isEmpty else { continue }
        do throws(KafkaError) {
          let order = try BrokerOrder(line)
          try broker.carryOut(order)
          Console.note("done: \(order)")
        } catch { Console.note("refused: \(error.message)") }
      }
    }
  }
}
