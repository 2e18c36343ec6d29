/// One message about one alert, as webhooks and commands get it (JSON, times in RFC 3339).
public struct Notice: Sendable, Equatable, Encodable {
  public enum Phase: String, Sendable, Equatable, Encodable {
    case raised, repeated, resolved, test
  }
  public let source = "tidemark"
  /// Of this form.
  public let version = 1
  public var phase: Phase
  public var severity: AlertSeverity
  public var topology: String
  public var kind: String
  public var topic: String?
  public var partition: Int32?
  public var subject: String?
  public var message: String
  public var raisedAt: String
  public var resolvedAt: String?
  /// Equal in all messages of one alert: what receivers recognise a repetition by.
  public var id: String

  enum CodingKeys: String, CodingKey {
    case source, version, phase, severity, topology, kind, topic, partition, subject, message, id
    case raisedAt = "raised_at"
    case resolvedAt = "resolved_at"
  }

  public init(_ phase: Phase, _ alert: StoredAlert, topology: String) {
    self.phase = phase
    severity = alert.severity
    self.topology = topology
    kind = alert.key.kind
    topic = alert.key.topic.isEmpty ? nil : alert.key.topic
    partition = alert.key.partition < 0 ? nil : alert.key.partition
    subject = alert.key.subject.isEmpty ? nil : alert.key.subject
    message = Words.clean(alert.message, most: 2000)
    raisedAt = Words.time(alert.raisedAt)
    resolvedAt = alert.resolvedAt.map(Words.time)
    id = "\(topology)/\(alert.id)"
  }

  /// What `tidemark alerts test` sends.
  public static func test(now: Int64) -> Notice {
    let alert = StoredAlert(
      id: 0, key: AlertKey(kind: "test"), severity: .warning, message: "a test: alerts of Tidemark get through by this channel", raisedAt: now,
      lastSeenAt: now, isByCheck: true)
    return Notice(.test, alert, topology: "test")
  }

  /// One line for people.
  public var line: String {
    let place = topic.map { topic in partition.map { "\(topic)/\($0) " } ?? "\(topic) " } ?? ""
    let about = "\(topology): \(kind) \(place)"
    switch phase {
    case .raised: return "\(severity.rawValue.uppercased()) \(about)\(message)"
    case .repeated: return "STILL \(severity.rawValue.uppercased()) \(about)since \(raisedAt): \(message)"
    case .resolved: return "RESOLVED \(about)open from \(raisedAt) to \(resolvedAt ?? "now"): \(message)"
    case .test: return "TEST \(message)"
    }
  }
}

/// A way to tell somebody.
public protocol AlertChannel: Sendable {
  /// What messages, alerts and rows call it: never an address, which is a secret.
  var name: String { get }
  /// Sends one message and waits, 10 s at most. What fails is tried again: a receiver may get a message twice whose answer was lost.
  /// - Throws: `ChannelFailure`.
  func send(_ notice: Notice) throws(ChannelFailure)
}

/// Why a message did not get through, in words that hold no secret.
public struct ChannelFailure: Error, Sendable, Equatable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}
