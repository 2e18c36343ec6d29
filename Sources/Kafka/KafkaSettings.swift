import Foundation

/// Where Kafka is and how to talk to it: bootstrap servers and any librdkafka property.
public struct KafkaSettings: Sendable, CustomStringConvertible {
  public var bootstrapServers: String
  /// In order; later ones win.
  public var properties: [(name: String, value: String)]

  public init(bootstrapServers: String, properties: [(name: String, value: String)] = []) {
    self.bootstrapServers = bootstrapServers
    self.properties = properties
  }

  /// Reads `name=value` lines; `#` begins a comment line.
  /// - Throws: `KafkaError` that names the file and the line.
  public static func properties(ofFile path: String) throws -> [(name: String, value: String)] {
    let text: String
    do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
      throw KafkaError(code: .configuration, message: "\(path): cannot be read: \(error.localizedDescription)")
    }
    var result: [(name: String, value: String)] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") { continue }
      guard let property = property(line) else {
        throw KafkaError(code: .configuration, message: "\(path):\(index + 1): expected name=value")
      }
      result.append(property)
    }
    return result
  }

  /// `name=value`, nil if there is no `=`.
  public static func property(_ text: String) -> (name: String, value: String)? {
    guard let equals = text.firstIndex(of: "="), equals != text.startIndex else { return nil }
    return (
      text[..<equals].trimmingCharacters(in: .whitespaces), text[text.index(after: equals)...].trimmingCharacters(in: .whitespaces)
    )
  }

  /// Names only: values can be secrets.
  public var description: String {
    "\(bootstrapServers)" + (properties.isEmpty ? "" : " (\(properties.map(\.name).joined(separator: ", ")))")
  }
}

/// What went wrong with Kafka, with librdkafka's own words.
public struct KafkaError: Error, CustomStringConvertible, Sendable {
  public enum Code: Sendable, Equatable {
    case configuration
    /// No broker answers.
    case unreachable
    case noSuchTopic
    case other
  }
  public var code: Code
  public var message: String
  public init(code: Code, message: String) { self.code = code; self.message = message }
  public var description: String { message }
}

/// One partition of one topic.
public struct TopicPartition: Hashable, Sendable, CustomStringConvertible {
  public var topic: String
  public var partition: Int32
  public init(topic: String, partition: Int32) { self.topic = topic; self.partition = partition }
  public var description: String { "\(topic)/\(partition)" }
}
