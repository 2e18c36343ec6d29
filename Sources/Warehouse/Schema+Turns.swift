import Postgres

/// Turns: what runs once at a time, whoever starts it and wherever. A turn is a row of `tidemark.turn` that a transaction has
/// written and not yet committed; others that want it wait for that transaction, up to their `lock_timeout`. It ends with the
/// transaction, and so with a session that dies.
///
///     turn                                       taken by
///     migrate                                    a migration
///     refresh VIEW                               tidemark.refresh_view
///     reconcile TOPOLOGY                         a reconciliation
///     roll up TOPOLOGY TOPIC PARTITION           tidemark.roll_up_ledger
///     roll up landing TOPOLOGY TOPIC PARTITION   tidemark.roll_up_landing_ledger
///
/// Not advisory locks: any login of the database could hold those, and keep all of this from running. Work of several
/// transactions takes its turn anew in each: who came in between is waited for, and ended by then.
extension Schema {
  /// The statement that takes a turn, for the rest of the transaction. Under REPEATABLE READ it fails with 40001 where another
  /// had the turn since the snapshot was taken: roll back and begin again, with a snapshot that shows what that one did.
  /// - Parameter name: SQL of the turn's name.
  public static func turn(_ name: String) -> String {
    "INSERT INTO tidemark.turn (name) VALUES (\(name)) ON CONFLICT (name) DO UPDATE SET taken_at = clock_timestamp()"
  }

  /// Takes the migration's turn, in an empty database as well: two that make one schema, or one table, wait for each other, and
  /// the second finds it made. Run as the login that migrates, after `roles`.
  static let migrationTurn: [String] = [
    """
    DO $$ BEGIN
      CREATE SCHEMA IF NOT EXISTS tidemark AUTHORIZATION tidemark_owner;
    EXCEPTION WHEN duplicate_schema OR unique_violation THEN NULL;
    END $$
    """,
    "SET LOCAL ROLE tidemark_owner",
    """
    DO $$ BEGIN
      CREATE TABLE IF NOT EXISTS tidemark.turn (
        name text PRIMARY KEY,
        taken_at timestamptz NOT NULL DEFAULT clock_timestamp()
      ) WITH (fillfactor = 50);
    EXCEPTION WHEN duplicate_table OR duplicate_object OR unique_violation THEN NULL;
    END $$
    """,
    turn("'migrate'"),
    "RESET ROLE",
  ]
}
