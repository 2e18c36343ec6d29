import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import Synchronization

/// Answers requests: who may ask, what there is, and how long an answer may take.
struct ConsoleResponder: HTTPResponder {
  /// A request's connection, so that it can be closed.
  struct Context: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    init(source: ApplicationRequestContextSource) {
      coreContext = .init(source: source)
      channel = source.channel
    }
  }
  let service: HTTPService

  private enum Page: String, CaseIterable {
    case console = "/", style = "/console.css", script = "/console.js", health = "/healthz", readiness = "/readyz"
    case metrics = "/metrics", status = "/status", overview = "/overview", events = "/events"

    /// Pages without any data of the instance, and what probes ask, need no token.
    var isOpen: Bool {
      switch self {
      case .console, .style, .script, .health, .readiness: true
      case .metrics, .status, .overview, .events: false
      }
    }
  }

  func respond(to request: Request, context: Context) async throws -> Response {
    let page = Page(rawValue: request.uri.path)
    var response = await answer(request, page, context)
    count(page, response.status)
    for (name, value) in Self.always { response.headers[name] = value }
    let hasBody = (request.headers[.contentLength].map { $0 != "0" } ?? false) || request.headers[.transferEncoding] != nil
    if hasBody { response.headers[.connection] = "close" }
    return bounded(response, context.channel, closes: hasBody, isHead: request.method == .head)
  }

  private func answer(_ request: Request, _ page: Page?, _ context: Context) async -> Response {
    guard isExpectedHost(request.head.authority) else {
      return text(.misdirectedRequest, "this service is not known by that name: ask it by the address it listens on, or set a token\n")
    }
    guard request.method == .get || request.method == .head else {
      var response = text(.methodNotAllowed, "only GET and HEAD\n")
      response.headers[.allow] = "GET, HEAD"
      return response
    }
    if (request.headers[.contentLength].map { $0 != "0" } ?? false) || request.headers[.transferEncoding] != nil {
      return text(.contentTooLarge, "a request has no body here\n")
    }
    guard let page else { return text(.notFound, "there is: \(Page.allCases.map(\.rawValue).joined(separator: " "))\n") }
    if !page.isOpen, let token = service.settings.token, !token.matches(request.headers[.authorization]) {
      var response = text(.unauthorized, "a bearer token is needed: Authorization: Bearer …\n")
      response.headers[.wwwAuthenticate] = "Bearer realm=\"tidemark\""
      return response
    }
    return await serve(page, request, context)
  }

  private func serve(_ page: Page, _ request: Request, _ context: Context) async -> Response {
    switch page {
    case .console: return asset(ConsoleAssets.page, "text/html; charset=utf-8")
    case .style: return asset(ConsoleAssets.style, "text/css; charset=utf-8")
    case .script: return asset(ConsoleAssets.script, "text/javascript; charset=utf-8")
    case .health:
      let health = service.health(service.instance.books())
      return health.isAlive ? text(.ok, "ok\n") : text(.serviceUnavailable, health.stuck.joined(separator: "\n") + "\n")
    case .readiness:
      let health = service.health(await service.freshBooks())
      return health.isReady ? text(.ok, "ready\n") : text(.serviceUnavailable, (health.stuck + health.obstacles).joined(separator: "\n") + "\n")
    case .metrics: return text(.ok, service.metrics(), PrometheusText.contentType)
    case .status:
      let books = await service.freshBooks()
      return text(.ok, JSON.text(StatusRow.rows(service.instance, books, now: service.instance.clock())) + "\n", "application/json")
    case .overview:
      _ = await service.freshBooks()
      return text(.ok, JSON.text(service.overview(withHistory: true)) + "\n", "application/json")
    case .events: return events(request, context)
    }
  }

  // MARK: Events

  private func events(_ request: Request, _ context: Context) -> Response {
    if request.method == .head { return Response(status: .ok, headers: [.contentType: "text/event-stream"]) }
    let channel = context.channel
    let wantsOverview = request.uri.queryParameters["with"] == "overview"
    guard let client = service.hub.join(wantsOverview: wantsOverview, close: { channel.close(promise: nil) }) else {
      var response = text(.serviceUnavailable, "there are \(service.settings.limits.eventClients) clients of /events already\n")
      response.headers[.retryAfter] = "10"
      return response
    }
    let first = ": tidemark \(service.instance.version)\nretry: 2000\n\n"
    let hub = service.hub
    return Response(
      status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
      body: ResponseBody { writer in
        defer { hub.leave(client.id) }
        try await writer.write(ByteBuffer(string: first))
        for await message in client.messages { try await writer.write(ByteBuffer(string: message)) }
        try await writer.finish(nil)
      })
  }

  // MARK: Bounds

  /// Nothing may be loaded from elsewhere, framed, or guessed.
  private static let always: [(HTTPField.Name, String)] = [
    (.xContentTypeOptions, "nosniff"), (HTTPField.Name("Referrer-Policy")!, "no-referrer"),
    (.contentSecurityPolicy,
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (HTTPField.Name("X-Frame-Options")!, "DENY"), (HTTPField.Name("Cross-Origin-Resource-Policy")!, "same-origin"),
  ]

  /// Without a token the service trusts this machine; a page on another host that has its name point here is not of it.
  private func isExpectedHost(_ authority: String?) -> Bool {
    guard service.settings.token == nil else { return true }
    guard let authority, !authority.isEmpty, !authority.hasPrefix(":") else { return false }
    let hasPort = authority.contains(":") && !authority.hasSuffix("]")
    guard let address = HTTPAddress(hasPort ? authority : authority + ":80") else { return false }
    return HTTPAddress.isLoopback(address.host) || address.host == service.settings.address.host
  }

  /// The same response, by a client that takes it in time: otherwise its connection is closed. Streams have their own bound,
  /// the queue.
  private func bounded(_ response: Response, _ channel: any Channel, closes: Bool, isHead: Bool) -> Response {
    guard let length = response.body.contentLength else { return response }
    let seconds = service.settings.limits.writing
    let body = response.body
    var result = response
    result.headers[.contentLength] = "\(length)"
    result.body = ResponseBody(contentLength: length) { writer in
      let deadline = channel.eventLoop.scheduleTask(in: .seconds(seconds)) { channel.close(promise: nil) }
      defer { deadline.cancel() }
      if isHead { try await writer.finish(nil) } else { try await body.write(writer) }
      if closes { channel.close(promise: nil) }
    }
    return result
  }

  private func count(_ page: Page?, _ status: HTTPResponse.Status) {
    service.requests.withLock { $0[.init(path: page?.rawValue ?? "other", code: status.code), default: 0] += 1 }
  }

  private func text(_ status: HTTPResponse.Status, _ text: String, _ type: String = "text/plain; charset=utf-8") -> Response {
    Response(status: status, headers: [.contentType: type, .cacheControl: "no-store"], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }

  private func asset(_ bytes: [UInt8], _ type: String) -> Response {
    Response(status: .ok, headers: [.contentType: type, .cacheControl: "no-cache"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }
}

/// The console's files, compiled into the binary.
enum ConsoleAssets {
  static let page = PackageResources.console_html
  static let style = PackageResources.console_css
  static let script = PackageResources.console_js
}
