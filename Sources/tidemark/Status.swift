import Aggregation
import ArgumentParser
import Foundation
import Kafka
import Observability
import Runtime
import Warehouse

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Who has which partition, how far it is, what it holds, and what is wrong.",
    discussion: """
      Of all instances, from anywhere that reaches PostgreSQL. With Kafka named as well (--kafka or TIDEMARK_KAFKA), lag is
      counted to the partitions' present ends; without, to the ends that instances saw last.

      A table fits the terminal: what has no room is named below it, and --format json has everything. JSON is an array of
      partitions: aggregates has what the partition holds of each aggregate (groups: rows of open windows; overflow: events that
      went to __overflow__ since the takeover) and how its table stands (rows is an estimate of PostgreSQL's statistics, nothing is
      counted); openAlerts and topologyAlerts are open now. Bytes, groups and overflow are those of the partition's last flush.

      --watch goes on every 2 seconds, or as often as it says: it redraws on a terminal; on a pipe it prints one JSON array a line,
      or a table and an empty line. A server that is away is said on standard error (on a terminal: above the table) and tried
      again. SIGINT and SIGTERM end it, with exit code 0.

      EXAMPLES
        tidemark status
        tidemark status --watch
        tidemark status --watch 10s --format json | jq --unbuffered '[.[].lag] | add'
        tidemark status --topology-name product-events --format json | jq '.[].lagSeconds'
      """)
  @Option(help: ArgumentHelp("Only this topology.", valueName: "name")) var topologyName: String?
  @Option(help: "table or json.") var format = ListingFormat.table
  @Option(defaultAsFlag: WatchInterval(milliseconds: 2000), help: ArgumentHelp("Go on, every 2 seconds or as often as said: 5, 5s, 500ms.", valueName: "seconds"))
  var watch: WatchInterval?
  @OptionGroup var kafka: KafkaOptions
  @OptionGroup var postgres: PostgresOptions

  /// Seconds, or a time with its unit. Whatever is written is taken, and judged in `validate`: of what cannot be read the parser
  /// would make the default.
  struct WatchInterval: ExpressibleByArgument, CustomStringConvertible {
    var milliseconds: Int64?
    private var text = ""
    init(milliseconds: Int64) { self.milliseconds = milliseconds }
    init(argument: String) {
      text = argument
      let time = Int64(argument).map { $0 <= 86_400 ? $0 * 1000 : .max } ?? Duration(argument: argument)?.milliseconds
      milliseconds = time.flatMap { (100...86_400_000).contains($0) ? $0 : nil }
    }
    var description: String { milliseconds.map { "\(Duration(milliseconds: $0))" } ?? text }
  }

  func validate() throws {
    if let watch, watch.milliseconds == nil { throw ValidationError("--watch \(watch): expected seconds or a time, 100ms to 1 day, such as 5 or 500ms") }
  }

  func run() throws {
    try reportingFailures {
      let settings = try kafka.isNamed ? kafka.settings() : nil
      if let milliseconds = watch?.milliseconds {
        return try StatusWatch(format: format, milliseconds: milliseconds) { [target = postgres.target, topologyName] in
          StatusSource(target: target, topology: topologyName, ends: settings.map(KafkaEnds.init))
        }.run()
      }
      let ends = settings.map(KafkaEnds.init)
      let books = Books(try connect(postgres.target))
      let snapshot: BooksSnapshot
      do throws(WarehouseError) {
        if let topologyName { try books.require(topologyName) }
        snapshot = try BooksSnapshot.read(books, topologies: topologyName.map { [$0] })
      } catch { throw Failure(error) }
      let known: [PartitionID: Int64]
      do throws(KafkaError) { known = try ends?.read(snapshot.partitions.map(\.partition), timeout: 5000) ?? [:] } catch {
        throw Failure(.unavailable, "\(error)")
      }
      let now = WallClock.milliseconds()
      let report = StatusReport(snapshot, topology: topologyName, ends: known, now: now)
      switch format {
      case .table: for line in StatusTable.lines(report, width: Console.terminalSize?.width, now: now) { Console.write(line) }
      case .json:
        Console.write(Console.json(report.rows))
        for alert in report.alerts where !report.rows.contains(where: { $0.topology == alert.topology }) {
          Console.note("tidemark: \(alert.topology) has no partition yet, and an open alert \(alert.kind): \(alert.message)")
        }
      }
    }
  }
}

/// Asks Kafka where partitions end.
final class KafkaEnds {
  private let settings: KafkaSettings
  private var metadata: ClusterMetadata?

  init(_ settings: KafkaSettings) { self.settings = settings }

  /// - Parameter timeout: milliseconds for each partition; the first that gets no answer is the last that is asked.
  func read(_ partitions: [PartitionID], timeout: Int32) throws(KafkaError) -> [PartitionID: Int64] {
    if metadata == nil {
      do { metadata = try ClusterMetadata(settings) } catch { throw error as? KafkaError ?? KafkaError(code: .other, message: "\(error)") }
    }
    var ends: [PartitionID: Int64] = [:]
    for id in Set(partitions) { ends[id] = try metadata?.watermarks(TopicPartition(topic: id.topic, partition: id.partition), timeout: timeout).high }
    return ends
  }
}
