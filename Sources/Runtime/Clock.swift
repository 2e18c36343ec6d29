import Engine
import Glibc
import Synchronization

/// Monotonic time; the only clock of an instance. Decisions get it as a number.
enum Clock {
  static func nanoseconds() -> UInt64 { clock_gettime_nsec(CLOCK_MONOTONIC) }
  static func milliseconds() -> Milliseconds { Milliseconds(nanoseconds() / 1_000_000) }

  /// Milliseconds since the epoch, for what people and other machines compare.
  static func wallMilliseconds() -> Int64 { Int64(clock_gettime_nsec(CLOCK_REALTIME) / 1_000_000) }

  /// CPU time of the calling thread: what a stage costs, whatever else the machine does. About half a microsecond a reading.
  static func threadNanoseconds() -> UInt64 { clock_gettime_nsec(CLOCK_THREAD_CPUTIME_ID) }
  static func threadSeconds() -> Double { Double(threadNanoseconds()) / 1e9 }

  private static func clock_gettime_nsec(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

/// What the threads of an instance show of themselves.
final class SharedStatus: Sendable {
  private let status: Mutex<RunStatus>

  init(workers: Int) { status = Mutex(RunStatus(workers: workers)) }

  func read() -> RunStatus { status.withLock { $0 } }
  func update(_ body: (inout RunStatus) -> Void) { status.withLock { body(&$0) } }
  func publish(_ worker: WorkerStatus, of number: Int) { status.withLock { $0.workers[number] = worker } }
  /// Notes the CPU time of the calling thread.
  func noteThread(_ name: String) {
    let seconds = Clock.threadSeconds()
    status.withLock { $0.threadSeconds[name, default: 0] += seconds }
  }
  /// Notes that a thread goes round its loop.
  func showLife(_ name: String) {
    let now = Clock.milliseconds()
    status.withLock { $0.signsOfLife[name] = now }
  }
}
