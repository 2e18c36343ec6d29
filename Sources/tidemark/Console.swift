import ArgumentParser
import Engine
import Foundation
import Glibc
import Logging

/// Standard output for results, standard error for everything else.
enum Console {
  /// One result line.
  static func write(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

  /// One line of progress or trouble.
  static func note(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

  static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
  /// Characters and lines of the terminal behind standard output; nil: it is none, or does not say.
  static var terminalSize: (width: Int, height: Int)? {
    var size = winsize()
    guard outputIsTerminal, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return nil }
    return (Int(size.ws_col), Int(size.ws_row))
  }
  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// A progress line: overwritten on a terminal, one line each otherwise.
  static func progress(_ line: String, isLast: Bool = false) {
    guard errorIsTerminal else { return note(line) }
    FileHandle.standardError.write(Data("\r\u{1B}[K\(line)\(isLast ? "\n" : "")".utf8))
  }

  /// `1,234,567`.
  static func grouped(_ number: some BinaryInteger) -> String {
    let digits = String(number.magnitude)
    var out = ""
    for (i, c) in digits.enumerated() {
      if i > 0, (digits.count - i) % 3 == 0 { out.append(",") }
      out.append(c)
    }
    return (number < 0 ? "-" : "") + out
  }

  /// Rows under headings, columns aligned; numbers to the right.
  static func table(_ headings: [String], _ rows: [[String]], right: Set<Int> = []) -> String {
    let rows = rows.map { $0.map(printable) }
    var widths = headings.map(\.count)
    for row in rows { for (i, cell) in row.enumerated() { widths[i] = max(widths[i], cell.count) } }
    func line(_ cells: [String]) -> String {
      cells.enumerated().map { i, cell in
        let pad = String(repeating: " ", count: widths[i] - cell.count)
        return right.contains(i) ? pad + cell : (i == cells.count - 1 ? cell : cell + pad)
      }.joined(separator: "  ")
    }
    return ([line(headings)] + rows.map(line)).joined(separator: "\n")
  }

  /// Control characters as spaces: cells hold what anybody sent to a topic, and a terminal would obey its escapes.
  private static func printable(_ cell: String) -> String {
    guard cell.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return cell }
    return String(String.UnicodeScalarView(cell.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
  }

  /// JSON with sorted keys, one line.
  static func json(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
  }
}

/// A command's end that is not a success, with the exit code that says what kind.
struct Failure: Error, CustomStringConvertible {
  enum Code: Int32 {
    case difference = 3, data = 65, unavailable = 69, software = 70, again = 75
  }
  var code: Code
  var description: String
  /// Lines that need no `tidemark:` before them: they begin with a file.
  var isBare = false
  init(_ code: Code, _ description: String, isBare: Bool = false) {
    self.code = code
    self.description = description
    self.isBare = isBare
  }
}

/// Runs a command's work: failures are printed once, and become the exit code.
func reportingFailures(_ body: () throws -> Void) throws {
  do { try body() } catch let failure as Failure {
    Console.note(failure.isBare ? failure.description : "tidemark: \(failure.description)")
    throw ExitCode(failure.code.rawValue)
  }
}

/// Messages of long runs: time, severity, text; coloured on a terminal.
struct RunLog: Sendable {
  private let logger: Logger

  init(_ label: String) {
    logger = Logger(label: label) { label in StreamLogHandler.standardError(label: label) }
  }

  func say(_ severity: Severity, _ text: String) {
    switch severity {
    case .info: logger.info("\(text)")
    case .warning: logger.warning("\(text)")
    case .error: logger.error("\(text)")
    }
  }
}
