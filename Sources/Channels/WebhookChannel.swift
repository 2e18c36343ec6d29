import Alerting
import Foundation
import FoundationNetworking

/// Posts JSON to an address: the notice as it is, or a text as Slack (Mattermost, Rocket.Chat, Discord's /slack) takes it.
///
/// Only a 2xx answer is a success. Redirections are not followed: an address that moved is a mistake to be mended, and a
/// header with a secret must not go elsewhere. The answer's body is not read. `http_proxy` and `https_proxy` are respected.
public struct WebhookChannel: AlertChannel {
  public enum Form: Sendable { case slack, notice }
  public let name: String
  private let url: URL
  private let form: Form
  private let authorization: String?
  /// Seconds for all of it.
  private let patience: Double

  /// nil: not an http or https address with a host.
  public init?(name: String, url: String, form: Form, authorization: String? = nil, patience: Double = 10) {
    guard let url = URL(string: url), let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme), let host = url.host, !host.isEmpty else {
      return nil
    }
    self.name = name
    self.url = url
    self.form = form
    self.authorization = authorization
    self.patience = patience
  }

  public func send(_ notice: Notice) throws(ChannelFailure) {
    var request = URLRequest(url: url)
    request.httpMethod = "POST"
    request.setValue("application/json", forHTTPHeaderField: "Content-Type")
    request.setValue("tidemark", forHTTPHeaderField: "User-Agent")
    if let authorization { request.setValue(authorization, forHTTPHeaderField: "Authorization") }
    request.httpBody = body(notice)
    let status: Int
    do { status = try Exchange.perform(request, patience: patience) } catch { throw ChannelFailure("\(place): \(error)") }
    guard (200..<300).contains(status) else { throw ChannelFailure("\(place) answered \(status)") }
  }

  func body(_ notice: Notice) -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    switch form {
    case .notice: return (try? encoder.encode(notice)) ?? Data()
    case .slack: return (try? encoder.encode(["text": Self.slackText(notice)])) ?? Data()
    }
  }

  /// Slack's three escapes: without them a name in a hostile topic could call `<!channel>`.
  static func slackText(_ notice: Notice) -> String {
    let sign =
      switch notice.phase {
      case .resolved: ":white_check_mark:"
      case .test: ":wave:"
      case .raised, .repeated: notice.severity == .critical ? ":rotating_light:" : ":warning:"
      }
    let text = notice.line.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    return "\(sign) \(text)"
  }

  /// Host and port: the path is the secret.
  private var place: String { "\(url.host ?? "?")\(url.port.map { ":\($0)" } ?? "")" }
}

/// One request and the status of its answer, waited for.
// Safety: see below.
private final class Exchange: NSObject, URLSessionDataDelegate, @unchecked Sendable {
  // Safety: `status` and `failure` are written on the session's queue before `done` is signalled, and read after it was waited for.
  private var status: Int?
  private var failure: String?
  private let done = DispatchSemaphore(value: 0)

  struct Failure: Error, CustomStringConvertible { let description: String }

  static func perform(_ request: URLRequest, patience: Double) throws -> Int {
    let exchange = Exchange()
    let configuration = URLSessionConfiguration.ephemeral
    configuration.timeoutIntervalForRequest = patience
    configuration.timeoutIntervalForResource = patience
    configuration.httpShouldSetCookies = false
    configuration.urlCache = nil
    let session = URLSession(configuration: configuration, delegate: exchange, delegateQueue: nil)
    defer { session.invalidateAndCancel() }
    session.dataTask(with: request).resume()
    guard exchange.done.wait(timeout: .now() + patience + 1) == .success else { throw Failure(description: "no answer within \(Int(patience)) s") }
    if let status = exchange.status { return status }
    throw Failure(description: exchange.failure ?? "no answer")
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
    completionHandler: @escaping (URLRequest?) -> Void
  ) {
    status = response.statusCode
    completionHandler(nil)
    done.signal()
  }

  func urlSession(
    _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
    completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
  ) {
    status = (response as? HTTPURLResponse)?.statusCode
    completionHandler(.cancel)
    done.signal()
  }

  func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
    if status == nil { status = (task.response as? HTTPURLResponse)?.statusCode }
    if let error { failure = Self.words(error) }
    done.signal()
  }

  /// Never the system's own description: it may hold the address. What OpenSSL says of a handshake holds none, and comes without
  /// a code of its own.
  private static func words(_ error: any Error) -> String {
    let description = (error as NSError).localizedDescription
    if ["SSL", "TLS", "certificate"].contains(where: description.hasPrefix), !description.contains("://") { return "TLS: \(description)" }
    return switch (error as? URLError)?.code {
    case .timedOut: "no answer in time"
    case .cannotFindHost, .dnsLookupFailed: "there is no such host"
    case .cannotConnectToHost, .networkConnectionLost, .notConnectedToInternet: "no connection"
    case .secureConnectionFailed, .serverCertificateUntrusted, .serverCertificateHasBadDate, .serverCertificateNotYetValid,
      .serverCertificateHasUnknownRoot, .clientCertificateRejected:
      "TLS: its certificate is not trusted, or the handshake failed"
    case let code?: "network error \(code.rawValue)"
    case nil: "network error"
    }
  }
}
