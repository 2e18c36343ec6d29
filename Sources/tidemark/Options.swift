import ArgumentParser
import Foundation
import Kafka
import Topologies

/// How to reach Kafka.
struct KafkaOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Bootstrap servers, host:port,… (or TIDEMARK_KAFKA).", valueName: "servers"))
  var kafka: String?

  @Option(help: ArgumentHelp("A file of librdkafka properties, name=value a line: TLS, SASL and anything else (or TIDEMARK_KAFKA_CONFIG).", valueName: "file"))
  var kafkaConfig: String?

  @Option(help: ArgumentHelp("One librdkafka property; may be repeated, and wins over the file.", valueName: "name=value"))
  var kafkaSet: [String] = []

  /// Whether anybody said where Kafka is.
  var isNamed: Bool {
    kafka != nil || kafkaConfig != nil || ["TIDEMARK_KAFKA", "TIDEMARK_KAFKA_CONFIG"].contains { ProcessInfo.processInfo.environment[$0]?.isEmpty == false }
  }

  func settings() throws -> KafkaSettings {
    var properties: [(name: String, value: String)] = []
    if let kafkaConfig = kafkaConfig ?? ProcessInfo.processInfo.environment["TIDEMARK_KAFKA_CONFIG"], !kafkaConfig.isEmpty {
      do { properties = try KafkaSettings.properties(ofFile: kafkaConfig) } catch { throw Failure(.data, "\(error)") }
    }
    for text in kafkaSet {
      guard let property = KafkaSettings.property(text) else {
        throw ValidationError("--kafka-set: expected name=value, such as --kafka-set fetch.wait.max.ms=100")
      }
      properties.append(property)
    }
    let named = properties.last { $0.name == "bootstrap.servers" || $0.name == "metadata.broker.list" }?.value
    let servers = kafka ?? named ?? ProcessInfo.processInfo.environment["TIDEMARK_KAFKA"]
    guard let servers, !servers.isEmpty else {
      throw ValidationError("Kafka's bootstrap servers are missing: give --kafka HOST:PORT or set TIDEMARK_KAFKA")
    }
    return KafkaSettings(bootstrapServers: servers, properties: properties.filter { $0.name != "bootstrap.servers" && $0.name != "metadata.broker.list" })
  }
}

/// How to reach PostgreSQL.
struct PostgresOptions: ParsableArguments {
  @Option(help: ArgumentHelp("A libpq connection string or URI (or TIDEMARK_POSTGRES; what it leaves open comes from PG* variables).", valueName: "target"))
  var postgres: String?

  /// What to add where PostgreSQL is not reached and nobody has said where it is: libpq looked for it on this machine then.
  static var wayOut: String {
    let isNamed =
      ["TIDEMARK_POSTGRES", "PGHOST", "PGHOSTADDR", "PGSERVICE"].contains { ProcessInfo.processInfo.environment[$0]?.isEmpty == false }
      || CommandLine.arguments.contains { $0 == "--postgres" || $0.hasPrefix("--postgres=") }
    return isNamed ? "" : "; name the server by --postgres or TIDEMARK_POSTGRES"
  }

  var target: String { postgres ?? ProcessInfo.processInfo.environment["TIDEMARK_POSTGRES"] ?? "" }
}

/// How listings are printed.
enum ListingFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json
}

/// A length of time on the command line: `50ms`, `1s`, `2 minutes`.
struct Duration: ExpressibleByArgument, CustomStringConvertible {
  var milliseconds: Int64
  init(milliseconds: Int64) { self.milliseconds = milliseconds }

  init?(argument: String) {
    if argument.hasSuffix("ms") {
      guard let number = Int64(argument.dropLast(2).trimmingCharacters(in: .whitespaces)), number >= 0 else { return nil }
      milliseconds = number
    } else {
      guard let span = TimeSpan(argument) else { return nil }
      milliseconds = span.microseconds / 1000
    }
  }
  var description: String { milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms" }
  var defaultValueDescription: String { description }
}

/// Loads topologies; every problem of every file is printed before the command ends.
func loadTopologies(_ paths: [String]) throws -> [Topology] {
  var topologies: [Topology] = []
  var problems: [TopologyProblem] = []
  for path in paths {
    do throws(TopologyErrors) { topologies.append(try Topology.load(path: path)) } catch { problems += error.problems }
  }
  if problems.isEmpty {
    do throws(TopologyErrors) { try Topology.checkTogether(topologies) } catch { problems += error.problems }
  }
  guard problems.isEmpty else { throw Failure(.data, problems.map(\.description).joined(separator: "\n"), isBare: true) }
  return topologies
}
