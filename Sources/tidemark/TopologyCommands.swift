import Aggregation
import ArgumentParser
import Postgres
import Topologies
import Warehouse

struct Validate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check topology files.",
    discussion: """
      Problems are printed as file:line:column: message, all of them; the exit code is 65 then.

      EXAMPLES
        tidemark validate topologies/*.yaml
      """)
  @Argument(help: "Topology files.") var topologies: [String]

  func validate() throws {
    if topologies.isEmpty { throw ValidationError("name at least one topology file") }
  }

  func run() throws {
    try reportingFailures {
      for topology in try loadTopologies(topologies) {
        let count = topology.aggregates.count
        Console.write("\(topology.file): topology \(topology.name) is valid: \(count) aggregate\(count == 1 ? "" : "s"), fingerprint \(topology.fingerprint)")
      }
    }
  }
}

struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what a topology means: windows, when each is final, state, tables and SQL.",
    discussion: """
      EXAMPLES
        tidemark explain topologies/product-events.yaml
      """)
  @Argument(help: "A topology file.") var topology: String

  func run() throws {
    try reportingFailures {
      let topology = try loadTopologies([topology])[0]
      Console.write(topology.explanation())
      Console.write("SQL of the tables (tidemark migrate runs it):\n")
      for statement in Schema.tables(of: topology) { Console.write(statement + ";\n") }
      for (aggregate, statement) in Schema.upserts(of: topology) { Console.write("-- flush of \(aggregate)\n\(statement);\n") }
    }
  }
}

struct Migrate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Bring PostgreSQL to what topologies need: schemas, roles, tables, row-level security.",
    discussion: """
      Runs in one transaction and can be repeated. Needs a superuser, or a login with CREATEROLE and CREATE on the database.

      The nightly views of a topology's section reconcile are made too, and analytics.kpi_snapshot where tables
      public.subscriptions (status, amount_cents) and public.users (created_at) are there. --schedule pg_cron has PostgreSQL
      refresh them: daily ones at 02:00, kpi_snapshot every hour; without the extension it says what to put into cron.

      --dry-run prints all that would be run: whoever may not use this command's login hands the file to who may, and psql
      comes to the same database. Jobs of pg_cron (--schedule) are not in it.

      EXAMPLES
        tidemark migrate --topology topologies/product-events.yaml --dry-run
        tidemark migrate --topology topologies/product-events.yaml --postgres "host=db dbname=analytics user=postgres"
      """)
  @Option(help: ArgumentHelp("A topology file; may be repeated.", valueName: "file")) var topology: [String]
  @Flag(help: "Print the SQL instead of running it; psql can run it.") var dryRun = false
  @Option(help: ArgumentHelp("Have PostgreSQL refresh the nightly views: pg_cron.", valueName: "scheduler")) var schedule: Scheduler?

  enum Scheduler: String, ExpressibleByArgument, CaseIterable { case pgCron = "pg_cron" }

  @OptionGroup var postgres: PostgresOptions

  func validate() throws {
    if topology.isEmpty { throw ValidationError("name at least one topology: --topology FILE") }
    if dryRun, schedule != nil { throw ValidationError("--dry-run prints no jobs of pg_cron: leave --schedule away") }
  }

  func run() throws {
    try reportingFailures {
      let topologies = try loadTopologies(topology)
      if dryRun {
        Console.write("-- What `tidemark migrate` runs, all of it: psql -X -v ON_ERROR_STOP=1 -f FILE comes to the same. Run as a superuser, or as a login")
        Console.write("-- with CREATEROLE and CREATE on the database.\nBEGIN;")
        for statement in Migration.statements(topologies) { Console.write(statement + ";") }
        Console.write("COMMIT;")
        return
      }
      let connection = try connect(postgres.target)
      do throws(WarehouseError) {
        for line in try Migration.run(topologies, on: connection) { Console.write(line) }
        if schedule != nil { for line in try NightlySchedule.install(on: connection) { Console.write(line) } }
      } catch { throw Failure(error) }
    }
  }
}

/// A connection for a command that asks and ends.
func connect(_ target: String) throws -> Connection {
  do throws(PostgresError) { return try Connection(target, applicationName: "tidemark") } catch {
    throw Failure(.unavailable, "PostgreSQL: \(error)\(PostgresOptions.wayOut)")
  }
}

extension Failure {
  init(_ error: WarehouseError) {
    switch error.code {
    case .unreachable: self.init(.unavailable, error.message + PostgresOptions.wayOut)
    case .retry: self.init(.again, error.message)
    case .refused: self.init(.data, error.message)
    }
  }
}
