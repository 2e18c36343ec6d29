/// How invalid events are made, each kind in its turn.
struct Faults: Sendable {
  private let removable: [EventTemplate.Target]
  private let retypable: [EventTemplate.Target]
  private let badTimes: [[UInt8]]

  init(_ shape: Shape, _ template: EventTemplate) {
    var removable: [EventTemplate.Target] = []
    var retypable: [EventTemplate.Target] = []
    for target in template.targets {
      switch target {
      case .identifier:
        if shape.horizon != nil {
          removable.append(target)
          retypable.append(target)
        }
      case .time: break
      case .field(let index):
        if shape.fields[index].presence == .required { removable.append(target) }
        retypable.append(target)
      }
    }
    self.removable = removable.isEmpty ? [.time] : removable
    self.retypable = retypable
    let texts = ["\"not a time\"", shape.time == .rfc3339 ? "\"2024-13-01T00:00:00Z\"" : "\"yesterday\"", "true"]
    badTimes = texts.map { Array($0.utf8) }
  }

  /// The kind of invalid event number `turn`, and the fault for the writer where the payload stays JSON.
  func fault(turn: Int) -> (Planted.Invalidity, EventWriter.Fault?) {
    let kinds = Planted.Invalidity.allCases
    let round = turn / kinds.count
    let kind = kinds[turn % kinds.count]
    switch kind {
    case .truncatedJSON, .garbage: return (kind, nil)
    case .missingField: return (kind, .missing(removable[round % removable.count]))
    case .wrongType:
      guard !retypable.isEmpty else { return (.truncatedJSON, nil) }
      return (kind, .wrongType(retypable[round % retypable.count]))
    case .badTime: return (kind, .badTime(badTimes[round % badTimes.count]))
    }
  }

  /// 8 to 63 bytes that are not UTF-8.
  static func garbage(_ random: inout SeededRandom) -> [UInt8] {
    var bytes: [UInt8] = [0xFF]
    for _ in 0..<(7 + random.below(56)) { bytes.append(UInt8(truncatingIfNeeded: random.next())) }
    return bytes
  }

  /// The payload up to a random place within one of its strings: unclosed, whatever reads it.
  static func cut(_ payload: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
    let wanted = random.below(max(1, payload.count))
    var inside = false
    var escaped = false
    var last = 1
    for (i, byte) in payload.enumerated() {
      if inside, byte != UInt8(ascii: "\"") || escaped {
        last = i
        if i >= wanted { break }
      }
      if escaped {
        escaped = false
      } else if inside, byte == UInt8(ascii: "\\") {
        escaped = true
      } else if byte == UInt8(ascii: "\"") {
        inside.toggle()
      }
    }
    return Array(payload[..<last])
  }
}
