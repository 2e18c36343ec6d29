import ArgumentParser
import Foundation
import Kafka

struct Broker: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A Kafka broker for development, in memory: librdkafka's own mock cluster.",
    discussion: """
      Prints its bootstrap servers as the one line on standard output and runs until it is ended. It keeps the newest 5 MB
      or 100,000 messages of each partition and forgets the rest. Topics that are not named here come into being when they
      are first used, with 4 partitions whatever --partitions says.

      EXAMPLES
        tidemark broker --partitions 8
        tidemark broker --partitions 8 --topic orders --topic payments
      """)
  @Option(help: ArgumentHelp("Partitions of the topics that it makes.", valueName: "count")) var partitions: Int32 = 4
  @Option(help: ArgumentHelp("Topics to make beside product.events and git.activity; may be repeated.", valueName: "name")) var topic: [String] = []

  func validate() throws {
    guard (1...1000).contains(partitions) else { throw ValidationError("--partitions \(partitions): expected 1 to 1000") }
  }

  func run() throws {
    try reportingFailures {
      let signals = Signals()
      do {
        let broker = try DevelopmentBroker(partitions: partitions)
        for name in Set(topic + ["product.events", "git.activity"]) { try broker.createTopic(name, partitions: partitions) }
        Console.write(broker.bootstrapServers)
        while signals.count == 0 { Thread.sleep(forTimeInterval: 0.1) }
        withExtendedLifetime(broker) {}
      } catch let error as KafkaError {
        throw Failure(.software, error.message)
      }
    }
  }
}
