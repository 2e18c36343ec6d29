import Aggregation
import Foundation
import Kafka
import Observability
import Runtime
import Synchronization
import Warehouse

/// Reads the books again and again, over a connection that is made anew when it is lost.
final class StatusSource {
  private let target: String
  private let topology: String?
  private let ends: KafkaEnds?
  private var books: Books?
  private var known: [PartitionID: Int64] = [:]

  init(target: String, topology: String?, ends: KafkaEnds?) {
    self.target = target
    self.topology = topology
    self.ends = ends
  }

  /// What came of one reading.
  struct Reading {
    /// nil: PostgreSQL did not answer.
    var report: StatusReport?
    /// Servers that did not answer, in words.
    var troubles: [String] = []
  }

  /// Waits five seconds for PostgreSQL at most, and two for Kafka, whose last answers do until it is back.
  /// - Throws: where an operator has to act.
  func read() throws(Failure) -> Reading {
    var reading = Reading()
    let snapshot: BooksSnapshot
    do throws(WarehouseError) {
      let open = if let books, books.isUsable { books } else { try Books.watching(target, name: "tidemark status") }
      books = open
      if let topology { try open.require(topology) }
      snapshot = try BooksSnapshot.read(open, topologies: topology.map { [$0] })
    } catch {
      books = nil
      if error.code == .refused { throw Failure(error) }
      reading.troubles.append(error.message)
      return reading
    }
    if let ends {
      do throws(KafkaError) { known = try ends.read(snapshot.partitions.map(\.partition), timeout: 2000) } catch {
        reading.troubles.append("Kafka does not answer, lag is counted to ends that were seen last: \(error)")
      }
    }
    reading.report = StatusReport(snapshot, topology: topology, ends: known, now: WallClock.milliseconds())
    return reading
  }
}

/// `tidemark status --watch`.
final class StatusWatch: Sendable {
  private let format: ListingFormat
  private let milliseconds: Int64
  private let source: @Sendable () -> StatusSource
  private let ended = DispatchSemaphore(value: 0)
  private let failure = Mutex<Failure?>(nil)
  /// Held while something is written, and by whoever ends: no document is cut in its middle.
  private let output = NSLock()

  /// - Parameter source: called once, on the thread that reads.
  init(format: ListingFormat, milliseconds: Int64, source: @escaping @Sendable () -> StatusSource) {
    self.source = source
    self.format = format
    self.milliseconds = milliseconds
  }

  /// Goes on until a signal comes, whatever a server does meanwhile.
  func run() throws {
    let signals = Signals()
    Thread.detachNewThread { [self] in
      do throws(Failure) { try look() } catch { failure.withLock { $0 = error } }
      ended.signal()
    }
    while ended.wait(timeout: .now() + 0.05) == .timedOut {
      guard signals.count > 0 else { continue }
      output.lock()
      return
    }
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  private func look() throws(Failure) {
    let source = source()
    var last: StatusReport?
    var said: [String] = []
    while true {
      let begin = WallClock.monotonicMilliseconds()
      let reading = try source.read()
      last = reading.report ?? last
      output.lock()
      if let size = Console.terminalSize, format == .table {
        draw(last, reading.troubles, size)
      } else {
        for trouble in reading.troubles where !said.contains(trouble) { Console.note("tidemark: \(trouble); trying again") }
        if reading.troubles.isEmpty, !said.isEmpty { Console.note("tidemark: all servers answer again") }
        said = reading.troubles
        if let report = reading.report { write(report) }
      }
      output.unlock()
      // A server for which reading is hard work is left alone as long as it took.
      let now = WallClock.monotonicMilliseconds()
      Thread.sleep(forTimeInterval: Double(max(begin + milliseconds - now, min(now - begin, milliseconds * 10))) / 1000)
    }
  }

  private func write(_ report: StatusReport) {
    guard format == .table else { return Console.write(Console.json(report.rows)) }
    Console.write((StatusTable.lines(report, width: nil, now: WallClock.milliseconds()) + [""]).joined(separator: "\n"))
  }

  /// Over what was there before, line by line: nothing flickers.
  private func draw(_ report: StatusReport?, _ troubles: [String], _ size: (width: Int, height: Int)) {
    let now = WallClock.milliseconds()
    let time = TimeText.rfc3339(now / 1000 * 1_000_000)
    var lines = ["tidemark status, \(time), every \(Status.WatchInterval(milliseconds: milliseconds))"]
    for trouble in troubles { lines += StatusTable.wrapped("AWAY: \(trouble)", size.width) }
    if let report {
      if !troubles.isEmpty { lines.append("what follows was read \(TimeText.rfc3339(report.at / 1000 * 1_000_000))") }
      lines += [""] + StatusTable.lines(report, width: size.width, now: now)
    }
    if lines.count >= size.height {
      let more = lines.count - size.height + 2
      lines = lines.prefix(max(1, size.height - 2)) + ["… \(more) more lines"]
    }
    let text = lines.map { "\($0.prefix(size.width))\u{1B}[K\n" }.joined()
    FileHandle.standardOutput.write(Data("\u{1B}[H\(text)\u{1B}[J".utf8))
  }
}
