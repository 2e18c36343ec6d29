import Foundation
import Glibc
import Testing

/// A rolling restart: instances with `--static-member` that come back within their session.
///
/// Of librdkafka's mock clusters only newer ones know `group.instance.id`, and only of members with the consumer protocol
/// (KIP-848). Under the classic protocol a member that comes back is a new one to them, so that only the leaving can be seen;
/// that a return moves nothing there is shown by the simulator's group (`scripts/simulate`, fault staticReturn).
@Suite(.serialized) struct StaticMemberTests {
  /// A newer librdkafka, where `Benchmarks/broker` has brought one.
  static let newerLibrary: String? = {
    let cache = ProcessInfo.processInfo.environment["TIDEMARK_BENCHMARK_CACHE"]
      ?? FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-benchmark-broker").path
    return FileManager.default.fileExists(atPath: "\(cache)/lib/librdkafka.so.1") ? "\(cache)/lib" : nil
  }()

  /// Two static members that share eight partitions, and a stream.
  final class Pair {
    let world: World
    let topology = Repository.topology("product-events")
    let expected: String
    let more: [String]
    private(set) var a: TidemarkProcess!
    private(set) var b: TidemarkProcess!
    private(set) var generate: TidemarkProcess!

    init(_ name: String, library: String? = nil, _ more: [String]) throws {
      world = try World(name, partitions: 8, library: library)
      expected = world.directory.appendingPathComponent("expected.json").path
      self.more = more
      try world.tidemark("migrate", "--topology", topology)
      // The first one leads the group: a mock cluster chooses another leader only when that one's session is over.
      a = try member("a")
      #expect(awaitTrue { epochs(of: "a").count == 8 }, "\(a.messages.suffix(3000))")
      b = try member("b")
      #expect(awaitTrue { epochs(of: "a").count == 4 && epochs(of: "b").count == 4 }, "\(b.messages.suffix(3000))")
      generate = try TidemarkProcess(
        ["generate", "--topic", "product.events", "--topology", topology, "--events", "60000", "--users", "1000", "--rate", "2000", "--payload-bytes", "0",
          "--duplicates", "0.02", "--expect", expected], world: world)
      #expect(awaitTrue { world.flushes(of: "a") > 10 && world.flushes(of: "b") > 10 }, "\(a.messages.suffix(3000))")
    }

    func member(_ name: String) throws -> TidemarkProcess {
      try TidemarkProcess(
        ["run", "--topology", topology, "--data-dir", world.directory.appendingPathComponent("data-\(name)").path, "--instance", name, "--static-member", name,
          "--flush-interval", "200ms", "--kafka-set", "debug=cgrp"] + more, world: world, name: name)
    }

    /// Epochs of the partitions that an instance owns.
    func epochs(of name: String) -> [String: Int] {
      let rows = (try? world.rows("SELECT partition::text, epoch::text FROM tidemark.partition WHERE owner = '\(name)'")) ?? []
      return Dictionary(uniqueKeysWithValues: rows.map { ($0[0]!, Int($0[1]!)!) })
    }

    /// SIGTERM; then a while in which the other member sends heartbeats that are answered as if nothing had happened.
    /// What the first one said.
    func endA() -> String {
      a.send(SIGTERM)
      let ended = a.wait()
      #expect(ended.code == 0, "\(ended.messages.suffix(3000))")
      let (beats, told) = (heartbeats, rebalances)
      #expect(awaitTrue { heartbeats >= beats + 3 }, "\(b.messages.suffix(3000))")
      #expect(rebalances == told, "the other member was told to rebalance: \(b.messages.suffix(3000))")
      return ended.messages
    }

    func startAAgain() throws { a = try member("a") }

    /// How often the other member was told of a change of the group.
    private var rebalances: Int { count("Group rebalance in progress", "|COOPASSIGN|") }
    private var heartbeats: Int { count("Heartbeat for group", "ConsumerGroupHeartbeat of member") }

    private func count(_ texts: String...) -> Int { texts.reduce(0) { $0 + b.messages.components(separatedBy: $1).count - 1 } }

    func expectEqual() throws {
      #expect(generate.wait().code == 0)
      #expect(awaitTrue { world.consumed == 60_000 }, "\(a.messages.suffix(3000))\(b.messages.suffix(3000))")
      for instance in [a!, b!] {
        instance.send(SIGTERM)
        let ended = instance.wait()
        #expect(ended.code == 0, "\(ended.messages.suffix(3000))")
      }
      try world.tidemark("compare-expected", expected)
      try world.expectUnbrokenLedger()
    }
  }

  @Test(.enabled(if: newerLibrary != nil, "Benchmarks/broker has brought no newer librdkafka"))
  func aStaticMemberThatRestartsMovesNoPartition() throws {
    let pair = try Pair("static_return", library: Self.newerLibrary, ["--kafka-set", "group.protocol=consumer"])
    let (a, b) = (pair.epochs(of: "a"), pair.epochs(of: "b"))
    _ = pair.endA()
    #expect(pair.epochs(of: "b") == b)
    try pair.startAAgain()
    #expect(awaitTrue { pair.epochs(of: "a").count == 4 })
    // Taken once more by the one that had them; the other one's are what they were, and stay so.
    #expect(pair.epochs(of: "a") == a.mapValues { $0 + 1 })
    let flushes = pair.world.flushes(of: "b")
    #expect(awaitTrue { pair.world.flushes(of: "b") > flushes + 5 })
    #expect(pair.epochs(of: "b") == b)
    try pair.expectEqual()
  }

  @Test func aStaticMemberThatEndsDoesNotLeave() throws {
    let pair = try Pair("static_leave", ["--kafka-set", "session.timeout.ms=6000"])
    let (a, b) = (pair.epochs(of: "a"), pair.epochs(of: "b"))
    #expect(!pair.endA().contains("|LEAVE|"), "a static member must not leave")
    #expect(pair.epochs(of: "b") == b)
    try pair.startAAgain()
    #expect(awaitTrue { pair.epochs(of: "a").count == 4 }, "\(pair.a.messages.suffix(3000))")
    #expect(Set(pair.epochs(of: "a").keys) == Set(a.keys))
    #expect(pair.epochs(of: "b") == b)
    try pair.expectEqual()
  }
}
