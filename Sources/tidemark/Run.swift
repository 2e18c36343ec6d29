import Aggregation
import ArgumentParser
import Engine
import Foundation
import Glibc
import Kafka
import Logging
import Observability
import Runtime
import Synchronization
import Topologies

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Consume, aggregate and flush: one instance.",
    discussion: """
      Start as many instances as there are partitions to share; they may come and go. SIGTERM drains: everything is flushed
      and given back, then the exit code is 0, within --drain-time whatever does not answer. A second SIGTERM ends at once.
      Nothing is lost or counted twice by either.

      EXAMPLES
        tidemark run --topology topologies/product-events.yaml --data-dir /var/lib/tidemark --kafka broker:9092
        tidemark run --topology T.yaml --data-dir D --until-caught-up        # end when what is in Kafka now is in PostgreSQL
        tidemark run --topology T.yaml --data-dir D --kafka-config tls.properties --flush-interval 200ms
        tidemark run --topology T.yaml --data-dir D --http 8080      # console, /metrics, /status … at http://127.0.0.1:8080/
        tidemark run --topology T.yaml --data-dir D --http 0.0.0.0:8080 --http-token-file /run/secrets/tidemark-token
      """)
  @Option(help: ArgumentHelp("A topology file; may be repeated.", valueName: "file")) var topology: [String]
  @Option(help: ArgumentHelp("Where the journal is kept; one process at a time uses it.", valueName: "directory")) var dataDir: String
  @OptionGroup var kafka: KafkaOptions
  @OptionGroup var postgres: PostgresOptions
  @OptionGroup var http: HTTPOptions
  @Option(help: ArgumentHelp("The name that PostgreSQL shows as owner (default: host/process).", valueName: "name")) var instance: String?
  @Option(help: ArgumentHelp("Consumer group (default: tidemark-TOPOLOGY).", valueName: "name")) var group: String?
  @Option(help: ArgumentHelp("group.instance.id: static membership, no rebalance over a quick restart.", valueName: "id")) var staticMember: String?
  @Flag(help: "End when all partitions have reached the ends that they have now.") var untilCaughtUp = false
  @Option(help: ArgumentHelp("Time between flushes, 50ms to 1 minute.", valueName: "time")) var flushInterval = Duration(milliseconds: 1000)
  @OptionGroup var drain: DrainOptions
  @Option(help: ArgumentHelp("When the journal is synced to disk: always, never, or a time.", valueName: "policy")) var journalSync = "1s"
  @Option(help: ArgumentHelp("Size of a journal segment; the disk needs room for several.", valueName: "MiB")) var journalSegment = 64
  @Option(help: ArgumentHelp("Threads that own partitions, 1 to 64 (default: one for each core).", valueName: "number")) var workers: Int?
  @Flag(help: "Keep no journal: a restart then takes its partitions over like another instance.") var noJournal = false
  @Option(help: ArgumentHelp("Memory for what waits for PostgreSQL; beyond it partitions pause.", valueName: "MiB")) var pendingBudget = 256
  @Option(help: ArgumentHelp("Memory for state; beyond it the largest partition is held (default: 60 % of the machine's, or of the control group's).", valueName: "MiB"))
  var stateBudget: Int?
  @Option(help: ArgumentHelp("Events decoded and folded at a time.", valueName: "events", visibility: .hidden)) var batch = 4096
  @OptionGroup var alertChannels: Alerts.ChannelOptions
  @Flag(help: "Leave the checks to other instances, or to `tidemark alerts check`.") var noChecks = false
  @Option(help: ArgumentHelp("Time between checks.", valueName: "time", visibility: .hidden)) var checkInterval = Duration(milliseconds: 60_000)
  @Flag(help: ArgumentHelp("Print counts, times and memory as JSON at the end.", visibility: .hidden)) var summary = false

  func validate() throws {
    if topology.isEmpty { throw ValidationError("name at least one topology: --topology FILE") }
    guard (50...60_000).contains(flushInterval.milliseconds) else { throw ValidationError("--flush-interval \(flushInterval): expected 50ms to 1m") }
    guard (16...65_536).contains(pendingBudget) else { throw ValidationError("--pending-budget \(pendingBudget): expected 16 to 65536 MiB") }
    if let workers, !(1...64).contains(workers) { throw ValidationError("--workers \(workers): expected 1 to 64") }
    if let stateBudget, !(1...16_777_216).contains(stateBudget) { throw ValidationError("--state-budget \(stateBudget): expected 1 to 16777216 MiB") }
    guard (1...100_000).contains(batch) else { throw ValidationError("--batch \(batch): expected 1 to 100000") }
    if topology.count > 1, group != nil { throw ValidationError("--group names one group, but there are \(topology.count) topologies: leave it out") }
    _ = try journalSettings()
  }

  private func journalSettings() throws -> RunSettings.JournalSettings {
    var settings = RunSettings.JournalSettings()
    settings.isOn = !noJournal
    guard (1...1024).contains(journalSegment) else { throw ValidationError("--journal-segment \(journalSegment): expected 1 to 1024 (MiB)") }
    settings.segmentBytes = journalSegment << 20
    switch journalSync {
    case "always": settings.sync = .always
    case "never": settings.sync = .never
    default:
      guard let time = Duration(argument: journalSync), time.milliseconds > 0 else {
        throw ValidationError("--journal-sync \(journalSync): expected always, never, or a time such as 1s")
      }
      settings.sync = .interval(time.milliseconds)
    }
    return settings
  }

  func run() throws {
    try reportingFailures {
      let topologies = try loadTopologies(topology)
      let kafkaSettings = try kafka.settings()
      let log = RunLog("tidemark")
      let httpSettings = try http.settings()
      let owner = instance ?? "\(ProcessInfo.processInfo.hostName)/\(getpid())"
      let reports = Reports()
      ProcessLoad.begin()
      var runners: [(name: String, runner: InstanceRunner)] = []
      for topology in topologies {
        var settings = RunSettings(
          plan: topology.plan(), kafka: kafkaSettings, postgres: postgres.target, dataDirectory: dataDir,
          instance: owner, group: group ?? "tidemark-\(topology.name)")
        settings.staticMember = staticMember
        settings.untilCaughtUp = untilCaughtUp
        settings.drainTime = drain.time
        settings.limits.flushInterval = flushInterval.milliseconds
        settings.limits.pendingBytes = pendingBudget << 20
        settings.limits.eagerFlushBytes = min(settings.limits.eagerFlushBytes, settings.limits.pendingBytes / 4)
        settings.limits.batch = batch
        settings.limits.stateBytes = ((stateBudget ?? MachineMemory.defaultStateBudget) << 20) / topologies.count
        settings.workers = workers ?? min(64, ProcessInfo.processInfo.activeProcessorCount)
        settings.journal = try journalSettings()
        settings.isObserved = httpSettings != nil
        let name = topologies.count > 1 ? "\(topology.name): " : ""
        runners.append((topology.name, InstanceRunner(settings, report: reports.take) { log.say($0, name + $1) }))
        log.say(
          .info,
          "\(name)topology \(topology.name) (\(topology.fingerprint)), Kafka \(kafkaSettings), group \(settings.group), librdkafka \(ClusterMetadata.libraryVersion)")
      }
      let monitors = try startMonitors(topologies, kafkaSettings, log)
      defer { MonitorLoop.Running.stop(monitors) }
      let running = try httpSettings.map { try serve($0, owner, topologies, runners.map(\.runner), reports, log) }
      defer { running?.stop() }
      try supervise(runners, log)
    }
  }

  /// The checks, each topology's on a thread of its own; nobody but the elected instance does them.
  private func startMonitors(_ topologies: [Topology], _ kafka: KafkaSettings, _ log: RunLog) throws -> [MonitorLoop.Running] {
    guard !noChecks else { return [] }
    let channels = try alertChannels.channels()
    return topologies.map { topology in
      let name = topologies.count > 1 ? "\(topology.name): " : ""
      return MonitorLoop(
        topology: topology, kafka: kafka, postgres: postgres.target, instance: instance ?? "\(ProcessInfo.processInfo.hostName)/\(getpid())",
        channels: channels, interval: checkInterval.milliseconds
      ) { log.say($0, name + $1) }.start()
    }
  }

  private func serve(
    _ settings: HTTPSettings, _ owner: String, _ topologies: [Topology], _ runners: [InstanceRunner], _ reports: Reports, _ log: RunLog
  ) throws -> RunningService {
    let books = BooksWatch(target: postgres.target, topologies: topologies.map(\.name))
    let observed = ObservedInstance(
      version: Tidemark.configuration.version, name: owner,
      topologies: zip(topologies, runners).map { topology, runner in
        .init(topology, flushInterval: flushInterval.milliseconds, target: http.freshnessTarget, status: { runner.status })
      }, books: books.read)
    let service = HTTPService(settings, observed)
    reports.send(to: service)
    return try RunningService(settings, observed, books: books, service: service, log: log)
  }

  /// Runs all of them, each on a thread of its own, until they end; the first that fails drains the others.
  private func supervise(_ runners: [(name: String, runner: InstanceRunner)], _ log: RunLog) throws {
    let begin = Date()
    let failure = superviseAll(runners, log, undone: "what was not flushed", drainTime: drain.time) { line($0, $1.status) }
    for (name, runner) in runners where runner.status.statistics.events > 0 { log.say(.info, line(name, runner.status)) }
    if let failure { throw Failure(failure) }
    if summary { for (_, runner) in runners { Console.write(Console.json(Summary(runner.status, seconds: Date().timeIntervalSince(begin)))) } }
  }

  private func line(_ name: String, _ status: RunStatus) -> String {
    let s = status.statistics
    let l = s.ledger
    return "\(name): \(Console.grouped(s.events)) offsets (applied \(Console.grouped(l.applied)), filtered \(Console.grouped(l.filtered)), duplicate "
      + "\(Console.grouped(l.duplicate)), late \(Console.grouped(l.late)), quarantined \(Console.grouped(l.quarantined)), gap \(Console.grouped(l.gap))), "
      + "\(status.partitions) partitions, \(Console.grouped(s.flushes)) flushes"
  }
}

extension Failure {
  init(_ error: RunError) {
    switch error.code {
    case .unreachable: self.init(.unavailable, error.message)
    case .refused: self.init(.data, error.message)
    case .again: self.init(.again, error.message)
    }
  }
}

/// What a run cost, for the benchmark.
struct Summary: Encodable {
  var events: Int64
  var flushes: Int64
  /// Of the whole run, and from the first records to the last commit.
  var seconds: Double
  var busySeconds: Double
  /// Of the whole process.
  var cpuSeconds: Double
  var residentBytes: Int
  var decodeSeconds: Double
  var aggregateSeconds: Double
  var composeSeconds: Double
  var journalSeconds: Double
  var flushSeconds: Double
  var threads: [String: Double]

  init(_ status: RunStatus, seconds: Double) {
    func s(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1e9 }
    let usage = ProcessUsage()
    events = status.statistics.events
    flushes = status.statistics.flushes
    self.seconds = seconds
    busySeconds = status.lastCommit > status.firstRecords ? s(status.lastCommit - status.firstRecords) : 0
    cpuSeconds = usage.cpuSeconds
    residentBytes = usage.residentBytes
    decodeSeconds = s(status.statistics.decodeNanoseconds)
    aggregateSeconds = s(status.statistics.aggregateNanoseconds)
    composeSeconds = s(status.statistics.composeNanoseconds)
    journalSeconds = s(status.journalNanoseconds)
    flushSeconds = s(status.flushNanoseconds)
    threads = status.threadSeconds
  }
}

/// Counts SIGTERM and SIGINT.
struct Signals {
  private static let received = Atomic<Int>(0)

  init() {
    // Whoever started this process may have had them blocked (a worker thread of a test runner or a supervisor).
    var both = sigset_t()
    sigemptyset(&both)
    for number in [SIGTERM, SIGINT] { sigaddset(&both, number) }
    pthread_sigmask(SIG_UNBLOCK, &both, nil)
    // Safety: the handler touches one atomic, which is allowed in a signal handler.
    for number in [SIGTERM, SIGINT] { signal(number) { _ in Signals.received.wrappingAdd(1, ordering: .relaxed) } }
  }
  /// Set by a process that starts others: they end when it is gone, however that came about.
  static let parentVariable = "TIDEMARK_PARENT"
  private let parent = ProcessInfo.processInfo.environment[Self.parentVariable].flatMap { Int32($0) }

  /// A parent that is gone counts as one more.
  var count: Int { Self.received.load(ordering: .relaxed) + (parent.map { $0 != getppid() ? 1 : 0 } ?? 0) }
}
