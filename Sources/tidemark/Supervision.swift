import ArgumentParser
import Engine
import Foundation
import Glibc
import Runtime
import Synchronization

/// What a command runs on a thread of its own until it ends or is told to drain.
protocol SupervisedRunner: Sendable {
  func run() throws(RunError)
  func drain()
}

extension InstanceRunner: SupervisedRunner {}
extension LandingRunner: SupervisedRunner {}

/// How long what runs until it is told to end may take to do so.
struct DrainOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Longest time from SIGTERM to the end, 1s to 10 minutes.", valueName: "time")) var drainTime = Duration(milliseconds: 10_000)

  func validate() throws {
    guard (1000...600_000).contains(drainTime.milliseconds) else { throw ValidationError("--drain-time \(drainTime): expected 1s to 10m") }
  }

  var time: DrainTime { DrainTime(drainTime.milliseconds) }
}

/// Runs all of them, each on a thread of its own, until they end; the first that fails drains the others. A signal drains
/// them, a second one ends the process at once.
/// - Parameters:
///   - undone: what a second signal leaves to be read again, as in "what was not flushed".
///   - line: what is said of one every ten seconds.
///   - drainTime: the process ends when it is over, even where something does not answer, also after the return of this.
/// - Returns: why the first one failed.
func superviseAll<Runner: SupervisedRunner>(
  _ runners: [(name: String, runner: Runner)], _ log: RunLog, undone: String, drainTime: DrainTime, line: (String, Runner) -> String
) -> RunError? {
  let failures = Mutex<[RunError]>([])
  let running = DispatchGroup()
  for (_, runner) in runners {
    running.enter()
    let thread = Thread {
      do throws(RunError) { try runner.run() } catch {
        failures.withLock { $0.append(error) }
        for other in runners { other.runner.drain() }
      }
      running.leave()
    }
    thread.name = "poll"
    thread.stackSize = 4 << 20
    thread.start()
  }
  let signals = Signals()
  var said = Date()
  var isDraining = false
  while running.wait(timeout: .now() + 0.05) == .timedOut {
    if signals.count > 0, !isDraining {
      isDraining = true
      for (_, runner) in runners { runner.drain() }
      DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(Int(drainTime.process))) {
        log.say(.warning, "servers or disk did not answer in time: ended; \(undone) will be read again")
        _exit(failures.withLock { $0.first }.map { Failure($0).code.rawValue } ?? 0)
      }
    }
    if signals.count > 1 {
      log.say(.warning, "ended at once; \(undone) will be read again")
      _exit(130)
    }
    if Date().timeIntervalSince(said) >= 10 {
      said = Date()
      for (name, runner) in runners { log.say(.info, line(name, runner)) }
    }
  }
  return failures.withLock { $0.first }
}
