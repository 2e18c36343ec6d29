import Foundation

/// The exact result that a stream must have, in whatever pieces it was consumed.
///
///     { "topology": "product-events",
///       "offsets": 100000,
///       "ledger": { "applied": …, "filtered": …, "duplicate": …, "late": …, "quarantined": …, "gap": 0, "tombstones": …, "misrouted": … },
///       "quarantine": { "late": …, "invalid_json": …, … },
///       "aggregates": { "daily_metrics": {
///         "by": ["department", "event_type"],
///         "rows": [ { "window_start": "2024-06-01T00:00:00Z", "by": ["sales", "click"], "measures": { "event_count": 12, "revenue_cents": null } } ],
///         "late": [ { "window_start": …, "by": […], "count": 3 } ] } } }
///
/// Aggregates and measures are named as in SQL; an average is its `…_sum` and `…_count`. Counts and integers are JSON
/// integers where 64 bits hold them; decimals are texts. Rows are in order of window and key.
public struct ExpectedResult: Codable, Equatable, Sendable {
  public enum Value: Codable, Equatable, Sendable {
    case integer(Int64)
    case text(String)
    case null

    public init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if container.decodeNil() {
        self = .null
      } else if let number = try? container.decode(Int64.self) {
        self = .integer(number)
      } else {
        self = .text(try container.decode(String.self))
      }
    }
    public func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .integer(let number): try container.encode(number)
      case .text(let text): try container.encode(text)
      case .null: try container.encodeNil()
      }
    }
    /// As PostgreSQL shows it; nil: NULL.
    public var text: String? {
      switch self {
      case .integer(let number): String(number)
      case .text(let text): text
      case .null: nil
      }
    }
  }
  public struct Row: Codable, Equatable, Sendable {
    public var window_start: String
    public var by: [String]
    public var measures: [String: Value]
  }
  public struct LateRow: Codable, Equatable, Sendable {
    public var window_start: String
    public var by: [String]
    public var count: Int64
  }
  public struct Aggregate: Codable, Equatable, Sendable {
    public var by: [String]
    public var rows: [Row]
    public var late: [LateRow]
  }
  public var topology: String
  public var offsets: Int64
  public var ledger: [String: Int64]
  public var quarantine: [String: Int64]
  public var aggregates: [String: Aggregate]

  /// Writes it as JSON with sorted keys.
  public func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    try encoder.encode(self).write(to: URL(fileURLWithPath: path))
  }

  public static func read(from path: String) throws -> ExpectedResult {
    try JSONDecoder().decode(ExpectedResult.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// `2024-06-01T00:00:00Z`, with a fraction where there is one.
  public static func timeText(_ microseconds: Int64) -> String {
    // Days west of UTC begin before 1970 for its first hours.
    let second = Int((Double(microseconds) / 1_000_000).rounded(.down))
    let day = Int((Double(second) / 86_400).rounded(.down)), rest = second - day * 86_400
    let clock = [rest / 3600, rest / 60 % 60, rest % 60].map { CivilDay.padded($0, 2) }.joined(separator: ":")
    var fraction = microseconds % 1_000_000 == 0 ? "" : "." + CivilDay.padded(Int(microseconds) - second * 1_000_000, 6)
    while fraction.hasSuffix("0") { fraction.removeLast() }
    return "\(CivilDay(number: day))T\(clock)\(fraction)Z"
  }
}
