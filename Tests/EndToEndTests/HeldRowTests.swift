import Foundation
import Glibc
import Postgres
import Testing

/// What moves may have to wait; what stays must not wait for it.
@Suite(.serialized) struct HeldRowTests {
  /// An instance that was stopped in the middle of a flush leaves its rows locked for up to ten seconds: whoever takes its
  /// partitions over goes on flushing its own ones meanwhile.
  @Test func aTakeoverThatWaitsForALockedRowKeepsNothingElseWaiting() throws {
    let world = try World("held_row", partitions: 4)
    let topology = Repository.topology("product-events")
    let expected = world.directory.appendingPathComponent("expected.json").path
    try world.tidemark("migrate", "--topology", topology)
    let a = try world.instance("a", topology, "--flush-interval", "100ms", "--workers", "1")
    func owned(by name: String) -> String? { try? world.rows("SELECT count(*) FROM tidemark.partition WHERE owner = '\(name)'")[0][0] }
    #expect(awaitTrue { owned(by: "a") == "4" }, "\(a.messages)")
    let b = try world.instance("b", topology, "--flush-interval", "100ms", "--workers", "1")
    #expect(awaitTrue { owned(by: "a") == "2" && owned(by: "b") == "2" }, "\(a.messages)\(b.messages)")
    let generate = try TidemarkProcess(
      ["generate", "--topic", "product.events", "--topology", topology, "--events", "80000", "--users", "1000", "--rate", "1000", "--payload-bytes", "0",
        "--duplicates", "0.02", "--expect", expected], world: world)
    #expect(awaitTrue { world.flushes(of: "a") > 10 && world.flushes(of: "b") > 10 }, "\(a.messages)\(b.messages)")

    let lock = try Connection(world.target, applicationName: "tests")
    try lock.script("BEGIN; SELECT FROM tidemark.partition WHERE owner = 'b' FOR UPDATE")
    b.kill9()
    // It tries to take them over, and finds them locked.
    #expect(a.says("lock timeout"), "\(a.messages)")
    let before = world.flushes(of: "a")
    #expect(awaitTrue { world.flushes(of: "a") > before + 20 }, "\(a.messages)")
    #expect(owned(by: "b") == "2")
    let gap = try world.rows(
      """
      SELECT max(gap) < interval '5 s', max(gap)::text FROM (
        SELECT flushed_at - lag(flushed_at) OVER (ORDER BY flushed_at) AS gap FROM tidemark.ledger WHERE instance = 'a') g
      """)
    #expect(gap[0][0] == "t", "its own partitions were not flushed for \(gap[0][1] ?? "")")
    try lock.script("ROLLBACK")

    #expect(awaitTrue { owned(by: "a") == "4" }, "\(a.messages)")
    #expect(generate.wait().code == 0)
    #expect(awaitTrue { world.consumed == 80_000 }, "\(a.messages)")
    a.send(SIGTERM)
    let ended = a.wait()
    #expect(ended.code == 0, "\(ended.messages)")
    try world.tidemark("compare-expected", expected)
    try world.expectUnbrokenLedger()
  }
}
