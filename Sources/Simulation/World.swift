import Aggregation
import Engine

/// One world: instances, log, group, store and disks in virtual time, from one seed; single-threaded, and the same each
/// time. It ends with the first difference, or when everything has settled and every book has been held against the oracle.
final class World {
  let scenario: Scenario
  let mutant: Mutant?
  let plan: Plan
  let log: SimulatedLog
  private(set) var group: SimulatedGroup!
  private(set) var store: SimulatedStore!
  private(set) var processes: [SimulatedProcess] = []
  let journalSegment: Int
  private var scheduler = Scheduler()
  private var arrivals: ArraySlice<SimulatedWorkload.Arrival>
  private var faults = FaultCounts()
  private(set) var failure: String?
  private var lines: [String]?
  private var director: Director!
  private var settledAt: Int64
  private var dice: Dice

  /// How a world went.
  struct Outcome {
    /// nil: no difference.
    var failure: String?
    var faults: FaultCounts
    /// Virtual milliseconds.
    var time: Int64
    /// Virtual milliseconds from the last possible fault until everything was in the store.
    var settled: Int64
    var steps: Int
    var events: Int
    var trace: [String]
  }

  static func run(_ scenario: Scenario, mutant: Mutant? = nil, traces: Bool = false) -> Outcome {
    let world = World(scenario, mutant, traces)
    world.run()
    return Outcome(
      failure: world.failure, faults: world.faults, time: world.now, settled: world.settledAt - scenario.duration,
      steps: world.scheduler.steps,
      events: world.log.ids.reduce(0) { $0 + Int(world.log.end($1)) }, trace: world.lines ?? [])
  }

  /// A world in which nothing has happened yet.
  init(_ scenario: Scenario, _ mutant: Mutant?, _ traces: Bool) {
    self.scenario = scenario
    self.mutant = mutant
    lines = traces ? [] : nil
    settledAt = scenario.duration
    dice = Dice(scenario.seed, 5)
    let workload = SimulatedWorkload(scenario)
    plan = workload.plan
    arrivals = workload.arrivals[...]
    faults = workload.counts
    log = SimulatedLog(topic: workload.plan.topics[0])
    journalSegment = dice.pick([2048, 8192, 32_768])
    group = SimulatedGroup(self)
    store = SimulatedStore(self)
    director = Director(self)
    for _ in 0..<scenario.partitions { _ = log.addPartition() }
    group.setPartitions(log.ids)
    for number in 0..<scenario.instances { processes.append(SimulatedProcess(self, number: number)) }
  }

  // MARK: For its parts

  var now: Int64 { scheduler.now }
  /// No fault strikes any more.
  var isQuiet: Bool { now >= scenario.duration }

  func plan(after delay: Int64, _ body: @escaping () -> Void) { scheduler.plan(after: delay, body) }
  func count(_ fault: Fault) { faults[fault] += 1 }

  /// Whether a fault strikes here and now: it does `share` times in 10,000, more in intense worlds, in worlds that have it.
  func strikes(_ fault: Fault, _ share: Int, _ dice: inout Dice) -> Bool {
    guard dice.chance(share * scenario.intensity), !isQuiet, scenario.faults.contains(fault) else { return false }
    count(fault)
    trace { "fault: \(fault.rawValue)" }
    return true
  }

  func trace(_ text: () -> String) {
    if lines != nil { lines!.append("\(Trace.time(now)) \(text())") }
  }

  /// The first difference counts.
  func fail(_ reason: String) {
    guard failure == nil else { return }
    failure = "\(reason), at \(Trace.time(now))"
    trace { "DIFFERENCE: \(reason)" }
  }

  func limits(_ dice: inout Dice) -> InstanceLimits {
    var limits = InstanceLimits()
    limits.flushInterval = dice.milliseconds(50, 1500)
    limits.pendingBytes = dice.pick([8 << 10, 24 << 10, 64 << 10, 64 << 20])
    limits.eagerFlushBytes = limits.pendingBytes / dice.between(2, 8)
    limits.journalBytes = dice.pick([4 << 10, 64 << 10, 1 << 30])
    limits.drainTime = dice.milliseconds(1000, 5000)
    limits.endTime = limits.drainTime * 3 / 4
    limits.snapshotAfter = dice.pick([512, 4096, 32_768, 64 << 20])
    limits.batch = dice.pick([4, 16, 64])
    limits.reacquireAfter = dice.milliseconds(1000, 6000)
    return limits
  }

  func addPartitions() {
    for _ in 0..<scenario.addedPartitions {
      let id = log.addPartition()
      count(.partitionAdded)
      trace { "log: \(id) is added" }
    }
    group.setPartitions(log.ids)
  }

  // MARK: Running

  private func run() {
    director.begin()
    produce()
    for process in processes { plan(after: dice.milliseconds(0, process === processes[0] ? 100 : 3000)) { process.start() } }
    var nextLook = scenario.duration
    while failure == nil, let body = scheduler.next() {
      body()
      guard now >= nextLook else { continue }
      nextLook = now + 250
      if isSettled { break }
      if now > scenario.duration + Scenario.settling {
        fail("not settled: \(unsettled)")
      }
    }
    if failure == nil {
      trace { "settled" }
      settledAt = now
      drainAll()
      var audit = Audit(self)
      audit.compare()
    }
  }

  /// In the end everybody drains in order, and nothing moves any more.
  private func drainAll() {
    let before = store.partitions.mapValues(\.next)
    for process in processes { process.retire() }
    while failure == nil, processes.contains(where: \.isAlive), let body = scheduler.next() { body() }
    for (id, next) in before.sorted(by: { $0.key < $1.key }) where store.partitions[id]?.next != next {
      fail("\(id) moved from \(next.value) to \(store.next(id)) although everything had been consumed")
    }
  }

  private func produce() {
    while let first = arrivals.first, first.at <= now {
      arrivals.removeFirst()
      log.append(first.record, to: log.ids[first.partition])
    }
    if let next = arrivals.first { plan(after: next.at - now) { [unowned self] in produce() } }
  }

  private var isSettled: Bool {
    guard arrivals.isEmpty else { return false }
    return log.ids.allSatisfy { log.end($0) == 0 || store.partitions[$0]?.next.value == log.end($0) }
  }

  private var unsettled: String {
    log.ids.filter { log.end($0) > 0 && store.partitions[$0]?.next.value != log.end($0) }
      .map { "\($0) stands at \(store.next($0)) of \(log.end($0))" }.joined(separator: ", ")
  }
}
