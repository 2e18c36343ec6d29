import ArgumentParser

/// Passwords in texts that people may see: usage errors repeat arguments, and arguments are seen by every user of a machine.
enum Secrets {
  /// What stands before a secret, and the secret.
  private static var patterns: [Regex<(Substring, Substring, Substring)>] {
    [
      // libpq: password='it''s \' quoted' or password=plain; librdkafka: sasl.password=… to the end of the line.
      /((?i:password|passwd|secret|authorization|ssl\.key\.pem|oauthbearer\.config)\s*[=:]\s*)('(?:[^'\\]|\\.)*'?|"[^"]*"?|\S+)/,
      /([a-z][a-z0-9+.-]*:\/\/[^\s:\/@]*:)([^\s\/]*)(?=@)/,
    ]
  }

  /// The text with every secret it shows replaced by `***`. O(text).
  static func redacted(_ text: String) -> String {
    patterns.reduce(text) { text, pattern in text.replacing(pattern) { "\($0.output.1)***" } }
  }

  /// Whether one of the arguments holds a password.
  static func areIn(_ arguments: [String]) -> Bool { arguments.contains { redacted($0) != $0 } }

  static let warning =
    "warning: a password is among the arguments, where every user of this machine can read it: give it by TIDEMARK_POSTGRES, PGPASSFILE or "
    + "PGSERVICEFILE, Kafka's by --kafka-config FILE"
}

extension Tidemark {
  /// As ArgumentParser's, but no message repeats a password out of the arguments.
  static func main() {
    if Secrets.areIn(Array(CommandLine.arguments.dropFirst())) { Console.note(Secrets.warning) }
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      let code = exitCode(for: error)
      let message = fullMessage(for: error)
      if code.isSuccess {
        if !message.isEmpty { Console.write(message) }
      } else if !message.isEmpty {
        Console.note(Secrets.redacted(message))
      }
      exit(code)
    }
  }

  private static func exit(_ code: ExitCode) -> Never { Tidemark.exit(withError: code) }
}
