import Foundation
import Glibc

/// What this process takes from its machine.
public struct ProcessLoad: Sendable, Equatable {
  public var cpuSeconds = 0.0
  public var residentBytes = 0
  public var openFiles = 0
  /// Seconds since the epoch.
  public var startTime = 0.0
  public init() {}

  private static let started = Double(Clock.wallMilliseconds()) / 1000

  /// Remembers when the process began; to be called once, early.
  public static func begin() { _ = started }

  /// Reads /proc: a few microseconds.
  public static func now() -> ProcessLoad {
    var load = ProcessLoad()
    load.startTime = started
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    load.cpuSeconds =
      Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    if let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) {
      let pages = text.split(separator: " ")
      if pages.count > 1, let resident = Int(pages[1]) { load.residentBytes = resident * Int(sysconf(Int32(_SC_PAGESIZE))) }
    }
    load.openFiles = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
    return load
  }
}
