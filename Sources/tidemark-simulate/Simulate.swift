import ArgumentParser
import Foundation
import Simulation

@main
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tidemark-simulate",
    abstract: "Runs seeded worlds with faults around the real engine, and holds the books of each against a plain computation.",
    discussion: """
      A world is one seed: a few instances (the real state machine, worker, journal and flush procedure) in virtual time, with a \
      log, a consumer group, a store with PostgreSQL's promises and disks that are simulated, and faults in all of them. The same \
      seed gives the same world. After each one: rows, late counts and quarantine equal the oracle's, the ledger has no hole and \
      no overlap, offsets never went back, no fenced flush was applied, memory stayed within its budget, everything settled.

        tidemark-simulate --seeds 1..10000
        tidemark-simulate --mutants                        bugs planted on purpose: each has to be found
        tidemark-simulate --seed 47 --trace                every event and effect of one world
        tidemark-simulate --seed 47 --mutant fenced-goes-on

      Exit code 0: no difference, every fault has struck, every mutant was found. 3: otherwise. 64: wrong usage.
      """)

  @Option(help: ArgumentHelp("Seeds to run.", valueName: "a..b"))
  var seeds: SeedRange?
  @Option(help: "One seed; with --trace its events and effects.")
  var seed: UInt64?
  @Flag(help: "Print what happens in the world of --seed, a line each.")
  var trace = false
  @Option(help: ArgumentHelp("Plant a bug: the first seed that finds it ends the run. `list` prints them.", valueName: "name"))
  var mutant: String?
  @Flag(help: "Plant each bug in turn; one that no seed finds is a failure.")
  var mutants = false
  @Option(help: "Worlds at most in which a planted bug has to be found.")
  var within = 1000
  @Option(help: "Threads; what is found does not depend on it.")
  var threads = max(1, ProcessInfo.processInfo.activeProcessorCount)
  @Option(help: "At most so many events.")
  var events: Int?
  @Option(help: "At most so many instances.")
  var instances: Int?
  @Option(help: "At most so many partitions.")
  var partitions: Int?
  @Option(help: ArgumentHelp("Faults that do not strike, separated by commas.", valueName: "faults"))
  var without: String?

  func validate() throws {
    if seed != nil, seeds != nil { throw ValidationError("either --seed or --seeds") }
    if trace, seed == nil { throw ValidationError("--trace needs --seed") }
    if let mutant, mutant != "list", Mutant(rawValue: mutant) == nil {
      throw ValidationError("there is no mutant '\(mutant)'; known are \(Mutant.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    guard threads > 0, within > 0 else { throw ValidationError("--threads and --within must be above 0") }
    _ = try restrictions()
  }

  private func restrictions() throws -> Restrictions {
    var restrictions = Restrictions()
    restrictions.events = events
    restrictions.instances = instances
    restrictions.partitions = partitions
    for name in without?.split(separator: ",") ?? [] {
      guard let fault = Fault(rawValue: String(name)) else {
        throw ValidationError("there is no fault '\(name)'; known are \(Fault.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      restrictions.without.insert(fault)
    }
    return restrictions
  }

  func run() throws {
    CrashNote.install()
    if mutant == "list" { return Mutant.allCases.forEach { say("\($0.rawValue): \($0.text)") } }
    var isGood = true
    if let seed {
      isGood = try runOne(seed)
    } else if let mutant = mutant.flatMap(Mutant.init) {
      isGood = hunt(mutant)
    } else {
      if seeds != nil || !mutants { isGood = try runMany((seeds ?? SeedRange(1...1000)).seeds) }
      if mutants { isGood = huntAll() && isGood }
    }
    if !isGood { throw ExitCode(3) }
  }

  // MARK: One world

  private func runOne(_ seed: UInt64) throws -> Bool {
    let report = Simulator.run(seed: seed, mutant: mutant.flatMap(Mutant.init), try restrictions(), traces: trace)
    report.trace.forEach(say)
    say("seed \(seed): \(report.failure ?? "no difference") (\(report.offsets) offsets, \(report.time / 1000) virtual s)")
    return report.failure == nil
  }

  // MARK: Many worlds

  private func runMany(_ seeds: ClosedRange<UInt64>) throws -> Bool {
    let begin = Date()
    let campaign = Campaign(threads: threads, restrictions: try restrictions())
    let totals = campaign.run(seeds) { totals, new in
      for failure in new { Self.say("seed \(failure.seed): \(failure.reason)") }
      Self.say(
        "\(totals.worlds) worlds, \(totals.failures.count) differences, \(totals.offsets) offsets, \(totals.faults.total) faults, "
          + "\(Int(Double(totals.worlds) / Date().timeIntervalSince(begin))) worlds/s")
    }
    if let first = totals.failures.first { explain(first.seed, nil) }
    summarize(totals, seconds: Date().timeIntervalSince(begin))
    // A few worlds need not have every fault.
    let missing = totals.worlds >= 1000 && without == nil ? totals.faults.missing : []
    if !missing.isEmpty { say("never struck: \(missing.map(\.rawValue).joined(separator: ", "))") }
    return totals.failures.isEmpty && missing.isEmpty
  }

  private func summarize(_ totals: Campaign.Totals, seconds: Double) {
    say("faults by kind:")
    let width = 4
    let cells = Fault.allCases.map { fault in
      let name = fault.rawValue.padding(toLength: 22, withPad: " ", startingAt: 0)
      return "  \(name)\(String(repeating: " ", count: max(0, 8 - String(totals.faults[fault]).count)))\(totals.faults[fault])"
    }
    for row in stride(from: 0, to: cells.count, by: width) { say(cells[row..<min(row + width, cells.count)].joined()) }
    say("slowest to settle after its faults: seed \(totals.slowest.seed), \(totals.slowest.time / 1000) virtual s")
    say(
      String(
        format: "%d worlds, %d differences, %.0f s, %.0f worlds/s on %d threads, %.1f virtual hours, %.1f million steps, %d offsets", totals.worlds,
        totals.failures.count, seconds, Double(totals.worlds) / seconds, threads, Double(totals.time) / 3_600_000, Double(totals.steps) / 1e6,
        totals.offsets))
  }

  /// The smallest world of the seed that still fails, and its trace.
  private func explain(_ seed: UInt64, _ mutant: Mutant?) {
    say("seed \(seed): looking for a smaller world that fails …")
    let smaller = Simulator.shrink(seed: seed, mutant: mutant)
    let report = Simulator.run(seed: seed, mutant: mutant, smaller, traces: true)
    let most = 150
    if report.trace.count > most { say("… \(report.trace.count - most) lines before") }
    report.trace.suffix(most).forEach(say)
    say("seed \(seed), \(smaller.text): \(report.failure ?? "no difference")")
    say("again: tidemark-simulate --seed \(seed)\(options(smaller))\(mutant.map { " --mutant \($0.rawValue)" } ?? "") --trace")
  }

  private func options(_ restrictions: Restrictions) -> String {
    var text = ""
    if let events = restrictions.events { text += " --events \(events)" }
    if let instances = restrictions.instances { text += " --instances \(instances)" }
    if let partitions = restrictions.partitions { text += " --partitions \(partitions)" }
    if !restrictions.without.isEmpty { text += " --without \(restrictions.without.sorted().map(\.rawValue).joined(separator: ","))" }
    return text
  }

  // MARK: Mutants

  private func hunt(_ mutant: Mutant) -> Bool {
    let first = seeds?.seeds.lowerBound ?? 1
    let most = seeds.map { $0.seeds.count } ?? within
    guard let found = Campaign.hunt(mutant, from: first, most: most) else {
      say("\(mutant.rawValue): not found by seeds \(first) to \(first + UInt64(most) - 1)")
      return true
    }
    say("\(mutant.rawValue) (\(mutant.text)): found by seed \(found.seed): \(found.reason)")
    explain(found.seed, mutant)
    return false
  }

  private func huntAll() -> Bool {
    let results = Campaign(threads: threads, restrictions: Restrictions()).hunt(Mutant.allCases, from: 1, most: within)
    for (mutant, found) in results {
      say("mutant \(mutant.rawValue): " + (found.map { "found by world \($0.seed): \($0.reason.prefix(100))" } ?? "SURVIVES \(within) worlds"))
    }
    let surviving = results.filter { $0.found == nil }.count
    say("\(results.count) mutants, \(surviving) survive")
    return surviving == 0
  }

  private static func say(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
  private func say(_ text: String) { Self.say(text) }
}
