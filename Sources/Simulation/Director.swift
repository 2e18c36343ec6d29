import Aggregation

/// Has faults strike that nothing in the world asks for by itself: when and whom, by the dice, before the world goes quiet.
final class Director {
  private unowned let world: World
  private var dice: Dice
  private static let strokes: [Fault] = [
    .crash, .crash, .crashAtEffect, .shortWrite, .powerLoss, .zombie, .pause, .clockJump, .drain, .brokerAway, .storeRestart, .slowStore, .diskFull,
    .syncError, .retention, .gapAccepted, .storeRefuses, .longOutage, .flippedUnderWay, .reshuffle, .reshuffle, .diskHangs, .ioError,
  ]

  init(_ world: World) {
    self.world = world
    dice = Dice(world.scenario.seed, 6)
  }

  func begin() {
    let duration = world.scenario.duration
    for fault in Self.strokes {
      // Thrown whether it is in or not: taking a fault away leaves the others where they were.
      let count = min(dice.below(world.scenario.intensity + 1), fault == .longOutage ? 1 : .max)
      for _ in 0..<count {
        let at = dice.milliseconds(500, Int(duration) - 1)
        let own = Dice(dice.next())
        guard world.scenario.faults.contains(fault) else { continue }
        world.plan(after: at) { [unowned self] in
          var own = own
          strike(fault, &own)
        }
      }
    }
    if world.scenario.addedPartitions > 0 { world.plan(after: duration / 3) { [unowned world] in world.addPartitions() } }
    world.plan(after: duration) { [unowned self] in goQuiet() }
    everySoOften()
  }

  /// The group looks at its sessions, the operator at the alerts.
  private func everySoOften() {
    world.group.expireSessions()
    if world.scenario.faults.contains(.gapAccepted) { acceptGaps() }
    world.plan(after: 700) { [unowned self] in everySoOften() }
  }

  private func goQuiet() {
    world.trace { "no more faults" }
    world.store.isAwayUntil = min(world.store.isAwayUntil, world.now + 3000)
    for process in world.processes {
      process.limitDisk(nil)
      process.calm()
    }
  }

  private func strike(_ fault: Fault, _ dice: inout Dice) {
    let process = dice.pick(world.processes)
    switch fault {
    case .crash, .powerLoss:
      guard process.isAlive else { return }
      if fault == .crash { world.count(.crash) }
      process.kill(power: fault == .powerLoss)
    case .crashAtEffect: process.crashSoon(orders: dice.below(30))
    case .shortWrite: process.crashSoon(diskSteps: dice.below(4000))
    case .zombie, .pause:
      guard process.isAlive else { return }
      world.count(fault)
      process.stop(fault == .pause ? dice.milliseconds(20, 2000) : world.scenario.sessionTimeout + dice.milliseconds(500, 10_000))
    case .clockJump:
      world.count(fault)
      process.jumpClock(dice.milliseconds(100, 3_600_000))
    case .drain:
      guard process.isAlive else { return }
      world.count(fault)
      process.drain()
    case .brokerAway:
      world.count(fault)
      process.loseKafka(dice.milliseconds(200, 12_000))
    case .storeRestart:
      world.count(fault)
      world.store.restart(away: dice.milliseconds(50, 6000))
    case .longOutage:
      world.count(fault)
      world.store.restart(away: dice.milliseconds(15_000, 45_000))
    case .reshuffle:
      world.count(fault)
      world.group.reshuffle()
    case .diskHangs:
      guard process.isAlive else { return }
      world.count(fault)
      process.hangDisk(dice.chance(2000) ? dice.milliseconds(10_000, 30_000) : dice.milliseconds(200, 5000))
    case .flippedUnderWay: if process.flipBit(&dice) { world.count(fault) }
    case .slowStore:
      world.count(fault)
      world.store.isSlowUntil = world.now + dice.milliseconds(1000, 15_000)
    case .storeRefuses: world.store.refusesUntil = world.now + dice.milliseconds(100, 3000)
    case .diskFull:
      process.limitDisk(dice.below(30_000))
      world.plan(after: dice.milliseconds(200, 8000)) { process.limitDisk(nil) }
    case .syncError: process.failNextSync()
    case .ioError: process.failDisk(after: dice.below(40))
    case .retention, .gapAccepted: truncate(dice.pick(world.log.ids), destroys: fault == .gapAccepted, &dice)
    default: break
    }
  }

  private func truncate(_ id: PartitionID, destroys: Bool, _ dice: inout Dice) {
    let (next, end, start) = (world.store.next(id), world.log.end(id), world.log.start(id))
    let bound: Int64
    if destroys {
      guard next < end else { return }
      bound = next + 1 + Int64(dice.below(Int(end - next)))
    } else {
      guard let safe = world.store.neededFrom(id), safe > start else { return }
      bound = start + 1 + Int64(dice.below(Int(safe - start)))
      world.count(.retention)
    }
    world.trace { "log: \(id) begins at \(bound) from now on" }
    world.log.truncate(id, below: bound)
  }

  /// What an operator does upon an alert that a partition is stopped.
  private func acceptGaps() {
    for id in world.log.ids {
      guard world.store.alerts[id]?.contains(where: { $0.kind == "offset_out_of_range" && !$0.isResolved }) == true else { continue }
      let start = world.log.start(id)
      guard let from = world.store.acceptGap(id, to: Offset(start)) else { continue }
      world.count(.gapAccepted)
      world.trace { "operator: accepts that \(id) lacks \(from) to \(start)" }
    }
  }
}
