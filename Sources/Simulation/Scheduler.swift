/// Virtual time: a queue of things to happen, by time and, within a millisecond, by the order in which they were planned.
struct Scheduler {
  private struct Entry {
    var at: Int64
    var number: Int
    /// Where its body is: entries move in the heap, bodies stay.
    var place: Int
    func precedes(_ other: Entry) -> Bool { at != other.at ? at < other.at : number < other.number }
  }
  private(set) var now: Int64 = 0
  private(set) var steps = 0
  private var planned = 0
  private var heap: [Entry] = []
  private var bodies: [(() -> Void)?] = []
  private var free: [Int] = []

  /// - Complexity: O(log entries).
  mutating func plan(after delay: Int64, _ body: @escaping () -> Void) {
    let place: Int
    if let last = free.popLast() {
      place = last
      bodies[place] = body
    } else {
      place = bodies.count
      bodies.append(body)
    }
    heap.append(Entry(at: now + max(0, delay), number: planned, place: place))
    planned += 1
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].precedes(heap[parent]) else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Moves time to the next thing and hands it over; nil: nothing is planned.
  mutating func next() -> (() -> Void)? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      var parent = 0
      while true {
        var least = parent
        for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].precedes(heap[least]) { least = child }
        if least == parent { break }
        heap.swapAt(parent, least)
        parent = least
      }
    }
    now = first.at
    steps += 1
    defer {
      bodies[first.place] = nil
      free.append(first.place)
    }
    return bodies[first.place]
  }
}
