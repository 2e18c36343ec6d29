/// What PostgreSQL, or the way to it, refused.
public struct PostgresError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What follows from an error, for whoever has to decide what to do next.
  public enum Consequence: Sendable, Equatable {
    /// No answer any more: whether the last statement took effect is not known.
    case connectionLost
    /// No connection could be made (server away, starting, shutting down, too many clients).
    case unreachable
    /// Trying the whole transaction again is right (deadlock, serialization, lock or statement timeout).
    case retry
    /// A value does not fit (classes 22 and 23): the same statement fails again.
    case data
    /// Login refused, permission denied, something missing: an operator has to act.
    case refused
  }
  public var consequence: Consequence
  /// Five characters; empty where the server said none.
  public var sqlState: String
  public var message: String
  /// The server's detail and hint; may hold values of rows, so it is not part of `description`.
  public var detail: String

  public init(_ consequence: Consequence, sqlState: String = "", message: String, detail: String = "") {
    self.consequence = consequence
    self.sqlState = sqlState
    self.message = message
    self.detail = detail
  }

  /// The server's words and its SQLSTATE.
  public var description: String { sqlState.isEmpty ? message : "\(message) (SQLSTATE \(sqlState))" }

  /// What a SQLSTATE means for the transaction that met it.
  /// Source: PostgreSQL documentation, appendix A.
  public static func consequence(ofSQLState state: String) -> Consequence {
    switch state {
    case "40001", "40P01", "55P03", "57014", "25P02", "55006": .retry
    case "57P01", "57P02", "57P05", "25P03": .connectionLost
    // A read-only transaction: this server is a standby (now), the next connection may reach the primary.
    case "25006": .connectionLost
    case "57P03", "53300": .unreachable
    case _ where state.hasPrefix("08"): .connectionLost
    case _ where state.hasPrefix("53"), _ where state.hasPrefix("58"): .retry
    case _ where state.hasPrefix("22"), _ where state.hasPrefix("23"): .data
    default: .refused
    }
  }
}
