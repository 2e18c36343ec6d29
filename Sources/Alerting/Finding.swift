/// What makes two alerts the same: a row of `tidemark.alert` that is open has no equal.
public struct AlertKey: Hashable, Sendable {
  public var kind: String
  /// Empty, or the topic; alerts of the batch side have a name of theirs here.
  public var topic: String
  /// -1: no partition.
  public var partition: Int32
  /// An event type, a statement, a channel: what tells alerts of one kind apart. Empty: there is one.
  public var subject: String

  public init(kind: String, topic: String = "", partition: Int32 = -1, subject: String = "") {
    self.kind = kind
    self.topic = topic
    self.partition = partition
    self.subject = subject
  }
}

public enum AlertSeverity: String, Sendable, Equatable, Codable {
  case warning, critical
}

/// A condition that holds now.
public struct Finding: Sendable, Equatable {
  public var key: AlertKey
  public var severity: AlertSeverity
  /// One line; what a hostile topic can put into it is cut and cleaned.
  public var message: String
  /// false: it keeps an open alert open, but another alert says it already.
  public var raises = true

  public init(_ key: AlertKey, _ severity: AlertSeverity, _ message: String, raises: Bool = true) {
    self.key = key
    self.severity = severity
    self.message = message
    self.raises = raises
  }
}

/// The checks by the kind of their alerts.
public enum CheckKind: String, Sendable, CaseIterable {
  case stale
  case eventsDown = "events_down"
  case refreshFailed = "refresh_failed"
  case refreshLate = "refresh_late"
  case reconciliation = "reconciliation_difference"
  case lagGrowing = "lag_growing"
  case quarantineRate = "quarantine_rate"
  case slowQuery = "slow_query"
  case storageGrowth = "storage_growth"
  case storageFull = "storage_full"
  case fenced = "fenced_repeatedly"
  case channelFailing = "channel_failing"
}

/// What one check came to.
public struct Assessment: Sendable, Equatable {
  public enum Verdict: Sendable, Equatable {
    /// Empty: all is well.
    case findings([Finding])
    /// Cannot be said, and why: open alerts stay.
    case unknown(String)
    /// Switched off: open alerts are resolved.
    case off
  }
  public var kind: CheckKind
  public var verdict: Verdict
  public init(_ kind: CheckKind, _ verdict: Verdict) {
    self.kind = kind
    self.verdict = verdict
  }
}

/// Texts for messages.
enum Words {
  /// One line of at most `most` characters; control, format and private characters become spaces.
  static func clean(_ text: String, most: Int = 64) -> String {
    var out = ""
    var count = 0
    for scalar in text.unicodeScalars {
      if count == most { return out + "..." }
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: out += " "
      default: out.unicodeScalars.append(scalar)
      }
      count += 1
    }
    return out
  }

  /// `3 days`, `2 hours`, `4 minutes 10 seconds`: the two greatest units.
  static func span(_ microseconds: Int64) -> String {
    var seconds = max(0, microseconds / 1_000_000)
    var parts: [String] = []
    for (name, length) in [("day", Int64(86_400)), ("hour", 3_600), ("minute", 60), ("second", 1)] where seconds >= length && parts.count < 2 {
      let count = seconds / length
      parts.append("\(count) \(name)\(count == 1 ? "" : "s")")
      seconds -= count * length
    }
    return parts.isEmpty ? "0 seconds" : parts.joined(separator: " ")
  }

  /// `1,234,567`.
  static func grouped(_ number: Int64) -> String {
    var digits = String(number.magnitude)
    var out = ""
    while digits.count > 3 {
      out = "," + digits.suffix(3) + out
      digits.removeLast(3)
    }
    return (number < 0 ? "-" : "") + digits + out
  }

  /// The first few, and how many more there are.
  static func some(_ texts: [String], most: Int = 4) -> String {
    texts.count > most ? texts.prefix(most).joined(separator: ", ") + " and \(texts.count - most) more" : texts.joined(separator: ", ")
  }

  /// RFC 3339 in UTC, whole seconds.
  static func time(_ microseconds: Int64) -> String {
    var seconds = microseconds / 1_000_000
    if microseconds < 0, microseconds % 1_000_000 != 0 { seconds -= 1 }
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let second = seconds - days * 86_400
    // Days since 0000-03-01, as Howard Hinnant counts them.
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func two(_ n: Int64) -> String { n < 10 ? "0\(n)" : "\(n)" }
    let years = String(repeating: "0", count: max(0, 4 - String(year).count)) + String(year)
    return "\(years)-\(two(month))-\(two(day))T\(two(second / 3_600)):\(two(second / 60 % 60)):\(two(second % 60))Z"
  }
}
