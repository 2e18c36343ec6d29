/// What one channel has been told of one alert.
public struct Delivery: Sendable, Equatable {
  /// When it was told last that the alert is open; nil: never. Microseconds since the epoch.
  public var toldAt: Int64?
  /// How often.
  public var told: Int
  public var resolutionToldAt: Int64?

  public init(toldAt: Int64? = nil, told: Int = 0, resolutionToldAt: Int64? = nil) {
    self.toldAt = toldAt
    self.told = told
    self.resolutionToldAt = resolutionToldAt
  }

  /// What the channel is owed now; nil: nothing. What fails is owed still, so nothing is forgotten; what is recorded as told
  /// is never owed again, so nothing is repeated before its time.
  ///
  ///     untold ──raised──► told ──repeated, every `repeatEvery`──┐
  ///       │                 │ ▲                                  │
  ///       │ resolved:       │ └──────────────────────────────────┘
  ///       ▼ nothing         │ resolved
  ///     silent              ▼
  ///                   told of its end
  public func owed(_ alert: StoredAlert, repeatEvery: Int64, now: Int64) -> Notice.Phase? {
    guard alert.resolvedAt == nil else { return toldAt != nil && resolutionToldAt == nil ? .resolved : nil }
    guard let toldAt else { return .raised }
    return now - toldAt >= repeatEvery ? .repeated : nil
  }

  public mutating func record(_ phase: Notice.Phase, at now: Int64) {
    switch phase {
    case .raised, .repeated:
      toldAt = now
      told += 1
    case .resolved: resolutionToldAt = now
    case .test: break
    }
  }
}

extension MonitorFacts.ChannelState {
  /// Most messages that one pass sends by one channel: a storm of alerts neither floods it nor holds up the others.
  public static let mostInAPass = 20

  /// Whether to try at all: a channel that fails is tried again after 1, 2, 4, 8 and then every 15 minutes.
  public func mayTry(now: Int64) -> Bool { nextAttemptAt.map { now >= $0 } ?? true }

  /// After one attempt. `error`: nil: it went through.
  public mutating func record(error: String?, at now: Int64) {
    guard let error else {
      self = Self(name: name, failures: 0)
      return
    }
    failures += 1
    lastError = error
    nextAttemptAt = now + 60_000_000 * min(15, 1 << min(failures - 1, 10))
  }
}
