import Foundation
import Glibc
import Postgres

/// A PostgreSQL server of one's own: made by initdb in a new directory, on a free port of the loopback, gone with its
/// process. For tests and the demonstration; it syncs nothing to disk unless asked to.
///
/// PostgreSQL refuses to run as root: started by root, it runs as the user `postgres`.
// Safety: see below.
public final class EphemeralPostgres: @unchecked Sendable {
  // Safety: `guardian` is only touched while `lock` is held; everything else is constant.
  private let lock = NSLock()
  private var guardian: Process?
  private var lifeline: Pipe?

  public let directory: URL
  public let port: Int
  private let binaries: String
  private let durable: Bool
  private let keepsDirectory: Bool
  private let parameters: [String]

  /// A libpq connection string of the superuser.
  public var target: String { target(database: "postgres", user: "postgres") }
  public func target(database: String, user: String) -> String { "host=127.0.0.1 port=\(port) user=\(user) dbname=\(database)" }

  /// Makes and starts a server; about a second.
  /// - Parameters:
  ///   - durable: whether it survives a crash of the machine; its own crash it always survives.
  ///   - keepingDirectory: where its files are to be, and stay; nil: a temporary directory.
  ///   - parameters: more of the server's, `name=value`.
  public init(durable: Bool = false, keepingDirectory: URL? = nil, parameters: [String] = []) throws {
    self.parameters = parameters
    binaries = try Self.findBinaries()
    self.durable = durable
    keepsDirectory = keepingDirectory != nil
    directory =
      keepingDirectory ?? FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-postgres-\(UUID().uuidString.prefix(8))")
    port = try Self.freePort()
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    if getuid() == 0 {
      guard let user = getpwnam("postgres") else { throw LocalServerError("no user postgres: install the package postgresql") }
      guard chown(directory.path, user.pointee.pw_uid, user.pointee.pw_gid) == 0 else {
        throw LocalServerError("\(directory.path): cannot be given to the user postgres")
      }
    }
    if !FileManager.default.fileExists(atPath: directory.appendingPathComponent("data/PG_VERSION").path) {
      try run(["\(binaries)/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
    }
    try start()
  }

  deinit { close() }

  private var data: String { directory.appendingPathComponent("data").path }

  /// Starts the server and waits until it answers.
  public func start() throws {
    try lock.withLock {
      let settings = [
        "-p", "\(port)", "-h", "127.0.0.1", "-k", directory.path, "-c", "fsync=\(durable ? "on" : "off")", "-c", "max_connections=60",
        "-c", "log_min_messages=warning", "-c", "shared_buffers=64MB", "-c", "max_wal_size=512MB",
      ] + parameters.flatMap { ["-c", $0] }
      // The server's keeper ends it when this process is gone, however that came about: its standard input closes.
      let keeper = """
        "$0" "$@" >> '\(directory.path)/log' 2>&1 < /dev/null & server=$!; cat > /dev/null; kill -INT $server 2> /dev/null; wait $server
        \(keepsDirectory ? "" : "test -e '\(directory.path)/restarting' || rm -rf '\(directory.path)'")
        """
      let process = Process()
      let pipe = Pipe()
      let command = prefix + ["/bin/sh", "-c", keeper, "\(binaries)/postgres", "-D", data] + settings
      process.executableURL = URL(fileURLWithPath: command[0])
      process.arguments = Array(command.dropFirst())
      process.currentDirectoryURL = directory
      process.standardInput = pipe
      process.standardOutput = FileHandle.nullDevice
      process.standardError = FileHandle.nullDevice
      try process.run()
      (guardian, lifeline) = (process, pipe)
    }
    try awaitAnswer()
  }

  private func awaitAnswer() throws {
    let deadline = Date(timeIntervalSinceNow: 60)
    var last = ""
    while Date() < deadline {
      do {
        _ = try Connection(target, applicationName: "starting", connectTimeout: 5)
        return
      } catch { last = "\(error)" }
      usleep(20_000)
    }
    let log = (try? String(contentsOf: directory.appendingPathComponent("log"), encoding: .utf8)) ?? ""
    throw LocalServerError("PostgreSQL does not start: \(last)\n\(log.suffix(2000))")
  }

  /// Ends the server as a crash would (`immediate`: no checkpoint, connections cut) or in order.
  public func stop(immediately: Bool) throws {
    // Its keeper must not take this for the end.
    let mark = directory.appendingPathComponent("restarting")
    try Data().write(to: mark)
    defer { try? FileManager.default.removeItem(at: mark) }
    try run(["\(binaries)/pg_ctl", "-D", data, "-m", immediately ? "immediate" : "fast", "-w", "stop"])
    lock.withLock {
      try? lifeline?.fileHandleForWriting.close()
      guardian?.waitUntilExit()
      (guardian, lifeline) = (nil, nil)
    }
  }

  /// Ends the server and removes its files.
  public func close() {
    lock.withLock {
      try? lifeline?.fileHandleForWriting.close()
      guardian?.waitUntilExit()
      (guardian, lifeline) = (nil, nil)
    }
    if !keepsDirectory { try? FileManager.default.removeItem(at: directory) }
  }

  private var prefix: [String] { getuid() == 0 ? ["/usr/sbin/runuser", "-u", "postgres", "--"] : ["/usr/bin/env"] }

  private func run(_ command: [String]) throws {
    let process = Process()
    let output = Pipe()
    let command = prefix + command
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    process.currentDirectoryURL = directory
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw LocalServerError("\(command.joined(separator: " ")): \(text)") }
  }

  private static func findBinaries() throws -> String {
    let manager = FileManager.default
    let environment = ProcessInfo.processInfo.environment
    let chosen = environment["TIDEMARK_POSTGRES_BIN"].map { [$0] }
    let versions = ((try? manager.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? []).compactMap(Int.init).sorted(by: >)
    let installed = versions.map { "/usr/lib/postgresql/\($0)/bin" } + (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    for place in chosen ?? installed where manager.isExecutableFile(atPath: "\(place)/initdb") && manager.isExecutableFile(atPath: "\(place)/postgres") {
      return place
    }
    throw LocalServerError(
      chosen.map { "TIDEMARK_POSTGRES_BIN: \($0[0]) has no initdb and postgres" } ?? "PostgreSQL's initdb is not here: install the package postgresql")
  }

  /// A TCP port of the loopback that nobody listens on.
  static func freePort() throws -> Int {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { Glibc.close(socket) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let made = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0 }
    }
    guard socket >= 0, made else { throw LocalServerError("no free TCP port") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}

/// A server for tests or the demonstration cannot be had.
public struct LocalServerError: Error, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}
