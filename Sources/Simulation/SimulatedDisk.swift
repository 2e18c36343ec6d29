import Journal

/// The disk of one instance: files in memory that fail as disks may.
///
/// Legal faults: the process dies at any byte of a write and between any two calls; then everything written so far is
/// there. The power goes as well: of what was not synced, each sector of 512 bytes, each length and each directory entry
/// is then as it was or as it is, by the dice. The disk is full at any byte. Any call fails, once. A sync fails, and what
/// it should have made durable never is, whatever later syncs say. One bit of a file flips. The directory is another one:
/// empty, or of old times.
final class SimulatedDisk: Storage {
  final class Node {
    var current: [UInt8] = []
    var durable: [UInt8] = []
    /// Sectors that a failed sync has given up: the kernel takes them for written, until somebody writes there again.
    var givenUp: Set<Int> = []

    func sync() {
      let before = durable
      durable = current
      for sector in givenUp where sector * 512 < durable.count {
        for i in sector * 512..<min(sector * 512 + 512, durable.count) { durable[i] = i < before.count ? before[i] : 0 }
      }
    }

    func giveUp() {
      for sector in 0..<(current.count + 511) / 512 {
        let range = sector * 512..<min(sector * 512 + 512, current.count)
        if range.upperBound > durable.count || current[range] != durable[range] { givenUp.insert(sector) }
      }
    }

    func wrote(_ range: Range<Int>) {
      if !givenUp.isEmpty, !range.isEmpty { for sector in range.lowerBound / 512...(range.upperBound - 1) / 512 { givenUp.remove(sector) } }
    }
  }
  private(set) var entries: [String: Node] = [:]
  private var durableEntries: [String: Node] = [:]
  private var locked: Set<String> = []
  /// Bytes of files that fit; nil: any number.
  var capacity: Int?
  /// Whether room can be reserved.
  var preallocates = true
  /// Changes until the process dies; a write counts one and each of its bytes one more.
  var stepsToCrash: Int?
  private(set) var isDead = false
  private(set) var diedInWrite = false
  private var wasFull = false
  /// Calls until one fails, once; what it was to do has not happened.
  var callsToFailure: Int?
  private var hasFailed = false
  /// The next sync fails.
  var syncFails = false
  private(set) var failedSyncs = 0
  private(set) var syncs = 0
  private(set) var writes = 0
  /// What is on it may be damaged: then the journal may refuse to open. Never otherwise.
  private(set) var isSuspect = false

  var isEmpty: Bool { entries.isEmpty }

  func die() { isDead = true }

  /// Whether a call failed since the last time that this was asked.
  func takeFailure() -> Bool {
    defer { hasFailed = false }
    return hasFailed
  }

  /// Whether something did not fit since the last call.
  func takeFull() -> Bool {
    defer { wasFull = false }
    return wasFull
  }

  // MARK: What happens to it between two lives of its process

  /// The same disk after the process died.
  func restarted() -> SimulatedDisk {
    let other = SimulatedDisk()
    for (path, node) in entries { other.put(path, node.current, node.durable, node.givenUp) }
    other.durableEntries = durableEntries.compactMapValues { node in
      entries.first { $0.value === node }.flatMap { other.entries[$0.key] } ?? node
    }
    other.capacity = capacity
    other.preallocates = preallocates
    other.isSuspect = isSuspect
    return other
  }

  /// The same disk after the power went.
  func restarted(_ dice: inout Dice) -> SimulatedDisk {
    let other = SimulatedDisk()
    for path in Set(entries.keys).union(durableEntries.keys).sorted() {
      let (now, before) = (entries[path], durableEntries[path])
      guard let node = now === before || dice.flip() ? now : before else { continue }
      var bytes = dice.flip() ? node.current : node.durable
      for start in stride(from: 0, to: bytes.count, by: 512) {
        let from = dice.flip() ? node.current : node.durable
        for i in start..<min(start + 512, bytes.count) { bytes[i] = i < from.count ? from[i] : 0 }
      }
      other.put(path, bytes, bytes, [])
    }
    other.durableEntries = other.entries
    other.capacity = capacity
    other.preallocates = preallocates
    other.isSuspect = isSuspect
    return other
  }

  /// Flips one bit of a file that has any; false: there is none.
  func flipBit(_ dice: inout Dice) -> Bool {
    let files = entries.filter { !$0.value.current.isEmpty }.keys.sorted()
    guard !files.isEmpty else { return false }
    let node = entries[dice.pick(files)]!
    // Most of a file is room that was reserved: bits that hold something are hit more often.
    let used = (node.current.lastIndex { $0 != 0 } ?? 0) + 1
    let byte = dice.below(dice.chance(9000) ? used : node.current.count)
    node.current[byte] ^= UInt8(1 << dice.below(8))
    node.durable = node.current
    isSuspect = true
    return true
  }

  private func put(_ path: String, _ current: [UInt8], _ durable: [UInt8], _ givenUp: Set<Int>) {
    let node = Node()
    node.givenUp = givenUp
    node.current = current
    node.durable = durable
    entries[path] = node
  }

  // MARK: Storage

  /// Bytes of files.
  var used: Int { entries.values.reduce(0) { $0 + $1.current.count } }

  private func failure(_ call: String, _ path: String) -> StorageError {
    StorageError(call: call, path: path, code: 5, reason: isDead ? "the process is dead" : "input/output error")
  }

  private func requireLife(_ call: String, _ path: String) throws(StorageError) {
    if isDead { throw failure(call, path) }
    guard let left = callsToFailure else { return }
    callsToFailure = left > 0 ? left - 1 : nil
    if left == 0 {
      hasFailed = true
      throw failure(call, path)
    }
  }

  private func step(_ call: String, _ path: String) throws(StorageError) {
    try requireLife(call, path)
    if stepsToCrash == 0 {
      isDead = true
      throw failure(call, path)
    }
    stepsToCrash? -= 1
  }

  func createDirectory(_ path: String) throws(StorageError) {}

  func list(_ directory: String) throws(StorageError) -> [String] {
    try requireLife("list", directory)
    return entries.keys.filter { $0.hasPrefix(directory + "/") }.map { String($0.dropFirst(directory.count + 1)) }.sorted()
  }

  func lock(_ path: String) throws(StorageError) -> LockOutcome {
    try requireLife("lock", path)
    return locked.insert(path).inserted ? .taken(Lock(self, path)) : .held(by: "4711")
  }

  final class Lock: StorageLock {
    private weak var disk: SimulatedDisk?
    private let path: String
    init(_ disk: SimulatedDisk, _ path: String) { self.disk = disk; self.path = path }
    private var isHeld = true
    func release() {
      if isHeld { disk?.locked.remove(path) }
      isHeld = false
    }
    deinit { release() }
  }

  func open(_ path: String) throws(StorageError) -> any StorageFile {
    try requireLife("open", path)
    guard let node = entries[path] else { throw StorageError(call: "open", path: path, code: 2, reason: "no such file", isMissing: true) }
    return File(self, path, node)
  }

  func create(_ path: String) throws(StorageError) -> any StorageFile {
    try step("create", path)
    let node = Node()
    entries[path] = node
    return File(self, path, node)
  }

  func rename(_ path: String, to: String) throws(StorageError) {
    try step("rename", path)
    entries[to] = entries.removeValue(forKey: path)
  }

  func remove(_ path: String) throws(StorageError) {
    try step("remove", path)
    entries[path] = nil
  }

  func syncDirectory(_ path: String) throws(StorageError) {
    try step("syncDirectory", path)
    durableEntries = entries
  }

  final class File: StorageFile {
    // The disk owns nothing that refers to its files.
    private let disk: SimulatedDisk
    private let path: String
    private let node: Node
    init(_ disk: SimulatedDisk, _ path: String, _ node: Node) { self.disk = disk; self.path = path; self.node = node }

    func size() throws(StorageError) -> Int { node.current.count }

    func read(_ count: Int, at position: Int) throws(StorageError) -> [UInt8] {
      try disk.requireLife("read", path)
      guard position < node.current.count else { return [] }
      return Array(node.current[position..<min(node.current.count, position + count)])
    }

    private func full(_ call: String) -> StorageError {
      disk.wasFull = true
      return StorageError(call: call, path: path, code: 28, reason: "no space left on device", isFull: true)
    }

    private var room: Int { disk.capacity.map { max(0, $0 - disk.used) } ?? .max / 2 }

    func write(_ bytes: UnsafeRawBufferPointer, at position: Int) throws(StorageError) {
      try disk.step("write", path)
      disk.writes += 1
      let fitting = max(0, min(bytes.count, node.current.count + room - position))
      let written = min(fitting, disk.stepsToCrash ?? fitting)
      if node.current.count < position + written {
        node.current += [UInt8](repeating: 0, count: position + written - node.current.count)
      }
      if written > 0 {
        node.current.withUnsafeMutableBytes { target in
          UnsafeMutableRawBufferPointer(rebasing: target[position..<position + written])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<written]))
        }
      }
      node.wrote(position..<position + written)
      disk.stepsToCrash? -= written
      if written < fitting {
        disk.isDead = true
        disk.diedInWrite = true
        throw disk.failure("write", path)
      }
      if fitting < bytes.count { throw full("write") }
    }

    func preallocate(_ size: Int) throws(StorageError) -> Bool {
      try disk.step("preallocate", path)
      guard disk.preallocates else { return false }
      let growth = max(0, size - node.current.count)
      if growth > room { throw full("preallocate") }
      if growth > 0 { node.current += [UInt8](repeating: 0, count: growth) }
      return true
    }

    func truncate(_ size: Int) throws(StorageError) {
      try disk.step("truncate", path)
      guard size < node.current.count else { return }
      node.current.removeLast(node.current.count - size)
      node.givenUp = node.givenUp.filter { $0 * 512 < size }
    }

    func sync() throws(StorageError) {
      try disk.step("sync", path)
      if disk.syncFails {
        disk.syncFails = false
        disk.failedSyncs += 1
        disk.isSuspect = true
        node.giveUp()
        throw disk.failure("sync", path)
      }
      disk.syncs += 1
      node.sync()
    }

    func close() throws(StorageError) {}
  }
}
