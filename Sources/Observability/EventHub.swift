import Synchronization

/// Hands messages to the clients of `/events`. Publishing never waits: a client whose queue is full is dropped.
final class EventHub: Sendable {
  struct Client: Sendable {
    var id: Int
    /// Texts as they go over the wire; it ends when the client is dropped.
    var messages: AsyncStream<String>
  }

  private struct Entry {
    var continuation: AsyncStream<String>.Continuation
    var wantsOverview: Bool
    /// Ends the connection, also while a write to it waits.
    var close: @Sendable () -> Void
  }

  private struct State {
    var entries: [Int: Entry] = [:]
    var next = 1
    var dropped: Int64 = 0
  }

  private let state = Mutex(State())
  private let queue: Int
  private let most: Int

  /// - Parameters:
  ///   - queue: messages that wait for one client at most.
  ///   - most: clients at a time.
  init(queue: Int, most: Int) {
    self.queue = queue
    self.most = most
  }

  var counts: (clients: Int, dropped: Int64) { state.withLock { ($0.entries.count, $0.dropped) } }

  /// nil: there are as many clients as may be.
  func join(wantsOverview: Bool, close: @escaping @Sendable () -> Void) -> Client? {
    let (messages, continuation) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingOldest(queue))
    return state.withLock { state in
      guard state.entries.count < most else { return nil }
      let id = state.next
      state.next += 1
      state.entries[id] = Entry(continuation: continuation, wantsOverview: wantsOverview, close: close)
      return Client(id: id, messages: messages)
    }
  }

  func leave(_ id: Int) {
    state.withLock { $0.entries.removeValue(forKey: id) }?.continuation.finish()
  }

  /// One message to all who want its kind. O(clients). From any thread.
  func publish(_ event: String, _ json: String) {
    let text = "event: \(event)\ndata: \(json)\n\n"
    send(text) { event != "overview" || $0.wantsOverview }
  }

  /// A comment, which clients ignore.
  func beat() { send(": \n\n") { _ in true } }

  private func send(_ text: String, to wanted: (Entry) -> Bool) {
    let slow = state.withLock { state -> [Entry] in
      var slow: [Int] = []
      for (id, entry) in state.entries where wanted(entry) {
        if case .dropped = entry.continuation.yield(text) { slow.append(id) }
      }
      state.dropped += Int64(slow.count)
      return slow.compactMap { state.entries.removeValue(forKey: $0) }
    }
    for entry in slow {
      entry.continuation.finish()
      entry.close()
    }
  }

  /// All clients go.
  func close() {
    let entries = state.withLock { state in
      defer { state.entries = [:] }
      return Array(state.entries.values)
    }
    for entry in entries { entry.continuation.finish() }
  }
}
