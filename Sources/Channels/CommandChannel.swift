import Alerting
import Foundation
import Glibc

/// Runs a program with the notice as JSON on its standard input; exit code 0 is a success. It gets no variable of this
/// process but PATH, HOME and LANG: passwords of Kafka and PostgreSQL may be among them. Its output goes nowhere, its
/// messages where this process writes its own.
public struct CommandChannel: AlertChannel {
  public let name: String
  private let program: String
  private let arguments: [String]
  /// Seconds; it is killed then.
  private let patience: Double

  public init(name: String, program: String, arguments: [String], patience: Double = 10) {
    self.name = name
    self.program = program
    self.arguments = arguments
    self.patience = patience
  }

  public func send(_ notice: Notice) throws(ChannelFailure) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let json = try? encoder.encode(notice) else { throw ChannelFailure("the notice cannot be written as JSON") }
    let process = Process()
    let input = Pipe()
    let done = DispatchSemaphore(value: 0)
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.filter { ["PATH", "HOME", "LANG"].contains($0.key) }
    process.standardInput = input
    process.standardOutput = FileHandle.nullDevice
    process.terminationHandler = { _ in done.signal() }
    do {
      // A notice fits into a pipe's 64 KiB, so it is written before anybody reads: a program that does not read cannot end
      // this process by a broken pipe.
      precondition(json.count < 60_000, "notices are bounded")
      try input.fileHandleForWriting.write(contentsOf: json + Data("\n".utf8))
      try process.run()
      try input.fileHandleForWriting.close()
    } catch {
      throw ChannelFailure("\(program) cannot be started")
    }
    guard done.wait(timeout: .now() + patience) == .success else {
      kill(process.processIdentifier, SIGKILL)
      throw ChannelFailure("\(program) did not end within \(Int(patience)) s and was killed")
    }
    guard process.terminationReason == .exit else { throw ChannelFailure("\(program) was ended by signal \(process.terminationStatus)") }
    guard process.terminationStatus == 0 else { throw ChannelFailure("\(program) ended with code \(process.terminationStatus)") }
  }
}
