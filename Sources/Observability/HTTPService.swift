import Foundation
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Runtime
import Synchronization

/// The instance's HTTP service: health, metrics, status, events and the console. It runs on threads of its own and shows
/// snapshots; nothing that it does is waited for by the threads that consume and flush.
public final class HTTPService: Sendable {
  let settings: HTTPSettings
  let instance: ObservedInstance
  let hub: EventHub
  let history = History()
  let requests = Mutex<[MetricsPage.ServiceCounts.Request: Int64]>([:])
  private let aggregates: [String: [String]]
  private let logger: Logger

  public init(_ settings: HTTPSettings, _ instance: ObservedInstance) {
    self.settings = settings
    self.instance = instance
    hub = EventHub(queue: settings.limits.queue, most: settings.limits.eventClients)
    aggregates = Dictionary(uniqueKeysWithValues: instance.topologies.map { ($0.name, $0.aggregates.map(\.name)) })
    // What the server itself has to say concerns connections of clients, not the instance.
    logger = Logger(label: "http") { _ in SwiftLogNoOpLogHandler() }
  }

  /// Tells the clients of `/events` of a flush. From any thread; never waits.
  public func flushed(_ report: FlushReport) {
    guard hub.counts.clients > 0 else { return }
    hub.publish("flush", JSON.text(FlushMessage(report, aggregates: aggregates[report.topology] ?? [])))
  }

  /// Serves until it is cancelled.
  /// - Parameter listening: called once with the address, its port the real one.
  /// - Throws: where the address cannot be had.
  public func run(listening: @escaping @Sendable (HTTPAddress) -> Void) async throws {
    let limits = settings.limits
    let app = Application(
      responder: ConsoleResponder(service: self),
      server: .http1(
        configuration: .init(
          idleTimeout: .seconds(limits.idle),
          httpDecoderConfiguration: .init(
            maxHeaderFieldSize: limits.headerFieldBytes, maxHeaderListSize: limits.headerBytes, maxHeaderFieldCount: limits.headerFields))),
      configuration: .init(
        address: .hostname(settings.address.host, port: settings.address.port), backlog: 64,
        availableConnectionsDelegate: MaximumAvailableConnections(limits.connections, logger: logger)),
      onServerRunning: { [settings] channel in
        listening(HTTPAddress(host: settings.address.host, port: channel.localAddress?.port ?? settings.address.port))
      },
      logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await app.run() }
      group.addTask { await self.tick() }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  /// Once a second: a point of history, and the overview for those who watch.
  private func tick() async {
    var silence = 0
    while !Task.isCancelled {
      history.sample(instance)
      if hub.counts.clients > 0 {
        hub.publish("overview", JSON.text(overview(withHistory: false)))
        silence += 1
        if silence >= settings.limits.heartbeat {
          silence = 0
          hub.beat()
        }
      }
      try? await Task.sleep(for: .seconds(1))
    }
    hub.close()
  }

  // MARK: Snapshots

  func health(_ books: BooksWatch.State) -> Health {
    Health(instance, books: books, now: instance.clock(), monotonic: instance.monotonic(), lagBudget: settings.lagBudget)
  }

  func overview(withHistory: Bool) -> Overview {
    let books = instance.books()
    return Overview(instance, books: books, health: health(books), history: history, withHistory: withHistory)
  }

  func metrics() -> String {
    let books = instance.books()
    let clients = hub.counts
    var counts = MetricsPage.ServiceCounts(requests: requests.withLock { $0 })
    (counts.eventClients, counts.droppedClients) = clients
    return MetricsPage(instance: instance, books: books, health: health(books), service: counts, now: instance.clock()).render()
  }

  /// The books, read anew if those at hand are older than a few seconds; waits for that, but not for long.
  func freshBooks() async -> BooksWatch.State {
    let asked = instance.clock()
    var state = instance.books()
    while (state.answeredAt ?? 0) < asked - 3000, instance.clock() - asked < 2000, !Task.isCancelled {
      try? await Task.sleep(for: .milliseconds(20))
      state = instance.books()
    }
    return state
  }
}
