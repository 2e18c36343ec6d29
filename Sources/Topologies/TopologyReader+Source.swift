import Aggregation
import Foundation
import Yams

extension TopologyReader {
  static let rootKeys = ["topology", "source", "event", "time", "deduplicate", "tiers", "aggregates", "reconcile", "monitor"]

  /// What `source:` says.
  struct Source {
    var topics: [String]
    var format: Topology.PayloadFormat
  }

  /// The whole file. nil, or a topology next to problems: the caller looks at `problems`.
  mutating func topology(_ node: Node) -> Topology? {
    guard
      let root = section(
        node, path: "", at: node.place, known: Self.rootKeys, expected: "a mapping that begins with topology: NAME")
    else { return nil }
    let name = mandatory("topology", of: root, "add topology: NAME").flatMap { entry in
      text(entry.value, path: "topology", expected: "a name").flatMap { self.name($0, at: entry.value.place, what: "a topology") }
    }
    // Fields first: everything else refers to them. Problems are sorted by place at the end.
    let event = mandatory("event", of: root, "add event: with time and fields").flatMap { self.event($0) }
    if event == nil { fieldsAreKnown = fieldsAreKnown && !declared.isEmpty }
    let source = mandatory("source", of: root, "add source: { topics: [TOPIC], format: json, partition_key: FIELD }")
      .flatMap { self.source($0) }
    if root["source"] == nil { partitionKeyIsKnown = false }
    let time = mandatory("time", of: root, "add time: { allowed_lateness: 48h, zone: UTC }").flatMap { self.time($0) }
    let deduplicate = root["deduplicate"].map { self.deduplicate($0, event: event, root: root) } ?? .some(nil)
    if let entry = root["tiers"] {
      let tiers = self.tiers(entry)
      (tiersKnown, tiersAreKnown) = (tiers ?? tiersKnown, tiers != nil)
    } else if root.meant.contains("tiers") {
      tiersAreKnown = false
    }
    let aggregates = mandatory("aggregates", of: root, "add aggregates: with at least one").flatMap { self.aggregates($0) }
    let reconciliations = root["reconcile"].map { self.reconcile($0, root["aggregates"]) } ?? []
    let monitor = root["monitor"].map { self.monitor($0, aggregates) } ?? Topology.Monitor()
    guard let name, let source, let event, let time, let deduplicate, let aggregates, let reconciliations, let monitor, tiersAreKnown else {
      return nil
    }
    return Topology(
      file: file, name: name, topics: source.topics, format: source.format, partitionKey: partitionKey, idPath: event.idPath,
      timePath: event.timePath, timeFormat: event.timeFormat, fields: declared.compactMap(\.field),
      allowedLateness: time.allowedLateness, zone: time.zone, maxFutureSkew: time.maxFutureSkew, deduplicateWithin: deduplicate,
      tiers: tiersKnown, aggregates: aggregates, reconciliations: reconciliations, monitor: monitor)
  }

  private mutating func source(_ entry: Section.Entry) -> Source? {
    guard
      let section = section(
        entry, known: ["topics", "format", "partition_key"],
        expected: "a mapping such as { topics: [product.events], format: json, partition_key: user_id }")
    else {
      partitionKeyIsKnown = false
      return nil
    }
    let topics = mandatory("topics", of: section, "add topics: [TOPIC]").flatMap { self.topics($0) }
    var format: Topology.PayloadFormat? = .json
    if let entry = section["format"] {
      if let text = entry.value.writtenText, ["avro", "protobuf"].contains(text.lowercased()) {
        report(entry.value.place, "source.format: \(text) is not available yet, expected json")
        format = nil
      } else {
        format = word(entry, as: Topology.PayloadFormat.self, what: "format")
      }
    }
    if section.meant.contains("partition_key") { partitionKeyIsKnown = false }
    if let entry = section["partition_key"] {
      partitionKey = partitionKey(entry)
      partitionKeyIsKnown = partitionKey != nil
    }
    guard let topics, let format else { return nil }
    return Source(topics: topics, format: format)
  }

  private mutating func topics(_ entry: Section.Entry) -> [String]? {
    guard let items = list(entry.value, path: entry.path, expected: "a list of Kafka topics such as [product.events]") else {
      return nil
    }
    var topics: [String] = []
    for item in items {
      guard let topic = text(item, path: "an item of \(entry.path)", expected: "the name of a Kafka topic") else { continue }
      let allowed = topic.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
          UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
          true
        default: false
        }
      }
      if !allowed || !(1...249).contains(topic.utf8.count) || topic == "." || topic == ".." {
        report(item.place, "\(quoted(topic)) is not the name of a Kafka topic: expected 1 to 249 of a-z A-Z 0-9 . _ -")
      } else if topics.contains(topic) {
        report(item.place, "topic \(quoted(topic)) is in the list twice: keep one of them")
      } else {
        topics.append(topic)
      }
    }
    return topics.count == items.count ? topics : nil
  }

  private mutating func partitionKey(_ entry: Section.Entry) -> String? {
    guard let name = text(entry.value, path: entry.path, expected: "the name of a field") else { return nil }
    guard case .found(let field) = lookUp(name, at: entry.value.place, for: entry.path) else { return nil }
    switch field.kind {
    case .string, .integer: break
    case .boolean, .decimal:
      report(
        entry.value.place,
        "\(entry.path): field \(quoted(name)) is \(field.kind.word), expected a field of type string or integer")
      return nil
    }
    if case .defaulted = field.presence {
      report(
        entry.value.place,
        "\(entry.path): field \(quoted(name)) has a default, so events without it would count as one member in every partition: "
          + "give it optional: true instead of the default")
      return nil
    }
    return name
  }

  /// A field that something refers to.
  enum LookUp {
    case found(Topology.Field)
    /// Declared, but its declaration was reported as broken.
    case broken
    /// Reported by `lookUp`.
    case missing
  }

  mutating func lookUp(_ name: String, at mark: Place, for path: String) -> LookUp {
    if let entry = declared.first(where: { $0.name == name }) { return entry.field.map { .found($0) } ?? .broken }
    guard fieldsAreKnown else { return .broken }
    let names = declared.compactMap(\.field?.name)
    let advice =
      nearest(to: name, among: names).map { "did you mean \(quoted($0))?" }
      ?? (names.isEmpty ? "event.fields declares none; add it there" : "event.fields has \(listed(names))")
    report(mark, "\(path): there is no field \(quoted(name)): \(advice)")
    return .missing
  }
}

extension FieldPlan.Kind {
  var isNumber: Bool {
    switch self {
    case .integer, .decimal: true
    case .string, .boolean: false
    }
  }

  /// The type as files and messages write it.
  var word: String {
    switch self {
    case .string: "string"
    case .integer: "integer"
    case .decimal: "decimal"
    case .boolean: "boolean"
    }
  }
}
