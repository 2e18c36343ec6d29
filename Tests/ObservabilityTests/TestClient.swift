import Foundation
import Glibc
import Observability

/// A client that can behave badly: bytes over a socket, as a test wants them.
final class TestClient: Sendable {
  private let socket: Int32

  /// - Parameter receiveBuffer: bytes that the kernel takes for a client that does not read.
  init(_ address: HTTPAddress, receiveBuffer: Int32? = nil) throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    if var size = receiveBuffer { setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size)) }
    var timeout = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = in_port_t(address.port).bigEndian
    name.sin_addr.s_addr = inet_addr("127.0.0.1")
    let code = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard code == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
  }

  deinit { close(socket) }

  func send(_ text: String) {
    let bytes = Array(text.utf8)
    _ = Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL))
  }

  /// What comes until `wanted` has come, the other side's end or reset, or 20 s of silence. Line ends become \n.
  func receive(until wanted: String? = nil) -> (text: String, isClosed: Bool) {
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(socket, &buffer, buffer.count, 0)
      if count == 0 || (count < 0 && errno != EAGAIN) { return (String(decoding: text, as: UTF8.self), true) }
      if count < 0 { return (String(decoding: text, as: UTF8.self), false) }
      text.append(contentsOf: buffer[..<count].lazy.filter { $0 != 13 })
      if let wanted, Data(text).range(of: Data(wanted.utf8)) != nil { return (String(decoding: text, as: UTF8.self), false) }
    }
  }

  /// One request on a connection of its own; the whole answer.
  static func get(_ path: String, at address: HTTPAddress, _ headers: String..., method: String = "GET") throws -> (status: Int, head: String, body: String) {
    let client = try TestClient(address)
    let host = headers.contains { $0.lowercased().hasPrefix("host:") } ? [] : ["Host: 127.0.0.1:\(address.port)"]
    client.send(([ "\(method) \(path) HTTP/1.1"] + host + headers + ["Connection: close"]).joined(separator: "\r\n") + "\r\n\r\n")
    let text = client.receive().text
    let parts = text.components(separatedBy: "\n\n")
    return (Int(text.split(separator: " ").dropFirst().first ?? "") ?? 0, parts[0], parts.dropFirst().joined(separator: "\n\n"))
  }
}
