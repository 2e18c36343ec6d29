import Aggregation
import ArgumentParser
import Engine
import Foundation
import Observability
import Runtime
import Synchronization
import Topologies

/// How `run` is looked at: health, metrics, events and the console.
struct HTTPOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Serve health, metrics and the console here; a port alone means loopback.", valueName: "host:port")) var http: String?
  @Option(help: ArgumentHelp(
    "A file with the bearer token that clients need (or TIDEMARK_HTTP_TOKEN); required unless --http is loopback.", valueName: "file"))
  var httpTokenFile: String?
  @Option(help: ArgumentHelp("Further behind than this, /readyz says that the instance is not ready.", valueName: "time")) var lagBudget = Duration(milliseconds: 60_000)
  @Option(help: ArgumentHelp(
    "From a Kafka record to its row: what the console holds freshness against (default: monitor.freshness.expected of the topology, 1 minute where "
      + "that says nothing).", valueName: "time"))
  var freshnessTarget: Duration?

  static let tokenVariable = "TIDEMARK_HTTP_TOKEN"

  func validate() throws {
    if let http {
      guard HTTPAddress(http) != nil else { throw ValidationError("--http \(http): expected HOST:PORT, such as 127.0.0.1:8080, or [::1]:8080") }
    } else if httpTokenFile != nil {
      throw ValidationError("--http-token-file is for --http HOST:PORT, which is missing")
    }
  }

  /// nil: nobody is to look.
  func settings() throws -> HTTPSettings? {
    guard let http, let address = HTTPAddress(http) else { return nil }
    var settings = HTTPSettings(address: address, token: try token())
    settings.lagBudget = Double(lagBudget.milliseconds) / 1000
    if let problem = settings.problem { throw ValidationError(problem) }
    return settings
  }

  private func token() throws -> BearerToken? {
    let text: String
    let place: String
    if let httpTokenFile {
      place = httpTokenFile
      do { text = try String(contentsOfFile: httpTokenFile, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines) } catch {
        throw Failure(.data, "--http-token-file \(httpTokenFile): cannot be read")
      }
    } else {
      guard let value = ProcessInfo.processInfo.environment[Self.tokenVariable], !value.isEmpty else { return nil }
      (text, place) = (value, Self.tokenVariable)
    }
    guard let token = BearerToken(text) else {
      throw Failure(.data, "\(place): a token has at least \(BearerToken.leastLength) characters, all of them visible ASCII")
    }
    return token
  }
}

/// Hands reports of flushes to a service that is made after those who report.
final class Reports: Sendable {
  private let service = Mutex<HTTPService?>(nil)
  func send(to service: HTTPService) { self.service.withLock { $0 = service } }
  func take(_ report: FlushReport) { service.withLock { $0 }?.flushed(report) }
}

/// The HTTP service of a run, from a program that is not asynchronous.
final class RunningService: Sendable {
  private let task: Task<Void, Never>
  private let books: BooksWatch
  private let ended = DispatchSemaphore(value: 0)

  /// Waits until the service listens.
  /// - Throws: `unavailable` where the address cannot be had.
  init(_ settings: HTTPSettings, _ instance: ObservedInstance, books: BooksWatch, service: HTTPService, log: RunLog) throws {
    self.books = books
    let begun = DispatchSemaphore(value: 0)
    let failure = Mutex<String?>(nil)
    let ended = self.ended
    task = Task.detached {
      do {
        try await service.run { address in
          log.say(.info, "http://\(address)/ shows this instance\(settings.token == nil ? "" : ", to whoever has the token")")
          begun.signal()
        }
      } catch is CancellationError {
      } catch {
        failure.withLock { $0 = "\(error)" }
      }
      begun.signal()
      ended.signal()
    }
    begun.wait()
    if let reason = failure.withLock({ $0 }) {
      books.stop()
      throw Failure(.unavailable, "--http \(settings.address): cannot listen there: \(reason)")
    }
  }

  /// Connections are closed at once; the run is over.
  func stop() {
    task.cancel()
    _ = ended.wait(timeout: .now() + 5)
    books.stop()
  }
}

extension ObservedInstance.Topology {
  /// - Parameter target: what the command line says; nil: what the topology says.
  init(_ topology: Topology, flushInterval: Int64, target: Duration?, status: @escaping @Sendable () -> RunStatus) {
    self.init(
      name: topology.name, topics: topology.topics,
      aggregates: topology.aggregates.map { Aggregate(name: $0.name, table: $0.tableName, window: Self.text($0.window)) },
      allowedLateness: topology.plan().allowedLateness, flushInterval: flushInterval,
      freshnessTarget: target.map { Double($0.milliseconds) / 1000 } ?? Double(topology.freshnessTarget.microseconds) / 1e6, status: status)
  }

  private static func text(_ window: Topology.Window) -> String {
    switch window {
    case .tumbling(let length): length.description
    }
  }
}
