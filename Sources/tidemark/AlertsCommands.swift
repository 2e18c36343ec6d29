import Alerting
import ArgumentParser
import Channels
import Foundation
import Glibc
import Kafka
import Runtime
import Topologies
import Warehouse

struct Alerts: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What is wrong now, and telling somebody.",
    discussion: """
      `tidemark run` checks every minute by itself, in one elected instance of each topology. Thresholds are in the topology's
      monitor: section, all with defaults. Channels are secrets: they come from a file (--alert-channels FILE, or the file that
      TIDEMARK_ALERT_CHANNELS names) with lines such as

          slack          = https://hooks.slack.com/services/...
          webhook.oncall = https://example.com/hook
          webhook.oncall.authorization = Bearer ...
          command        = /usr/local/bin/page-somebody --team data

      or from TIDEMARK_ALERT_SLACK, TIDEMARK_ALERT_WEBHOOK (with TIDEMARK_ALERT_WEBHOOK_AUTHORIZATION) and
      TIDEMARK_ALERT_COMMAND. Webhooks and commands get JSON: phase (raised, repeated, resolved, test), severity, topology,
      kind, topic, partition, subject, message, raised_at, resolved_at, and an id that all messages of one alert share.
      """,
    subcommands: [Check.self, Test.self])

  /// Where channels come from.
  struct ChannelOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A file of channels, name = address a line (or TIDEMARK_ALERT_CHANNELS).", valueName: "file")) var alertChannels: String?

    func channels() throws -> [any AlertChannel] {
      // A receiver that hangs up while TLS writes to it must not end the process.
      signal(SIGPIPE, SIG_IGN)
      do throws(ChannelSettings.Problem) {
        return try ChannelSettings.channels(file: alertChannels, environment: ProcessInfo.processInfo.environment)
      } catch { throw Failure(.data, error.description) }
    }
  }

  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check once, tell channels what they are owed, and print what is open.",
      discussion: """
        The exit code is 0 when nothing is open and 3 when something is. Without Kafka (--kafka or TIDEMARK_KAFKA) lag is counted
        to the ends that instances saw last, and a topic without events looks stale.

        EXAMPLES
          tidemark alerts check --topology topologies/product-events.yaml
          tidemark alerts check --topology T.yaml --dry-run --format json | jq '.open[].kind'
          * * * * *  tidemark alerts check --topology T.yaml --alert-channels /etc/tidemark/channels   # where no instance runs
        """)
    @Option(help: ArgumentHelp("A topology file; may be repeated.", valueName: "file")) var topology: [String]
    @Flag(help: "Write nothing and tell nobody.") var dryRun = false
    @Option(help: "table or json.") var format = ListingFormat.table
    @OptionGroup var channels: ChannelOptions
    @OptionGroup var kafka: KafkaOptions
    @OptionGroup var postgres: PostgresOptions

    func validate() throws {
      if topology.isEmpty { throw ValidationError("name at least one topology: --topology FILE") }
    }

    func run() throws {
      try reportingFailures {
        let topologies = try loadTopologies(topology)
        let channels = try channels.channels()
        let metadata = try kafka.isNamed ? ClusterMetadata(kafka.settings()) : nil
        var output = Output()
        for topology in topologies {
          let store = MonitorStore(target: postgres.target, topology: topology, name: "tidemark alerts check")
          let pass = MonitorPass(store: store, topology: topology, channels: channels) { partitions in
            metadata.map { endOffsets(of: partitions, $0) } ?? [:]
          }
          let report: MonitorPass.Report?
          do { report = try pass.run(isDry: dryRun) } catch {
            throw (error as? WarehouseError).map { Failure($0) } ?? Failure(.software, "\(error)")
          }
          guard let report else { throw Failure(.again, "topology \(topology.name): another check did not end within 10 s") }
          output.add(report, topology: topology.name)
          for failure in report.failures { Console.note("tidemark: \(failure.channel) failed: \(failure.reason)") }
        }
        output.write(format)
        if !output.open.isEmpty { throw Failure(.difference, "\(output.open.count) open") }
      }
    }
  }

  /// What `check` prints.
  struct Output: Encodable {
    struct Row: Encodable {
      var topology: String
      var kind: String
      var severity: String
      var topic: String?
      var partition: Int32?
      var subject: String?
      var message: String
      var since: String
    }
    struct Unknown: Encodable {
      var topology: String
      var kind: String
      var reason: String
    }
    var open: [Row] = []
    var notChecked: [Unknown] = []
    var sent = 0

    enum CodingKeys: String, CodingKey {
      case open, sent
      case notChecked = "not_checked"
    }

    mutating func add(_ report: MonitorPass.Report, topology: String) {
      sent += report.sent.count
      var open = report.open
      // What a dry run would raise is open as well.
      for case .raise(let finding) in report.changes where !open.contains(where: { $0.key == finding.key }) {
        open.append(
          StoredAlert(
            id: 0, key: finding.key, severity: finding.severity, message: finding.message, raisedAt: report.facts.now, lastSeenAt: report.facts.now,
            isByCheck: true))
      }
      for alert in open {
        let notice = Notice(.raised, alert, topology: topology)
        self.open.append(
          Row(
            topology: topology, kind: notice.kind, severity: notice.severity.rawValue, topic: notice.topic, partition: notice.partition,
            subject: notice.subject, message: notice.message, since: notice.raisedAt))
      }
      for assessment in report.assessments {
        guard case .unknown(let reason) = assessment.verdict else { continue }
        notChecked.append(Unknown(topology: topology, kind: assessment.kind.rawValue, reason: reason))
      }
    }

    func write(_ format: ListingFormat) {
      guard format == .table else { return Console.write(Console.json(self)) }
      for unknown in notChecked { Console.note("not checked: \(unknown.topology) \(unknown.kind): \(unknown.reason)") }
      guard !open.isEmpty else { return Console.write("nothing is open") }
      Console.write(
        Console.table(
          ["severity", "since", "topology", "kind", "where", "message"],
          open.map { row in
            let place = row.topic.map { topic in row.partition.map { "\(topic)/\($0)" } ?? topic } ?? row.subject ?? "-"
            return [row.severity, row.since, row.topology, row.kind, place, row.message]
          }))
    }
  }

  struct Test: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Send a test alert through each channel.",
      discussion: """
        Says of each channel whether it took the message; the exit code is 69 when one did not. Needs neither Kafka nor PostgreSQL.

        EXAMPLES
          tidemark alerts test --alert-channels /etc/tidemark/channels
        """)
    @OptionGroup var channels: ChannelOptions

    func run() throws {
      try reportingFailures {
        let channels = try channels.channels()
        if channels.isEmpty {
          throw ValidationError("there is no channel: give --alert-channels FILE, or set TIDEMARK_ALERT_SLACK, TIDEMARK_ALERT_WEBHOOK or TIDEMARK_ALERT_COMMAND")
        }
        let notice = Notice.test(now: Int64(Date().timeIntervalSince1970) * 1_000_000)
        var failed: [String] = []
        for channel in channels {
          do throws(ChannelFailure) {
            try channel.send(notice)
            Console.write("\(channel.name): took it")
          } catch {
            failed.append(channel.name)
            Console.write("\(channel.name): FAILED: \(error)")
          }
        }
        if !failed.isEmpty { throw Failure(.unavailable, "\(failed.count) of \(channels.count) channels failed: \(failed.joined(separator: ", "))") }
      }
    }
  }
}
