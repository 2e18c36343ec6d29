import Aggregation
import Yams

extension TopologyReader {
  /// What `event:` says, besides its fields: those are in `declared`.
  struct Event {
    var idPath: [String]?
    var timePath: [String]
    var timeFormat: TimeFormat
  }

  static let typeNames = ["string", "integer", "boolean", "decimal"]

  mutating func event(_ entry: Section.Entry) -> Event? {
    guard
      let section = section(
        entry, known: ["id", "time", "fields"],
        expected: "a mapping such as { id: event_id, time: created_at, fields: { user_id: string } }")
    else {
      fieldsAreKnown = false
      return nil
    }
    if section.meant.contains("fields") { fieldsAreKnown = false }
    if let fields = section["fields"] {
      if let list = self.section(fields, known: nil, expected: "a mapping of names to types such as { user_id: string }") {
        if fits(list.entries.count, Topology.mostFields, list.path, list.mark) {
          for entry in list.entries { field(entry) }
        } else {
          fieldsAreKnown = false
        }
      } else {
        fieldsAreKnown = false
      }
    }
    var idPath: [String]?? = .some(nil)
    if let entry = section["id"] { idPath = path(entry.value, path: entry.path).map { .some($0) } }
    let time = mandatory("time", of: section, "add time: PATH (RFC 3339) or time: { path: PATH, format: epoch_milliseconds }")
      .flatMap { self.eventTime($0) }
    guard let idPath, let time else { return nil }
    return Event(idPath: idPath, timePath: time.path, timeFormat: time.format)
  }

  private mutating func eventTime(_ entry: Section.Entry) -> (path: [String], format: TimeFormat)? {
    guard case .mapping = entry.value else {
      guard entry.value.writtenText != nil else {
        reportType(
          entry.value, entry.path, expected: "a JSON path such as created_at, or { path: ts, format: epoch_milliseconds }")
        return nil
      }
      return path(entry.value, path: entry.path).map { ($0, .rfc3339) }
    }
    guard let section = section(entry, known: ["path", "format"], expected: "{ path: ts, format: epoch_milliseconds }") else {
      return nil
    }
    let path = mandatory("path", of: section, "add path: PATH").flatMap { self.path($0.value, path: $0.path) }
    let format = mandatory(
      "format", of: section, "add format: rfc3339 (or epoch_seconds, epoch_milliseconds, epoch_microseconds)"
    )
    .flatMap { self.word($0, as: TimeFormat.self, what: "format") }
    guard let path, let format else { return nil }
    return (path, format)
  }

  // MARK: Fields

  private mutating func field(_ entry: Section.Entry) {
    let name = name(entry.key, at: entry.mark, what: "a field")
    if let other = declared.first(where: { Topology.sqlName($0.name) == Topology.sqlName(entry.key) }) {
      report(
        entry.mark,
        "fields \(quoted(other.name)) and \(quoted(entry.key)) would both be the column "
          + "\(shown(Topology.sqlName(entry.key))): rename one"
      )
    }
    let body = fieldBody(entry)
    guard let name, let body else {
      declared.append((entry.key, nil))
      return
    }
    let field = Topology.Field(name: name, path: body.path ?? [name], kind: body.kind, presence: body.presence)
    declared.append((name, field))
  }

  private mutating func fieldBody(_ entry: Section.Entry) -> (
    path: [String]?, kind: FieldPlan.Kind, presence: FieldPlan.Presence
  )? {
    guard case .mapping = entry.value else {
      let expected =
        "a type (\(Self.typeNames.joined(separator: ", "))) or a mapping such as { path: a.b, type: integer, optional: true }"
      guard let type = text(entry.value, path: entry.path, expected: expected) else { return nil }
      guard let kind = kind(type, scale: nil, scaleIsBroken: false, at: entry.value.place, path: entry.path) else { return nil }
      return (nil, kind, .required)
    }
    guard let section = section(entry, known: ["path", "type", "scale", "default", "optional"], expected: "a mapping") else {
      return nil
    }
    let path: [String]?? =
      section["path"].map { entry in self.path(entry.value, path: entry.path).map { .some($0) } } ?? .some(nil)
    let scale = section["scale"].flatMap { self.integer($0, in: 0...9) }
    let type = mandatory("type", of: section, "add type: string, integer or boolean, or type: decimal with a scale")
    let kind = type.flatMap { type -> FieldPlan.Kind? in
      guard let text = self.text(type.value, path: type.path, expected: oneOf(Self.typeNames)) else { return nil }
      return self.kind(
        text, scale: scale, scaleIsBroken: section.mentions("scale") && scale == nil, at: type.value.place, path: entry.path)
    }
    if let scale = section["scale"], let kind {
      switch kind {
      case .decimal: break
      case .string, .integer, .boolean:
        report(scale.mark, "\(scale.path): type \(kind.word) has no scale: remove it, or say type: decimal")
        return nil
      }
    }
    let optional = section["optional"].map { self.boolean($0) } ?? false
    guard let path, let kind, let optional else { return nil }
    guard let given = section["default"] else { return (path, kind, optional ? .optional : .required) }
    if optional {
      report(given.mark, "\(entry.path) has a default and is optional: keep one of them")
      return nil
    }
    guard let value = defaultValue(given, kind) else { return nil }
    return (path, kind, .defaulted(value))
  }

  private mutating func kind(_ text: String, scale: Int?, scaleIsBroken: Bool, at mark: Place, path: String) -> FieldPlan.Kind? {
    switch text {
    case "string": return .string
    case "integer": return .integer
    case "boolean": return .boolean
    case "decimal":
      if let scale { return .decimal(scale: scale) }
      if !scaleIsBroken {
        report(mark, "\(path): decimal needs a scale, the digits after the point: write { type: decimal, scale: 2 } (0 to 9)")
      }
      return nil
    default:
      let meant = [
        "int": "integer", "bigint": "integer", "long": "integer", "text": "string", "bool": "boolean", "float": "decimal",
        "double": "decimal", "number": "decimal", "numeric": "decimal"
      ][text.lowercased()]
      report(
        mark,
        meant.map { "unknown type \(quoted(text)) in \(path): did you mean \(quoted($0))?" }
          ?? unknown("type", text, Self.typeNames, place: " in \(path)"))
      return nil
    }
  }

  private mutating func defaultValue(_ entry: Section.Entry, _ kind: FieldPlan.Kind) -> String? {
    guard let text = self.text(entry.value, path: entry.path, expected: "\(kind.example) (or optional: true in its place)") else {
      return nil
    }
    guard let value = kind.canonical(text) else {
      report(entry.value.place, "\(entry.path) is \(quoted(text)), expected \(kind.example)")
      return nil
    }
    guard value.utf8.count <= Limits.keyField, !value.utf8.contains(0) else {
      report(entry.value.place, "\(entry.path) is longer than \(Limits.keyField) bytes or holds U+0000: shorten it")
      return nil
    }
    return value
  }
}

extension FieldPlan.Kind {
  /// What a value of the type looks like, for messages.
  var example: String {
    switch self {
    case .string: "a text such as unknown"
    case .integer: "an integer such as 0"
    case .boolean: "true or false"
    case .decimal(let scale):
      scale == 0 ? "a number without digits after the point" : "a number with at most \(scale) digits after the point"
    }
  }

  /// The value as the core compares it: integers without sign or zeros that say nothing, decimals as integers of
  /// 10^-scale. nil: the text is no value of the type.
  func canonical(_ text: String) -> String? {
    switch self {
    case .string: return text
    case .integer: return Int64(text).map(String.init)
    case .boolean: return text == "true" || text == "false" ? text : nil
    case .decimal(let scale):
      let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
      let fraction = parts.count == 2 ? parts[1] : ""
      guard let whole = parts.first, whole.contains(where: \.isNumber), parts.count == 1 || !fraction.isEmpty,
        fraction.count <= scale,
        fraction.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
      else { return nil }
      return Int64(whole + fraction + String(repeating: "0", count: scale - fraction.count)).map(String.init)
    }
  }
}

extension FieldPlan.Kind {
  /// A canonical value as people write it: decimals with their point.
  func written(_ canonical: String) -> String {
    guard case .decimal(let scale) = self, scale > 0 else { return canonical }
    let digits = canonical.drop { $0 == "-" }
    let padded = String(repeating: "0", count: max(0, scale + 1 - digits.count)) + digits
    return (canonical.hasPrefix("-") ? "-" : "") + padded.dropLast(scale) + "." + padded.suffix(scale)
  }
}

extension TimeFormat: CaseIterable {
  public static var allCases: [TimeFormat] { [.rfc3339, .epochSeconds, .epochMilliseconds, .epochMicroseconds] }
}
