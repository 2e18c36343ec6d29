import Aggregation
import Runtime
import Testing

@testable import Observability
@testable import Warehouse

/// `tidemark status` as text: what it says, and that it fits.
@Suite struct StatusTableTests {
  /// 2023-11-14T22:13:20Z.
  private static let now: Int64 = 1_700_000_000_000

  private func books(partitions: Int = 2, topologies: [String] = ["events"]) -> BooksSnapshot {
    var books = BooksSnapshot(at: Self.now - 10)
    for topology in topologies {
      for number in 0..<partitions {
        var ledger = LedgerCounts()
        ledger.applied = 123_000
        ledger.late = 456
        books.partitions.append(
          Books.PartitionStatus(
            topology: topology, partition: PartitionID(topic: "company.product.events", partition: Int32(number)), nextOffset: 123_456,
            endOffset: number == 0 ? 123_456 : 130_000, epoch: 12, owner: number == 0 ? "analytics-consumer-7f9c-\(number).example.com" : nil,
            watermark: EventTime(microseconds: (Self.now - 5000) * 1000), completeThrough: EventTime(microseconds: (Self.now - 5000 - 172_800_000) * 1000),
            updatedAt: (Self.now - 800) * 1000, flushedAt: (Self.now - 900) * 1000, recordTime: (Self.now - 4200) * 1000, journalBytes: 5 << 20,
            stateBytes: 300 << 20,
            aggregates: [.init(table: "daily", name: "daily", groups: 10, overflow: 1), .init(table: "per_minute", name: "per-minute", groups: nil, overflow: nil)],
            ledger: ledger, alerts: []))
      }
      for (table, name) in [("daily", "daily"), ("per_minute", "per-minute")] {
        books.freshness.append(
          Books.Freshness(
            topology: topology, table: table, aggregate: name, completeThrough: EventTime(microseconds: (Self.now - 172_805_000) * 1000),
            freshAsOf: (Self.now - 900) * 1000, lag: 6544, estimatedRows: 77, rowsChangedAt: table == "daily" ? (Self.now - 600_000) * 1000 : nil))
      }
    }
    return books
  }

  private func alert(_ partition: Int32, _ topology: String = "events", resolved: Bool = false) -> Books.Alert {
    Books.Alert(
      topology: topology, topic: partition < 0 ? "" : "company.product.events", partition: partition, kind: partition < 0 ? "lag_growing" : "offset_out_of_range",
      subject: "", severity: partition < 0 ? "warning" : nil, message: "more comes in\u{1B}[2J than is consumed", raisedAt: (Self.now - 720_000) * 1000,
      lastSeenAt: Self.now * 1000, seen: 12, resolvedAt: resolved ? Self.now * 1000 : nil)
  }

  @Test func aReportAddsUpPartitionsAndTellsAlertsApart() {
    var books = books()
    books.alerts = [alert(-1), alert(1), alert(0, resolved: true), alert(-1, "elsewhere")]
    let report = StatusReport(books, now: Self.now)
    #expect(report.rows.map(\.lag) == [0, 6544] && report.rows.map(\.lagSeconds) == [0, 4.2])
    #expect(report.rows[0].openAlerts.isEmpty && report.rows[1].openAlerts.map(\.kind) == ["offset_out_of_range"])
    #expect(report.rows.allSatisfy { $0.topologyAlerts.map(\.kind) == ["lag_growing"] && $0.topologyAlerts[0].since == "2023-11-14T22:01:20Z" })
    #expect(report.alerts.map(\.topology) == ["events", "events", "elsewhere"])
    #expect(report.aggregates.map(\.aggregate.groups) == [20, nil] && report.aggregates.map(\.aggregate.overflow) == [2, nil])
    #expect(report.aggregates.map(\.aggregate.rows) == [77, 77])
    // Kafka's own word on where a partition ends is the better one.
    let asked = StatusReport(books, ends: [PartitionID(topic: "company.product.events", partition: 0): 123_500], now: Self.now)
    #expect(asked.rows.map(\.lag) == [44, 6544] && asked.rows[0].lagSeconds == 4.2)
    #expect(StatusReport(books, topology: "elsewhere", now: Self.now).rows.isEmpty)
  }

  /// Without the time of the last record the watermark has to do, and where the end is not known nothing is made up.
  @Test func secondsBehindFallBackToTheWatermark() {
    var books = books()
    books.partitions[1].recordTime = nil
    books.partitions[0].endOffset = nil
    let rows = StatusRow.rows(books, now: Self.now)
    #expect(rows[1].lagSeconds == 5 && rows[0].lag == nil && rows[0].lagSeconds == nil)
    books.partitions[0].endOffset = 100
    #expect(StatusRow.rows(books, now: Self.now)[0].endOffset == 123_456, "seen long ago")
    let asked = [PartitionID(topic: "company.product.events", partition: 0): Int64(50)]
    #expect(StatusRow.rows(books, ends: asked, now: Self.now)[0].endOffset == 50, "a topic that was made anew")
    books.partitions[1].watermark = nil
    #expect(StatusRow.rows(books, now: Self.now)[1].lagSeconds == nil)
  }

  @Test func aPipeGetsEverything() {
    var books = books()
    books.alerts = [alert(-1), alert(1)]
    let lines = StatusTable.lines(StatusReport(books, now: Self.now), width: nil, now: Self.now)
    #expect(lines[0].hasPrefix("topology  partition") && lines[0].hasSuffix("applied  filtered  duplicate  late  quarantined  gap"))
    #expect(lines[1].contains("analytics-consumer-7f9c-0.example.com") && lines[1].contains("2023-11-14T22:13:15Z") && lines[1].contains("300 MiB"))
    #expect(lines[2].contains("company.product.events/1  -") && lines[2].contains("6544   4.2 s"))
    #expect(lines.contains("2 open alerts"))
    #expect(lines.contains("ALERT warning events the topology lag_growing: more comes in [2J than is consumed; since 2023-11-14T22:01:20Z, 12 min"))
    #expect(lines.contains { $0.hasPrefix("ALERT events company.product.events/1 offset_out_of_range: ") })
  }

  @Test(arguments: [40, 60, 80, 100, 120, 160, 200, 300]) func aTerminalIsNotLeft(width: Int) {
    var books = books(topologies: ["events", "shop-orders"])
    books.alerts = [alert(-1)]
    let lines = StatusTable.lines(StatusReport(books, now: Self.now), width: width, now: Self.now)
    #expect(lines.allSatisfy { $0.count <= width }, "\(lines.filter { $0.count > width })")
    let head = lines[0]
    for heading in ["topology", "partition", "owner"] { #expect(width < 60 || head.contains(heading), "\(head)") }
    for heading in ["offset", "lag", "behind"] { #expect(width < 80 || head.contains(heading), "\(head)") }
    #expect(lines.joined(separator: " ").contains("no room for") == (width < 200))
    #expect(width < 80 || lines[1].contains("/0"), "the number is not cut away: \(lines[1])")
  }

  @Test func oneTopologyNeedsNoColumn() {
    let lines = StatusTable.lines(StatusReport(books(), now: Self.now), width: 120, now: Self.now)
    #expect(lines[0].hasPrefix("partition") && lines[1].contains("0.9 s ago") && lines[1].contains("22:13:15"))
    #expect(lines.contains { $0.hasPrefix("daily ") && $0.contains("10 min ago") })
  }

  @Test func beforeAnythingRanItSaysSo() {
    let lines = StatusTable.lines(StatusReport(BooksSnapshot(at: Self.now), now: Self.now), width: 80, now: Self.now)
    #expect(lines.contains("no partition was ever taken over"))
  }

  @Test func timesReadBackAsTheyWereWritten() {
    for (microseconds, text): (Int64, String) in [
      (0, "1970-01-01T00:00:00Z"), (951_782_400_000_000, "2000-02-29T00:00:00Z"), (4_107_542_399_000_000, "2100-02-28T23:59:59Z"),
      (-1_000_000, "1969-12-31T23:59:59Z"), (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"), (1_709_164_800_000_000, "2024-02-29T00:00:00Z"),
    ] {
      #expect(TimeText.rfc3339(microseconds) == text)
      #expect(TimeText.microseconds(text) == microseconds)
    }
    #expect(TimeText.rfc3339(1_500_000) == "1970-01-01T00:00:01.5Z" && TimeText.microseconds("yesterday") == nil)
    #expect(TimeText.microseconds("1970-01-01T00:00:01.5Z") == 1_500_000)
    #expect(FittedTable.shortened("company.product.events/12", 14) == "company.p…s/12")
  }
}
