import Yams

extension TopologyReader {
  static let monitorKeys = [
    "freshness", "events", "refresh", "reconciliation", "lag", "quarantine", "queries", "storage", "fenced", "repeat", "settle",
  ]

  /// `monitor:`; a key that is not there keeps its default. nil: broken.
  mutating func monitor(_ entry: Section.Entry, _ aggregates: [Topology.Aggregate]?) -> Topology.Monitor? {
    guard let section = section(entry, known: Self.monitorKeys, expected: "a mapping such as { freshness: { expected: 1 minute } }") else { return nil }
    let before = problems.count
    var monitor = Topology.Monitor()
    let minute = TimeSpan(microseconds: 60 * TimeSpan.second)
    let second = TimeSpan(microseconds: TimeSpan.second)
    check(section["freshness"], &monitor.freshness, ["expected"], "{ expected: 1 minute }") { reader, part, check in
      reader.span(part["expected"], atLeast: second, &check.expected)
    }
    check(section["events"], &monitor.events, ["drop", "floor", "aggregate", "by"], "{ drop: 50 % }") { reader, part, check in
      reader.percent(part["drop"], most: 100, &check.drop)
      reader.integer(part["floor"], least: 1, &check.floor)
      reader.eventCount(part, aggregates, &check)
    }
    check(section["refresh"], &monitor.refresh, ["daily", "hourly"], "{ daily: 26h }") { reader, part, check in
      reader.span(part["daily"], atLeast: minute, &check.daily)
      reader.span(part["hourly"], atLeast: minute, &check.hourly)
    }
    check(section["reconciliation"], &monitor.reconciliation, ["unexplained"], "{ unexplained: 0 }") { reader, part, check in
      reader.integer(part["unexplained"], least: 0, &check.unexplained)
    }
    check(section["lag"], &monitor.lag, ["growing_for", "floor"], "{ growing_for: 10 minutes }") { reader, part, check in
      reader.span(part["growing_for"], atLeast: TimeSpan(microseconds: 3 * minute.microseconds), &check.growingFor)
      reader.integer(part["floor"], least: 0, &check.floor)
    }
    check(section["quarantine"], &monitor.quarantine, ["rate", "within", "floor"], "{ rate: 1 % }") { reader, part, check in
      reader.percent(part["rate"], most: 100, &check.rate)
      reader.span(part["within"], atLeast: minute, &check.within)
      reader.integer(part["floor"], least: 1, &check.floor)
    }
    check(section["queries"], &monitor.queries, ["slower_than", "within"], "{ slower_than: 3s }") { reader, part, check in
      reader.span(part["slower_than"], atLeast: second, &check.slowerThan)
      reader.span(part["within"], atLeast: minute, &check.within)
    }
    check(section["storage"], &monitor.storage, ["capacity", "time_to_full", "growth", "floor"], "{ capacity: 500 GiB }") { reader, part, check in
      var capacity = ByteSize(bytes: 0)
      reader.size(part["capacity"], &capacity)
      if capacity.bytes > 0 { check.capacity = capacity }
      reader.span(part["time_to_full"], atLeast: minute, &check.timeToFull)
      reader.percent(part["growth"], most: 1_000_000, &check.growth)
      reader.size(part["floor"], &check.floor)
    }
    check(section["fenced"], &monitor.fenced, ["times", "within"], "{ times: 5, within: 15 minutes }") { reader, part, check in
      reader.integer(part["times"], least: 2, &check.times)
      reader.span(part["within"], atLeast: minute, &check.within)
    }
    span(section["repeat"], atLeast: minute, &monitor.repeatEvery)
    span(section["settle"], atLeast: TimeSpan(microseconds: 0), &monitor.settle)
    return problems.count == before ? monitor : nil
  }

  /// One check: `off`, or its thresholds.
  private mutating func check<Check>(
    _ entry: Section.Entry?, _ check: inout Check?, _ known: [String], _ example: String,
    _ read: (inout TopologyReader, Section, inout Check) -> Void
  ) {
    guard let entry else { return }
    if let word = entry.value.writtenText, ["off", "false"].contains(word) {
      check = nil
      return
    }
    guard let section = section(entry, known: known, expected: "off, or a mapping such as \(example)"), var value = check else { return }
    read(&self, section, &value)
    check = value
  }

  private mutating func span(_ entry: Section.Entry?, atLeast least: TimeSpan, _ span: inout TimeSpan) {
    guard let entry, let read = self.span(entry, atLeast: least) else { return }
    span = read
  }

  private mutating func integer(_ entry: Section.Entry?, least: Int, _ number: inout Int) {
    guard let entry, let read = integer(entry, in: least...1_000_000_000_000) else { return }
    number = read
  }

  private mutating func percent(_ entry: Section.Entry?, most: Int, _ percent: inout Percent) {
    let expected = "a share above 0 % and up to \(most) %, such as 50 % or 0.5 %"
    guard let entry, let text = text(entry.value, path: entry.path, expected: expected) else { return }
    guard let read = Percent(text), (1...most * 1000).contains(read.thousandths) else {
      report(entry.value.place, "\(entry.path) is \(quoted(text)), expected \(expected)")
      return
    }
    percent = read
  }

  private mutating func size(_ entry: Section.Entry?, _ size: inout ByteSize) {
    let expected = "a size such as 500 GiB or 2 TB"
    guard let entry, let text = text(entry.value, path: entry.path, expected: expected) else { return }
    guard let read = ByteSize(text), read.bytes > 0 else {
      report(entry.value.place, "\(entry.path) is \(quoted(text)), expected \(expected)")
      return
    }
    size = read
  }

  // MARK: Where events are counted

  private mutating func eventCount(_ part: Section, _ aggregates: [Topology.Aggregate]?, _ events: inout Topology.Monitor.Events) {
    var named: Topology.Aggregate?
    if let entry = part["aggregate"], let name = text(entry.value, path: entry.path, expected: "the name of an aggregate") {
      events.aggregate = name
      if let aggregates {
        named = aggregates.first { $0.name == name }
        if let named, !named.countsHours {
          report(
            entry.value.place,
            "\(entry.path): aggregate \(quoted(name)) cannot count hours: it needs a measure count, and windows that make up an hour, "
              + "such as 1 minute")
        } else if named == nil {
          report(entry.value.place, unknown("aggregate", name, aggregates.map(\.name), place: " in \(entry.path)"))
        }
      }
    }
    guard let entry = part["by"], let field = text(entry.value, path: entry.path, expected: "the name of a by field") else { return }
    events.by = field
    guard let aggregates, events.aggregate == nil || named != nil else { return }
    let fields = (named.map { [$0] } ?? aggregates.filter(\.countsHours)).flatMap(\.by)
    if !fields.contains(field) {
      let whose = named.map { "aggregate \(quoted($0.name)) has no by field" } ?? "no aggregate that counts hours has a by field"
      let advice = nearest(to: field, among: fields).map { ": did you mean \(quoted($0))?" } ?? ""
      report(entry.value.place, "\(entry.path): \(whose) \(quoted(field))\(advice)")
    }
  }
}
