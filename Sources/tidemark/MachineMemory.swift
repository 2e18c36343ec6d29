import Foundation

/// How much memory this process may use: the machine's, or what its control group is given.
enum MachineMemory {
  /// Bytes; nil: not known.
  static var bytes: Int? {
    let machine = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)).flatMap { total(ofMeminfo: $0) }
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].compactMap { path in
      (try? String(contentsOfFile: path, encoding: .utf8)).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
    return (groups + [machine].compactMap { $0 }).min()
  }

  static func total(ofMeminfo text: String) -> Int? {
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("MemTotal:") }) else { return nil }
    return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
  }

  /// MiB of state that an instance may hold unless it is told otherwise: 60 % of the memory.
  static var defaultStateBudget: Int { ((bytes ?? 8 << 30) / 10 * 6) >> 20 }
}
