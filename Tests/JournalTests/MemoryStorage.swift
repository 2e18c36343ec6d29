import Journal

/// Files in memory that fail on purpose.
///
/// Legal faults: a process may die at any byte of a write and between any two calls; then everything written so far is
/// there. The power may go as well: of what was not synced, each sector of 512 bytes, each length and each directory
/// entry is then as it was or as it is, by the dice; the others are as they are. A disk may be full at any byte, and any
/// sync may fail. Synced bytes never change by themselves; tests flip those with `change`.
final class MemoryStorage: Storage {
  final class Node {
    var current: [UInt8] = []
    var durable: [UInt8] = []
  }

  private(set) var entries: [String: Node] = [:]
  private var durableEntries: [String: Node] = [:]
  private var locked: Set<String> = []

  /// Bytes of files that fit; nil: any number.
  var capacity: Int?
  /// Whether `preallocate` reserves room.
  var preallocates = true
  /// Changes of the disk until the process dies; a write counts one and each of its bytes one more. nil: it lives.
  var stepsToCrash: Int?
  private(set) var isDead = false
  var syncFails = false
  private(set) var syncs = 0
  private(set) var writes = 0
  /// Changes of the disk so far, as `stepsToCrash` counts them.
  private(set) var steps = 0

  var paths: [String] { entries.keys.sorted() }
  var used: Int { entries.values.reduce(0) { $0 + $1.current.count } }
  func contents(_ path: String) -> [UInt8] { entries[path]!.current }

  /// Changes a file behind the journal's back, durably.
  func change(_ path: String, _ body: (inout [UInt8]) -> Void) {
    body(&entries[path]!.current)
    entries[path]!.durable = entries[path]!.current
  }
  func delete(_ path: String) {
    entries[path] = nil
    durableEntries[path] = nil
  }

  /// The same disk after the process died.
  func restarted() -> MemoryStorage {
    let other = MemoryStorage()
    other.preallocates = preallocates
    for (path, node) in entries { other.put(path, node.current) }
    return other
  }

  /// The same disk after the power went.
  func restarted(_ dice: inout Dice) -> MemoryStorage {
    let other = MemoryStorage()
    other.preallocates = preallocates
    for path in Set(entries.keys).union(durableEntries.keys).sorted() {
      let (now, before) = (entries[path], durableEntries[path])
      guard let node = now === before || dice.flip() ? now : before else { continue }
      var bytes = dice.flip() ? node.current : node.durable
      for start in stride(from: 0, to: bytes.count, by: 512) {
        let from = dice.flip() ? node.current : node.durable
        for i in start..<min(start + 512, bytes.count) { bytes[i] = i < from.count ? from[i] : 0 }
      }
      other.put(path, bytes)
    }
    return other
  }

  /// The same disk, for another try.
  func copy() -> MemoryStorage { restarted() }

  private func put(_ path: String, _ bytes: [UInt8]) {
    let node = Node()
    node.current = bytes
    node.durable = bytes
    entries[path] = node
    durableEntries[path] = node
  }

  func failure(_ call: String, _ path: String) -> StorageError {
    StorageError(call: call, path: path, code: 5, reason: isDead ? "the process is dead" : "input/output error")
  }

  /// One change of the disk.
  func step(_ call: String, _ path: String) throws(StorageError) {
    if isDead { throw failure(call, path) }
    if stepsToCrash == 0 {
      isDead = true
      throw failure(call, path)
    }
    stepsToCrash? -= 1
    steps += 1
  }

  func createDirectory(_ path: String) throws(StorageError) {}

  func list(_ directory: String) throws(StorageError) -> [String] {
    if isDead { throw failure("list", directory) }
    return entries.keys.filter { $0.hasPrefix(directory + "/") }.map { String($0.dropFirst(directory.count + 1)) }
  }

  func lock(_ path: String) throws(StorageError) -> LockOutcome {
    if isDead { throw failure("lock", path) }
    return locked.insert(path).inserted ? .taken(Lock(self, path)) : .held(by: "4711")
  }

  final class Lock: StorageLock {
    let storage: MemoryStorage
    let path: String
    init(_ storage: MemoryStorage, _ path: String) { self.storage = storage; self.path = path }
    func release() { storage.locked.remove(path) }
    deinit { release() }
  }

  func open(_ path: String) throws(StorageError) -> any StorageFile {
    if isDead { throw failure("open", path) }
    guard let node = entries[path] else {
      throw StorageError(call: "open", path: path, code: 2, reason: "no such file", isMissing: true)
    }
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
    entries[to] = entries.removeValue(forKey: path)!
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
    let storage: MemoryStorage
    let path: String
    let node: Node
    init(_ storage: MemoryStorage, _ path: String, _ node: Node) { self.storage = storage; self.path = path; self.node = node }

    func size() throws(StorageError) -> Int { node.current.count }

    func read(_ count: Int, at position: Int) throws(StorageError) -> [UInt8] {
      if storage.isDead { throw storage.failure("read", path) }
      return Array(node.current.dropFirst(position).prefix(count))
    }

    private func full(_ call: String) -> StorageError {
      StorageError(call: call, path: path, code: 28, reason: "no space left on device", isFull: true)
    }

    /// Bytes by which the file may grow.
    private var room: Int { storage.capacity.map { max(0, $0 - storage.used) } ?? .max / 2 }

    func write(_ bytes: UnsafeRawBufferPointer, at position: Int) throws(StorageError) {
      try storage.step("write", path)
      storage.writes += 1
      let fitting = min(bytes.count, node.current.count + room - position)
      let written = min(fitting, storage.stepsToCrash ?? fitting)
      if node.current.count < position + written {
        node.current += [UInt8](repeating: 0, count: position + written - node.current.count)
      }
      for i in 0..<written { node.current[position + i] = bytes[i] }
      storage.steps += written
      storage.stepsToCrash? -= written
      if written < fitting {
        storage.isDead = true
        throw storage.failure("write", path)
      }
      if fitting < bytes.count { throw full("write") }
    }

    func preallocate(_ size: Int) throws(StorageError) -> Bool {
      try storage.step("preallocate", path)
      guard storage.preallocates else { return false }
      let growth = max(0, size - node.current.count)
      if growth > room { throw full("preallocate") }
      node.current += [UInt8](repeating: 0, count: growth)
      return true
    }

    func truncate(_ size: Int) throws(StorageError) {
      try storage.step("truncate", path)
      if size < node.current.count { node.current.removeLast(node.current.count - size) }
    }

    func sync() throws(StorageError) {
      try storage.step("sync", path)
      if storage.syncFails { throw storage.failure("sync", path) }
      storage.syncs += 1
      node.durable = node.current
    }

    func close() throws(StorageError) {}
  }
}

/// SplitMix64: one seed, one run.
struct Dice: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func flip() -> Bool { next() & 1 == 0 }
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
