import Foundation
import Runtime
import Synchronization
import Testing

@testable import Observability

@Suite struct MetricsTests {
  private func page(_ fake: FakeInstance = .running()) -> String {
    let instance = fake.observed
    let books = instance.books()
    let health = Health(instance, books: books, now: instance.clock(), monotonic: instance.monotonic(), lagBudget: 60)
    var counts = MetricsPage.ServiceCounts()
    counts.requests[.init(path: "/metrics", code: 200)] = 4
    return MetricsPage(instance: instance, books: books, health: health, service: counts, now: instance.clock()).render()
  }

  @Test func everyFamilyIsDescribedOnceAndBeforeItsSamples() throws {
    var seen: [String] = []
    var current = ""
    for line in page().split(separator: "\n") {
      if let match = line.firstMatch(of: /^# HELP ([a-z_]+) .+$/) {
        current = String(match.1)
        seen.append(current)
      } else if let match = line.firstMatch(of: /^# TYPE ([a-z_]+) (counter|gauge|histogram)$/) {
        #expect(match.1 == current)
      } else {
        let match = try #require(line.firstMatch(of: /^([a-z_]+)(\{([a-z]+="([^"\\]|\\.)*",?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$/), "\(line)")
        let name = String(match.1).replacing(/_(bucket|sum|count)$/, with: "")
        #expect(name == current || match.1 == current, "\(line) is not of \(current)")
      }
    }
    #expect(seen == Metric.all.map(\.name))
    #expect(Set(seen).count == seen.count)
  }

  @Test func namesFollowTheRule() {
    for metric in Metric.all {
      #expect(metric.name.hasPrefix("tidemark_") || metric.name.hasPrefix("process_"), "\(metric.name)")
      #expect((metric.type == .counter) == metric.name.hasSuffix("_total"), "\(metric.name)")
      #expect(metric.type != .histogram || metric.name.hasSuffix("_seconds"), "\(metric.name)")
      #expect(!metric.help.isEmpty)
    }
  }

  @Test func samplesSayWhatTheInstanceSays() {
    let fake = FakeInstance.running()
    fake.status.withLock {
      $0.recordAges.add(0.4, times: 3)
      $0.recordAges.add(100_000)
    }
    let lines = Set(page(fake).split(separator: "\n").map(String.init))
    for line in [
      #"tidemark_build_info{version="1.2.3",instance="host \"a\""} 1"#, "tidemark_ready 1",
      #"tidemark_events_total{topology="events",bucket="applied"} 90"#, #"tidemark_events_total{topology="events",bucket="late"} 10"#,
      #"tidemark_partition_lag_events{topology="events",topic="t",partition="1"} 1000"#,
      #"tidemark_partition_lag_seconds{topology="events",topic="t",partition="0"} 0"#,
      #"tidemark_partition_lag_seconds{topology="events",topic="t",partition="1"} 7"#,
      #"tidemark_partitions{topology="events",phase="running"} 2"#, #"tidemark_aggregate_groups{topology="events",aggregate="minute"} 8"#,
      #"tidemark_record_visible_seconds_bucket{topology="events",le="0.3"} 0"#, #"tidemark_record_visible_seconds_bucket{topology="events",le="0.4"} 3"#,
      #"tidemark_record_visible_seconds_bucket{topology="events",le="+Inf"} 4"#, #"tidemark_record_visible_seconds_count{topology="events"} 4"#,
      #"tidemark_http_requests_total{path="/metrics",code="200"} 4"#,
    ] { #expect(lines.contains(line), "\(line)") }
  }

  @Test func whatIsNotKnownIsAbsent() {
    let fake = FakeInstance.running()
    fake.status.withLock {
      $0.ends = [:]
      $0.lastFlushes = [:]
    }
    let text = page(fake)
    #expect(!text.contains("\ntidemark_partition_lag_seconds{"))
    #expect(!text.contains("\ntidemark_last_flush_timestamp_seconds{"))
    #expect(!text.contains("\ntidemark_reconciliation_timestamp_seconds{"))
  }

  @Test func quantilesAreWithinTheirBucket() throws {
    var histogram = Histogram(bounds: [1, 2, 4])
    #expect(histogram.quantile(0.5) == nil)
    histogram.add(-1)
    histogram.add(1.5, times: 98)
    histogram.add(10)
    #expect(histogram.counts == [1, 98, 0, 1])
    #expect(abs(try #require(histogram.quantile(0.5)) - 1.5) < 0.01)
    #expect(histogram.quantile(1) == 4)
    let later = { var h = histogram; h.add(3, times: 2); return h }()
    #expect(later.since(histogram).counts == [0, 0, 2, 0])
    #expect(later.since(histogram).count == 2)
  }
}
