import CLibPQ

/// A name and a password to log in with; the password goes to no log and no process list.
public struct Login: Sendable {
  public let name: String
  public let password: String

  public init(name: String, password: String) {
    self.name = name
    self.password = password
  }
}

extension Connection {
  /// The password as the server keeps it (SCRAM-SHA-256): what stands in statements, and so in a server's log, is not the
  /// password itself.
  public func verifier(of login: Login) throws(PostgresError) -> String {
    guard let text = PQencryptPasswordConn(raw, login.password, login.name, "scram-sha-256") else { throw lost() }
    defer { PQfreemem(text) }
    return String(cString: text)
  }
}
