/// Text in Prometheus' exposition format 0.0.4.
struct PrometheusText {
  private(set) var text = ""
  private var current: Metric?

  static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  /// Begins a family: all samples of it follow.
  mutating func begin(_ metric: Metric) {
    current = metric
    text += "# HELP \(metric.name) \(Self.escaped(metric.help, quotes: false))\n# TYPE \(metric.name) \(metric.type.rawValue)\n"
  }

  mutating func add(_ value: Double, _ labels: [(String, String)] = []) { line("", value, labels) }
  mutating func add(_ value: some BinaryInteger, _ labels: [(String, String)] = []) { line("", Double(value), labels) }

  /// Buckets, sum and count.
  mutating func add(_ counts: [Int64], bounds: [Double], sum: Double, _ labels: [(String, String)]) {
    precondition(current?.type == .histogram, "only histograms have buckets")
    var below: Int64 = 0
    for (i, count) in counts.enumerated() {
      below += count
      line("_bucket", Double(below), labels + [("le", i < bounds.count ? Self.number(bounds[i]) : "+Inf")])
    }
    line("_sum", sum, labels)
    line("_count", Double(below), labels)
  }

  private mutating func line(_ suffix: String, _ value: Double, _ labels: [(String, String)]) {
    guard let current else { preconditionFailure("a sample belongs to a family") }
    assert(labels.map(\.0).filter { $0 != "le" } == current.labels, "\(current.name) has the labels \(current.labels)")
    text += current.name + suffix
    if !labels.isEmpty { text += "{" + labels.map { "\($0.0)=\"\(Self.escaped($0.1, quotes: true))\"" }.joined(separator: ",") + "}" }
    text += " \(Self.number(value))\n"
  }

  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
  }

  private static func escaped(_ text: String, quotes: Bool) -> String {
    var result = ""
    for character in text.unicodeScalars {
      switch character {
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\"" where quotes: result += "\\\""
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }
}
