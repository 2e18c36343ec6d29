/// A fault that the development broker is told to have, or to end. Written as a line of words:
///
///     error FETCH 6 5               the next 5 Fetch requests fail with Kafka's error code 6
///     drop HEARTBEAT 2              the connections of the next 2 Heartbeat requests are cut instead of answered
///     clear FETCH                   what is left of both is taken back
///     down 1, up 1                  broker 1 cuts its connections and takes none, takes them again
///     rtt 1 200                     broker 1 answers 200 ms late
///     leader product.events 3 2     partition 3 moves to broker 2
///     coordinator tidemark-x 2      the group's coordinator is broker 2
public enum BrokerOrder: Equatable, Sendable, CustomStringConvertible {
  /// Kinds of requests, by Kafka's API keys.
  public enum Request: Int16, CaseIterable, Sendable {
    case produce = 0, fetch = 1, listOffsets = 2, metadata = 3, offsetCommit = 8, offsetFetch = 9, findCoordinator = 10, joinGroup = 11
    case heartbeat = 12, leaveGroup = 13, syncGroup = 14, initProducerId = 22

    public var name: String { "\(self)".uppercased() }
  }

  case fail(Request, error: Int16, count: Int)
  case drop(Request, count: Int)
  case clear(Request)
  case down(Int32)
  case up(Int32)
  case roundTrip(Int32, milliseconds: Int32)
  case leader(TopicPartition, Int32)
  case coordinator(group: String, Int32)

  /// Most requests that one order spoils.
  public static let mostRequests = 10_000

  /// - Throws: `KafkaError` (`configuration`) that names the word and what was expected.
  public init(_ line: String) throws(KafkaError) {
    let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
    var rest = Words(words.dropFirst(), of: line)
    switch words.first?.lowercased() {
    case "error": self = .fail(try rest.request(), error: try rest.number("an error code", 1...1000), count: try rest.number("a count", 1...Self.mostRequests))
    case "drop": self = .drop(try rest.request(), count: try rest.number("a count", 1...Self.mostRequests))
    case "clear": self = .clear(try rest.request())
    case "down": self = .down(try rest.broker())
    case "up": self = .up(try rest.broker())
    case "rtt": self = .roundTrip(try rest.broker(), milliseconds: try rest.number("milliseconds", 0...600_000))
    case "leader": self = .leader(TopicPartition(topic: try rest.word("a topic"), partition: try rest.number("a partition", 0...100_000)), try rest.broker())
    case "coordinator": self = .coordinator(group: try rest.word("a group"), try rest.broker())
    default:
      throw KafkaError(code: .configuration, message: "\"\(line)\": expected error, drop, clear, down, up, rtt, leader or coordinator")
    }
    try rest.end()
  }

  public var description: String {
    switch self {
    case .fail(let request, let error, let count): "error \(request.name) \(error) \(count)"
    case .drop(let request, let count): "drop \(request.name) \(count)"
    case .clear(let request): "clear \(request.name)"
    case .down(let broker): "down \(broker)"
    case .up(let broker): "up \(broker)"
    case .roundTrip(let broker, let milliseconds): "rtt \(broker) \(milliseconds)"
    case .leader(let at, let broker): "leader \(at.topic) \(at.partition) \(broker)"
    case .coordinator(let group, let broker): "coordinator \(group) \(broker)"
    }
  }

  /// The words after the first, taken one by one.
  private struct Words {
    private var left: ArraySlice<String>
    private let line: String

    init(_ words: ArraySlice<String>, of line: String) {
      left = words
      self.line = line
    }

    mutating func word(_ what: String) throws(KafkaError) -> String {
      guard let word = left.popFirst() else { throw KafkaError(code: .configuration, message: "\"\(line)\": \(what) is missing") }
      return word
    }

    mutating func number<Number: FixedWidthInteger>(_ what: String, _ range: ClosedRange<Number>) throws(KafkaError) -> Number {
      let text = try word(what)
      guard let number = Number(text), range.contains(number) else {
        throw KafkaError(
          code: .configuration, message: "\"\(line)\": \(text) is not \(what), which is \(range.lowerBound) to \(range.upperBound)")
      }
      return number
    }

    mutating func broker() throws(KafkaError) -> Int32 { try number("a broker", 1...1000) }

    mutating func request() throws(KafkaError) -> Request {
      let text = try word("a kind of request")
      guard let request = Request.allCases.first(where: { $0.name == text.uppercased() }) else {
        let known = Request.allCases.map(\.name).joined(separator: ", ")
        throw KafkaError(code: .configuration, message: "\"\(line)\": \(text) is not a kind of request: \(known)")
      }
      return request
    }

    func end() throws(KafkaError) {
      if let more = left.first { throw KafkaError(code: .configuration, message: "\"\(line)\": \(more) is too much") }
    }
  }
}
