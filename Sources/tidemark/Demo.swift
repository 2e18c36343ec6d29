import Aggregation
import ArgumentParser
import Foundation
import Glibc
import Kafka
import LocalServers
import Topologies
import Warehouse
import Workload

struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Everything on one machine, with nothing to prepare: a minute of events, a kill -9, and the proof.",
    discussion: """
      Starts an ephemeral PostgreSQL (Debian package postgresql) and the development broker, streams generated events, shows
      the live numbers, kills its own consumer with -9 halfway, starts it again, and at the end holds every row against the
      exact expectation. Beside it the raw events are landed; at the end the nightly batch is run over them and reconciled with the
      stream, and one row that is changed by hand is found. The exit code is 0 only if all are equal, 3 if not.

      EXAMPLES
        tidemark demo
        tidemark demo --seconds 20 --rate 5000
        tidemark demo --keep               # leaves it all running until Ctrl-C
      """)
  @Option(help: ArgumentHelp("How long events are streamed.", valueName: "seconds")) var seconds = 60
  @Option(help: ArgumentHelp("Events a second.", valueName: "events")) var rate = 3000
  @Flag(help: "Leave everything running at the end, until Ctrl-C.") var keep = false

  func validate() throws {
    guard (5...600).contains(seconds) else { throw ValidationError("--seconds \(seconds): expected 5 to 600") }
    // The development broker forgets what exceeds 5 MB of a partition.
    guard rate >= 100, rate * seconds <= 400_000 else {
      throw ValidationError("--rate \(rate) for \(seconds) s: expected at least 100 a second and at most 400,000 events in all")
    }
  }

  func run() throws {
    try reportingFailures {
      let signals = Signals()
      let stage = try DemoStage()
      defer { stage.close() }
      Console.note("PostgreSQL on port \(stage.server.port), broker on \(stage.kafka); files in \(stage.directory.path)")
      try stage.makeOperationalTables()
      try stage.perform("migrate", ["migrate", "--topology", stage.topology])
      try stage.startConsumer()
      try stage.startLanding()
      let events = rate * seconds
      let generator = try stage.start(
        "generate",
        [
          "generate", "--topic", "product.events", "--events", "\(events)", "--users", "\(max(1000, events / 20))", "--rate", "\(rate)", "--start", "now",
          "--span", "\(seconds)s", "--duplicates", "0.01", "--late", "0.002", "--invalid", "0.002", "--tombstones", "0.002", "--expect", stage.expected,
        ])
      Console.note("streaming \(Console.grouped(events)) events in \(seconds) s; 1 % duplicates, 0.6 % late, invalid or empty")
      let view = try DemoView(stage: stage)
      let killAt = events / 2
      var killed = false
      var begin = Date()
      let patience = Date(timeIntervalSinceNow: Double(seconds) + 120)
      while true {
        if signals.count > 0 { throw Failure(.again, "interrupted") }
        let now = try view.show()
        if !killed, now.consumed >= killAt {
          killed = true
          try stage.killConsumer()
          view.announce("kill -9 of the consumer at offset sum \(Console.grouped(now.consumed)); starting it again")
          try stage.startConsumer()
        }
        if !generator.isRunning {
          guard generator.terminationStatus == 0 else { throw Failure(.software, "generate failed: \(stage.log("generate"))") }
          if now.consumed >= events { break }
        }
        guard stage.consumerRuns else { throw Failure(.software, "the consumer ended: \(stage.log("run"))") }
        guard Date() < patience else { throw Failure(.again, "after \(seconds + 120) s only \(now.consumed) of \(events) events had arrived: \(stage.log("run"))") }
        begin.addTimeInterval(1)
        Thread.sleep(until: max(begin, Date()))
      }
      view.end()
      try conclude(stage, events)
      try stage.proveByBatch()
      if keep {
        Console.write("everything is left running: Ctrl-C ends it")
        while signals.count == 0 { Thread.sleep(forTimeInterval: 0.1) }
      }
    }
  }

  private func conclude(_ stage: DemoStage, _ events: Int) throws {
    let expected = try ExpectedResult.read(from: stage.expected)
    let differences = try Comparison.differences(expected, Books(connect(stage.target)))
    let rows = expected.aggregates.values.reduce(0) { $0 + $1.rows.count }
    for difference in differences.prefix(20) { Console.write(difference) }
    guard differences.isEmpty else { throw Failure(.difference, "\(differences.count) differences from the exact expectation") }
    let ledger = expected.ledger
    Console.write(
      "equal: all \(rows) rows of \(expected.aggregates.count) tables are exactly as expected, after a kill -9; of \(Console.grouped(events)) offsets "
        + ["applied", "filtered", "duplicate", "late", "quarantined"].map { "\(Console.grouped(ledger[$0] ?? 0)) \($0)" }.joined(separator: ", "))
    Console.write("look for yourself\(keep ? "" : " (with --keep)"): psql \"\(stage.target)\" -c 'TABLE analytics.daily_metrics'")
  }
}

/// Servers and processes of the demonstration.
final class DemoStage {
  let directory: URL
  let server: EphemeralPostgres
  private(set) var kafka = ""
  let topology: String
  let expected: String
  private var children: [String: Process] = [:]
  private let binary = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()

  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-demo-\(getpid())")
    do {
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      topology = directory.appendingPathComponent("product-events.yaml").path
      expected = directory.appendingPathComponent("expected.json").path
      try ProductEvents.yaml.write(toFile: topology, atomically: true, encoding: .utf8)
      Console.note("starting PostgreSQL and the development broker")
      server = try EphemeralPostgres()
    } catch { throw Failure(.unavailable, "\(error)") }
    let output = Pipe()
    let broker = try start("broker", ["broker", "--partitions", "8"], output: output)
    var line: [UInt8] = []
    while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") { line.append(byte) }
    kafka = String(decoding: line, as: UTF8.self)
    guard !kafka.isEmpty else { throw Failure(.software, "the broker did not start (\(broker.isRunning ? "running" : "ended")): \(log("broker"))") }
  }

  var target: String { server.target }

  /// Starts `tidemark` with these arguments; its messages go to a file. It ends when this process is gone.
  @discardableResult
  func start(_ name: String, _ arguments: [String], output: Pipe? = nil) throws -> Process {
    let process = Process()
    let file = directory.appendingPathComponent("\(name).log")
    if !FileManager.default.fileExists(atPath: file.path) { try Data().write(to: file) }
    let handle = try FileHandle(forWritingTo: file)
    try handle.seekToEnd()
    process.executableURL = binary
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["TIDEMARK_KAFKA": kafka, "TIDEMARK_POSTGRES": target, Signals.parentVariable: "\(getpid())"]) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output ?? handle
    process.standardError = handle
    try process.run()
    children[name] = process
    return process
  }

  func perform(_ name: String, _ arguments: [String]) throws {
    let process = try start(name, arguments)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Failure(.software, "\(name) failed: \(log(name))") }
  }

  func startConsumer() throws {
    try start(
      "run",
      ["run", "--topology", topology, "--data-dir", directory.appendingPathComponent("data").path, "--instance", "demo", "--flush-interval", "500ms",
        "--static-member", "demo", "--kafka-set", "session.timeout.ms=3000", "--kafka-set", "heartbeat.interval.ms=300"])
  }

  var consumerRuns: Bool { children["run"]?.isRunning ?? false }

  func killConsumer() throws {
    guard let consumer = children["run"] else { return }
    kill(consumer.processIdentifier, SIGKILL)
    consumer.waitUntilExit()
  }

  /// The end of a child's messages.
  func log(_ name: String) -> String {
    let text = (try? String(contentsOf: directory.appendingPathComponent("\(name).log"), encoding: .utf8)) ?? ""
    return text.split(separator: "\n").suffix(5).joined(separator: "\n")
  }

  func close() {
    for name in ["generate", "run", "land", "broker"] {
      guard let child = children[name], child.isRunning else { continue }
      kill(child.processIdentifier, SIGTERM)
      child.waitUntilExit()
    }
    server.close()
    try? FileManager.default.removeItem(at: directory)
  }
}

/// The live numbers: one table that is drawn over on a terminal, a line every five seconds elsewhere.
final class DemoView {
  struct Numbers {
    var consumed = 0
    var perSecond = 0
    var dau = 0
    var lag = 0
    /// Seconds between the newest event in PostgreSQL and now.
    var age: Double?
  }
  private let books: Books
  private let metadata: ClusterMetadata
  private var before: (at: Date, consumed: Int)?
  private var drawn = 0
  private var lines = 0

  init(stage: DemoStage) throws {
    books = Books(try connect(stage.target))
    metadata = try ClusterMetadata(KafkaSettings(bootstrapServers: stage.kafka))
  }

  private func read() throws -> Numbers {
    let pulse: Books.Pulse
    do throws(WarehouseError) {
      pulse = try books.pulse(topology: "product-events", table: "daily_active_users", measure: "dau")
    } catch { throw Failure(error) }
    var numbers = Numbers()
    numbers.consumed = Int(pulse.offsets)
    numbers.dau = Int(pulse.greatest)
    numbers.age = pulse.watermark.map { Date().timeIntervalSince1970 - Double($0.microseconds) / 1e6 }
    var ends = 0
    for partition in 0..<Int32(8) { ends += Int(try metadata.watermarks(TopicPartition(topic: "product.events", partition: partition)).high) }
    numbers.lag = ends - numbers.consumed
    if let before {
      let seconds = Date().timeIntervalSince(before.at)
      if seconds > 0 { numbers.perSecond = Int(Double(numbers.consumed - before.consumed) / seconds) }
    }
    before = (Date(), numbers.consumed)
    return numbers
  }

  /// Reads the numbers and shows them.
  func show() throws -> Numbers {
    let numbers = try read()
    let age = numbers.age.map { String(format: "%.1f s", max(0, $0)) } ?? "-"
    if Console.outputIsTerminal {
      let table = Console.table(
        ["events in PostgreSQL", "events/s", "daily active users", "lag", "age of the newest"],
        [[Console.grouped(numbers.consumed), Console.grouped(numbers.perSecond), Console.grouped(numbers.dau), Console.grouped(numbers.lag), age]],
        right: [0, 1, 2, 3, 4])
      if drawn > 0 { FileHandle.standardOutput.write(Data("\u{1B}[\(drawn)A\u{1B}[J".utf8)) }
      Console.write(table)
      drawn = 2
    } else {
      if lines % 5 == 0 {
        Console.write(
          "\(Console.grouped(numbers.consumed)) events in PostgreSQL, \(Console.grouped(numbers.perSecond))/s, DAU \(Console.grouped(numbers.dau)), "
            + "lag \(Console.grouped(numbers.lag)), newest \(age) old")
      }
      lines += 1
    }
    return numbers
  }

  /// A line that stays.
  func announce(_ text: String) {
    Console.write(text)
    drawn = 0
  }

  func end() { drawn = 0 }
}
