import Aggregation
import Engine

/// The store's thread of one instance: one request at a time, in the order of asking, statement by statement over a
/// connection that may be lost at any of them. Mirrors `StoreLoop` and what `Warehouse` does with its connection.
final class StoreClient {
  private unowned let process: SimulatedProcess
  private unowned let world: World
  private let life: Int
  private var dice: Dice
  private var session: SimulatedStore.Session?
  private var queue: [StoreRequest] = []
  private var isBusy = false

  init(_ process: SimulatedProcess, _ dice: Dice) {
    self.process = process
    self.dice = dice
    world = process.world
    life = process.life
  }

  var isIdle: Bool { queue.isEmpty && !isBusy }

  func post(_ request: StoreRequest) {
    queue.append(request)
    serve()
  }

  /// Plans something of the client's own life: what an earlier one asked for is answered to nobody.
  private func plan(after delay: Int64, _ body: @escaping () -> Void) { process.plan(after: delay, life: life, body) }

  private func serve() {
    guard !isBusy, !queue.isEmpty else { return }
    isBusy = true
    let request = queue.removeFirst()
    plan(after: dice.milliseconds(0, 3)) { [self] in
      perform(request) { [self] in
        isBusy = false
        serve()
      }
    }
  }

  private func perform(_ request: StoreRequest, _ done: @escaping () -> Void) {
    switch request {
    case .acquire(let partitions): acquire(partitions, done)
    case .flush(let flush): run(FlushProcedure(flush, aggregates: world.plan.aggregates.count), flush, done)
    case .resolve(let flush): run(FlushProcedure(resolving: flush), flush, done)
    case .release(let id, let epoch):
      statement(.other, { store, session, end in store.release(id, epoch, session) { end($0.map { .failure($0) } ?? .success(())) } }) {
        (_: Result<Void, StoreFailure>) in done()
      }
    case .compact(let id, let epoch):
      statement(.other, { store, session, end in store.compact(id, epoch, session) { end($0.map { .failure($0) } ?? .success(())) } }) {
        [self] (result: Result<Void, StoreFailure>) in
        guard case .success = result else { return done() }
        commit { _ in done() }
      }
    case .alert(let id, let epoch, let kind, let message):
      statement(.other, { store, _, end in end(.success(store.alert(id, epoch, kind, message))) }) { (_: Result<Void, StoreFailure>) in done() }
    }
  }

  // MARK: Flushes

  private func run(_ procedure: FlushProcedure, _ request: FlushRequest, _ done: @escaping () -> Void) {
    var procedure = procedure
    func take(_ step: FlushProcedure.Step) {
      switch step {
      case .ended(let outcome):
        check(outcome, request)
        process.post(.flushFinished(request.id, outcome))
        done()
      case .perform(let what):
        let kind: Kind = what == .commit ? .commit : .other
        statement(kind, { store, session, end in store.perform(what, request, session) { end(.success($0)) } }) {
          (result: Result<StatementResult, StoreFailure>) in
          switch result {
          case .success(.failed(let failure)), .failure(let failure): take(procedure.next(after: .failed(failure)))
          case .success(let result): take(procedure.next(after: result))
          }
        }
      }
    }
    take(procedure.begin())
  }

  /// Nobody is fenced who has the partition: that would be a partition that stands still for nothing.
  private func check(_ outcome: FlushOutcome, _ request: FlushRequest) {
    world.trace { "\(self.process.name): flush \(request.id) ended: \(outcome)" }
    guard case .fenced(let ids) = outcome else { return }
    for part in request.parts where ids.contains(part.partition) && world.store.partitions[part.partition]?.epoch == part.epoch {
      world.fail("\(process.name) was fenced from \(part.partition) under epoch \(part.epoch.value), which is the store's")
    }
  }

  // MARK: Taking over

  /// Mirrors `Warehouse.acquire` and `StoreLoop.acquire`: what has no row yet begins at Kafka's first offset; all partitions
  /// in one transaction, sorted; for a horizon Kafka is asked where the partition begins now.
  private func acquire(_ partitions: [PartitionID], _ done: @escaping () -> Void) {
    let sorted = partitions.sorted()
    func fail(_ reason: String) {
      process.post(.acquireFailed(partitions, reason))
      done()
    }
    func refuse(_ reason: String) {
      for id in partitions { process.post(.acquireRefused(id, reason)) }
      done()
    }
    statement(.other, { store, _, end in end(.success(Set(store.partitions.keys))) }) {
      [self] (result: Result<Set<PartitionID>, StoreFailure>) in
      guard case .success(let known) = result else { return fail("the offsets cannot be read") }
      var first: [PartitionID: Offset] = [:]
      for id in sorted where !known.contains(id) {
        guard !process.isKafkaAway else { return fail("Kafka does not answer") }
        first[id] = Offset(world.log.start(id))
      }
      take(sorted[...], first, []) { [self] result in
        switch result {
        case .failure(let failure): failure.consequence == .refused ? refuse(failure.message) : fail(failure.message)
        case .success(var acquired):
          for i in acquired.indices where acquired[i].horizon != nil && !process.isKafkaAway {
            acquired[i].beginning = Offset(world.log.start(acquired[i].partition))
          }
          process.post(.acquired(acquired))
          done()
        }
      }
    }
  }

  private func take(
    _ left: ArraySlice<PartitionID>, _ first: [PartitionID: Offset], _ acquired: [AcquiredPartition],
    _ done: @escaping (Result<[AcquiredPartition], StoreFailure>) -> Void
  ) {
    guard let id = left.first else {
      return commit { done($0.map { _ in acquired }) }
    }
    statement(.other, { store, session, end in store.acquire(id, first: first[id], session, end) }) {
      [self] (result: Result<AcquiredPartition, StoreFailure>) in
      switch result {
      case .failure(let failure): done(.failure(failure))
      case .success(let partition): take(left.dropFirst(), first, acquired + [partition], done)
      }
    }
  }

  // MARK: Statements

  private enum Kind { case commit, other }

  private func commit(_ done: @escaping (Result<Void, StoreFailure>) -> Void) {
    statement(.commit, { store, session, end in end(.success(store.commit(session))) }, done)
  }

  /// One statement and its answer, over a connection that is made if need be. Whatever happens on the way, `done` is
  /// called once, unless the process dies.
  private func statement<Answer>(
    _ kind: Kind, _ body: @escaping (SimulatedStore, SimulatedStore.Session, @escaping (Result<Answer, StoreFailure>) -> Void) -> Void,
    _ done: @escaping (Result<Answer, StoreFailure>) -> Void
  ) {
    let store: SimulatedStore = world.store
    guard let session else {
      return plan(after: dice.milliseconds(2, 20)) { [self] in
        guard world.now >= store.isAwayUntil else {
          world.count(.storeAway)
          return done(.failure(StoreFailure(.retry, "the database system is starting up (SQLSTATE 57P03)")))
        }
        let session = SimulatedStore.Session(process.name)
        store.sessions.append(session)
        self.session = session
        statement(kind, body, done)
      }
    }
    session.statements += 1
    var isAnswered = false
    let answer = { [self] (delay: Int64, result: Result<Answer, StoreFailure>) in
      guard !isAnswered else { return }
      isAnswered = true
      plan(after: delay) { [self] in
        if case .failure(let failure) = result, failure.consequence == .connectionLost, self.session === session { self.session = nil }
        done(result)
      }
    }
    let lost = StoreFailure(.connectionLost, "server closed the connection unexpectedly")
    var way = dice.milliseconds(1, 6)
    if world.now < store.isSlowUntil { way += dice.milliseconds(200, 4000) }
    if kind == .commit {
      if world.strikes(.commitNotApplied, 150, &dice) {
        abandon(session, slowly: dice.flip())
        return answer(way, .failure(lost))
      }
      if world.strikes(.commitDelayed, 150, &dice) {
        answer(way, .failure(lost))
        way += dice.milliseconds(100, 8000)
      }
    } else if world.strikes(.lostBeforeStatement, 40, &dice) {
      abandon(session, slowly: dice.flip())
      return answer(way, .failure(lost))
    }
    // It is on its way to the server: from here on it happens whether the client lives or not.
    world.plan(after: way) { [self] in
      guard !session.isOver else { return answer(dice.milliseconds(1, 50), .failure(lost)) }
      arrive(kind, session, body, answer)
    }
  }

  private func arrive<Answer>(
    _ kind: Kind, _ session: SimulatedStore.Session,
    _ body: (SimulatedStore, SimulatedStore.Session, @escaping (Result<Answer, StoreFailure>) -> Void) -> Void,
    _ answer: @escaping (Int64, Result<Answer, StoreFailure>) -> Void
  ) {
    let store: SimulatedStore = world.store
    if world.now < store.refusesUntil, session.isInTransaction, kind != .commit {
      world.count(.storeRefuses)
      store.rollBack(session)
      return answer(dice.milliseconds(1, 6), .failure(StoreFailure(.refused, "permission denied (SQLSTATE 42501)")))
    }
    for (fault, words) in [(Fault.serializationFailure, "could not serialize access (SQLSTATE 40001)"), (.statementTimeout, "timeout (SQLSTATE 57014)")]
    where session.isInTransaction && world.strikes(fault, 30, &dice) {
      store.rollBack(session)
      return answer(dice.milliseconds(1, 6), .failure(StoreFailure(.retry, words)))
    }
    let statement = session.statements
    body(store, session) { [self] result in
      if case .failure = result { store.rollBack(session) }
      if let failed = result.failedStatement, failed.consequence != .connectionLost { store.rollBack(session) }
      let losesAnswer =
        kind == .commit ? world.strikes(.commitApplied, 150, &dice) : world.strikes(.lostAfterStatement, 40, &dice)
      if losesAnswer {
        abandon(session, slowly: dice.flip())
        return answer(dice.milliseconds(1, 60), .failure(StoreFailure(.connectionLost, "connection reset by peer")))
      }
      answer(dice.milliseconds(1, 6), result)
      // SET idle_in_transaction_session_timeout = '10s'
      guard session.isInTransaction else { return }
      world.plan(after: 10_000) { [unowned store, unowned world] in
        guard !session.isOver, session.isInTransaction, session.statements == statement else { return }
        world.count(.idleInTransaction)
        store.end(session)
      }
    }
  }

  /// The client has lost the connection; the server notices at once, or when the session has been idle for too long.
  private func abandon(_ session: SimulatedStore.Session, slowly: Bool) {
    world.plan(after: slowly ? dice.milliseconds(500, 10_000) : dice.milliseconds(0, 5)) { [unowned store = world.store] in store.end(session) }
    if self.session === session { self.session = nil }
  }

  /// The process has died; what it sent is still on its way.
  func die() { if let session { abandon(session, slowly: dice.chance(3000)) } }
}

extension Result where Failure == StoreFailure {
  /// A statement of a flush answers with its failure.
  fileprivate var failedStatement: StoreFailure? {
    if case .success(let answer) = self, case .failed(let failure)? = answer as? StatementResult { return failure }
    return nil
  }
}
