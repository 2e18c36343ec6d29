import ArgumentParser
import Foundation
import Postgres
import Topologies
import Warehouse

extension AccessCommand {
  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Log in as every tier, try everything, and prove that nobody sees more than is granted.",
      discussion: """
        Makes a login for every tier (tidemark_verify_…, removed at the end), tries every operation on every relation as
        each, compares what is read with what the topology grants, mounts the known attacks, and reads the catalogue for
        holes. Prints the matrix; the exit code is 3 if anything leaks. Needs a superuser, or a login with CREATEROLE in
        tidemark_owner, tidemark_writer, tidemark_granter and tidemark_issuer; pg_hba.conf has to let the logins in by
        password. Changes nothing, besides audit entries of its own grants; what an interrupted run left behind, the next one
        removes after ten minutes.

        EXAMPLES
          tidemark access verify
          tidemark access verify --topology topologies/product-events.yaml --accept dba --format json
        """)
    @Option(help: ArgumentHelp("What the database is held against; without, the last migration. May be repeated.", valueName: "file"))
    var topology: [String] = []
    @Option(help: ArgumentHelp("A login, role or function that is known to read past policies; may be repeated.", valueName: "name"))
    var accept: [String] = []
    @Flag(help: "List every attack, not only those that gained something.") var attacks = false
    @Option(help: "table or json.") var format = ListingFormat.table
    @OptionGroup var postgres: PostgresOptions

    struct Output: Encodable {
      struct Line: Encodable {
        var tier: String, relation: String, rows: String
        var seen: Int64, expected: Int64
        var columns: [String]
      }
      struct Attack: Encodable {
        var attack: String, by: String
        var leak: String?
      }
      struct Finding: Encodable { var severity: String, kind: String, object: String, message: String }
      var matrix: [Line]
      var attacks: [Attack]
      var findings: [Finding]
      var refused: Int, allowed: Int, relations: Int, leaks: Int
    }

    func run() throws {
      try reportingFailures {
        let topologies = try loadTopologies(topology)
        let target = postgres.target
        let verification = AccessVerification(try connect(target), topologies: topologies, accepted: Set(accept)) { login throws(PostgresError) in
          try Connection(target, applicationName: "tidemark access verify", login: login)
        }
        let report: AccessVerification.Report
        do throws(WarehouseError) { report = try verification.run { Console.note($0) } } catch { throw Failure(error) }
        switch format {
        case .json: Console.write(Console.json(output(report)))
        case .table: show(report)
        }
        guard report.leaks == 0 else {
          throw Failure(.difference, "\(report.leaks) leak\(report.leaks == 1 ? "" : "s"): somebody sees, or may do, more than is granted")
        }
      }
    }

    private func output(_ report: AccessVerification.Report) -> Output {
      Output(
        matrix: report.lines.map {
          Output.Line(tier: $0.tier, relation: $0.relation, rows: $0.rows, seen: $0.seen, expected: $0.expected, columns: $0.columns)
        },
        attacks: report.attacks.map { Output.Attack(attack: $0.name, by: $0.by, leak: $0.leak) },
        findings: report.findings.map { Output.Finding(severity: $0.severity.rawValue, kind: $0.kind, object: $0.object, message: $0.message) },
        refused: report.refused, allowed: report.allowed, relations: report.relations, leaks: report.leaks)
    }

    private func show(_ report: AccessVerification.Report) {
      Console.write(
        Console.table(
          ["tier", "reads", "which rows", "seen", "granted", "columns"],
          report.lines.map {
            let isEmpty = $0.columns.isEmpty
            return [
              $0.tier, $0.relation, $0.rows, isEmpty ? "-" : Console.grouped($0.seen), isEmpty ? "-" : Console.grouped($0.expected),
              isEmpty ? "how fresh and how complete each aggregate is" : $0.columns.joined(separator: ", "),
            ]
          }, right: [3, 4]))
      Console.write(
        "everything else is refused: \(Console.grouped(report.refused)) operations on \(report.relations) relations; "
          + "\(report.allowed) reads allowed, each compared")
      let gained = report.attacks.filter { $0.leak != nil }
      if attacks {
        Console.write(
          Console.table(["attack", "by", "outcome"], report.attacks.map { [$0.name, $0.by, $0.leak.map { "LEAK: \($0)" } ?? "gained nothing"] }))
      }
      Console.write("\(report.attacks.count) attacks of \(Set(report.attacks.map(\.name)).count) kinds: \(gained.count) gained something")
      for attack in gained { Console.write("LEAK attack \(attack.name), as \(attack.by): \(attack.leak ?? "")") }
      for finding in report.findings where finding.severity == .note { Console.note("\(finding)") }
      for finding in report.findings where finding.severity == .leak { Console.write("LEAK \(finding.kind) \(finding.object): \(finding.message)") }
    }
  }
}
