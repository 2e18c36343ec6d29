/// Where the HTTP service listens, who may ask it what, and its bounds.
public struct HTTPSettings: Sendable {
  public var address: HTTPAddress
  /// What `Authorization: Bearer …` has to say; nil: nothing, on loopback only.
  public var token: BearerToken?
  /// An instance that is further behind than this, in seconds, is not ready.
  public var lagBudget: Double = 60
  public var limits = Limits()

  /// Every bound of the service in one place.
  public struct Limits: Sendable, Equatable {
    /// Connections at a time; more wait in the kernel's queue.
    public var connections = 128
    /// Of those, clients of `/events`; a quarter stays for probes and scrapes whatever happens.
    public var eventClients = 32
    /// Bytes of all header fields of a request, of one of them, and their number.
    public var headerBytes = 16 << 10
    public var headerFieldBytes = 8 << 10
    public var headerFields = 64
    /// Seconds for a request to arrive, and for an idle connection to be closed.
    public var idle: Int64 = 15
    /// Seconds for a client to take an answer.
    public var writing: Int64 = 30
    /// Messages that wait for one client of `/events`; one that is further behind is dropped.
    public var queue = 64
    /// Seconds between comments on a silent `/events`, so that both ends notice a dead one.
    public var heartbeat = 15
    public init() {}
  }

  public init(address: HTTPAddress, token: BearerToken? = nil) {
    self.address = address
    self.token = token
  }

  /// What is wrong with them; nil: nothing.
  public var problem: String? {
    if token == nil, !address.isLoopback {
      return "--http \(address) can be reached from other machines: it needs a bearer token, from --http-token-file FILE or TIDEMARK_HTTP_TOKEN"
    }
    return nil
  }
}

/// `HOST:PORT`, `[::1]:PORT`, or a port alone, which means loopback.
public struct HTTPAddress: Sendable, Equatable, CustomStringConvertible {
  public var host: String
  /// 0: one that is free.
  public var port: Int

  public init?(_ text: String) {
    var host = "127.0.0.1"
    var port = Substring(text)
    if text.hasPrefix("["), let end = text.lastIndex(of: "]") {
      host = String(text[text.index(after: text.startIndex)..<end])
      guard text[text.index(after: end)...].hasPrefix(":") else { return nil }
      port = text[text.index(end, offsetBy: 2)...]
    } else if let colon = text.lastIndex(of: ":") {
      if colon != text.startIndex { host = String(text[..<colon]) }
      port = text[text.index(after: colon)...]
      guard !host.contains(":") else { return nil }
    }
    guard !host.isEmpty, let number = Int(port), (0...65_535).contains(number) else { return nil }
    self.host = host
    self.port = number
  }

  public init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Whether only this machine can reach it.
  public var isLoopback: Bool { Self.isLoopback(host) }

  static func isLoopback(_ host: String) -> Bool {
    if host == "::1" || host.lowercased() == "localhost" { return true }
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }

  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A secret that clients must know. Never printed.
public struct BearerToken: Sendable, CustomStringConvertible {
  private let bytes: [UInt8]
  public static let leastLength = 16

  /// - Returns: nil where it is shorter than 16 characters or holds what a header cannot.
  public init?(_ text: String) {
    guard text.utf8.count >= Self.leastLength, text.utf8.allSatisfy({ (33...126).contains($0) }) else { return nil }
    bytes = Array(text.utf8)
  }

  /// Takes as long whatever the first wrong byte is.
  public func matches(_ header: String?) -> Bool {
    guard let header, header.lowercased().hasPrefix("bearer ") else { return false }
    let given = Array(header.utf8.dropFirst(7).drop { $0 == UInt8(ascii: " ") })
    var difference = given.count ^ bytes.count
    for i in bytes.indices { difference |= Int(bytes[i] ^ (given.isEmpty ? 0 : given[i % given.count])) }
    return difference == 0
  }

  public var description: String { "(a token)" }
}
