import Foundation
import Glibc

/// The built command, run as its users run it.
final class TidemarkProcess {
  let process = Process()
  private let output = Pipe()
  private let log: URL
  let name: String

  static var binary: URL {
    if let path = ProcessInfo.processInfo.environment["TIDEMARK_BINARY"] { return URL(fileURLWithPath: path) }
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    return own.deletingLastPathComponent().appendingPathComponent("tidemark")
  }

  /// Starts it; its messages go to a file.
  init(_ arguments: [String], world: World, name: String = "tidemark") throws {
    self.name = name
    log = world.directory.appendingPathComponent("\(name)-\(UUID().uuidString.prefix(6)).log")
    try Data().write(to: log)
    process.executableURL = Self.binary
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(world.environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = try FileHandle(forWritingTo: log)
    try process.run()
  }

  var messages: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

  /// One line of its standard output.
  func line() -> String {
    var bytes: [UInt8] = []
    while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") { bytes.append(byte) }
    return String(decoding: bytes, as: UTF8.self)
  }

  struct Ended {
    var code: Int32
    var output: String
    var messages: String
  }

  func wait() -> Ended {
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return Ended(code: process.terminationStatus, output: text, messages: messages)
  }

  func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

  /// Ends it as a power cut would.
  func kill9() {
    send(SIGKILL)
    process.waitUntilExit()
  }

  /// Waits until its messages hold a text; false: it ended, or two minutes went by.
  func says(_ text: String, times: Int = 1) -> Bool {
    awaitTrue { messages.components(separatedBy: text).count > times || !process.isRunning } && messages.components(separatedBy: text).count > times
  }
}

/// Waits for a condition; false: it did not come true in time.
func awaitTrue(seconds: Double = 120, _ condition: () -> Bool) -> Bool {
  let end = Date(timeIntervalSinceNow: seconds)
  while Date() < end {
    if condition() { return true }
    usleep(20_000)
  }
  return condition()
}
