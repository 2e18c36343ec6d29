import Alerting
import Foundation

/// Which channels there are. Addresses are secrets: they come from a file or the environment, and no message repeats them.
public enum ChannelSettings {
  /// Why the channels cannot be read.
  public struct Problem: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
  }

  /// Names of the variables, each with the name of the channel that it makes.
  static let variables = [("TIDEMARK_ALERT_SLACK", "slack"), ("TIDEMARK_ALERT_WEBHOOK", "webhook"), ("TIDEMARK_ALERT_COMMAND", "command")]

  private static let expected =
    "expected slack = URL, webhook = URL or command = PROGRAM [ARGUMENT ...]; a label tells two of a kind apart: webhook.oncall = URL"

  /// Channels of the environment, then those of the file (or of the file that `TIDEMARK_ALERT_CHANNELS` names); of one name
  /// the file's.
  public static func channels(file: String?, environment: [String: String]) throws(Problem) -> [any AlertChannel] {
    var lines: [(place: String, name: String, value: String)] = []
    for (variable, name) in variables {
      if let value = environment[variable], !value.isEmpty { lines.append((variable, name, value)) }
    }
    if let value = environment["TIDEMARK_ALERT_WEBHOOK_AUTHORIZATION"], !value.isEmpty {
      lines.append(("TIDEMARK_ALERT_WEBHOOK_AUTHORIZATION", "webhook.authorization", value))
    }
    if let path = file ?? environment["TIDEMARK_ALERT_CHANNELS"].flatMap({ $0.isEmpty ? nil : $0 }) {
      let ofFile = try read(path)
      lines.removeAll { line in ofFile.contains { $0.name == line.name } }
      lines += ofFile
    }
    return try make(lines)
  }

  /// `name = value` lines; `#` begins a comment line.
  private static func read(_ path: String) throws(Problem) -> [(place: String, name: String, value: String)] {
    let text: String
    do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
      throw Problem(description: "\(path): cannot be read: \(error.localizedDescription)")
    }
    var lines: [(place: String, name: String, value: String)] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") { continue }
      let place = "\(path):\(index + 1)"
      guard let equals = line.firstIndex(of: "=") else { throw Problem(description: "\(place): \(expected)") }
      let name = line[..<equals].trimmingCharacters(in: .whitespaces)
      if lines.contains(where: { $0.name == name }) { throw Problem(description: "\(place): \(shown(name)) is there twice: give one of them a label") }
      lines.append((place, name, line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)))
    }
    return lines
  }

  private static func make(_ lines: [(place: String, name: String, value: String)]) throws(Problem) -> [any AlertChannel] {
    let suffix = ".authorization"
    var authorizations: [String: (place: String, value: String)] = [:]
    for line in lines where line.name.hasSuffix(suffix) { authorizations[String(line.name.dropLast(suffix.count))] = (line.place, line.value) }
    var channels: [any AlertChannel] = []
    for line in lines where !line.name.hasSuffix(suffix) {
      let parts = line.name.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
      let label = parts.count == 2 ? parts[1] : "x"
      guard !label.isEmpty, label.count <= 32, label.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }) else {
        throw Problem(description: "\(line.place): a label is made of at most 32 of a-z, 0-9, - and _")
      }
      switch parts[0] {
      case "slack", "webhook":
        let form: WebhookChannel.Form = parts[0] == "slack" ? .slack : .notice
        let authorization = authorizations.removeValue(forKey: line.name)?.value
        if let authorization, authorization.contains(where: { $0.isNewline }) { throw Problem(description: "\(line.place): a header is one line") }
        guard let channel = WebhookChannel(name: line.name, url: line.value, form: form, authorization: authorization) else {
          throw Problem(description: "\(line.place): \(line.name) is not an http or https address (it is not repeated here: it may be a secret)")
        }
        channels.append(channel)
      case "command":
        let words = line.value.split(separator: " ").map(String.init)
        guard let program = words.first, program.hasPrefix("/"), FileManager.default.isExecutableFile(atPath: program) else {
          throw Problem(description: "\(line.place): \(line.name) does not begin with the full path of a program that can be run")
        }
        channels.append(CommandChannel(name: line.name, program: program, arguments: Array(words.dropFirst())))
      default: throw Problem(description: "\(line.place): there is no channel \(shown(line.name)): \(expected)")
      }
    }
    if let (name, line) = authorizations.first {
      throw Problem(description: "\(line.place): \(shown(name)).authorization belongs to no webhook: add \(shown(name)) = URL")
    }
    return channels
  }

  /// What stands before a `=` is no secret, but it may be a mistake that is: it is cut.
  private static func shown(_ name: String) -> String { name.count > 40 ? "\(name.prefix(40))..." : name }
}
