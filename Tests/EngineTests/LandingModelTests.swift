import Aggregation
import Engine
import Testing

/// Landing instances that share a topic, under everything that can happen to them, by seeds: every offset is landed once.
@Suite struct LandingModelTests {
  static let ids = (0..<3).map { PartitionID(topic: "t", partition: $0) }
  static let length: Int64 = 600

  /// Two members, a group that moves partitions between them in order or not, kills, a PostgreSQL that comes and goes.
  struct World {
    var dice: Dice
    var tables = LandingTables()
    var members: [LandingMember] = []
    var limits = LandingLimits()
    var now: Milliseconds = 0
    /// To whom a partition goes once it is given back.
    var moving: [PartitionID: Int] = [:]
    var faults: [String] = []
    var counts: [String: Int] = [:]

    init(seed: UInt64) {
      dice = Dice(seed)
      limits.batchRows = Int(dice.number(1, 200))
      for id in LandingModelTests.ids {
        tables.rows[id] = OffsetRow(next: Offset(0), epoch: Epoch(0))
        tables.landed[id] = Array(repeating: 0, count: Int(LandingModelTests.length))
      }
      members = [LandingMember(limits), LandingMember(limits)]
      members[0].assigned(LandingModelTests.ids)
    }

    var isDone: Bool { tables.rows.values.allSatisfy { $0.next.value == LandingModelTests.length } }

    mutating func give(_ ids: [PartitionID], from member: Int) {
      for id in ids where members[member].owned.remove(id) != nil {
        members[moving.removeValue(forKey: id) ?? (1 - member)].assigned([id])
      }
    }

    mutating func step() {
      now += dice.number(0, 60)
      let who = Int(dice.number(0, 1))
      if dice.one(in: 2) {
        give(members[who].poll(LandingModelTests.length, &dice), from: who)
      } else {
        members[who].lander(&tables, &dice, now: now)
      }
    }

    mutating func fault() {
      let who = Int(dice.number(0, 1))
      let owned = members[who].owned.sorted()
      switch dice.number(0, 5) {
      case 0, 1:
        tables.isAway.toggle()
        counts["away", default: 0] += 1
      case 2, 3:
        guard let id = owned.first, !members[who].isRevoking else { return }
        counts["revoked", default: 0] += 1
        moving[id] = 1 - who
        give(members[who].revoked([id]), from: who)
      case 4:
        // It does not know that another has them already.
        guard !owned.isEmpty else { return }
        counts["lost", default: 0] += 1
        for id in owned { moving[id] = nil }
        members[who].lost(owned)
        members[1 - who].assigned(owned)
      default:
        counts["killed", default: 0] += 1
        faults += members[who].faults
        members[who] = LandingMember(limits)
        if dice.one(in: 2) { members[1 - who].assigned(owned) } else { members[who].assigned(owned) }
        moving = [:]
      }
    }
  }

  @Test(arguments: 1...150) func everyOffsetIsLandedOnce(seed: UInt64) {
    var world = World(seed: seed)
    for _ in 0..<3000 {
      world.step()
      if world.dice.one(in: 40) { world.fault() }
    }
    world.tables.isAway = false
    var steps = 0
    while !world.isDone, steps < 60_000 {
      world.step()
      steps += 1
    }
    #expect(world.isDone, "stands at \(world.tables.rows)")
    // In order, to the end: nobody is waited for that does not answer.
    for who in 0...1 {
      world.members[who].inbox.append(.event(.drain))
      steps = 0
      while !world.members[who].hasDrained, steps < 5000 {
        world.step()
        steps += 1
      }
      #expect(world.members[who].hasDrained)
    }
    world.tables.settle(Self.ids)
    let faults = world.faults + world.members.flatMap(\.faults)
    #expect(faults == [])
    for id in Self.ids { #expect(world.tables.landed[id]!.allSatisfy { $0 == 1 }, "\(id)") }
    #expect(world.tables.unknownCommits > 0 && world.counts.values.reduce(0, +) > 20, "\(world.counts)")
  }
}
