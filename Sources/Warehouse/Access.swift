/// Who reads what in PostgreSQL.
///
/// A tier is a database role without login. What it may read of an aggregate is one relation: the table itself, where the
/// tier sees all of its measures, or a view that has nothing but what the tier sees. Views belong to a role of their own
/// for each tier (`tidemark_view_<tier>`), which holds SELECT on just the columns that the view has; row-level security is
/// forced on the table, so that the view's owner is held by the tier's policy. Two things must both be true for a row to be
/// seen: the login is in the tier's role, and `access.member` names the person in this database.
///
/// Views are security barriers. The table itself cannot be: in a branch of a UNION ALL PostgreSQL puts a table's policy after
/// conditions of the query that cost as little, and they are asked of rows of others (`apply_child_basequals`). Where that matters,
/// `barrier: true` has everybody who does not see every row read a view.
///
/// A policy asks `access.holds(tier)`, `access.own(tier)` (or `access.departments(tier)` and `access.scope(tier)`), once a query.
/// They go by `access.person()`: the login that opened the session, which nobody but a superuser can change; for a gateway, the
/// person whose token the running transaction has shown. No setting is read anywhere.
///
/// The functions belong to `tidemark_access`, a role without members that owns nothing but the schema `access`; the audit to
/// `tidemark_audit`, which nobody can become.
public enum Access {
  /// What marks a role as a tier: a role of that name that somebody else made is never taken.
  static let tierComment = "Tidemark tier"

  /// What marks a login as one that was made for a dashboard or a gateway: the password of no other is ever changed.
  static let serviceComment = "Tidemark service"

  /// The role that owns a tier's views.
  static func viewRole(_ tier: String) -> String { "tidemark_view_\(tier)" }

  /// Roles besides the tiers: definer of the functions, keeper of the audit, and what people and services may be given.
  static let roles = ["tidemark_access", "tidemark_audit", "tidemark_gateway", "tidemark_issuer", "tidemark_granter"]

  /// SQL: whether `r` of pg_roles is one by which Tidemark itself works (its owner, writer and others that may come to be), and
  /// none that people are given.
  static let isWorker = """
    (starts_with(r.rolname, 'tidemark_') AND NOT r.rolcanlogin AND NOT starts_with(r.rolname, 'tidemark_view_')
      AND r.rolname NOT IN ('tidemark_reader', 'tidemark_gateway', 'tidemark_issuer', 'tidemark_granter'))
    """

  /// SQL: whether a policy `p` of pg_policy is for anybody but workers.
  static let isForOthers = """
    EXISTS (SELECT FROM unnest(p.polroles) o LEFT JOIN pg_roles r ON r.oid = o WHERE r.oid IS NULL OR NOT \(isWorker))
    """

  /// Functions that only `tidemark_access` itself calls are not listed: nobody may.
  static let callers: [(function: String, role: String)] = [
    ("access.assume(text)", "tidemark_gateway"), ("access.whoami()", "tidemark_gateway"),
    ("access.issue(text, text, integer)", "tidemark_issuer"),
    ("access.grant_tier(text, text, text[])", "tidemark_granter"), ("access.revoke_tier(text, text, text[])", "tidemark_granter"),
    ("access.relations_of(text)", "tidemark_granter"), ("access.enroll_gateway(text, text[])", "tidemark_granter"), ("access.rotate_key()", "tidemark_granter"),
  ]

  /// What every tier may call.
  static let tierFunctions = ["access.holds(text)", "access.own(text)", "access.departments(text)", "access.scope(text)", "access.whoami()"]

  /// Every function of the schema fixes its search path; temporary objects come last.
  static let definer = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
}
