/// Open windows and groups of one aggregate in one partition, and what the batch at hand changes in them.
///
/// Groups have dense slots; every column is indexed by slot. Columns of increments are zero between batches.
struct AggregateState: ~Copyable {
  let plan: AggregatePlan
  /// Keyed hashes of the filter's values, term by term.
  let filterHashes: [[UInt64]]

  // Group table: combined hash of window and key → slot. Open addressing, load 0.5 or less.
  private var tableKeys: [UInt64] = Array(repeating: 0, count: 256)
  private var tableSlots: [UInt32] = Array(repeating: 0, count: 256)

  // Slots.
  private(set) var slotCount = 0
  private(set) var windows: [Window] = []
  private(set) var keyHashes: [UInt64] = []
  private(set) var keys: [[String]] = []
  /// Bytes of their texts, and of the arrays that hold them.
  private var keyBytes = 0
  /// Index in `touched` of the batch at hand, -1: not touched.
  private var touchedIndex: [Int32] = []
  private(set) var touched: [UInt32] = []

  // Measures: `lanes[m]` indexed by slot.
  var counts: [Int64] = []
  var lanes: [Lane]

  /// Groups of each open window, for the cap and for closing.
  private(set) var groupsPerWindow: [EventTime: (end: EventTime, groups: Int)] = [:]
  private(set) var earliestEnd = EventTime(microseconds: .max)
  private(set) var overflowed: Int64 = 0

  // The window of the last event: most events fall into it.
  private var current = Window(start: EventTime(microseconds: 0), end: EventTime(microseconds: 0))

  static let overflowHash: UInt64 = 0xF0F0_0F0F_A5A5_5A5A

  /// One measure's columns; only those of its kind are filled.
  struct Lane {
    var kind: MeasurePlan.Kind
    var sums: [Int128] = []
    var present: [Int64] = []
    var extremes: [Int64] = []
    var members: [Bitmap] = []
    /// New members of the batch: slot and hash.
    var newSlots: [UInt32] = []
    var newHashes: [UInt64] = []
  }

  init(plan: AggregatePlan, hash: TextHash) {
    self.plan = plan
    filterHashes = plan.filter.map { $0.values.map(hash) }
    lanes = plan.measures.map { Lane(kind: $0.kind) }
  }

  /// Hash that stands for row (window, key) in the table. Never 0.
  @inline(__always)
  static func rowHash(_ start: EventTime, _ keyHash: UInt64) -> UInt64 {
    let h = mix(keyHash ^ mix(UInt64(bitPattern: start.microseconds)))
    return h == 0 ? 1 : h
  }

  /// The window of `time`, cached.
  @inline(__always)
  mutating func window(at time: EventTime) -> Window {
    if current.contains(time) { return current }
    current = plan.window.window(at: time)
    return current
  }

  /// The slot of an existing row, nil if there is none.
  @inline(__always)
  func find(_ row: UInt64) -> Int? {
    let mask = tableKeys.count - 1
    var at = Int(truncatingIfNeeded: row) & mask
    while true {
      let k = tableKeys[at]
      if k == row { return Int(tableSlots[at]) }
      if k == 0 { return nil }
      at = (at + 1) & mask
    }
  }

  /// Adds a row that is not there. `key` is ignored for what the cap turns into the overflow row.
  mutating func add(window: Window, keyHash: UInt64, key: () -> [String]) -> Int {
    var keyHash = keyHash
    var fields: [String]?
    let groups = groupsPerWindow[window.start]?.groups ?? 0
    if groups >= plan.groupLimit, keyHash != Self.overflowHash, !plan.by.isEmpty {
      overflowed += 1
      keyHash = Self.overflowHash
      if let slot = find(Self.rowHash(window.start, keyHash)) { return slot }
      fields = Array(repeating: overflowKey, count: plan.by.count)
    }
    let slot = slotCount
    slotCount += 1
    // The overflow row is not one of the groups that the cap counts: restoring in another order gives the same rows.
    groupsPerWindow[window.start] = (window.end, keyHash == Self.overflowHash ? groups : groups + 1)
    earliestEnd = min(earliestEnd, window.end)
    windows.append(window)
    keyHashes.append(keyHash)
    let texts = fields ?? key()
    keyBytes += Self.bytes(of: texts)
    keys.append(texts)
    touchedIndex.append(-1)
    counts.append(0)
    for l in lanes.indices {
      switch lanes[l].kind {
      case .count: break
      case .sum, .average: lanes[l].sums.append(0); lanes[l].present.append(0)
      case .minimum: lanes[l].extremes.append(.max); lanes[l].present.append(0)
      case .maximum: lanes[l].extremes.append(.min); lanes[l].present.append(0)
      case .distinct: lanes[l].members.append(Bitmap())
      }
    }
    if slotCount * 2 > tableKeys.count { rebuildTable(size: tableKeys.count * 2) } else { enter(slot) }
    return slot
  }

  private mutating func enter(_ slot: Int) {
    let mask = tableKeys.count - 1
    let row = Self.rowHash(windows[slot].start, keyHashes[slot])
    var at = Int(truncatingIfNeeded: row) & mask
    while tableKeys[at] != 0 { at = (at + 1) & mask }
    tableKeys[at] = row
    tableSlots[at] = UInt32(slot)
  }

  private mutating func rebuildTable(size: Int) {
    tableKeys = Array(repeating: 0, count: size)
    tableSlots = Array(repeating: 0, count: size)
    for slot in 0..<slotCount { enter(slot) }
  }

  /// Marks a slot as changed by the batch at hand.
  @inline(__always)
  mutating func touch(_ slot: Int) {
    if touchedIndex[slot] < 0 {
      touchedIndex[slot] = Int32(touched.count)
      touched.append(UInt32(slot))
    }
  }

  /// The changes of the batch as increments; columns of increments are zero again after it. O(touched + new members).
  mutating func takeIncrements() -> [GroupIncrement] {
    var groups: [GroupIncrement] = []
    groups.reserveCapacity(touched.count)
    // New members by touched index, lane by lane.
    var members: [[[UInt64]]] = []
    for l in lanes.indices {
      guard case .distinct = lanes[l].kind else { members.append([]); continue }
      var sizes = [Int](repeating: 0, count: touched.count)
      for s in lanes[l].newSlots { sizes[Int(touchedIndex[Int(s)])] += 1 }
      var lists = sizes.map { n -> [UInt64] in var a: [UInt64] = []; a.reserveCapacity(n); return a }
      for (s, h) in zip(lanes[l].newSlots, lanes[l].newHashes) { lists[Int(touchedIndex[Int(s)])].append(h) }
      lanes[l].newSlots.removeAll(keepingCapacity: true)
      lanes[l].newHashes.removeAll(keepingCapacity: true)
      members.append(lists)
    }
    for (index, touchedSlot) in touched.enumerated() {
      let slot = Int(touchedSlot)
      var measures: [MeasureIncrement] = []
      measures.reserveCapacity(lanes.count)
      for l in lanes.indices {
        switch lanes[l].kind {
        case .count: measures.append(.count(counts[slot]))
        case .sum, .average:
          measures.append(.sum(lanes[l].sums[slot], present: lanes[l].present[slot]))
          lanes[l].sums[slot] = 0
          lanes[l].present[slot] = 0
        case .minimum:
          measures.append(.minimum(lanes[l].present[slot] > 0 ? lanes[l].extremes[slot] : nil))
          lanes[l].extremes[slot] = .max
          lanes[l].present[slot] = 0
        case .maximum:
          measures.append(.maximum(lanes[l].present[slot] > 0 ? lanes[l].extremes[slot] : nil))
          lanes[l].extremes[slot] = .min
          lanes[l].present[slot] = 0
        case .distinct: measures.append(.distinct(members[l][index]))
        }
      }
      counts[slot] = 0
      touchedIndex[slot] = -1
      groups.append(
        GroupIncrement(
          key: RowKey(windowStart: windows[slot].start, fields: keys[slot]), windowEnd: windows[slot].end,
          keyHash: keyHashes[slot], measures: measures))
    }
    touched.removeAll(keepingCapacity: true)
    return groups
  }

  /// Forgets windows whose end is at or before `bound`, once they hold a quarter of the slots. No event can reach
  /// them any more, so when this happens is not visible in any result. O(slots) when it does.
  mutating func close(before bound: EventTime) {
    guard earliestEnd <= bound else { return }
    let closed = groupsPerWindow.values.reduce(0) { $0 + ($1.end <= bound ? $1.groups : 0) }
    guard closed * 4 >= slotCount else { return }
    precondition(touched.isEmpty, "windows close between batches only")
    var kept = 0
    for slot in 0..<slotCount where windows[slot].end > bound {
      if kept != slot {
        windows[kept] = windows[slot]
        keyHashes[kept] = keyHashes[slot]
        keys[kept] = keys[slot]
        for l in lanes.indices where !lanes[l].members.isEmpty { lanes[l].members.swapAt(kept, slot) }
      }
      kept += 1
    }
    let gone = slotCount - kept
    keyBytes = keys[..<kept].reduce(0) { $0 + Self.bytes(of: $1) }
    windows.removeLast(gone)
    keyHashes.removeLast(gone)
    keys.removeLast(gone)
    touchedIndex.removeLast(gone)
    counts.removeLast(gone)
    for l in lanes.indices {
      if !lanes[l].sums.isEmpty { lanes[l].sums.removeLast(gone) }
      if !lanes[l].present.isEmpty { lanes[l].present.removeLast(gone) }
      if !lanes[l].extremes.isEmpty { lanes[l].extremes.removeLast(gone) }
      if !lanes[l].members.isEmpty { lanes[l].members.removeLast(gone) }
    }
    slotCount = kept
    groupsPerWindow = groupsPerWindow.filter { $0.value.end > bound }
    earliestEnd = groupsPerWindow.values.map(\.end).min() ?? EventTime(microseconds: .max)
    var size = 256
    while size < slotCount * 2 { size *= 2 }
    rebuildTable(size: size)
  }

  /// All members of a slot's distinct lane as bitmaps, for snapshots.
  func members(lane: Int, slot: Int) -> Bitmap { lanes[lane].members[slot] }

  /// Replaces ids in all bitmaps after the dictionary was rebuilt.
  mutating func renumber(lane: Int, _ newID: [UInt32]) {
    for slot in 0..<slotCount {
      var renumbered = Bitmap()
      lanes[lane].members[slot].forEach { _ = renumbered.insert(newID[Int($0)]) }
      lanes[lane].members[slot] = renumbered
    }
  }

  /// A list of key texts lies apart.
  private static func bytes(of texts: [String]) -> Int { texts.isEmpty ? 0 : 48 + 16 * texts.count + texts.outlyingBytes }

  /// Bytes held, about. O(slots).
  var bytes: Int {
    var sum = tableKeys.count * 12 + slotCount * (16 + 8 + 8 + 4 + 8) + keyBytes
    for lane in lanes { sum += slotCount * 32 + lane.members.reduce(0) { $0 + $1.bytes } }
    return sum
  }
}
