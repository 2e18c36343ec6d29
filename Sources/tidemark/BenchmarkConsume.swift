import ArgumentParser
import Foundation
import Glibc
import Kafka

/// The other half of the throughput benchmark.
struct BenchmarkConsume: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark-consume", abstract: "Consume a topic with librdkafka alone and print what that cost.", shouldDisplay: false)
  @Option(help: "The topic.") var topic: String
  @OptionGroup var kafka: KafkaOptions

  struct Result: Encodable {
    var events: Int, bytes: Int
    var seconds: Double, cpuSeconds: Double
  }

  func run() throws {
    try reportingFailures {
      let settings = try kafka.settings()
      let begin = Date()
      let result: (messages: Int, bytes: Int)
      do { result = try Baseline.consume(settings, topic: topic) } catch { throw Failure(.unavailable, "\(error)") }
      Console.write(
        Console.json(
          Result(events: result.messages, bytes: result.bytes, seconds: Date().timeIntervalSince(begin), cpuSeconds: ProcessUsage().cpuSeconds)))
    }
  }
}

/// CPU time and memory of this process so far.
struct ProcessUsage {
  let cpuSeconds: Double
  let residentBytes: Int

  init() {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    cpuSeconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)
    residentBytes = Int(usage.ru_maxrss) * 1024
  }
}
