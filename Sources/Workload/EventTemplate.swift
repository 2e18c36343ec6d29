/// The order of a generated event's members, compiled from the paths of a topology.
struct EventTemplate {
  enum Target: Equatable {
    case identifier, time
    case field(Int)
  }
  enum Step {
    /// `"name":{`.
    case open([UInt8])
    case close
    /// `"name":` and what fills it.
    case member([UInt8], Target)
    /// `"name":` and random hexadecimal digits.
    case random([UInt8], digits: Int)
    /// `"name":` and one of some JSON texts.
    case choice([UInt8], [[UInt8]])
    /// `"name":"`: fills up to the wanted length, `tail` bytes of which follow.
    case filler([UInt8], tail: Int)
  }

  private(set) var steps: [Step] = []
  /// What stands in an event, in order.
  private(set) var targets: [Target] = []

  private final class Node {
    let name: String
    var target: Target?
    var children: [Node] = []
    init(_ name: String) { self.name = name }

    func child(_ name: String) -> Node {
      if let found = children.first(where: { $0.name == name }) { return found }
      let node = Node(name)
      children.append(node)
      return node
    }
    func insert(_ path: [String], _ target: Target, over: Bool) {
      let node = path.reduce(self) { $0.child($1) }
      if over || node.target == nil { node.target = target }
    }
  }

  init(_ shape: Shape) {
    let root = Node("")
    if let path = shape.idPath { root.insert(path, .identifier, over: true) }
    for (i, field) in shape.fields.enumerated() { root.insert(field.path, .field(i), over: false) }
    root.insert(shape.timePath, .time, over: true)
    // A field may share the id's or the time's path; the object that holds the padding comes last.
    var holder = root.children.first { !$0.children.isEmpty && $0.name == "properties" }
    if holder == nil {
      var name = "properties"
      while root.children.contains(where: { $0.name == name }) { name += "_" }
      holder = root.child(name)
    }
    let padding = holder!
    append(root.children.filter { $0 !== padding })
    steps.append(.open(Self.prefix(padding.name)))
    appendPadding(besides: Set(padding.children.map(\.name)))
    append(padding.children)
    steps.append(.filler(Self.prefix(Self.free("referrer", besides: padding)), tail: 3))
    steps.append(.close)
  }

  private mutating func append(_ nodes: [Node]) {
    for node in nodes {
      if !node.children.isEmpty {
        steps.append(.open(Self.prefix(node.name)))
        append(node.children)
        steps.append(.close)
      } else if let target = node.target {
        steps.append(.member(Self.prefix(node.name), target))
        targets.append(target)
      }
    }
  }

  private mutating func appendPadding(besides taken: Set<String>) {
    if !taken.contains("session") { steps.append(.random(Self.prefix("session"), digits: 16)) }
    if !taken.contains("app_version") {
      let versions = ["4.9.7", "4.10.0", "4.11.2", "4.12.0", "4.12.3"]
      steps.append(.choice(Self.prefix("app_version"), versions.map(PayloadBuffer.quoted)))
    }
    if !taken.contains("platform") {
      steps.append(.choice(Self.prefix("platform"), ["web", "ios", "android"].map(PayloadBuffer.quoted)))
    }
  }

  private static func free(_ name: String, besides node: Node) -> String {
    var name = name
    while node.children.contains(where: { $0.name == name }) { name += "_" }
    return name
  }

  private static func prefix(_ name: String) -> [UInt8] { PayloadBuffer.quoted(name) + [UInt8(ascii: ":")] }
}
