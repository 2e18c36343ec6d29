import Aggregation
import Engine
import Journal

/// One instance as a process: the runtime's three threads in virtual time around the real worker, engine and journal. It
/// dies, stops and goes on as processes do; its disk outlives it.
///
/// Threads are served in turns by the world's scheduler; mailboxes between them are arrays. What the loops do is what
/// `PollLoop`, `WorkerLoop`, `StoreLoop` and `InstanceRunner` do.
final class SimulatedProcess {
  unowned let world: World
  let name: String
  private(set) var life = 0
  private(set) var isAlive = false
  var dice: Dice
  private(set) var disk = SimulatedDisk()
  private var oldDisk: SimulatedDisk?

  // What dies with the process.
  var worker: InstanceWorker?
  var consumer: SimulatedConsumer?
  var store: StoreClient?
  private var rebalance = Rebalance()
  var inbox: [WorkerMessage<ConsumerEvent>] = []
  var commands: [ConsumerCommand] = []
  var isWorkerAwake = false
  var hangsUntil: Int64 = 0
  var lastTick: Int64 = 0
  private var isOver = false
  private var drainBy: Int64?
  private var clockOffset: Int64 = 0
  private var isStopped = false
  private var isRetired = false
  private var mustDrain = false
  private var deferred: [() -> Void] = []
  var ordersToCrash: Int?
  var isDying = false
  private var polledAt: Int64 = 0
  private var standsUntil: Int64 = 0
  private let hasJournal: Bool
  /// The same in every life: a journal holds no more than its budget let it take.
  let limits: InstanceLimits

  private static let directory = "journal"
  static let mostWaiting = 2
  /// What one event adds to what is pending at most, bytes: a row of each aggregate, or its payload in quarantine.
  static let largestEvent = 900

  init(_ world: World, number: Int) {
    self.world = world
    name = "instance-\(number)"
    var dice = Dice(world.scenario.seed, 100 + UInt64(number))
    limits = world.limits(&dice)
    hasJournal = !dice.chance(1000)
    self.dice = dice
  }

  var isKafkaAway: Bool { (consumer?.isAwayUntil ?? 0) > world.now }
  var now: Int64 { world.now + clockOffset }

  /// Plans something of this life of the process; while it is stopped, things wait.
  func plan(after delay: Int64, life: Int? = nil, _ body: @escaping () -> Void) {
    let life = life ?? self.life
    world.plan(after: delay) { [unowned self] in
      guard isAlive, life == self.life else { return }
      if isStopped { deferred.append(body) } else { body() }
    }
  }

  // MARK: Life

  func start() {
    guard !isAlive, !isRetired else { return }
    life += 1
    isAlive = true
    clockOffset = dice.milliseconds(0, 1_000_000)
    let journal: Journal?
    do { journal = try openJournal() } catch {
      world.trace { "\(self.name): cannot open the journal: \(error)" }
      // What an operator does, as the error says: PostgreSQL and Kafka hold all that is needed.
      if error.kind == .corrupt {
        if !disk.isSuspect { world.fail("\(name): a journal that nothing damaged is refused: \(error)") }
        do { try Journal.remove(Self.directory, storage: disk) } catch { world.trace { "\(self.name): the journal cannot be removed: \(error)" } }
      }
      if disk.takeFailure() { world.count(.ioError) }
      isAlive = false
      return world.plan(after: dice.milliseconds(200, 2000)) { [unowned self] in start() }
    }
    let instance = Instance(plan: world.plan, seed: 7, limits: limits, dice: dice.next())
    instance.mutation = world.mutant?.mutation ?? []
    world.trace { "\(self.name): starts, life \(self.life)" }
    worker = InstanceWorker(instance: instance, journal: journal, endsOnAlert: false) { [unowned self] in take($0) }
    consumer = SimulatedConsumer(world, name, Dice(dice.next()))
    store = StoreClient(self, Dice(dice.next()))
    rebalance = Rebalance()
    lastTick = now
    polledAt = world.now
    poll()
    tick(every: dice.milliseconds(20, 80))
    heartbeat()
  }

  private func openJournal() throws(JournalError) -> Journal? {
    guard hasJournal else {
      world.count(.noJournal)
      return nil
    }
    let options = JournalOptions(
      segmentBytes: world.journalSegment, sync: dice.pick([.always, .interval(milliseconds: 200), .interval(milliseconds: 1000), .never]))
    let journal = try Journal(
      directory: Self.directory, identity: JournalIdentity(fingerprint: "f", seed: 7), options: options, storage: disk)
    for line in journal.openingReport { world.trace { "\(self.name): journal: \(line)" } }
    return journal
  }

  /// kill -9, or the power: nothing of the process is left but its files and what it has sent.
  func kill(power: Bool) {
    guard isAlive else { return }
    world.trace { "\(self.name): \(power ? "the power goes" : "killed")" }
    disk.die()
    store?.die()
    end()
    if power { world.count(.powerLoss) }
    if disk.diedInWrite { world.count(.shortWrite) }
    if disk.takeFailure() { world.count(.ioError) }
    let before = power ? disk.restarted(&dice) : disk.restarted()
    if world.strikes(.journalOfOldTimes, 600, &dice), let old = oldDisk {
      disk = old.restarted()
    } else if world.strikes(.journalGone, 600, &dice) {
      disk = SimulatedDisk()
    } else {
      disk = before
    }
    if dice.chance(3000) { oldDisk = before.restarted() }
    if world.scenario.faults.contains(.flippedBit), !world.isQuiet, dice.chance(2000), disk.flipBit(&dice) { world.count(.flippedBit) }
    world.plan(after: dice.milliseconds(100, 4000)) { [unowned self] in start() }
  }

  private func end() {
    isAlive = false
    worker = nil
    consumer = nil
    store = nil
    inbox = []
    commands = []
    deferred = []
    isWorkerAwake = false
    hangsUntil = 0
    standsUntil = 0
    isOver = false
    drainBy = nil
    isStopped = false
    ordersToCrash = nil
    isDying = false
  }

  /// SIGTERM.
  func drain() {
    guard isAlive, drainBy == nil else { return }
    world.trace { "\(self.name): told to drain" }
    drainBy = world.now + 30_000
    post(.drain)
  }

  /// SIGTERM, and it does not come back.
  func retire() {
    isRetired = true
    // One that was told before may have stood still since.
    mustDrain = drainBy == nil
    drain()
  }

  /// SIGSTOP and, later, SIGCONT.
  func stop(_ span: Int64) {
    guard isAlive, !isStopped else { return }
    world.trace { "\(self.name): stopped for \(span) ms" }
    isStopped = true
    let life = life
    world.plan(after: span) { [unowned self] in
      guard isAlive, life == self.life else { return }
      world.trace { "\(self.name): goes on" }
      isStopped = false
      let waiting = deferred
      deferred = []
      for body in waiting where isAlive && life == self.life { body() }
    }
  }

  func jumpClock(_ span: Int64) { clockOffset += span }
  func crashSoon(orders: Int) { ordersToCrash = orders }
  func crashSoon(diskSteps: Int) { disk.stepsToCrash = diskSteps }
  func loseKafka(_ span: Int64) { consumer?.isAwayUntil = world.now + span }
  /// The worker waits for the disk; the other threads go on.
  func hangDisk(_ span: Int64) {
    world.trace { "\(self.name): the disk hangs for \(span) ms" }
    hangsUntil = world.now + span
  }
  func failNextSync() { disk.syncFails = true }
  func failDisk(after calls: Int) { disk.callsToFailure = calls }
  /// One bit of a file changes while the process runs.
  func flipBit(_ dice: inout Dice) -> Bool { isAlive && disk.flipBit(&dice) }
  /// What was planned and has not struck does not strike any more.
  func calm() {
    ordersToCrash = nil
    disk.stepsToCrash = nil
    disk.syncFails = false
    disk.callsToFailure = nil
    consumer?.isAwayUntil = 0
    hangsUntil = min(hangsUntil, world.now + 1000)
  }
  func limitDisk(_ bytes: Int?) { disk.capacity = bytes }

  // MARK: The polling thread

  private func heartbeat() {
    consumer?.heartbeat()
    plan(after: 1000) { [unowned self] in heartbeat() }
  }

  /// The polling thread gets no time, or waits in a call: what it is told meanwhile waits, too.
  func standPerhaps(_ share: Int) {
    guard drainBy == nil, world.strikes(.pollerStands, share, &dice) else { return }
    standsUntil = world.now + dice.milliseconds(3000, 15_000)
  }

  private func pollOrStand() {
    guard world.now < standsUntil else { return poll() }
    plan(after: standsUntil - world.now) { [unowned self] in pollOrStand() }
  }

  private func poll() {
    guard let consumer, !isOver else { return }
    if let drainBy, world.now > drainBy {
      world.trace { "\(self.name): the drain took too long" }
      if mustDrain { world.fail("\(name) did not drain within 30 s") }
      return finish()
    }
    // Still no room for a minute: librdkafka is polled before it takes this instance for dead.
    if inbox.count <= Self.mostWaiting * 2 || world.now - polledAt > 60_000 {
      polledAt = world.now
      for event in consumer.poll() {
        note(event)
        post(.consumer(event))
      }
    }
    for command in commands where !isOver {
      commands.removeFirst()
      carryOut(command)
    }
    guard !isOver else { return finish() }
    standPerhaps(2)
    plan(after: max(dice.milliseconds(5, 40), standsUntil - world.now)) { [unowned self] in pollOrStand() }
  }

  private func note(_ event: ConsumerEvent) {
    switch event {
    case .assigned(let ids):
      world.trace { "\(self.name): assigned \(ids)" }
      answer(rebalance.assigned(ids))
    case .revoked(let ids):
      world.trace { "\(self.name): revoked \(ids)" }
      answer(rebalance.revoked(ids))
    case .lost(let ids):
      world.trace { "\(self.name): lost \(ids)" }
      rebalance.lost(ids)
    default: break
    }
  }

  private func answer(_ answer: Rebalance.Answer?) {
    if case .refused(let reason) = rebalance.carryOut(answer, by: perform) { world.trace { "\(self.name): \(reason)" } }
  }

  private func carryOut(_ command: ConsumerCommand) {
    switch rebalance.carryOut(command, by: perform) {
    case .done: break
    case .started(let id, let number): post(.started(id, number: number))
    case .startFailed(let id, let number, let reason): post(.startFailed(id, number: number, reason))
    case .refused(let reason): world.trace { "\(self.name): \(reason)" }
    case .ended(let reason):
      isOver = true
      world.trace { "\(self.name): ends, \(reason.map { "\($0)" } ?? "in order")" }
    }
  }

  private func perform(_ call: ConsumerCall) throws {
    world.trace { "\(self.name): consumer \(Trace.text(call))" }
    try consumer?.perform(call)
  }

  /// The end of `InstanceRunner.run`: the worker takes what waits, the store what is asked for, then the group is left.
  private func finish() {
    isOver = true
    if inbox.isEmpty, let last = worker {
      // What the store answers from here on is heard by nobody.
      worker = nil
      do { try last.writer.journal?.close() } catch { world.trace { "\(self.name): \(error)" } }
      if disk.failedSyncs > 0 { world.count(.syncError) }
      if disk.takeFailure() { world.count(.ioError) }
    }
    guard worker == nil, store?.isIdle ?? true else { return plan(after: 20) { [unowned self] in finish() } }
    consumer?.close()
    store?.die()
    world.trace { "\(self.name): is over" }
    end()
    disk = disk.restarted()
    world.plan(after: dice.milliseconds(100, 3000)) { [unowned self] in start() }
  }
}
