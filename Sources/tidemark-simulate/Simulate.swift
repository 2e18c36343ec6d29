import ArgumentParser
import Foundation
import Simulation

@main
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "tidemark-simulate")
  @Option var seeds = "1..100"
  @Option var mutant: String?
  @Option var seed: UInt64?
  mutating func run() throws {
    let m = mutant.flatMap(Mutant.init)
    if let seed {
      let r = Simulator.run(seed: seed, mutant: m, traces: true)
      FileHandle.standardOutput.write(Data((r.trace.joined(separator: "\n") + "\n").utf8))
      return
    }
    let parts = seeds.split(separator: ".").compactMap { UInt64($0) }
    let begin = Date()
    var faults = FaultCounts()
    for s in parts[0]...parts[1] {
      let r = Simulator.run(seed: s, mutant: m)
      faults.add(r.faults)
      if let f = r.failure { FileHandle.standardOutput.write(Data("\(s): \(f)\n".utf8)); if m != nil { break } }
    }
    let seconds = Date().timeIntervalSince(begin)
    FileHandle.standardOutput.write(Data("\(Double(parts[1] - parts[0] + 1) / seconds) worlds/s; \(Fault.allCases.map { "\($0) \(faults[$0])" })\n".utf8))
  }
}
