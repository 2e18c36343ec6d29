import Aggregation
import ArgumentParser
import Foundation
import Postgres
import Warehouse

struct AccessCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "access", abstract: "Who sees what: people, dashboards, tokens, and the proof that nobody sees more.",
    discussion: """
      What a tier reads is said in the topology (access:) and made by `tidemark migrate`; who is in a tier is said here. Every
      change is in an audit that nobody edits.

      EXAMPLES
        tidemark access grant ada --tier department_head --department sales --department support
        tidemark access list
        tidemark access revoke ada --tier department_head --department support
        tidemark access verify
      """,
    subcommands: [Grant.self, Revoke.self, List.self, History.self, Verify.self, Token.self, RotateKey.self, BILogin.self, Gateway.self])

  /// Works with the access books; refusals become exit code 65.
  static func withBooks<R>(_ postgres: PostgresOptions, _ body: (AccessBooks) throws(WarehouseError) -> R) throws -> R {
    let books = AccessBooks(try connect(postgres.target))
    do throws(WarehouseError) { return try body(books) } catch { throw Failure(error) }
  }

  struct Grant: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put a person into a tier, with departments where the tier has them.",
      discussion: """
        Takes effect at the person's next query. A name that is no login of PostgreSQL is a person behind a gateway: the name
        that tokens bear.

        EXAMPLES
          tidemark access grant grace --tier ceo
          tidemark access grant ada --tier department_head --department sales --department support
      """)
    @Argument(help: ArgumentHelp("The person's login.", valueName: "login")) var login: String
    @Option(help: ArgumentHelp("The tier.", valueName: "tier")) var tier: String
    @Option(help: ArgumentHelp("A department whose rows are to be seen; may be repeated.", valueName: "name")) var department: [String] = []
    @OptionGroup var postgres: PostgresOptions

    func run() throws {
      try reportingFailures {
        let isLogin = try withBooks(postgres) { books throws(WarehouseError) in try books.grant(login, tier: tier, departments: department) }
        let relations = try withBooks(postgres) { books throws(WarehouseError) in try books.relations(of: tier) }
        Console.write("\(login) is \(tier)\(department.isEmpty ? "" : " of \(department.joined(separator: ", "))")")
        Console.note(relations.isEmpty ? "no aggregate is open to \(tier)" : "reads \(relations.joined(separator: ", ")), freshness beside them")
        if !isLogin { Console.note("PostgreSQL has no login \(login): until it has and this is repeated, \(login) comes through a gateway only") }
      }
    }
  }

  struct Revoke: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take from a person a tier, departments of it, or everything.",
      discussion: """
        Takes effect at the person's next query. The person's sessions are ended as well, so that no cursor and no old
        snapshot goes on; --keep-sessions leaves them.

        EXAMPLES
          tidemark access revoke ada --tier department_head --department support
          tidemark access revoke ada
        """)
    @Argument(help: ArgumentHelp("The person's login.", valueName: "login")) var login: String
    @Option(help: ArgumentHelp("Only this tier.", valueName: "tier")) var tier: String?
    @Option(help: ArgumentHelp("Only this department; may be repeated.", valueName: "name")) var department: [String] = []
    @Flag(help: "Leave the person's sessions open.") var keepSessions = false
    @OptionGroup var postgres: PostgresOptions

    func validate() throws {
      if !department.isEmpty, tier == nil { throw ValidationError("--department needs --tier: the tier that it was granted with") }
    }

    func run() throws {
      try reportingFailures {
        let count = try withBooks(postgres) { books throws(WarehouseError) in try books.revoke(login, tier: tier, departments: department) }
        guard count > 0 else { throw Failure(.data, "nothing of the kind is granted to \(login): see `tidemark access list`") }
        Console.write("revoked from \(login): \(([tier ?? "everything"] + department).joined(separator: " "))")
        guard !keepSessions else { return }
        let sessions = try withBooks(postgres) { books throws(WarehouseError) in try books.endSessions(of: login) }
        if sessions.ended > 0 { Console.note("\(sessions.ended) session\(sessions.ended == 1 ? "" : "s") of \(login) ended") }
        if sessions.left > 0 {
          let what = "\(sessions.left) session\(sessions.left == 1 ? "" : "s") of \(login)"
          Console.note("\(what) left open: ending them takes a superuser or pg_signal_backend")
        }
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List who is in which tier.",
      discussion: """
        EXAMPLES
          tidemark access list
          tidemark access list --login ada --format json
        """)
    @Option(help: ArgumentHelp("Only this person.", valueName: "login")) var login: String?
    @Option(help: "table or json.") var format = ListingFormat.table
    @OptionGroup var postgres: PostgresOptions

    struct Row: Encodable {
      var login: String, tier: String
      var department: String?
      var reaches: String
      var grantedAt: String, grantedBy: String
    }

    func run() throws {
      try reportingFailures {
        let rows = try withBooks(postgres) { books throws(WarehouseError) in try books.members(login: login) }.map { member in
          Row(
            login: member.login, tier: member.tier, department: member.department, reaches: member.isLogin ? "login" : "gateway",
            grantedAt: timeText(EventTime(microseconds: member.grantedAt)), grantedBy: member.grantedBy)
        }
        guard format == .table else { return Console.write(Console.json(rows)) }
        Console.write(
          Console.table(
            ["login", "tier", "department", "comes by", "granted by", "granted at"],
            rows.map { [$0.login, $0.tier, $0.department ?? "-", $0.reaches, $0.grantedBy, $0.grantedAt] }))
        guard login == nil else { return }
        for gateway in try withBooks(postgres, { books throws(WarehouseError) in try books.gateways() }) {
          Console.note("gateway \(gateway.login) serves \(gateway.tiers.joined(separator: ", "))")
        }
      }
    }
  }

  struct History: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The audit: who granted and revoked what, newest first.",
      discussion: """
        EXAMPLES
          tidemark access history --limit 20
        """)
    @Option(help: ArgumentHelp("Most entries.", valueName: "count")) var limit = 100
    @Option(help: "table or json.") var format = ListingFormat.table
    @OptionGroup var postgres: PostgresOptions

    struct Row: Encodable {
      var at: String, actor: String, action: String
      var login: String?, tier: String?, department: String?, detail: String?
    }

    func validate() throws { if limit < 1 { throw ValidationError("--limit \(limit): expected at least 1") } }

    func run() throws {
      try reportingFailures {
        let rows = try withBooks(postgres) { books throws(WarehouseError) in try books.history(limit: limit) }.map { entry in
          Row(
            at: timeText(EventTime(microseconds: entry.at)), actor: entry.actor, action: entry.action, login: entry.login, tier: entry.tier,
            department: entry.department, detail: entry.detail)
        }
        guard format == .table else { return Console.write(Console.json(rows)) }
        Console.write(
          Console.table(
            ["at", "by", "action", "login", "tier", "department", "detail"],
            rows.map { [$0.at, $0.actor, $0.action, $0.login ?? "-", $0.tier ?? "-", $0.department ?? "-", $0.detail ?? "-"] }))
      }
    }
  }
}
