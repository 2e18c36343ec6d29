import Glibc

/// A trap in a world ends the process. Before that, standard error is told which seeds were running: one of them it was.
enum CrashNote {
  private static let most = 64
  // Safety: each thread writes a slot of its own; the handler reads words that were written whole.
  nonisolated(unsafe) private static let seeds: UnsafeMutablePointer<UInt64> = {
    let slots = UnsafeMutablePointer<UInt64>.allocate(capacity: most)
    slots.initialize(repeating: 0, count: most)
    return slots
  }()

  static func running(_ seed: UInt64, on thread: Int) { if thread < most { seeds[thread] = seed } }

  /// Whoever handled these signals before gets them after the note.
  static func install() {
    _ = seeds
    for signal in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { signal in
        CrashNote.write()
        // The instruction is tried again, and then meets what would have met it without the note.
        var standard = sigaction()
        standard.__sigaction_handler.sa_handler = SIG_DFL
        sigaction(signal, &standard, nil)
      }
      sigaction(signal, &action, nil)
    }
  }

  /// Only what a signal handler may do.
  private static func write() {
    func put(_ text: StaticString) { _ = Glibc.write(2, text.utf8Start, text.utf8CodeUnitCount) }
    put("the process crashes in one of these worlds (tidemark-simulate --seed N --trace):")
    for slot in 0..<most where seeds[slot] > 0 {
      put(" ")
      var divisor: UInt64 = 1
      while seeds[slot] / divisor >= 10 { divisor *= 10 }
      while divisor > 0 {
        var digit = UInt8(48 + seeds[slot] / divisor % 10)
        _ = Glibc.write(2, &digit, 1)
        divisor /= 10
      }
    }
    put("\n")
  }
}
