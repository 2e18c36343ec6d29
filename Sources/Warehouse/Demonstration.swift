import Postgres

/// What the demonstration does to its own database: the operational tables of a company, and one row changed by hand.
public enum Demonstration {
  /// `public.users` and `public.subscriptions`, some of each.
  public static func makeOperationalTables(on connection: Connection) throws(WarehouseError) {
    do throws(PostgresError) {
      try connection.script(
        """
        CREATE TABLE public.users (id bigint PRIMARY KEY, created_at timestamptz NOT NULL);
        CREATE TABLE public.subscriptions (id bigint PRIMARY KEY, user_id bigint NOT NULL, status text NOT NULL, amount_cents bigint NOT NULL);
        INSERT INTO public.users SELECT g, now() - g * interval '1 hour' FROM generate_series(1, 2000) g;
        INSERT INTO public.subscriptions SELECT g, g, CASE WHEN g % 5 = 0 THEN 'canceled' ELSE 'active' END, 990 + 1000 * (g % 3)
          FROM generate_series(1, 400) g
        """)
    } catch { throw WarehouseError(error, "PostgreSQL") }
  }

  /// Adds to a measure of the row that has most of it, as nobody ever should.
  /// - Returns: the row, as `key: before -> after`; nil: the table is empty.
  public static func tamper(_ table: String, key: [String], measure: String, by change: Int64, on connection: Connection) throws(WarehouseError) -> String? {
    let name = "analytics.\(SQL.identifier(table))"
    let column = SQL.identifier(measure)
    let keys = key.map(SQL.identifier).joined(separator: " || '/' || ")
    do throws(PostgresError) {
      return try connection.query(
        """
        UPDATE \(name) SET \(column) = \(column) + \(change) WHERE ctid = (SELECT ctid FROM \(name) ORDER BY \(column) DESC LIMIT 1)
        RETURNING \(keys) || ': ' || (\(column) - \(change)) || ' -> ' || \(column)
        """
      ).first?[0]
    } catch { throw WarehouseError(error, "PostgreSQL") }
  }

  /// The newest `analytics.kpi_snapshot`: monthly recurring revenue in cents, new users of 30 days, daily active users.
  public static func kpis(on connection: Connection) throws(WarehouseError) -> (revenueCents: String, newUsers: String, dau: String)? {
    do throws(PostgresError) {
      return try connection.query("SELECT mrr_cents, new_users_30d, dau FROM analytics.kpi_snapshot").first.map {
        ($0[0] ?? "?", $0[1] ?? "?", $0[2] ?? "?")
      }
    } catch { throw WarehouseError(error, "PostgreSQL") }
  }
}
