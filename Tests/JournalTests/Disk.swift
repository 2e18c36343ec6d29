@testable import Simulation

/// What tests do to a disk behind the journal's back.
extension SimulatedDisk {
  var paths: [String] { entries.keys.sorted() }
  func contents(_ path: String) -> [UInt8] { entries[path]!.current }

  /// Changes a file, durably.
  func change(_ path: String, _ body: (inout [UInt8]) -> Void) {
    body(&entries[path]!.current)
    entries[path]!.durable = entries[path]!.current
  }

  /// Takes a file away, durably.
  func delete(_ path: String) throws {
    try remove(path)
    try syncDirectory(path)
  }

  /// The same disk, not full, for another try.
  func copy() -> SimulatedDisk {
    let other = restarted()
    other.capacity = nil
    return other
  }
}
