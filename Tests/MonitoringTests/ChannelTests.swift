import Alerting
@testable import Channels
import Foundation
import LocalServers
import Testing

/// Channels at the edge: what goes out, what counts as taken, and what no message may repeat.
@Suite struct ChannelTests {
  private func alert(_ message: String = "m") -> StoredAlert {
    StoredAlert(
      id: 7, key: AlertKey(kind: "events_down", subject: "buy"), severity: .critical, message: message, raisedAt: 1_772_600_767_000_000,
      lastSeenAt: 1_772_600_767_000_000, isByCheck: true)
  }

  private func failure(_ channel: any AlertChannel) -> String? {
    do throws(ChannelFailure) {
      try channel.send(Notice(.raised, alert(), topology: "shop"))
      return nil
    } catch { return error.description }
  }

  @Test func aWebhookGetsTheWholeNotice() throws {
    let server = try WebhookServer()
    try WebhookChannel(name: "w", url: "\(server.url)/hook?x=1", form: .notice, authorization: "Bearer abc")!.send(Notice(.raised, alert(), topology: "shop"))
    let request = try #require(server.received.first)
    #expect(request.path == "/hook?x=1" && request.headers["authorization"] == "Bearer abc" && request.headers["content-type"] == "application/json")
    #expect(request.body == """
      {"id":"shop/7","kind":"events_down","message":"m","phase":"raised","raised_at":"2026-03-04T05:06:07Z","severity":"critical","source":"tidemark",\
      "subject":"buy","topology":"shop","version":1}
      """)
  }

  @Test func slackGetsATextThatCallsNobody() throws {
    let server = try WebhookServer()
    try WebhookChannel(name: "slack", url: server.url, form: .slack)!.send(Notice(.raised, alert("<!channel> & \u{0}\n<@U1>"), topology: "shop"))
    #expect(server.received[0].body == #"{"text":":rotating_light: CRITICAL shop: events_down &lt;!channel&gt; &amp;   &lt;@U1&gt;"}"#)
  }

  @Test func onlyASuccessIsOne() throws {
    let server = try WebhookServer()
    let channel = WebhookChannel(name: "w", url: "\(server.url)/SECRET", form: .notice, patience: 1)!
    for status in [200, 204] { server.answer(status); #expect(failure(channel) == nil) }
    for status in [301, 400, 404, 429, 500, 503] {
      server.answer(status, headers: ["Location: http://127.0.0.1:\(server.port)/elsewhere"])
      #expect(failure(channel) == "127.0.0.1:\(server.port) answered \(status)")
    }
    #expect(!server.received.contains { $0.path == "/elsewhere" })
    server.answer(200, holdsBack: true)
    let begin = Date()
    let words = try #require(failure(channel))
    #expect(words.hasPrefix("127.0.0.1:\(server.port): no answer") && Date().timeIntervalSince(begin) < 5)
  }

  @Test func whatCannotBeReachedIsSaidWithoutItsSecret() throws {
    for (url, words) in [("http://127.0.0.1:1/SECRET", "127.0.0.1:1: no connection"), ("http://no-such-host.invalid/SECRET", "no-such-host.invalid: there is no such host")] {
      let said = try #require(failure(WebhookChannel(name: "w", url: url, form: .notice, patience: 5)!))
      #expect(said == words && !said.contains("SECRET"))
    }
  }

  @Test func aCommandGetsJSONAndNoSecrets() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-command-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: file) }
    setenv("TIDEMARK_POSTGRES_TEST_SECRET", "hunter2", 1)
    #expect(failure(CommandChannel(name: "c", program: "/bin/sh", arguments: ["-c", "(env; cat) > \(file.path)"])) == nil)
    let text = try String(contentsOf: file, encoding: .utf8)
    #expect(text.contains(#""kind":"events_down""#) && text.contains("PATH=") && !text.contains("hunter2"))
    #expect(failure(CommandChannel(name: "c", program: "/bin/sh", arguments: ["-c", "exit 3"])) == "/bin/sh ended with code 3")
    #expect(failure(CommandChannel(name: "c", program: "/bin/true", arguments: [])) == nil)
    #expect(failure(CommandChannel(name: "c", program: "/bin/sh", arguments: ["-c", "kill -9 $$"])) == "/bin/sh was ended by signal 9")
    #expect(failure(CommandChannel(name: "c", program: "/bin/sleep", arguments: ["60"], patience: 1)) == "/bin/sleep did not end within 1 s and was killed")
    #expect(failure(CommandChannel(name: "c", program: "/nowhere", arguments: [])) == "/nowhere cannot be started")
  }

  // MARK: Settings

  private func names(_ file: String? = nil, _ environment: [String: String] = [:]) -> String {
    var path: String?
    if let file {
      path = FileManager.default.temporaryDirectory.appendingPathComponent("tidemark-channels-\(UUID().uuidString)").path
      try? Data(file.utf8).write(to: URL(fileURLWithPath: path!))
    }
    defer { if let path { try? FileManager.default.removeItem(atPath: path) } }
    do throws(ChannelSettings.Problem) {
      return try ChannelSettings.channels(file: path, environment: environment).map(\.name).joined(separator: " ")
    } catch { return error.description.replacing(path ?? "?", with: "FILE") }
  }

  @Test func channelsComeFromAFileOrTheEnvironment() {
    #expect(names() == "")
    #expect(names(nil, ["TIDEMARK_ALERT_SLACK": "https://hooks.slack.com/x", "TIDEMARK_ALERT_COMMAND": "/bin/true", "TIDEMARK_ALERT_WEBHOOK": ""]) == "slack command")
    #expect(names("# ours\nslack = https://h/x\n\nwebhook.a=https://h/y\nwebhook.a.authorization = Bearer z\n command = /bin/true -x\n") == "slack webhook.a command")
    #expect(names("slack = https://file/x", ["TIDEMARK_ALERT_SLACK": "nonsense"]) == "slack")
    #expect(names(nil, ["TIDEMARK_ALERT_CHANNELS": "/nowhere"]).hasPrefix("/nowhere: cannot be read"))
  }

  @Test func mistakesNameTheirLineAndRepeatNoSecret() {
    #expect(names("slack https://h/SECRET").hasPrefix("FILE:1: expected slack = URL"))
    #expect(names("\nslck = https://h/SECRET").hasPrefix("FILE:2: there is no channel slck: expected slack = URL"))
    #expect(names("slack = h/SECRET") == "FILE:1: slack is not an http or https address (it is not repeated here: it may be a secret)")
    #expect(names("webhook = ftp://h/SECRET").contains("is not an http or https address"))
    #expect(names("slack = https://h/1\nslack = https://h/2") == "FILE:2: slack is there twice: give one of them a label")
    #expect(names("command = true") == "FILE:1: command does not begin with the full path of a program that can be run")
    #expect(names("webhook.a.authorization = SECRET") == "FILE:1: webhook.a.authorization belongs to no webhook: add webhook.a = URL")
    #expect(names("webhook.a b = https://h/x").contains("a label is made of"))
    #expect(names(nil, ["TIDEMARK_ALERT_SLACK": "SECRET"]) == "TIDEMARK_ALERT_SLACK: slack is not an http or https address (it is not repeated here: it may be a secret)")
  }
}
