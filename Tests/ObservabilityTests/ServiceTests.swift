import Foundation
import Synchronization
import Testing

@testable import Observability

/// The service over real sockets, with clients that behave badly. Sockets block: one test at a time.
@Suite(.serialized) struct ServiceTests {
  /// Runs the service while `body` asks it, on a thread where waiting is allowed.
  private func serving(
    _ fake: FakeInstance = .running(), token: String? = nil, _ change: (inout HTTPSettings.Limits) -> Void = { _ in },
    _ body: @escaping @Sendable (HTTPAddress, HTTPService) throws -> Void
  ) async throws {
    var settings = HTTPSettings(address: HTTPAddress(host: "127.0.0.1", port: 0), token: token.flatMap(BearerToken.init))
    change(&settings.limits)
    let service = HTTPService(settings, fake.observed)
    let (addresses, found) = AsyncStream.makeStream(of: HTTPAddress.self)
    let server = Task { try await service.run { found.yield($0) } }
    defer { server.cancel() }
    var iterator = addresses.makeAsyncIterator()
    let address = try #require(await iterator.next())
    try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
      Thread.detachNewThread {
        do {
          try body(address, service)
          done.resume()
        } catch { done.resume(throwing: error) }
      }
    }
  }

  @Test func everyPageAnswers() async throws {
    try await serving { address, _ in
      for (path, type) in [
        ("/", "text/html"), ("/console.js", "text/javascript"), ("/console.css", "text/css"), ("/healthz", "text/plain"), ("/readyz", "text/plain"),
        ("/metrics", "text/plain; version=0.0.4"), ("/status", "application/json"), ("/overview", "application/json"),
      ] {
        let answer = try TestClient.get(path, at: address)
        #expect(answer.status == 200, "\(path)")
        #expect(answer.head.contains("Content-Type: \(type)"), "\(path): \(answer.head)")
        #expect(answer.head.contains("X-Content-Type-Options: nosniff") && answer.head.contains("Content-Security-Policy: default-src 'none'"))
        #expect(!answer.body.isEmpty)
        let head = try TestClient.get(path, at: address, method: "HEAD")
        #expect(head.status == 200 && head.body.isEmpty, "\(path)")
      }
      let missing = try TestClient.get("/nothing", at: address)
      #expect(missing.status == 404 && missing.body.contains("/metrics"))
      #expect(try TestClient.get("/../../etc/passwd", at: address).status == 404)
      let post = try TestClient.get("/status", at: address, method: "DELETE")
      #expect(post.status == 405 && post.head.contains("Allow: GET, HEAD"))
      let page = try TestClient.get("/metrics", at: address).body
      #expect(page.contains(#"tidemark_http_requests_total{path="/status",code="405"} 1"#))
      #expect(page.contains(#"tidemark_http_requests_total{path="other",code="404"} 2"#))
    }
  }

  @Test func statusHoldsThePartitions() async throws {
    try await serving { address, _ in
      let body = try TestClient.get("/status", at: address).body
      let rows = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [[String: Any]])
      #expect(rows.count == 2)
      #expect(rows[1]["lag"] as? Int == 1000)
      #expect(rows[1]["lagSeconds"] as? Double == 7)
      #expect(rows[0]["owner"] as? String == "host \"a\"")
    }
  }

  @Test func aTokenClosesWhatHoldsData() async throws {
    try await serving(token: "0123456789abcdef") { address, _ in
      for path in ["/metrics", "/status", "/overview", "/events"] {
        let refused = try TestClient.get(path, at: address)
        #expect(refused.status == 401 && refused.head.contains("WWW-Authenticate: Bearer"), "\(path)")
        #expect(try TestClient.get(path, at: address, "Authorization: Bearer 0123456789abcdeX").status == 401, "\(path)")
      }
      #expect(try TestClient.get("/metrics", at: address, "Authorization: Bearer 0123456789abcdef").status == 200)
      for path in ["/", "/console.js", "/healthz", "/readyz"] { #expect(try TestClient.get(path, at: address).status == 200, "\(path)") }
      // A token is proof enough: the name in the address bar may be any.
      #expect(try TestClient.get("/healthz", at: address, "Host: tidemark.example.com").status == 200)
    }
  }

  /// A page on the web whose name is made to point at 127.0.0.1 may not read what the browser reaches.
  @Test func withoutATokenOnlyThisMachinesNamesAreAnswered() async throws {
    try await serving { address, _ in
      for host in ["evil.example.com", "evil.example.com:\(address.port)", "127.0.0.1.evil.example.com", "192.168.0.7:80", ""] {
        let status = try TestClient.get("/status", at: address, "Host: " + host).status
        #expect(status == 421, "\(host)")
      }
      for host in ["localhost", "localhost:\(address.port)", "[::1]:1", "127.0.0.1"] {
        let status = try TestClient.get("/status", at: address, "Host: " + host).status
        #expect(status == 200, "\(host)")
      }
    }
  }

  @Test func headersAndBodiesAreBounded() async throws {
    try await serving { address, _ in
      let long = try TestClient.get("/healthz", at: address, "X-Long: \(String(repeating: "a", count: 9000))")
      #expect(long.status == 400 || long.status == 431 || long.status == 0, "\(long.head)")
      let many = (0..<100).map { "X-\($0): 1" }.joined(separator: "\r\n")
      let crowd = try TestClient.get("/healthz", at: address, many)
      #expect(crowd.status == 400 || crowd.status == 431 || crowd.status == 0, "\(crowd.head)")
      let body = try TestClient.get("/healthz", at: address, "Content-Length: 1000000000")
      #expect(body.status == 413 && body.head.contains("Connection: close"))
      #expect(try TestClient.get("/healthz", at: address, "Transfer-Encoding: chunked").status == 413)
      // A client that announces a body and never ends it is not waited for.
      let slow = try TestClient(address)
      slow.send("POST /status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nx")
      let answer = slow.receive()
      #expect(answer.isClosed && answer.text.hasPrefix("HTTP/1.1 405"))
    }
  }

  @Test func aRequestThatNeverEndsIsCutOff() async throws {
    try await serving { $0.idle = 1 } _: { address, _ in
      let begin = Date()
      let client = try TestClient(address)
      client.send("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
      // A header field now and then, until it is cut off; never so many that their number is what ends it.
      let isCut = Atomic(false)
      Thread.detachNewThread {
        for i in 0..<60 where !isCut.load(ordering: .relaxed) {
          client.send("X-\(i): 1\r\n")
          usleep(100_000)
        }
      }
      let answer = client.receive()
      isCut.store(true, ordering: .relaxed)
      #expect(answer.isClosed && answer.text.isEmpty)
      #expect(Date().timeIntervalSince(begin) < 5)
      // An idle connection after an answer goes as well.
      let idle = try TestClient(address)
      idle.send("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
      #expect(idle.receive().isClosed)
    }
  }

  @Test func connectionsAreBoundedAndMoreAreServedLater() async throws {
    try await serving { $0.connections = 3; $0.idle = 2 } _: { address, _ in
      let holders = try (0..<3).map { _ in try TestClient(address) }
      for holder in holders { holder.send("GET /healthz HTTP/1.1\r\n") }
      // The fourth waits in the kernel's queue until one of the others is cut off.
      #expect(try TestClient.get("/healthz", at: address).status == 200)
      #expect(holders.allSatisfy { $0.receive().isClosed })
    }
  }

  @Test func aClientThatDoesNotTakeItsAnswerIsCutOff() async throws {
    try await serving { $0.writing = 1 } _: { address, _ in
      let client = try TestClient(address, receiveBuffer: 2048)
      // Answers of some hundred kilobytes, asked for in a row and never read.
      client.send(String(repeating: "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", count: 1000))
      usleep(4_000_000)
      #expect(client.receive().isClosed)
    }
  }

  // MARK: Events

  @Test func eventsReachWhoListens() async throws {
    try await serving { address, service in
      let client = try TestClient(address)
      client.send("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
      #expect(client.receive(until: "retry: 2000").text.contains("Content-Type: text/event-stream"))
      service.hub.publish("flush", "{\"first\":1}")
      service.hub.publish("overview", "{}")
      service.hub.publish("flush", "{\"second\":2}")
      let text = client.receive(until: "{\"second\":2}").text
      #expect(text.contains("event: flush\ndata: {\"first\":1}\n\n"))
      #expect(!text.contains("overview"), "only who asks for it gets the overview")
    }
  }

  @Test func aSlowClientIsDroppedAndTheOthersAreNot() async throws {
    try await serving { $0.queue = 8 } _: { address, service in
      let slow = try TestClient(address, receiveBuffer: 2048)
      let good = try TestClient(address)
      for client in [slow, good] {
        client.send("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        #expect(client.receive(until: "retry: 2000").text.contains("200 OK"))
      }
      let load = String(repeating: "x", count: 100_000)
      var sent = 0
      let end = Date(timeIntervalSinceNow: 20)
      while service.hub.counts.dropped == 0, Date() < end {
        sent += 1
        service.hub.publish("flush", "{\"number\":\(sent),\"load\":\"\(load)\"}")
        #expect(!good.receive(until: "\"number\":\(sent),").isClosed)
      }
      #expect(service.hub.counts.dropped == 1)
      #expect(service.hub.counts.clients == 1)
      #expect(slow.receive().isClosed)
      service.hub.publish("flush", "{\"last\":1}")
      #expect(good.receive(until: "{\"last\":1}").text.contains("{\"last\":1}"))
    }
  }

  @Test func clientsOfEventsAreBounded() async throws {
    try await serving { $0.eventClients = 2 } _: { address, service in
      let two = try (0..<2).map { _ in try TestClient(address) }
      for client in two {
        client.send("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        _ = client.receive(until: "retry: 2000")
      }
      let third = try TestClient.get("/events", at: address)
      #expect(third.status == 503 && third.head.contains("Retry-After"))
      #expect(try TestClient.get("/healthz", at: address).status == 200)
    }
  }

  @Test func aPortThatIsTakenIsAnError() async throws {
    try await serving { address, _ in
      let other = HTTPService(HTTPSettings(address: address), FakeInstance.running().observed)
      let failed = Mutex(false)
      let done = DispatchSemaphore(value: 0)
      Task {
        do { try await other.run { _ in } } catch { failed.withLock { $0 = true } }
        done.signal()
      }
      done.wait()
      #expect(failed.withLock { $0 })
    }
  }
}
