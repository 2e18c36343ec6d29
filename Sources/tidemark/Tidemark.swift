import ArgumentParser

@main
struct Tidemark: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tidemark",
    abstract: "Events in Kafka become exact, fresh rows in PostgreSQL.",
    discussion: """
      Servers are named by --kafka or TIDEMARK_KAFKA (bootstrap servers) and by --postgres or TIDEMARK_POSTGRES (a libpq
      connection string; PG* variables work too). Results go to standard output, progress and messages to standard error.

      Exit codes: 0 done, 3 a difference was found, 64 usage, 65 bad topology or data, 69 a server cannot be reached,
      70 a mistake in Tidemark, 75 try again.

      EXAMPLES
        tidemark validate topologies/product-events.yaml
        tidemark migrate --topology topologies/product-events.yaml --postgres "host=db dbname=analytics user=postgres"
        tidemark run --topology topologies/product-events.yaml --data-dir /var/lib/tidemark --kafka broker:9092
        tidemark status
      """,
    version: "0.1.0",
    subcommands: [
      Validate.self, Explain.self, Migrate.self, Run.self, Land.self, Nightly.self, Reconcile.self,
      Status.self, Quarantine.self, Alerts.self, AccessCommand.self, AcceptGap.self,
      Replay.self, Generate.self, CompareExpected.self, Broker.self, Demo.self, BenchmarkConsume.self, PostgresServer.self,
    ])
}
