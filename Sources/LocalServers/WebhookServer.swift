import Foundation
import Glibc

/// An HTTP server on a free port of the loopback that keeps what is posted to it. For tests of what sends messages.
// Safety: see below.
public final class WebhookServer: @unchecked Sendable {
  /// One request as it came.
  public struct Received: Sendable {
    public var path: String
    /// By name in small letters.
    public var headers: [String: String]
    public var body: String
  }

  // Safety: `requests` and `script` are only touched while `condition` is locked; everything else is constant.
  private let condition = NSCondition()
  private var requests: [Received] = []
  private var script: (status: Int, headers: [String], holdsBack: Bool) = (200, [], false)
  private let listener: Int32
  public let port: Int

  public var url: String { "http://127.0.0.1:\(port)" }

  public init() throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let made = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) == 0 && getsockname(listener, $0, &length) == 0 }
    }
    guard listener >= 0, made, listen(listener, 64) == 0 else { throw LocalServerError("no port for a webhook server") }
    self.listener = listener
    port = Int(UInt16(bigEndian: address.sin_port))
    let thread = Thread { [weak self] in
      while true {
        let connection = accept(listener, nil, nil)
        if connection < 0 { return }
        self?.serve(connection)
        close(connection)
      }
    }
    thread.start()
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
  }

  /// What it answers from now on.
  /// - Parameter holdsBack: it takes requests and never answers.
  public func answer(_ status: Int, headers: [String] = [], holdsBack: Bool = false) {
    condition.withLock { script = (status, headers, holdsBack) }
  }

  /// Everything that came, in order.
  public var received: [Received] { condition.withLock { requests } }

  /// Waits until so many requests have come.
  public func awaitRequests(_ count: Int, seconds: Double = 60) -> [Received] {
    condition.withLock {
      let deadline = Date(timeIntervalSinceNow: seconds)
      while requests.count < count { if !condition.wait(until: deadline) { break } }
      return requests
    }
  }

  private func serve(_ connection: Int32) {
    guard let request = Self.read(connection) else { return }
    let (status, headers, holdsBack) = condition.withLock {
      requests.append(request)
      condition.broadcast()
      return script
    }
    if holdsBack {
      // Until the client gives up.
      var byte: UInt8 = 0
      while Glibc.read(connection, &byte, 1) > 0 {}
      return
    }
    let head = (["HTTP/1.1 \(status) Status", "Content-Length: 2", "Connection: close"] + headers).joined(separator: "\r\n")
    let answer = Array("\(head)\r\n\r\nok".utf8)
    _ = answer.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
  }

  private static func read(_ connection: Int32) -> Received? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    var end: Int?
    var wanted = 0
    var head: [String] = []
    while end == nil || bytes.count < wanted {
      let count = Glibc.read(connection, &chunk, chunk.count)
      guard count > 0, bytes.count < 1 << 20 else { return nil }
      bytes += chunk[0..<count]
      if end == nil, let at = bytes.indices.dropLast(3).first(where: { bytes[$0..<$0 + 4].elementsEqual("\r\n\r\n".utf8) }) {
        head = String(decoding: bytes[..<at], as: UTF8.self).components(separatedBy: "\r\n")
        end = at + 4
        wanted = at + 4 + (head.lazy.compactMap { field($0, "content-length") }.first.flatMap { Int($0) } ?? 0)
      }
    }
    let words = head[0].split(separator: " ")
    guard words.count == 3, let end else { return nil }
    var headers: [String: String] = [:]
    for line in head.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    return Received(path: String(words[1]), headers: headers, body: String(decoding: bytes[end...], as: UTF8.self))
  }

  private static func field(_ line: String, _ name: String) -> String? {
    line.lowercased().hasPrefix("\(name):") ? line.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) : nil
  }
}
