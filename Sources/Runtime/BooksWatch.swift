import Aggregation
import Engine
import Foundation
import Synchronization
import Warehouse

/// Tidemark's books at one moment: what all instances together have done.
public struct BooksSnapshot: Sendable {
  /// Milliseconds since the epoch.
  public var at: Int64
  public var partitions: [Books.PartitionStatus] = []
  public var freshness: [Books.Freshness] = []
  public var alerts: [Books.Alert] = []
  public var reconciliations: [Books.Reconciliation] = []
  public init(at: Int64) { self.at = at }

  /// What the books say now, of these topologies or of all.
  public static func read(_ books: Books, topologies: [String]?) throws(WarehouseError) -> BooksSnapshot {
    var snapshot = BooksSnapshot(at: Clock.wallMilliseconds())
    snapshot.partitions = try books.status(topology: topologies?.count == 1 ? topologies?[0] : nil)
    snapshot.freshness = try books.freshness(topologies: topologies)
    snapshot.alerts = try books.alerts(limit: 50)
    if let topologies { snapshot.partitions.removeAll { !topologies.contains($0.topology) } }
    return snapshot
  }
}

/// Reads the books for whoever asks, over a connection of its own and on a thread of its own: who asks does not wait.
///
/// It reads when it is asked and what it has is old: a second, or twenty times as long as reading took, so that watching
/// costs PostgreSQL a twentieth of a core at most.
public final class BooksWatch: Sendable {
  public struct State: Sendable {
    /// The newest that could be read; nil: none yet.
    public var snapshot: BooksSnapshot?
    /// Why the last reading failed; nil: it did not.
    public var trouble: RunStatus.Trouble?
    /// Milliseconds since the epoch at which the last reading ended, either way; nil: none has.
    public var answeredAt: Int64?
    public init() {}
  }

  private struct Inner {
    var state = State()
    var isAsked = false
    /// Milliseconds.
    var interval: Int64 = 1000
    var nextAt: Milliseconds = 0
  }

  private let inner = Mutex(Inner())
  private let questions = Mailbox<Void>()
  private let thread = Mutex<Worker?>(nil)

  /// - Parameters:
  ///   - target: a libpq connection string.
  ///   - topologies: names.
  public init(target: String, topologies: [String]) {
    let worker = Worker(name: "books") { [self] in
      var books: Books?
      while let asked = questions.takeAll(waiting: 60) {
        if asked.isEmpty {
          // Nobody looks: the connection is given back.
          books = nil
          continue
        }
        let begin = Clock.milliseconds()
        do throws(WarehouseError) {
          let snapshot = try Self.look(target, topologies, &books)
          answer(snapshot, nil, since: begin)
        } catch {
          books = nil
          answer(nil, error.message, since: begin)
        }
      }
    }
    thread.withLock { $0 = worker }
  }

  /// What is known now; asks for newer if that is old. Never waits.
  public func read() -> State {
    let (state, asks) = inner.withLock { inner -> (State, Bool) in
      let asks = !inner.isAsked && Clock.milliseconds() >= inner.nextAt
      if asks { inner.isAsked = true }
      return (inner.state, asks)
    }
    if asks { questions.post(()) }
    return state
  }

  /// Ends the thread, within a few seconds.
  public func stop() {
    questions.close()
    thread.withLock { $0 }?.join()
  }

  private func answer(_ snapshot: BooksSnapshot?, _ failure: String?, since begin: Milliseconds) {
    let now = Clock.milliseconds()
    let wall = Clock.wallMilliseconds()
    inner.withLock { inner in
      inner.isAsked = false
      inner.interval = max(1000, (now - begin) * 20)
      inner.nextAt = failure == nil ? now + inner.interval : now + 1000
      inner.state.answeredAt = wall
      if let snapshot { inner.state.snapshot = snapshot }
      inner.state.trouble = failure.map { RunStatus.Trouble(since: inner.state.trouble?.since ?? wall, reason: $0) }
    }
  }

  private static func look(_ target: String, _ topologies: [String], _ current: inout Books?) throws(WarehouseError) -> BooksSnapshot {
    let books: Books
    if let open = current, open.isUsable { books = open } else {
      books = try Books.watching(target)
      current = books
    }
    var snapshot = try BooksSnapshot.read(books, topologies: topologies)
    // Only those may see it who run the batch side: without the right to, there is none to show.
    do { snapshot.reconciliations = try books.lastReconciliations(topologies: topologies) } catch {
      guard error.code == .refused else { throw error }
    }
    return snapshot
  }
}

/// The clock that a console and metrics go by.
public enum WallClock {
  /// Milliseconds since the epoch.
  public static func milliseconds() -> Int64 { Clock.wallMilliseconds() }
  /// Monotonic milliseconds, those of `RunStatus.signsOfLife`.
  public static func monotonicMilliseconds() -> Int64 { Clock.milliseconds() }
}
