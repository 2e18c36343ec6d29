import Glibc

/// A lock with a condition whose waits end by the monotonic clock: a wall clock that is set back (NTP, a resumed machine)
/// does not lengthen them, as it does those of Foundation's `NSCondition`.
// Safety: see below.
final class Condition: @unchecked Sendable {
  // Safety: both are made once, at addresses of their own that never change, and POSIX guards what is in them.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  init() {
    mutex.initialize(to: pthread_mutex_t())
    condition.initialize(to: pthread_cond_t())
    var attributes = pthread_condattr_t()
    precondition(pthread_mutex_init(mutex, nil) == 0 && pthread_condattr_init(&attributes) == 0)
    precondition(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func withLock<R>(_ body: () -> R) -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }

  /// Wakes all who wait; inside `withLock`.
  func broadcast() { pthread_cond_broadcast(condition) }

  /// Waits for a broadcast; inside `withLock`. May return without one.
  func wait() { pthread_cond_wait(condition, mutex) }

  /// The same, up to `deadline`, in nanoseconds of `Clock.nanoseconds()`; false: it is over.
  func wait(until deadline: UInt64) -> Bool {
    var end = timespec(tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
    return pthread_cond_timedwait(condition, mutex, &end) != ETIMEDOUT
  }

  /// `seconds` from now, for `wait(until:)`; what is longer than a hundred years counts as that.
  static func deadline(_ seconds: Double) -> UInt64 { Clock.nanoseconds() + UInt64(min(max(0, seconds), 3.2e9) * 1e9) }
}
