import Postgres

extension Books {
  /// Checks that `migrate` has registered a topology of that name.
  /// - Throws: `refused`, naming those that there are.
  public func require(_ topology: String) throws(WarehouseError) {
    let unknown = try reading { () throws(PostgresError) in try unknownTopology(topology, connection) }
    if let unknown { throw unknown }
  }
}

/// What to say of a topology that is not in the database; nil: it is.
func unknownTopology(_ name: String, _ connection: Connection) throws(PostgresError) -> WarehouseError? {
  let names = try connection.query("SELECT name FROM tidemark.topology ORDER BY 1").compactMap { $0[0] }
  guard !names.contains(name) else { return nil }
  let known =
    names.isEmpty
    ? "there is none at all: run `tidemark migrate --topology FILE` first" : "there \(names.count == 1 ? "is" : "are") \(names.joined(separator: ", "))"
  return WarehouseError(.refused, "there is no topology \(name) in PostgreSQL; \(known)")
}
