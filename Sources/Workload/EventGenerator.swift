import Topologies

/// A seeded stream of events that a topology can read, with faults at wanted rates.
///
/// The stream is a function of topology and options: same input, same bytes. It carries what each event was meant to
/// be, and keeps for every partition the greatest accepted event time and the ids in reach, as the semantics define
/// them, so that what is planted as late, duplicate or far future is exactly that.
/// Iterating copies the generator: `counts` is to be read from the value that `next()` was called on.
/// - Complexity: 1 to 2 µs an event of 290 bytes; memory for 64 events a partition where duplicates are wanted.
public struct EventGenerator: Sequence, IteratorProtocol, Sendable {
  public let options: GeneratorOptions
  /// What was produced so far.
  public private(set) var counts = PlantedCounts()

  private let shape: Shape
  private let keySource: KeySource?
  private let faults: Faults
  private var writer: EventWriter
  private var random: SeededRandom
  private var produced = 0
  private var partitions: [PartitionMemory]
  /// Chances as thresholds, cumulative: late, duplicates, invalid, far future, tombstones, empty payloads.
  private let thresholds: [Double]

  /// - Throws: `GeneratorError` naming the option that is out of range.
  public init(_ topology: Topology, _ options: GeneratorOptions) throws(GeneratorError) {
    try options.validate()
    self.options = options
    shape = Shape(topology)
    let template = EventTemplate(shape)
    writer = EventWriter(shape, template: template, payloadBytes: options.payloadBytes)
    faults = Faults(shape, template)
    keySource = KeySource(shape, users: options.users, seed: options.seed)
    random = SeededRandom(seed: options.seed)
    partitions = Array(repeating: PartitionMemory(), count: options.partitions)
    var sum = 0.0
    thresholds = [options.late, options.duplicates, options.invalid, options.farFuture, options.tombstones, options.emptyPayloads]
      .map { sum += $0; return sum }
  }

  public mutating func next() -> GeneratedEvent? {
    guard produced < options.events else { return nil }
    let arrival = options.start + Int64(Double(produced) / Double(options.events) * Double(options.span.microseconds / 1000))
    let identifier = (
      high: SeededRandom.mixed(UInt64(produced) &+ SeededRandom.mixed(options.seed ^ 0x1D)), low: random.next()
    )
    produced += 1
    let key: [UInt8]? =
      switch keySource {
      case nil: nil
      case .identifier: KeySource.text(of: identifier)
      case .member(let source): source.draw(&random)
      }
    let partition =
      key.map { murmur2Partition(of: $0, partitions: options.partitions) } ?? random.below(options.partitions)
    var event = GeneratedEvent(key: key, payload: nil, timestampMilliseconds: arrival, partition: partition)
    let roll = random.unit()
    switch thresholds.firstIndex(where: { roll < $0 }) {
    case 0: plantLate(&event, identifier)
    case 1: plantDuplicate(&event, identifier)
    case 2: plantInvalid(&event, identifier)
    case 3: plantFarFuture(&event, identifier)
    case 4: event.planted = .tombstone
    case 5:
      event.planted = .emptyPayload
      event.payload = []
    default: regular(&event, identifier)
    }
    counts.count(event.planted)
    return event
  }

  // MARK: Planting

  /// Microseconds as milliseconds, rounded up.
  private static func milliseconds(_ microseconds: Int64) -> Int64 { (microseconds + 999) / 1000 }

  private mutating func payload(_ event: GeneratedEvent, _ identifier: (UInt64, UInt64), time: Int64, _ fault: EventWriter.Fault? = nil)
    -> [UInt8]
  {
    writer.write(.init(identifier: identifier, time: time, member: event.key ?? [], fault: fault), &random)
  }

  private mutating func jittered(_ arrival: Int64) -> Int64 {
    let jitter = Swift.min(options.jitterMilliseconds, shape.lateness / 1000, arrival)
    return arrival - (jitter > 0 ? Int64(random.below(Int(jitter) + 1)) : 0)
  }

  private mutating func regular(_ event: inout GeneratedEvent, _ identifier: (UInt64, UInt64)) {
    let time = jittered(event.timestampMilliseconds)
    let payload = payload(event, identifier, time: time)
    event.payload = payload
    event.planted = .regular
    partitions[event.partition].accept(
      payload, key: event.key, time: time, remember: options.duplicates > 0)
  }

  private mutating func plantLate(_ event: inout GeneratedEvent, _ identifier: (UInt64, UInt64)) {
    let behind = Self.milliseconds(shape.lateness) + 1000 + Int64(random.below(3_600_000))
    guard let watermark = partitions[event.partition].watermark, watermark >= behind else { return regular(&event, identifier) }
    event.payload = payload(event, identifier, time: watermark - behind)
    event.planted = .late
  }

  private mutating func plantDuplicate(_ event: inout GeneratedEvent, _ identifier: (UInt64, UInt64)) {
    let chosen = partitions[event.partition].recall(lateness: shape.lateness, horizon: shape.horizon, &random)
    guard let chosen else { return regular(&event, identifier) }
    event.key = chosen.key
    event.payload = chosen.payload
    event.planted = .duplicate
  }

  private mutating func plantFarFuture(_ event: inout GeneratedEvent, _ identifier: (UInt64, UInt64)) {
    let time = event.timestampMilliseconds + Self.milliseconds(shape.skew) + 1000 + Int64(random.below(86_400_000))
    guard time <= Expectation.latestTime / 1000 else { return regular(&event, identifier) }
    event.payload = payload(event, identifier, time: time)
    event.planted = .farFuture
  }

  private mutating func plantInvalid(_ event: inout GeneratedEvent, _ identifier: (UInt64, UInt64)) {
    let turn = counts.invalid
    let time = jittered(event.timestampMilliseconds)
    let (kind, fault) = faults.fault(turn: turn)
    switch kind {
    case .garbage: event.payload = Faults.garbage(&random)
    case .truncatedJSON: event.payload = Faults.cut(payload(event, identifier, time: time), &random)
    case .missingField, .wrongType, .badTime: event.payload = payload(event, identifier, time: time, fault)
    }
    event.planted = .invalid(kind)
  }
}
