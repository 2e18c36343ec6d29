extension Topology {
  /// A kind of reader: which rows and which measures people of that kind see. In PostgreSQL a tier is a role.
  public struct Tier: Sendable, Equatable {
    public enum Rows: String, Sendable, Equatable, CaseIterable {
      /// Every row.
      case all
      /// The rows of a person's own departments, whatever the aggregate's `access.by` calls a department.
      case own
      /// Sums over the whole company: never a row of the table.
      case totals
    }
    public enum Measures: String, Sendable, Equatable, CaseIterable {
      case all
      /// Counts and distinct counts; no measure of an amount (sum, min, max, average).
      case counts
      /// Distinct counts, such as daily active users.
      case headline
    }
    public let name: String
    public let rows: Rows
    public let measures: Measures
    /// Whether a window is shown only once every event of its calendar day is in.
    public let completeDays: Bool

    public init(name: String, rows: Rows, measures: Measures, completeDays: Bool) {
      self.name = name
      self.rows = rows
      self.measures = measures
      self.completeDays = completeDays
    }

    /// The role's name.
    public var role: String { Topology.sqlName(name) }

    /// What every topology has; `tiers:` adds to it and redefines it.
    public static let standard = [
      Tier(name: "ceo", rows: .all, measures: .all, completeDays: false),
      Tier(name: "department_head", rows: .own, measures: .all, completeDays: false),
      Tier(name: "manager", rows: .own, measures: .counts, completeDays: false),
      Tier(name: "board", rows: .totals, measures: .all, completeDays: true),
      Tier(name: "all_hands", rows: .totals, measures: .headline, completeDays: false),
    ]

    /// Those that read an aggregate whose `access` names no tiers.
    static let usual = ["ceo", "department_head", "manager", "board"]
  }

  /// `access:` of an aggregate, as the file says it; `readers(of:)` says what it means.
  public struct Access: Sendable, Equatable {
    /// The `by` field that decides who sees which row.
    public let by: String?
    /// Tiers that read the aggregate; empty: the usual ones.
    public let tiers: [String]
    /// Measures that a tier does not see, instead of those that its definition keeps from it.
    public let hidden: [String: [String]]
    /// Whether tiers with rows of their own read a view also where they see all measures. Only a view that is a barrier keeps a
    /// query's conditions from rows of others however the query is written.
    public let isBarred: Bool

    public init(by: String?, tiers: [String], hidden: [String: [String]] = [:], isBarred: Bool = false) {
      self.by = by
      self.tiers = tiers
      self.hidden = hidden
      self.isBarred = isBarred
    }
  }

  /// What one tier reads of one aggregate.
  public struct Reader: Sendable, Equatable {
    public enum Rows: Sendable, Equatable {
      case all
      /// Rows whose value of that `by` field is one of the person's departments.
      case own(field: String)
      /// One row a window, summed over every `by` field.
      case totals
    }
    public let tier: Tier
    public let rows: Rows
    /// Names of the measures in the aggregate's order; at least one.
    public let measures: [String]
    /// The aggregate's own table, or a view that has nothing but what the tier may see.
    public let relation: String
  }

  /// Who reads an aggregate, in the order of `tiers`. Tiers that would see no measure of it are left out.
  public func readers(of aggregate: Aggregate) -> [Reader] {
    guard let access = aggregate.access else { return [] }
    let named = access.tiers.isEmpty ? Tier.usual : access.tiers
    return tiers.filter { named.contains($0.name) }.compactMap { aggregate.reader($0, access) }
  }

  /// Roles that the topology's aggregates may be read by. O(tiers).
  public var tierRoles: [String] { tiers.map(\.role) }
}

extension Topology.Aggregate {
  /// What a tier that reads the aggregate sees; nil: no measure.
  func reader(_ tier: Topology.Tier, _ access: Topology.Access) -> Topology.Reader? {
    let rows: Topology.Reader.Rows =
      switch tier.rows {
      case .all: .all
      case .own: access.by.map { .own(field: $0) } ?? .all
      case .totals: by.isEmpty ? .all : .totals
      }
    let seen = measures.filter { measure in
      // Members of several groups would count several times: distinct counts do not add up.
      if rows == .totals, case .distinct = measure.kind { return false }
      if let hidden = access.hidden[tier.name] { return !hidden.contains(measure.name) }
      return tier.measures.include(measure.kind)
    }
    guard !seen.isEmpty else { return nil }
    let isWhole = (rows == .all || !access.isBarred) && tier.rows != .totals && seen.count == measures.count && !tier.completeDays
    return Topology.Reader(tier: tier, rows: rows, measures: seen.map(\.name), relation: isWhole ? tableName : viewName(tier))
  }

  func viewName(_ tier: Topology.Tier) -> String { "\(tableName)_\(tier.role)" }
}

extension Topology.Tier.Measures {
  func include(_ kind: Topology.Measure.Kind) -> Bool {
    switch (self, kind) {
    case (.all, _), (_, .distinct), (.counts, .count): true
    default: false
    }
  }
}
