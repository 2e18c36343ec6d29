extension Topology {
  /// `monitor:`: when somebody is to be told. nil: that check is off. Every threshold has a default, and no part of it
  /// decides results, so the fingerprint does not know it.
  public struct Monitor: Sendable, Equatable {
    public var freshness: Freshness? = Freshness()
    public var events: Events? = Events()
    public var refresh: Refresh? = Refresh()
    public var reconciliation: Reconciliation? = Reconciliation()
    public var lag: Lag? = Lag()
    public var quarantine: Quarantine? = Quarantine()
    public var queries: Queries? = Queries()
    public var storage: Storage? = Storage()
    public var fenced: Fenced? = Fenced()
    /// How often an open alert is said again.
    public var repeatEvery = TimeSpan(microseconds: 4 * 3_600 * TimeSpan.second)
    /// How long a condition must be gone before its alert is resolved: a value that swings around its threshold is one alert.
    public var settle = TimeSpan(microseconds: 120 * TimeSpan.second)

    public init() {}

    /// Rows are stale when nothing was flushed for twice the expected interval although there is something to read.
    public struct Freshness: Sendable, Equatable {
      public var expected = TimeSpan(microseconds: 60 * TimeSpan.second)
    }
    /// An hour has far fewer events than hours like it had.
    public struct Events: Sendable, Equatable {
      public var drop = Percent(thousandths: 50_000)
      /// Hours that used to have fewer events say nothing.
      public var floor = 100
      /// The aggregate that counts events; nil: the one with the shortest windows that has a count, or else the ledger.
      public var aggregate: String?
      /// The `by` field of it that is the event's type; nil: `event_type`, or the only one.
      public var by: String?
    }
    /// Longest age of a nightly view's last good refresh.
    public struct Refresh: Sendable, Equatable {
      public var daily = TimeSpan(microseconds: 26 * 3_600 * TimeSpan.second)
      public var hourly = TimeSpan(microseconds: 2 * 3_600 * TimeSpan.second)
    }
    public struct Reconciliation: Sendable, Equatable {
      /// Most unexplained differences of a run that nobody need hear of.
      public var unexplained = 0
    }
    public struct Lag: Sendable, Equatable {
      public var growingFor = TimeSpan(microseconds: 600 * TimeSpan.second)
      /// A lag of fewer events is none.
      public var floor = 10_000
    }
    public struct Quarantine: Sendable, Equatable {
      public var rate = Percent(thousandths: 1_000)
      public var within = TimeSpan(microseconds: 900 * TimeSpan.second)
      /// Fewer refused events say nothing.
      public var floor = 10
    }
    public struct Queries: Sendable, Equatable {
      public var slowerThan = TimeSpan(microseconds: 3 * TimeSpan.second)
      public var within = TimeSpan(microseconds: 600 * TimeSpan.second)
    }
    public struct Storage: Sendable, Equatable {
      /// What the database may grow to; nil: nobody said, so no time to full is known.
      public var capacity: ByteSize?
      public var timeToFull = TimeSpan(microseconds: 14 * TimeSpan.day)
      /// Growth within a day.
      public var growth = Percent(thousandths: 50_000)
      /// Less growth than that is no reason to wake anybody.
      public var floor = ByteSize(bytes: 1 << 30)
    }
    /// A partition was taken over, and whoever had it fenced, so many times.
    public struct Fenced: Sendable, Equatable {
      public var times = 5
      public var within = TimeSpan(microseconds: 900 * TimeSpan.second)
    }
  }

  /// What freshness is held against where it is shown: `monitor.freshness.expected`, its default where the check is off.
  public var freshnessTarget: TimeSpan { (monitor.freshness ?? Monitor.Freshness()).expected }

  /// Where events are counted by event time: an aggregate with a count, whose windows make up an hour.
  public struct EventCount: Sendable, Equatable {
    public var table: String
    /// Column of the count.
    public var measure: String
    /// Column of the event's type; nil: the aggregate does not tell types apart.
    public var type: String?
    /// Microseconds of a window; an hour is a multiple of it.
    public var window: Int64
  }

  /// The aggregate that `monitor.events` names, or else the one that suits best. nil: none does, the ledger counts then.
  public var eventCount: EventCount? {
    let named = monitor.events?.aggregate
    let suitable = aggregates.filter { $0.countsHours && (named == nil || $0.name == named) }
    func type(_ aggregate: Aggregate) -> String? {
      if let by = monitor.events?.by { return aggregate.by.contains(by) ? by : nil }
      if aggregate.by.contains("event_type") { return "event_type" }
      return aggregate.by.count == 1 ? aggregate.by[0] : nil
    }
    func rank(_ aggregate: Aggregate) -> (Int, Int64) { (type(aggregate) == nil ? 1 : 0, aggregate.windowLength) }
    guard let best = suitable.min(by: { rank($0) < rank($1) }), let measure = best.measures.first(where: { $0.kind == .count }) else { return nil }
    return EventCount(
      table: best.tableName, measure: Topology.sqlName(measure.name), type: type(best).map(Topology.sqlName), window: best.windowLength)
  }
}

extension Topology.Aggregate {
  /// Microseconds.
  var windowLength: Int64 {
    switch window {
    case .tumbling(let length): length.microseconds
    }
  }

  /// Whether hours can be counted in its table.
  var countsHours: Bool { 3_600 * TimeSpan.second % windowLength == 0 && measures.contains { $0.kind == .count } }
}

/// A share, exact to a thousandth of a percent: `50 %`, `0.5%`.
public struct Percent: Hashable, Sendable, CustomStringConvertible {
  public var thousandths: Int
  public init(thousandths: Int) { self.thousandths = thousandths }

  /// nil: no number with at most three decimals and a percent sign, or more than a million.
  public init?(_ text: String) {
    guard text.hasSuffix("%") else { return nil }
    var number = text.dropLast()
    while number.hasSuffix(" ") { number = number.dropLast() }
    let parts = number.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy { $0.isASCII && $0.isNumber } }) else { return nil }
    let fraction = parts.count == 2 ? parts[1] : ""
    guard fraction.count <= 3, let whole = Int(parts[0]), whole <= 1_000_000 else { return nil }
    thousandths = whole * 1000 + (Int(fraction + String(repeating: "0", count: 3 - fraction.count)) ?? 0)
  }

  public var fraction: Double { Double(thousandths) / 100_000 }

  public var description: String {
    guard thousandths % 1000 != 0 else { return "\(thousandths / 1000) %" }
    var digits = String(String(1000 + thousandths % 1000).dropFirst())
    while digits.hasSuffix("0") { digits.removeLast() }
    return "\(thousandths / 1000).\(digits) %"
  }
}

/// A size as people write it: `500 GiB`, `2TB`.
public struct ByteSize: Hashable, Sendable, CustomStringConvertible {
  public var bytes: Int64
  public init(bytes: Int64) { self.bytes = bytes }

  private static let units: [(name: String, bytes: Int64)] = [
    ("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
  ]

  /// Reads a whole number and a unit. nil: no size, or one beyond 8 EiB.
  public init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }
    guard let number = Int64(digits), let factor = Self.units.first(where: { $0.name == unit })?.bytes else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: factor)
    guard !overflow else { return nil }
    bytes = product
  }

  /// In the binary unit that leaves one to four digits: `512 MiB`, `1.4 TiB`.
  public var description: String {
    let names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var scale = 0
    while scale < names.count - 1, bytes.magnitude >= 1 << (10 * (scale + 1)) { scale += 1 }
    let unit = Int64(1) << (10 * scale)
    let tenths = Int((Double(bytes) / Double(unit) * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10) \(names[scale])" : "\(tenths / 10).\(abs(tenths % 10)) \(names[scale])"
  }
}
