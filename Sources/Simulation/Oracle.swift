/// What a world's books must say in the end: a plain computation over what was produced, that shares nothing with the
/// engine, neither code nor types. It goes through each partition once, in the order of offsets.
struct Oracle {
  /// What is expected of one partition.
  struct Books: Equatable {
    var applied: Int64 = 0, filtered: Int64 = 0, duplicate: Int64 = 0, late: Int64 = 0, quarantined: Int64 = 0, gap: Int64 = 0
    var tombstones: Int64 = 0, misrouted: Int64 = 0
  }
  /// One row's measures.
  struct Row: Equatable {
    var count: Int64 = 0
    var users: Int64 = 0
    var total: Int64 = 0, amounts: Int64 = 0
    var least: Int64?, greatest: Int64?
    var prices: Int64 = 0, priceCount: Int64 = 0
  }
  private(set) var books: [Int: Books] = [:]
  /// By partition and offset: reason.
  private(set) var quarantine: [Int: [Int64: String]] = [:]
  /// Rows as texts: `aggregate|window start|key…` → measures.
  private(set) var rows: [String: String] = [:]
  private(set) var lateCounts: [String: Int64] = [:]
  private(set) var overflowed = false

  /// Sizes of the plan, as plain numbers (microseconds).
  struct Rules {
    var window: Int64
    var lateness: Int64
    var deduplicate: Int64?
    var skew: Int64
    var groupLimit: Int
  }
  private let rules: Rules
  private var activity: [String: Row] = [:]
  private var days: [String: Row] = [:]
  private var sales: [String: Row] = [:]

  init(_ rules: Rules) { self.rules = rules }

  /// Goes through one partition.
  /// - Parameters:
  ///   - first: the first offset that was ever taken over.
  ///   - accepted: ranges of offsets that an operator accepted as gone.
  mutating func take(partition: Int, _ records: [LogRecord], first: Int64, accepted: [Range<Int64>]) {
    var sums = Books()
    var refused: [Int64: String] = [:]
    var mark: Int64?
    var lastSeen: [String: Int64] = [:]
    var users: [String: Set<String>] = [:]
    var groups: [Int64: Set<String>] = [:]
    var offset = Int64(-1)
    for record in records {
      offset += 1
      if offset < first { continue }
      if accepted.contains(where: { $0.contains(offset) }) {
        sums.gap += 1
        continue
      }
      switch record.truth {
      case .hole: sums.gap += 1
      case .tombstone:
        sums.filtered += 1
        sums.tombstones += 1
      case .invalid(let reason):
        sums.quarantined += 1
        refused[offset] = reason
      case .event(let event):
        // A timestamp below zero is none, and so is one that is beyond all microseconds.
        if record.timestamp >= 0, record.timestamp <= .max / 1000, event.time - rules.skew > record.timestamp * 1000 {
          sums.quarantined += 1
          refused[offset] = "far_future"
          continue
        }
        if let mark, event.time < mark - rules.lateness {
          sums.late += 1
          refused[offset] = "late"
          countLate(event)
          continue
        }
        let now = max(mark ?? event.time, event.time)
        mark = now
        if record.isMisrouted { sums.misrouted += 1 }
        if let horizon = rules.deduplicate {
          let second = now / 1_000_000
          let before = lastSeen.updateValue(second, forKey: event.id)
          if let before, second - before <= horizon / 1_000_000 {
            sums.duplicate += 1
            continue
          }
        }
        if event.type == "noise" {
          sums.filtered += 1
        } else {
          sums.applied += 1
          count(event, partition, &users, &groups)
        }
      }
    }
    books[partition] = sums
    quarantine[partition] = refused
  }

  private func windowStart(_ time: Int64, _ length: Int64) -> Int64 { time / length * length }
  private static let day: Int64 = 86_400_000_000

  private mutating func count(
    _ event: Truth.Event, _ partition: Int, _ users: inout [String: Set<String>], _ groups: inout [Int64: Set<String>]
  ) {
    let start = windowStart(event.time, rules.window)
    var group = "\(event.region)|\(event.type)"
    if !groups[start, default: []].contains(group) {
      if groups[start, default: []].count >= rules.groupLimit {
        group = "__overflow__|__overflow__"
        overflowed = true
      } else {
        groups[start, default: []].insert(group)
      }
    }
    Self.add(event, "activity|\(start)|\(group)", &activity, &users)
    if event.type != "ping" { Self.add(event, "days|\(windowStart(event.time, Self.day))", &days, &users) }
    if event.type == "buy" { Self.add(event, "sales|\(windowStart(event.time, rules.window * 3))|buy", &sales, &users) }
  }

  private static func add(_ event: Truth.Event, _ key: String, _ rows: inout [String: Row], _ users: inout [String: Set<String>]) {
    var row = rows[key] ?? Row()
    row.count += 1
    if users[key, default: []].insert(event.user).inserted { row.users += 1 }
    if let amount = event.amount {
      row.total += amount
      row.amounts += 1
      row.greatest = max(row.greatest ?? amount, amount)
    }
    if let price = event.price {
      row.prices += price
      row.priceCount += 1
      row.least = min(row.least ?? price, price)
    }
    rows[key] = row
  }

  private mutating func countLate(_ event: Truth.Event) {
    if event.type != "noise" { lateCounts["activity|\(windowStart(event.time, rules.window))|\(event.region)|\(event.type)", default: 0] += 1 }
    if event.type != "noise", event.type != "ping" { lateCounts["days|\(windowStart(event.time, Self.day))", default: 0] += 1 }
    if event.type == "buy" { lateCounts["sales|\(windowStart(event.time, rules.window * 3))|buy", default: 0] += 1 }
  }

  /// To be called after all partitions.
  mutating func finish() {
    func text(_ value: Int64?) -> String { value.map(String.init) ?? "NULL" }
    for (key, row) in activity {
      rows[key] =
        "\(row.count) \(row.users) \(row.amounts > 0 ? String(row.total) : "NULL") \(text(row.least)) \(text(row.greatest)) "
        + "\(row.priceCount > 0 ? String(row.prices) : "NULL")/\(row.priceCount)"
    }
    for (key, row) in days { rows[key] = "\(row.users)" }
    for (key, row) in sales { rows[key] = "\(row.count) \(row.users)" }
  }
}
