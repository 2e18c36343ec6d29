import Aggregation

extension Topology {
  /// Hash of all that decides results, 16 hexadecimal digits.
  ///
  /// Comments, places, the file's name, access, reconciliation and the order of fields, topics and `where:` terms are no
  /// part of it. The order of aggregates, of their measures and of `by` is: a `Delta` holds increments by position, so
  /// that state written before and after a change of order could not be told apart. FNV-1a over a canonical text that
  /// depends on nothing but this file; it tells topologies apart, it does not withstand an attacker.
  ///
  /// Two builds whose Foundation carries different IANA rules have one fingerprint.
  public var fingerprint: String {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in canonicalText.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// One line a fact. Texts carry their length, so that no two topologies share a canonical text.
  var canonicalText: String {
    var lines = [
      "tidemark 1", "topology \(atom(name))", "topics \(atoms(topics.sorted()))", "format \(format.rawValue)",
      "partition_key \(partitionKey.map(atom) ?? "-")", "time \(atoms(timePath)) \(timeFormat.rawValue)",
      "allowed_lateness \(allowedLateness.microseconds)", "zone \(atom(zone))", "max_future_skew \(maxFutureSkew.microseconds)"
    ]
    if let deduplicateWithin, let idPath { lines.append("deduplicate \(atoms(idPath)) \(deduplicateWithin.microseconds)") }
    for field in fields.sorted(by: { $0.name < $1.name }) {
      lines.append("field \(atom(field.name)) \(atoms(field.path)) \(text(field.kind)) \(text(field.presence))")
    }
    for aggregate in aggregates {
      lines.append(
        "aggregate \(atom(aggregate.name)) \(text(aggregate.window)) by \(atoms(aggregate.by)) max_groups \(aggregate.maxGroups)")
      let terms = aggregate.filter.map {
        "where \(atom($0.field)) \($0.negated ? "not" : "is") \(atoms(Set($0.values).sorted()))"
      }
      lines += terms.sorted()
      for measure in aggregate.measures { lines.append("measure \(atom(measure.name)) \(text(measure.kind))") }
    }
    return lines.joined(separator: "\n")
  }

  private func atom(_ text: String) -> String { "\(text.utf8.count):\(text)" }
  private func atoms(_ texts: [String]) -> String { "[\(texts.map(atom).joined(separator: " "))]" }

  private func text(_ kind: FieldPlan.Kind) -> String {
    if case .decimal(let scale) = kind { "decimal(\(scale))" } else { kind.word }
  }

  private func text(_ presence: FieldPlan.Presence) -> String {
    switch presence {
    case .required: "required"
    case .optional: "optional"
    case .defaulted(let value): "default \(atom(value))"
    }
  }

  private func text(_ window: Window) -> String {
    switch window {
    case .tumbling(let length): "tumbling \(length.microseconds)"
    }
  }

  private func text(_ kind: Measure.Kind) -> String {
    switch kind {
    case .count: "count"
    case .sum(let field): "sum \(atom(field))"
    case .minimum(let field): "min \(atom(field))"
    case .maximum(let field): "max \(atom(field))"
    case .average(let field): "average \(atom(field))"
    case .distinct(let field): "distinct \(atom(field))"
    }
  }
}
