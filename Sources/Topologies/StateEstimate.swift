/// How much memory the state of one partition takes, from the layout of the core's tables.
///
/// Tables and arrays double when they are full: the lower bound of a range is right after a table has filled, the upper
/// one right after it has grown. What a flush carries and freed memory that the allocator keeps come on top.
struct StateEstimate: Equatable {
  /// Bytes of one distinct member, once, however many windows and groups hold it: 12 a slot of a table that is a quarter
  /// to half full, and 8 to 16 in the list of hashes.
  static let member = 32...64
  /// Bytes of one remembered event id: 12 a slot of a table that is a quarter to 70 % full.
  static let identifier = 17...48
  /// Bytes of one more group that holds members: a page of its bitmap.
  static let bitmapPage = 112

  /// Most windows of one aggregate that are open at once.
  let openWindows: Int
  /// Bytes of one group of one open window, before its members.
  let group: ClosedRange<Int>
  /// Sets of members that one group keeps.
  let sets: Int

  init(_ aggregate: Topology.Aggregate, allowedLateness: TimeSpan) {
    switch aggregate.window {
    case .tumbling(let length):
      openWindows = Int((allowedLateness.microseconds + length.microseconds - 1) / length.microseconds) + 1
    }
    // Window 16, hash of the key 8, list of its texts 8, count 8, mark of the batch 4; table: 12 at half load.
    var columns = 44 + 24
    var sets = 0
    for measure in aggregate.measures {
      switch measure.kind {
      case .count: break
      case .sum, .average: columns += 24
      case .minimum, .maximum: columns += 16
      case .distinct:
        columns += 16
        sets += 1
      }
    }
    // The list of key texts is an allocation of its own; texts of up to 15 bytes lie inside it.
    let apart = (aggregate.by.isEmpty ? 0 : 48 + 16 * aggregate.by.count) + sets * Self.bitmapPage
    group = columns + apart...2 * columns + apart
    self.sets = sets
  }
}
