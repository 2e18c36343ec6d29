import Observability
import Testing

@Suite struct SettingsTests {
  @Test(arguments: [
    ("8080", "127.0.0.1:8080", true), (":8080", "127.0.0.1:8080", true), ("localhost:1", "localhost:1", true), ("[::1]:0", "[::1]:0", true),
    ("127.9.9.9:80", "127.9.9.9:80", true), ("0.0.0.0:80", "0.0.0.0:80", false), ("[::]:80", "[::]:80", false),
    ("127.0.0.1.example.com:80", "127.0.0.1.example.com:80", false), ("db.internal:65535", "db.internal:65535", false),
  ])
  func readsAnAddress(text: String, shown: String, isLoopback: Bool) throws {
    let address = try #require(HTTPAddress(text))
    #expect(address.description == shown)
    #expect(address.isLoopback == isLoopback)
  }

  @Test(arguments: ["", ":", "host", "host:", "host:65536", "host:-1", "::1:80", "[::1]", "[::1]80", "a:b:80"])
  func refusesWhatIsNoAddress(text: String) { #expect(HTTPAddress(text) == nil) }

  @Test func anAddressThatOthersReachNeedsAToken() throws {
    let open = try #require(HTTPAddress("0.0.0.0:80"))
    #expect(try #require(HTTPSettings(address: open).problem).contains("TIDEMARK_HTTP_TOKEN"))
    #expect(HTTPSettings(address: open, token: BearerToken("0123456789abcdef")).problem == nil)
    #expect(HTTPSettings(address: try #require(HTTPAddress("80"))).problem == nil)
  }

  @Test func aTokenIsLongAndMatchesWhole() throws {
    #expect(BearerToken("0123456789abcde") == nil)
    #expect(BearerToken("0123456789abcdef\n") == nil)
    let token = try #require(BearerToken("0123456789abcdef"))
    #expect(token.matches("Bearer 0123456789abcdef"))
    #expect(token.matches("bearer  0123456789abcdef"))
    for wrong in [nil, "", "Bearer ", "Bearer", "Basic 0123456789abcdef", "Bearer 0123456789abcdeg", "Bearer 0123456789abcdef0", "Bearer 0123456789abcdef0123456789abcdef"] {
      #expect(!token.matches(wrong), "\(wrong ?? "nil")")
    }
    #expect("\(token)" == "(a token)")
  }
}
