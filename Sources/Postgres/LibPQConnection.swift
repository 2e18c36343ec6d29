import CLibPQ
import Glibc

/// One connection to PostgreSQL, used by one thread at a time. Calls block, up to `deadline` each.
///
/// A statement that is not answered in time (server stopped, network gone) closes the connection: the caller learns
/// `connectionLost` instead of waiting for ever, and makes a new connection.
public final class Connection {
  let raw: OpaquePointer
  /// Longest wait for the answer to one statement, milliseconds.
  public var deadline: Int32 = 60_000
  private var isClosed = false

  /// Connects.
  /// - Parameters:
  ///   - target: a libpq connection string or URI; what it does not name comes from the `PG*` variables.
  ///   - applicationName: shown in `pg_stat_activity`.
  ///   - login: as whom, whatever the target says.
  /// - Throws: `unreachable`, or `refused` with the server's words; passwords are in neither.
  public init(_ target: String, applicationName: String, connectTimeout seconds: Int = 10, login: Login? = nil) throws(PostgresError) {
    // In this order: what stands before `dbname` is a default that the target may override.
    var parameters: [(String, String)] = [
      ("connect_timeout", String(seconds)), ("fallback_application_name", applicationName), ("client_encoding", "UTF8"),
      ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"), ("tcp_user_timeout", "30000"),
      ("dbname", target),
    ]
    if let login { parameters += [("user", login.name), ("password", login.password)] }
    let made = Self.withStrings(parameters.map(\.0)) { keys in
      Self.withStrings(parameters.map(\.1)) { values in PQconnectdbParams(keys, values, 1) }
    }
    guard let made else { throw PostgresError(.unreachable, message: "out of memory for a connection") }
    guard PQstatus(made) == CONNECTION_OK else {
      let text = Self.withoutTarget(Self.trimmed(PQerrorMessage(made)))
      PQfinish(made)
      throw PostgresError(Self.consequence(ofConnectFailure: text), message: text)
    }
    raw = made
    PQsetnonblocking(raw, 1)
    PQsetNoticeProcessor(raw, { _, _ in }, nil)
  }

  deinit { PQfinish(raw) }

  /// libpq gives no SQLSTATE when connecting fails: the words have to do.
  private static func consequence(ofConnectFailure text: String) -> PostgresError.Consequence {
    let refusals = ["authentication failed", "does not exist", "no pg_hba.conf entry", "permission denied for database", "invalid connection option",
      "missing \"=\"", "no password supplied", "is not permitted to log in", "invalid URI", "invalid integer value", "invalid sslmode"]
    return refusals.contains { text.contains($0) } ? .refused : .unreachable
  }

  /// libpq quotes a connection string that it cannot read, or the part where it stopped, with whatever password is in it.
  private static func withoutTarget(_ text: String) -> String {
    guard ["connection info string", "in URI", "URI query", "invalid URI", "invalid percent-encoded"].contains(where: { text.contains($0) }) else { return text }
    var out = ""
    for (index, part) in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated() { out += index % 2 == 0 ? String(part) : "\"...\"" }
    return out
  }

  private static func trimmed(_ text: UnsafePointer<CChar>?) -> String {
    guard let text else { return "no reason given" }
    let lines = String(cString: text).split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
    return lines.joined(separator: "; ")
  }

  /// Calls `body` with a NULL-terminated array of C strings.
  private static func withStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R) -> R {
    var pointers: [UnsafePointer<CChar>?] = strings.map { UnsafePointer(strdup($0)) }
    pointers.append(nil)
    defer { for pointer in pointers { free(UnsafeMutablePointer(mutating: pointer)) } }
    return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
  }

  /// `150018` for 15.18.
  public var serverVersion: Int { Int(PQserverVersion(raw)) }
  public var user: String { String(cString: PQuser(raw)) }
  public var database: String { String(cString: PQdb(raw)) }
  /// Host, port and database: for messages; holds no secret.
  public var place: String { "\(String(cString: PQhost(raw))):\(String(cString: PQport(raw)))/\(database)" }
  /// Process id of the server's side.
  public var backend: Int32 { PQbackendPID(raw) }

  /// Whether a transaction is open, or broken and waiting for its ROLLBACK.
  public var isInTransaction: Bool { PQtransactionStatus(raw) == PQTRANS_INTRANS || PQtransactionStatus(raw) == PQTRANS_INERROR }
  /// False once the connection is lost; a lost one never comes back.
  public var isUsable: Bool { !isClosed && PQstatus(raw) == CONNECTION_OK }

  /// Runs one statement with parameters `$1…`; values come back in binary form. One round trip.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [Parameter] = []) throws(PostgresError) -> Rows {
    try run { raw in Self.send(raw, sql, parameters, binary: true) }
  }

  /// Runs one statement; values come back as text, as psql shows them.
  public func query(_ sql: String, _ parameters: [Parameter] = []) throws(PostgresError) -> [[String?]] {
    let rows = try run { raw in Self.send(raw, sql, parameters, binary: false) }
    return (0..<rows.count).map { row in (0..<rows.columnCount).map { rows.text(row, $0) } }
  }

  /// Runs several statements, separated by semicolons, in one round trip; the answer is the last one's.
  @discardableResult
  public func script(_ sql: String) throws(PostgresError) -> Rows { try run { raw in PQsendQuery(raw, sql) } }

  private static func send(_ raw: OpaquePointer, _ sql: String, _ parameters: [Parameter], binary: Bool) -> Int32 {
    let encoded = parameters.map(\.encoded)
    let types = parameters.map(\.type)
    let lengths = encoded.map { Int32($0?.count ?? 0) }
    let formats = [Int32](repeating: 1, count: parameters.count)
    var pointers: [UnsafePointer<CChar>?] = []
    pointers.reserveCapacity(encoded.count)
    func descend(_ index: Int) -> Int32 {
      if index == encoded.count {
        return PQsendQueryParams(raw, sql, Int32(encoded.count), types, pointers, lengths, formats, binary ? 1 : 0)
      }
      guard let value = encoded[index] else {
        pointers.append(nil)
        return descend(index + 1)
      }
      // An empty value is not NULL: it needs an address.
      if value.isEmpty { return "".withCString { pointers.append($0); return descend(index + 1) } }
      return value.withUnsafeBytes {
        pointers.append($0.baseAddress!.assumingMemoryBound(to: CChar.self))
        return descend(index + 1)
      }
    }
    return descend(0)
  }

  // MARK: Waiting

  func run(_ send: (OpaquePointer) -> Int32, copied: (UnsafeRawBufferPointer) -> Void = { _ in }) throws(PostgresError) -> Rows {
    guard isUsable else { throw PostgresError(.connectionLost, message: "the connection is closed") }
    let end = Self.now() + Int64(deadline)
    guard send(raw) == 1 else { throw lost() }
    while true {
      let left = PQflush(raw)
      if left == 0 { break }
      guard left == 1, wait(until: end, writing: true), PQconsumeInput(raw) == 1 else { throw lost() }
    }
    var last: Rows?
    var failure: PostgresError?
    while true {
      while PQisBusy(raw) == 1 { guard wait(until: end, writing: false), PQconsumeInput(raw) == 1 else { throw lost() } }
      guard let result = PQgetResult(raw) else { break }
      switch PQresultStatus(result) {
      case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: last = Rows(result)
      case PGRES_COPY_OUT:
        PQclear(result)
        try drainCopy(until: end, copied)
      default:
        if failure == nil { failure = Self.error(of: result) }
        PQclear(result)
      }
    }
    if var failure {
      if !isUsable { failure.consequence = .connectionLost }
      throw failure
    }
    guard let last else { throw lost() }
    return last
  }

  static func error(of result: OpaquePointer) -> PostgresError {
    let state = tm_sqlstate(result).map { String(cString: $0) } ?? ""
    let message = tm_primary_message(result).map { String(cString: $0) } ?? trimmed(PQresultErrorMessage(result))
    let detail = [tm_detail(result), tm_hint(result)].compactMap { $0.map { String(cString: $0) } }.joined(separator: "; ")
    return PostgresError(
      state.isEmpty ? .connectionLost : PostgresError.consequence(ofSQLState: state), sqlState: state, message: message, detail: detail)
  }

  private var timedOut = false

  func lost() -> PostgresError {
    isClosed = true
    if timedOut { return PostgresError(.connectionLost, message: "PostgreSQL gave no answer within \(deadline) ms") }
    return PostgresError(.connectionLost, message: Self.trimmed(PQerrorMessage(raw)))
  }

  /// Monotonic milliseconds; only differences are used.
  static func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  /// Waits for the socket; false: the time is up, or the socket is gone.
  func wait(until end: Int64, writing: Bool) -> Bool {
    while true {
      let left = end - Self.now()
      guard left > 0 else {
        timedOut = true
        return false
      }
      let socket = PQsocket(raw)
      guard socket >= 0 else { return false }
      var poller = pollfd(fd: socket, events: Int16(POLLIN | (writing ? POLLOUT : 0)), revents: 0)
      let ready = poll(&poller, 1, Int32(min(left, 1_000_000)))
      if ready > 0 { return true }
      if ready < 0, errno != EINTR { return false }
    }
  }
}

/// Names and texts inside SQL that cannot take a parameter.
public enum SQL {
  /// `"name"`, with quotes inside doubled.
  public static func identifier(_ name: String) -> String { "\"" + name.replacing("\"", with: "\"\"") + "\"" }
  /// `'text'`, with quotes inside doubled; `standard_conforming_strings` is on.
  public static func literal(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }
}
