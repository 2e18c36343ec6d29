import Aggregation

/// What the coordinator asks of a member; each is to be answered before the next one comes.
enum GroupMessage {
  case assigned([PartitionID])
  case revoked([PartitionID])
  /// The same question once more; the coordinator does not wait for its answer.
  case revokedAgain([PartitionID])
}

/// A group as its coordinator sees it: members, who owns what, and rebalances, eager or cooperative.
///
///     stable ─► revoking (members give up what they lose) ─► stable, what is free is assigned
///                   └─ a member that does not answer in time is put out, like one whose session expires
final class SimulatedGroup {
  final class Member {
    let id: Int
    let name: String
    fileprivate(set) var isOut = false
    fileprivate var owned: Set<PartitionID> = []
    fileprivate var awaited: Set<PartitionID> = []
    var lastHeartbeat: Int64
    /// In the order of sending; each is there from a time on.
    var inbox: [(at: Int64, message: GroupMessage)] = []
    init(id: Int, name: String, now: Int64) { self.id = id; self.name = name; lastHeartbeat = now }
  }

  private unowned let world: World
  private var dice: Dice
  private var members: [Member] = []
  private var joined = 0
  private var partitions: [PartitionID] = []
  private var isRevoking = false
  private var changed = false
  private var round = 0
  private var isShuffling = false
  private var dealt: [Int: Set<PartitionID>]?

  init(_ world: World) {
    self.world = world
    dice = Dice(world.scenario.seed, 3)
  }

  func setPartitions(_ ids: [PartitionID]) {
    partitions = ids
    rebalance()
  }

  func join(_ name: String) -> Member {
    joined += 1
    let member = Member(id: joined, name: name, now: world.now)
    if world.scenario.isStatic, let place = members.firstIndex(where: { $0.name == name }) { return takePlace(place, member) }
    members.append(member)
    world.trace { "group: \(name) joins as member \(member.id)" }
    rebalance()
    return member
  }

  func leave(_ member: Member) {
    // A static member's place is kept until its session expires.
    guard !member.isOut, !world.scenario.isStatic else { return }
    world.trace { "group: member \(member.id) (\(member.name)) leaves" }
    put(out: member)
  }

  /// A static member comes back before its session has expired: it gets what it had, and nobody else hears of it.
  private func takePlace(_ place: Int, _ member: Member) -> Member {
    let before = members[place]
    before.isOut = true
    world.trace { "group: \(member.name) comes back as member \(member.id)" }
    if isRevoking {
      members.remove(at: place)
      members.append(member)
      rebalance()
    } else {
      world.count(.staticReturn)
      member.owned = before.owned
      members[place] = member
      send(.assigned(member.owned.sorted()), to: member)
    }
    return member
  }

  private func put(out member: Member) {
    member.isOut = true
    members.removeAll { $0 === member }
    rebalance()
  }

  /// Sessions are looked through now and then.
  func expireSessions() {
    for member in members where world.now - member.lastHeartbeat > world.scenario.sessionTimeout {
      world.count(.sessionExpired)
      world.trace { "group: the session of member \(member.id) (\(member.name)) expires" }
      put(out: member)
    }
  }

  /// An assignor that does not care who has what: everybody may lose anything.
  func reshuffle() {
    isShuffling = true
    world.trace { "group: partitions are dealt anew" }
    rebalance()
  }

  /// A member has given these up.
  func gaveUp(_ ids: [PartitionID], _ member: Member) {
    guard !member.isOut else { return }
    member.owned.subtract(ids)
    member.awaited.subtract(ids)
    advance()
  }

  // MARK: Rebalances

  private func rebalance() {
    guard !isRevoking else {
      changed = true
      return advance()
    }
    isRevoking = true
    changed = false
    round += 1
    dealt = isShuffling ? deal() : nil
    isShuffling = false
    let target = targets()
    for member in members {
      let lost = world.scenario.isCooperative ? member.owned.subtracting(target[member.id] ?? []) : member.owned
      guard !lost.isEmpty else { continue }
      world.count(world.scenario.isCooperative ? .cooperativeRebalance : .eagerRebalance)
      member.awaited = lost
      send(.revoked(lost.sorted()), to: member)
      if world.strikes(.revokedTwice, 1500, &dice) { send(.revokedAgain(lost.sorted()), to: member) }
    }
    let mine = round
    world.plan(after: world.scenario.rebalanceTimeout) { [unowned self] in
      guard isRevoking, round == mine else { return }
      for member in members where !member.awaited.isEmpty {
        world.count(.rebalanceTimeout)
        world.trace { "group: member \(member.id) (\(member.name)) did not answer in time" }
        put(out: member)
      }
    }
    advance()
  }

  private func advance() {
    guard isRevoking, members.allSatisfy({ $0.awaited.isEmpty }) else { return }
    isRevoking = false
    // Who joined or left meanwhile was not dealt in: the round that follows sees to that.
    let target = targets()
    let taken = members.reduce(into: Set<PartitionID>()) { $0.formUnion($1.owned) }
    var isIncomplete = false
    for member in members {
      let wanted = target[member.id] ?? []
      let new = wanted.subtracting(member.owned)
      let free = new.subtracting(taken)
      if free.count < new.count || !member.owned.subtracting(wanted).isEmpty { isIncomplete = true }
      guard !free.isEmpty || dice.chance(3000) else { continue }
      member.owned.formUnion(free)
      send(.assigned(free.sorted()), to: member)
    }
    dealt = nil
    if changed || isIncomplete { rebalance() }
  }

  /// Mostly what members have stays theirs; shares differ by one at most.
  private func targets() -> [Int: Set<PartitionID>] {
    guard !members.isEmpty else { return [:] }
    if let dealt { return dealt }
    var result: [Int: Set<PartitionID>] = [:]
    var free: [PartitionID] = []
    let most = (partitions.count + members.count - 1) / members.count
    var place: [PartitionID: Int] = [:]
    for member in members { for id in member.owned { place[id] = member.id } }
    for id in partitions {
      if let owner = place[id], result[owner, default: []].count < most {
        result[owner, default: []].insert(id)
      } else {
        free.append(id)
      }
    }
    for id in free {
      let least = members.min { (result[$0.id]?.count ?? 0, $0.id) < (result[$1.id]?.count ?? 0, $1.id) }!
      result[least.id, default: []].insert(id)
    }
    return result
  }

  private func deal() -> [Int: Set<PartitionID>] {
    var result: [Int: Set<PartitionID>] = [:]
    guard !members.isEmpty else { return result }
    for (place, id) in dice.shuffled(partitions).enumerated() { result[members[place % members.count].id, default: []].insert(id) }
    return result
  }

  private func send(_ message: GroupMessage, to member: Member) {
    let late = world.isQuiet ? 0 : dice.chance(500) ? dice.milliseconds(500, 3000) : 0
    member.inbox.append((max(world.now + dice.milliseconds(2, 60) + late, member.inbox.last?.at ?? 0), message))
  }
}
