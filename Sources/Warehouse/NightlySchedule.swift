import Postgres

/// The nightly work as jobs of the extension pg_cron: PostgreSQL itself refreshes the views, daily ones at 02:00, hourly
/// ones at the full hour, and rolls the ledgers up at 04:00, when they have been compared. Comparing is Tidemark's own work: that stays with cron or systemd.
public enum NightlySchedule {
  private static let prefix = "tidemark nightly."

  /// Installs the jobs, or takes away those whose view is gone. Runs as the connection's login, which owns the jobs and has
  /// to be allowed to refresh: a superuser, or a login that is a member of tidemark_batch.
  /// - Returns: lines about what was done, and what is left to do.
  public static func install(on connection: Connection) throws(WarehouseError) -> [String] {
    do throws(PostgresError) {
      let extensions = try connection.query("SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'")
      guard let version = extensions.first?[0] else {
        let available = try !connection.query("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_cron'").isEmpty
        return advice(available: available)
      }
      let views = try connection.query("SELECT view_name, every FROM tidemark.nightly_view ORDER BY 1")
      try connection.execute(
        "SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname LIKE $1 || '%' AND NOT (substr(jobname, length($1) + 1) = ANY ($2))",
        [.text(prefix), .texts(views.map { $0[0] })])
      var lines = ["pg_cron \(version):"]
      for view in views {
        let name = view[0] ?? ""
        let times = view[1] == "hour" ? "0 * * * *" : "0 2 * * *"
        try connection.execute(
          "SELECT cron.schedule($1, $2, $3)",
          [.text(prefix + name), .text(times), .text("CALL tidemark.refresh_view(\(SQL.literal(name)))")])
        lines.append("  \(times)  refresh nightly.\(name)")
      }
      try connection.execute(
        "SELECT cron.schedule($1, $2, $3)", [.text("tidemark roll-up"), .text("0 4 * * *"), .text("CALL tidemark.roll_up_ledgers()")])
      lines.append("  0 4 * * *  roll the ledgers up")
      return lines + ["what compares runs outside of PostgreSQL; in cron: 30 2 * * *  tidemark reconcile --accept explained"]
    } catch {
      throw WarehouseError(error, "pg_cron")
    }
  }

  private static func advice(available: Bool) -> [String] {
    [
      available
        ? "the extension pg_cron is not in this database: shared_preload_libraries = 'pg_cron', cron.database_name = this database, CREATE EXTENSION pg_cron"
        : "the extension pg_cron is not on this server (Debian: postgresql-15-cron)",
      "without it, in cron:",
      "  0 2 * * *  tidemark nightly --accept explained",
      "  0 * * * *  tidemark nightly --refresh-only --view kpi_snapshot",
      "or as a systemd timer: OnCalendar=02:00, ExecStart=/usr/local/bin/tidemark nightly --accept explained",
    ]
  }
}
