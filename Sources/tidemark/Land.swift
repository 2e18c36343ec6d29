import ArgumentParser
import Engine
import Foundation
import Glibc
import Kafka
import Runtime
import Topologies

struct Land: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Land raw events in PostgreSQL: what the stream is checked against.",
    discussion: """
      A consumer group of its own loads every event, whole and exactly once, into raw.events_TOPOLOGY (all topologies together:
      the view raw.events). It knows no window, no lateness and no duplicate; what is no event at all goes to
      tidemark.landing_quarantine. Tables are cut by day of event time (UTC), or by month where a month was over long before its
      first event came; --keep-days drops old ones whole.

      Several instances share partitions. SIGTERM lands what came and gives partitions back, exit code 0, within --drain-time
      whatever does not answer. A batch that PostgreSQL does not take is given up after a third of that: nothing of it is lost,
      whoever has its partitions next reads it again from Kafka.

      EXAMPLES
        tidemark land --topology topologies/product-events.yaml --kafka broker:9092
        tidemark land --topology T.yaml --keep-days 400
        tidemark land --topology T.yaml --until-caught-up      # end when what is in Kafka now is in PostgreSQL
      """)
  @Option(help: ArgumentHelp("A topology file; may be repeated.", valueName: "file")) var topology: [String]
  @OptionGroup var kafka: KafkaOptions
  @OptionGroup var postgres: PostgresOptions
  @Option(help: ArgumentHelp("The name that PostgreSQL shows as owner (default: host/process).", valueName: "name")) var instance: String?
  @Option(help: ArgumentHelp("Consumer group (default: tidemark-land-TOPOLOGY).", valueName: "name")) var group: String?
  @Option(help: ArgumentHelp("Drop tables whose events are all older than so many days (default: keep all).", valueName: "days")) var keepDays: Int64?
  @Flag(help: "End when all partitions have reached the ends that they have now.") var untilCaughtUp = false
  @Option(help: ArgumentHelp("Longest time that an event waits for its transaction, 50ms to 1 minute.", valueName: "time"))
  var flushInterval = Duration(milliseconds: 500)
  @OptionGroup var drain: DrainOptions
  @Option(help: ArgumentHelp("Rows of one transaction.", valueName: "events", visibility: .hidden)) var batch = 20_000

  func validate() throws {
    if topology.isEmpty { throw ValidationError("name at least one topology: --topology FILE") }
    if topology.count > 1, group != nil { throw ValidationError("--group names one group, but there are \(topology.count) topologies: leave it out") }
    if let keepDays, !(1...36_500).contains(keepDays) { throw ValidationError("--keep-days \(keepDays): expected 1 to 36500") }
    guard (50...60_000).contains(flushInterval.milliseconds) else { throw ValidationError("--flush-interval \(flushInterval): expected 50ms to 1m") }
    guard (1...100_000).contains(batch) else { throw ValidationError("--batch \(batch): expected 1 to 100000") }
  }

  func run() throws {
    try reportingFailures {
      let topologies = try loadTopologies(topology)
      let kafkaSettings = try kafka.settings()
      let log = RunLog("tidemark")
      var runners: [(name: String, runner: LandingRunner)] = []
      for topology in topologies {
        var settings = LandingSettings(
          plan: LandingPlan(topology.plan()), kafka: kafkaSettings, postgres: postgres.target,
          instance: instance ?? "\(ProcessInfo.processInfo.hostName)/\(getpid())", group: group ?? "tidemark-land-\(topology.name)")
        settings.untilCaughtUp = untilCaughtUp
        settings.drainTime = drain.time
        settings.keepDays = keepDays
        settings.interval = flushInterval.milliseconds
        settings.batchRows = batch
        let name = topologies.count > 1 ? "\(topology.name): " : ""
        runners.append((topology.name, LandingRunner(settings) { log.say($0, name + $1) }))
        log.say(.info, "\(name)landing topology \(topology.name) (\(topology.fingerprint)), Kafka \(kafkaSettings), group \(settings.group)")
      }
      try supervise(runners, log)
    }
  }

  /// Runs all of them, each on a thread of its own; the first that fails drains the others.
  private func supervise(_ runners: [(name: String, runner: LandingRunner)], _ log: RunLog) throws {
    let failure = superviseAll(runners, log, undone: "what was not landed", drainTime: drain.time) { line($0, $1.status) }
    for (name, runner) in runners { log.say(.info, line(name, runner.status)) }
    if let failure { throw Failure(failure) }
  }

  private func line(_ name: String, _ status: LandingStatus) -> String {
    let seconds = status.lastCommit > status.firstRecords ? Double(status.lastCommit - status.firstRecords) / 1e9 : 0
    let total = status.landed + status.refused + status.holes
    let rate = seconds > 0.1 ? ", \(Console.grouped(Int(Double(total) / seconds)))/s" : ""
    return "\(name): \(Console.grouped(status.landed)) landed, \(Console.grouped(status.refused)) refused, \(Console.grouped(status.holes)) without event, "
      + "\(status.partitions) partitions, \(Console.grouped(status.transactions)) transactions\(rate)"
  }
}
