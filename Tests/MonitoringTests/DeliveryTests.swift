import Aggregation
import Alerting
import Channels
import Foundation
import LocalServers
import Postgres
import Runtime
import Testing
import Topologies
import Warehouse

/// What channels are told over time, over restarts and failures, and who tells them.
@Suite struct DeliveryTests {
  /// Something that is wrong until it is not.
  private func stop(_ m: Monitored) throws { try m.book("a gap") }
  private func end(_ m: Monitored) throws { try m.sql.execute("UPDATE tidemark.alert SET resolved_at = $1 WHERE kind = 'offset_out_of_range'", [.timestamp(m.now)]) }

  @Test func anOpenAlertIsRepeatedOnSchedule() throws {
    let m = try Monitored("repeat", monitor: "monitor: { repeat: 1h }\n")
    try stop(m)
    var said: [String] = []
    for _ in 0..<20 { try m.pass(minutes: 10); said += try m.received() }
    #expect(said == ["raised offset_out_of_range"] + Array(repeating: "repeated offset_out_of_range", count: 3))
    try end(m)
    try m.pass()
    #expect(try m.received() == ["resolved offset_out_of_range"])
    try m.pass(minutes: 600)
    #expect(try m.received() == [])
  }

  @Test func aChannelThatFailsIsRetriedAndTheOthersSaySo() throws {
    let m = try Monitored("failing_channel")
    let broken = try WebhookServer()
    broken.answer(503)
    m.channels.append(WebhookChannel(name: "slack", url: "\(broken.url)/services/T0/SECRET", form: .slack)!)
    try stop(m)
    let first = try m.pass()
    #expect(first.failures.map(\.channel) == ["slack"] && first.failures[0].reason == "127.0.0.1:\(broken.port) answered 503")
    #expect(try m.received() == ["raised offset_out_of_range"])
    // After one minute, then two, then four.
    for minutes in 1...6 { try m.pass(minutes: 1); _ = minutes }
    #expect(broken.received.count == 3)
    #expect(try m.received() == ["raised channel_failing slack"] && m.lastMessage.contains("2 failures in a row"))
    #expect(!m.lastMessage.contains("SECRET"))
    // It is back: it hears what it was owed, once, and the others that it is back.
    broken.answer(200)
    try m.pass(minutes: 1)
    #expect(broken.received.count == 4 && broken.received[3].body.contains("CRITICAL shop-events: offset_out_of_range shop/0 a gap"))
    for _ in 0..<4 { try m.pass(minutes: 1) }
    #expect(broken.received.count == 4)
    #expect(try m.received() == ["resolved channel_failing slack"])
    // An alert that it never heard of is not taken back.
    try end(m)
    try m.pass()
    #expect(broken.received.count == 5 && broken.received[4].body.contains("RESOLVED"))
  }

  @Test func aChannelThatIsNewHearsWhatIsOpen() throws {
    let m = try Monitored("new_channel")
    try stop(m)
    try m.pass()
    let second = try WebhookServer()
    m.channels.append(WebhookChannel(name: "webhook.second", url: second.url, form: .notice)!)
    try m.pass(minutes: 1)
    #expect(try m.received() == ["raised offset_out_of_range"] && second.received.count == 1)
  }

  @Test func aStormIsSentInPortions() throws {
    let m = try Monitored("storm")
    try m.book("a gap", 0..<50)
    var counts: [Int] = []
    for _ in 0..<4 { try m.pass(minutes: 1); counts.append(try m.received().count) }
    #expect(counts == [20, 20, 10, 0])
  }

  @Test func aDryRunWritesNothing() throws {
    let m = try Monitored("dry")
    let partition = try m.acquire()[0]
    try m.flush(partition, applied: 1, end: 100, at: m.now - hour)
    let store = MonitorStore(target: m.target, topology: m.topology, name: "tests")
    let made = try MonitorPass(store: store, topology: m.topology, channels: m.channels).run(now: m.now, isDry: true)
    let report = try #require(made)
    guard case .raise(let finding)? = report.changes.first else { Issue.record("\(report.changes)"); return }
    #expect(finding.key.kind == "stale" && m.hook.received.isEmpty)
    #expect(try m.sql.query("SELECT 1 FROM tidemark.alert UNION ALL SELECT 1 FROM tidemark.monitor_sample").isEmpty)
  }

  @Test func samplesDoNotPileUp() throws {
    let m = try Monitored("samples")
    _ = try m.acquire()
    m.ends[Monitored.id] = 0
    for _ in 0..<100 { try m.pass(minutes: 1) }
    let rows = try m.sql.query("SELECT kind, count(*) FROM tidemark.monitor_sample GROUP BY 1 ORDER BY 1").map { "\($0[0]!) \($0[1]!)" }
    #expect(rows == ["bytes 2", "epoch 20", "lag 20", "pass 20"])
  }

  // MARK: Who does it

  @Test func oneIsElectedAndAnotherWhenItIsGone() throws {
    let m = try Monitored("elected")
    let a = MonitorStore(target: m.target, topology: m.topology, name: "first"), b = MonitorStore(target: m.target, topology: m.topology, name: "second")
    #expect(try a.elect() && a.elect() && !b.elect())
    _ = try m.sql.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'first' AND datname = current_database()")
    #expect(awaitTrue { (try? b.elect()) == true })
    #expect(try !a.elect())
    b.disconnect()
    #expect(awaitTrue { (try? a.elect()) == true })
  }

  /// Whoever may log in may take advisory locks, in any number and for as long as it likes.
  @Test func nobodyWhoReadsCanKeepAlertsFromBeingSent() throws {
    let m = try Monitored("silenced")
    try m.sql.script("CREATE ROLE silencer LOGIN")
    let reader = try Connection(try server.get().target(database: "silenced", user: "silencer"), applicationName: "reader")
    for what in ["alerts elected", "alerts pass"] {
      try reader.execute("SELECT pg_advisory_lock(hashtextextended('tidemark \(what) shop-events', 0))")
    }
    let store = MonitorStore(target: m.target, topology: m.topology, name: "tests")
    #expect(try store.elect())
    try stop(m)
    try m.pass(minutes: 10)
    #expect(try m.received() == ["raised offset_out_of_range"])
    #expect(throws: PostgresError.self) { try reader.script("SELECT * FROM tidemark.monitor_turn") }
  }

  @Test func twoPassesAtOnceTellOnce() throws {
    let m = try Monitored("at_once")
    try stop(m)
    let group = DispatchGroup()
    let (target, topology, channels, now) = (m.target, m.topology, m.channels, m.now)
    for n in 0..<4 {
      DispatchQueue.global().async(group: group) {
        _ = try? MonitorPass(store: MonitorStore(target: target, topology: topology, name: "p\(n)"), topology: topology, channels: channels).run(now: now)
      }
    }
    group.wait()
    #expect(try m.received() == ["raised offset_out_of_range"])
  }

  // MARK: The table

  /// As an earlier version left it, with an open alert in it.
  @Test func anOlderTableIsExtendedWithItsRows() throws {
    let m = try Monitored("older")
    try m.sql.script(
      """
      DROP TABLE tidemark.alert CASCADE;
      CREATE TABLE tidemark.alert (topology text NOT NULL, topic text NOT NULL, partition integer NOT NULL, kind text NOT NULL, message text NOT NULL,
        raised_at timestamptz NOT NULL DEFAULT now(), last_seen_at timestamptz NOT NULL DEFAULT now(), seen bigint NOT NULL DEFAULT 1,
        resolved_at timestamptz, PRIMARY KEY (topology, topic, partition, kind, raised_at));
      ALTER TABLE tidemark.alert OWNER TO tidemark_owner;
      DROP TABLE tidemark.alert_delivery;
      INSERT INTO tidemark.alert (topology, topic, partition, kind, message) VALUES ('shop-events', 'shop', 0, 'offset_out_of_range', 'a gap'),
        ('shop-events', 'shop', 1, 'horizon_incomplete', 'a horizon');
      """)
    let store = MonitorStore(target: m.target, topology: m.topology, name: "tests")
    do { _ = try store.open(); Issue.record("it has no ids yet") } catch { #expect(error.message.contains("run `tidemark migrate")) }
    try m.migrate()
    try m.migrate()
    try m.pass()
    #expect(try m.received() == ["raised offset_out_of_range", "raised horizon_incomplete"])
    #expect(m.hook.received.map { $0.body.contains("\"severity\":\"critical\"") } == [true, false])
  }
}

/// Waits for a condition; false: it did not come true in time.
func awaitTrue(seconds: Double = 30, _ condition: () -> Bool) -> Bool {
  let end = Date(timeIntervalSinceNow: seconds)
  while Date() < end {
    if condition() { return true }
    usleep(20_000)
  }
  return condition()
}
