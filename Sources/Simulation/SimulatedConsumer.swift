import Aggregation
import Engine

/// What a poll found.
enum ConsumerEvent {
  case records(PartitionID, RecordBuffer, Range<Int64>)
  case endOfPartition(PartitionID, Offset)
  case outOfRange(PartitionID, String)
  case assigned([PartitionID])
  case revoked([PartitionID])
  case lost([PartitionID])
}

/// A consumer as librdkafka is one: positions, pauses, one question of the group at a time, and a session that may end
/// without its knowing.
final class SimulatedConsumer {
  private struct Fetching {
    var position: Int64
    var isPaused = false
    /// Kafka refused the position: nothing is fetched until it is another one.
    var isStuck = false
    /// The end that was reported last.
    var reportedEnd: Int64 = -1
  }
  struct Refused: Error { var reason: String }

  private unowned let world: World
  private let name: String
  private var dice: Dice
  private var member: SimulatedGroup.Member
  private var fetching: [PartitionID: Fetching] = [:]
  private enum Question { case assigned, revoked }
  /// What was asked and not answered yet.
  private var asked: Question?
  private var isAskedAgain = false
  /// The group's assignment, fetched or not.
  private var assignment: Set<PartitionID> = []
  /// When the consumer learns that it was put out.
  private var learnsAt: Int64?
  private var repeatsLost: [PartitionID]?
  /// No broker answers until then.
  var isAwayUntil: Int64 = 0
  private(set) var mostMessages: Int

  init(_ world: World, _ name: String, _ dice: Dice) {
    self.world = world
    self.name = name
    self.dice = dice
    mostMessages = self.dice.pick([3, 8, 20])
    member = world.group.join(name)
  }

  private var isAway: Bool { world.now < isAwayUntil }

  /// What librdkafka's own thread does every second or so, as long as its process runs.
  func heartbeat() {
    guard !isAway else { return }
    if !member.isOut {
      member.lastHeartbeat = world.now
    } else if learnsAt == nil {
      learnsAt = world.now + (world.strikes(.lostLate, 4000, &dice) ? dice.milliseconds(2000, 12_000) : dice.milliseconds(0, 200))
    }
  }

  func close() { world.group.leave(member) }

  func poll() -> [ConsumerEvent] {
    if let lost = repeatsLost {
      repeatsLost = nil
      return [.lost(lost)]
    }
    if let at = learnsAt, world.now >= at { return rejoin() }
    if asked == nil, let first = member.inbox.first, world.now >= first.at, !member.isOut {
      member.inbox.removeFirst()
      asked = .revoked
      switch first.message {
      case .assigned(let ids):
        asked = .assigned
        assignment.formUnion(ids)
        return [.assigned(ids)]
      case .revoked(let ids): return [.revoked(ids)]
      case .revokedAgain(let ids):
        isAskedAgain = true
        return [.revoked(ids)]
      }
    }
    return isAway ? [] : fetch()
  }

  private func rejoin() -> [ConsumerEvent] {
    learnsAt = nil
    asked = nil
    isAskedAgain = false
    let lost = assignment.union(fetching.keys).sorted()
    assignment = []
    fetching = [:]
    member = world.group.join(name)
    if world.strikes(.lostTwice, 3000, &dice) { repeatsLost = lost }
    return [.lost(lost)]
  }

  private func fetch() -> [ConsumerEvent] {
    var events: [ConsumerEvent] = []
    for id in dice.shuffled(fetching.keys.sorted()) {
      guard var at = fetching[id], !at.isPaused, !at.isStuck, events.count < 3 else { continue }
      let (start, end) = (world.log.start(id), world.log.end(id))
      if world.mutant == .offsetResetInSilence { at.position = max(at.position, start) }
      if at.position < start || at.position > end {
        at.isStuck = true
        events.append(.outOfRange(id, "offset \(at.position) is not within \(start) to \(end)"))
      } else {
        let (messages, next) = world.log.read(id, from: at.position, most: dice.between(1, mostMessages))
        if !messages.isEmpty { events.append(.records(id, RecordBuffer(messages), at.position..<next)) }
        at.position = next
        // librdkafka says it once for each end that it reaches.
        if next == end, at.reportedEnd != end, messages.isEmpty || dice.flip() {
          at.reportedEnd = end
          events.append(.endOfPartition(id, Offset(end)))
        }
      }
      fetching[id] = at
    }
    return events
  }

  // MARK: Calls

  func perform(_ call: ConsumerCall) throws {
    switch call {
    case .assign(let partitions):
      if asked == .assigned { asked = nil }
      for id in partitions.keys where !assignment.contains(id) { throw Refused(reason: "assign: \(id) is not the group's any more") }
      for id in partitions.keys where fetching[id] != nil { throw Refused(reason: "assign: \(id) is assigned already") }
      if let id = partitions.keys.first, world.strikes(.callRefused, 1000, &dice) { throw Refused(reason: "assign: \(id) is not taken") }
      for (id, offset) in partitions { fetching[id] = Fetching(position: offset) }
    case .unassign(let ids):
      asked = nil
      assignment.subtract(ids)
      if world.scenario.isCooperative { for id in ids { fetching[id] = nil } } else { fetching = [:] }
      if !isAskedAgain { world.group.gaveUp(ids, member) }
      isAskedAgain = false
    case .pause(let ids): for id in ids { fetching[id]?.isPaused = true }
    case .resume(let ids): for id in ids { fetching[id]?.isPaused = false }
    case .seek(let id, let offset):
      guard let at = fetching[id] else { throw Refused(reason: "seek: \(id) is not assigned") }
      // Such a one is taken out and put in again, which would answer the revocation.
      if at.isStuck, asked == .revoked, world.scenario.isCooperative { throw Refused(reason: "seek: \(id) waits for the end of a revocation") }
      let isLate = world.strikes(.callRefused, 3000, &dice)
      // librdkafka carries out what it was asked for, even when nobody waits any more.
      if !isLate || dice.flip() { fetching[id] = Fetching(position: offset, isPaused: at.isPaused) }
      if isLate { throw Refused(reason: "seek: \(id) timed out") }
    case .acknowledge(let offsets):
      for (id, offset) in offsets.sorted(by: { $0.key < $1.key }) where offset.value > world.store.next(id) {
        world.fail("\(name) acknowledged offset \(offset.value) of \(id), the store is at \(world.store.next(id))")
      }
    }
  }
}
