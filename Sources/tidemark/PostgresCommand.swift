import ArgumentParser
import Foundation
import LocalServers

/// For benchmarks and scripts; the demonstration and the tests start theirs themselves.
struct PostgresServer: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "postgres", abstract: "An ephemeral PostgreSQL server; prints its connection string and runs until it is ended.",
    shouldDisplay: false)
  @Flag(help: "Sync to disk as a production server does.") var durable = false

  func run() throws {
    try reportingFailures {
      let signals = Signals()
      let server: EphemeralPostgres
      do { server = try EphemeralPostgres(durable: durable) } catch { throw Failure(.unavailable, "\(error)") }
      Console.write(server.target)
      while signals.count == 0 { Thread.sleep(forTimeInterval: 0.1) }
      server.close()
    }
  }
}
