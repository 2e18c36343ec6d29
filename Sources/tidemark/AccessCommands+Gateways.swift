import ArgumentParser
import Foundation
import Postgres
import Warehouse

extension AccessCommand {
  /// Where a new login's password comes from. It is never an argument: those can be read in the process list.
  struct PasswordOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The password is this file's first line (- is standard input); without, one is made and printed.", valueName: "file"))
    var passwordFile: String?

    func password() throws -> (text: String, isNew: Bool) {
      guard let passwordFile else {
        var source = SystemRandomNumberGenerator()
        let letters = Array("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        return (String((0..<24).map { _ in letters[Int.random(in: 0..<letters.count, using: &source)] }), true)
      }
      let data = passwordFile == "-" ? FileHandle.standardInput.readDataToEndOfFile() : FileManager.default.contents(atPath: passwordFile)
      guard let data else { throw Failure(.data, "\(passwordFile) cannot be read") }
      let line = String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).first.map(String.init) ?? ""
      guard line.count >= 8 else { throw Failure(.data, "\(passwordFile == "-" ? "standard input" : passwordFile): a password has at least 8 characters") }
      return (line, false)
    }
  }

  struct BILogin: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "bi-login", abstract: "A login for a dashboard tool that shows one tier to everybody who uses it.",
      discussion: """
        Makes the login (or gives one that it made a new password): read only, statements of at most a minute, search path analytics; and
        puts it into the tier. For a tool that shows each person her own rows, see `tidemark access gateway`.

        EXAMPLES
          tidemark access bi-login metabase_sales --tier manager --department sales
          tidemark access bi-login grafana --tier board --password-file /run/secrets/grafana
        """)
    @Argument(help: ArgumentHelp("The login's name.", valueName: "name")) var name: String
    @Option(help: ArgumentHelp("The tier.", valueName: "tier")) var tier: String
    @Option(help: ArgumentHelp("A department whose rows are to be seen; may be repeated.", valueName: "name")) var department: [String] = []
    @OptionGroup var password: PasswordOptions
    @OptionGroup var postgres: PostgresOptions

    func run() throws {
      try reportingFailures {
        let (text, isNew) = try password.password()
        let connection = try connect(postgres.target)
        let books = AccessBooks(connection)
        do throws(WarehouseError) {
          try books.login(Login(name: name, password: text), isGateway: false) { () throws(WarehouseError) in
            _ = try books.grant(name, tier: tier, departments: department)
          }
          Console.note("\(name) is \(tier)\(department.isEmpty ? "" : " of \(department.joined(separator: ", "))"), at \(connection.place)")
          Console.note("reads \(try books.relations(of: tier).joined(separator: ", ")) and analytics.freshness")
        } catch { throw Failure(error) }
        if isNew { Console.write(text) }
      }
    }
  }

  struct Gateway: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "A login for a service that asks for many people, each proven by a token.",
      discussion: """
        By itself the login sees no row. In each transaction it first says  SELECT access.assume($1)  with a token that a
        service in the role tidemark_issuer got from  access.issue(person, gateway, seconds)  after it had authenticated the
        person. It serves people of the tiers named here and no others. Safe behind a pooler in transaction mode.

        EXAMPLES
          tidemark access gateway api --tier department_head --tier manager
        """)
    @Argument(help: ArgumentHelp("The login's name.", valueName: "name")) var name: String
    @Option(help: ArgumentHelp("A tier that it serves; may be repeated.", valueName: "tier")) var tier: [String]
    @OptionGroup var password: PasswordOptions
    @OptionGroup var postgres: PostgresOptions

    func validate() throws { if tier.isEmpty { throw ValidationError("name at least one tier: --tier TIER") } }

    func run() throws {
      try reportingFailures {
        let (text, isNew) = try password.password()
        try withBooks(postgres) { books throws(WarehouseError) in
          try books.login(Login(name: name, password: text), isGateway: true) { () throws(WarehouseError) in try books.enroll(name, tiers: tier) }
        }
        Console.note("\(name) is a gateway for \(tier.joined(separator: ", "))")
        if isNew { Console.write(text) }
      }
    }
  }

  struct Token: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Issue a token by which a gateway speaks for a person in one transaction.",
      discussion: """
        The token goes to standard output. It is good at one gateway, for one transaction, until it expires. The key never
        leaves the database.

        EXAMPLES
          tidemark access token ada --gateway api
          psql "user=api dbname=analytics" -c "BEGIN; SELECT access.assume('$(tidemark access token ada --gateway api)'); TABLE analytics.daily_metrics; COMMIT"
        """)
    @Argument(help: ArgumentHelp("For whom the gateway is to speak.", valueName: "person")) var person: String
    @Option(help: ArgumentHelp("The gateway's login.", valueName: "login")) var gateway: String
    @Option(help: ArgumentHelp("How long it can be shown; at most an hour.", valueName: "seconds")) var seconds = 60
    @OptionGroup var postgres: PostgresOptions

    func validate() throws {
      guard (1...3600).contains(seconds) else { throw ValidationError("--seconds \(seconds): expected 1 to 3600") }
    }

    func run() throws {
      try reportingFailures {
        Console.write(try withBooks(postgres) { books throws(WarehouseError) in try books.token(for: person, at: gateway, seconds: seconds) })
      }
    }
  }

  struct RotateKey: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "rotate-key", abstract: "Sign tokens with a new key; the one before stays good for tokens that it signed.",
      discussion: """
        Run it twice to make every token worthless at once.

        EXAMPLES
          tidemark access rotate-key
        """)
    @OptionGroup var postgres: PostgresOptions

    func run() throws {
      try reportingFailures {
        let key = try withBooks(postgres) { books throws(WarehouseError) in try books.rotateKey() }
        Console.write("tokens are signed with key \(key); key \(key - 1) is still accepted, older ones are gone")
      }
    }
  }
}
