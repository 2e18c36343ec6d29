/// Something in a database by which somebody sees more than the topology grants, or might.
public struct AccessFinding: Sendable, Equatable, CustomStringConvertible {
  public enum Severity: String, Sendable {
    /// A hole: what it concerns can be read, or changed, by somebody who must not.
    case leak
    /// Worth knowing; nobody sees more by it.
    case note
  }
  public var severity: Severity
  /// A word for what kind of thing it is: `grant`, `policy`, `view`.
  public var kind: String
  /// What it concerns.
  public var object: String
  /// What is wrong, and the way out.
  public var message: String

  public init(_ severity: Severity, _ kind: String, _ object: String, _ message: String) {
    self.severity = severity
    self.kind = kind
    self.object = object
    self.message = message
  }

  public var description: String { "\(severity.rawValue) \(kind) \(object): \(message)" }
}
