import Aggregation
import Engine

/// The worker's thread: it takes messages and ticks, and dies at any of its effects.
extension SimulatedProcess {
  func post(_ message: WorkerMessage<ConsumerEvent>) {
    inbox.append(message)
    wakeWorker()
  }

  private func wakeWorker() {
    guard !isWorkerAwake, !inbox.isEmpty else { return }
    isWorkerAwake = true
    plan(after: max(dice.milliseconds(0, 4), hangsUntil - world.now)) { [unowned self] in
      isWorkerAwake = false
      guard let worker, !inbox.isEmpty else { return }
      handle(inbox.removeFirst(), worker)
      if now - lastTick >= 10, !isDying {
        lastTick = now
        worker.tick(now: now)
      }
      settleWork(worker)
      wakeWorker()
    }
  }

  func tick(every span: Int64) {
    plan(after: span) { [unowned self] in
      if let worker, world.now >= hangsUntil {
        lastTick = now
        worker.tick(now: now)
        settleWork(worker)
      }
      tick(every: span)
    }
  }

  private func handle(_ message: WorkerMessage<ConsumerEvent>, _ worker: InstanceWorker) {
    guard case .acquired(let partitions) = message else { return worker.handle(message, now: now) { consume($0, worker) } }
    for partition in partitions { acquired(partition, worker) }
  }

  private func consume(_ event: ConsumerEvent, _ worker: InstanceWorker) {
    switch event {
    case .records(let id, let buffer, let range):
      world.trace { "\(self.name): records of \(id) from \(range.lowerBound) below \(range.upperBound)" }
      buffer.withRecords { worker.handle(.records(id, $0), now: now) }
    case .endOfPartition(let id, let offset): worker.handle(.endOfPartition(id, offset), now: now)
    case .outOfRange(let id, let reason): worker.handle(.offsetOutOfRange(id, reason), now: now)
    case .assigned(let ids): worker.handle(.assigned(ids), now: now)
    case .revoked(let ids): worker.handle(.revoked(ids), now: now)
    case .lost(let ids): worker.handle(.lost(ids), now: now)
    }
  }

  /// A journal that was written under another epoch than the one before is not used, whatever is in it.
  private func acquired(_ partition: AcquiredPartition, _ worker: InstanceWorker) {
    let local = worker.writer.recover(partition.partition).state
    let before = worker.instance.nextOffset(of: partition.partition)
    worker.acquired([partition], now: now)
    guard let local, before == nil, local.epoch != partition.previousEpoch else { return }
    if let next = worker.instance.nextOffset(of: partition.partition), next != partition.nextOffset {
      world.fail(
        "\(name) used a journal of \(partition.partition) of epoch \(local.epoch.value), the store's before was \(partition.previousEpoch.value)")
    }
  }

  /// Orders of the worker, as it gives them.
  func take(_ order: InstanceWorker.Order) {
    if disk.isDead { isDying = true }
    guard !isDying else { return }
    if let left = ordersToCrash {
      if left <= 0 {
        isDying = true
        disk.die()
        world.count(.crashAtEffect)
        return
      }
      ordersToCrash = left - 1
    }
    switch order {
    case .store(let request):
      if case .flush = request, let worker, worker.writer.canWrite { world.fail("\(name) flushes what its journal has not been given") }
      world.trace { "\(self.name): store \(Trace.text(request))" }
      store?.post(request)
    case .poller(let command):
      commands.append(command)
      // The worst moment: what is fetched until then is not wanted any more.
      if case .pause = command { standPerhaps(4000) }
    case .say(let severity, let text): world.trace { "\(self.name): \(severity): \(text)" }
    }
  }

  /// After each piece of the worker's work: did the process die in it, and is its memory within its budget?
  private func settleWork(_ worker: InstanceWorker) {
    if disk.takeFull() { world.count(.diskFull) }
    if isDying || disk.isDead { return kill(power: world.scenario.faults.contains(.powerLoss) && dice.flip()) }
    let bytes = worker.instance.pendingBytes
    if bytes > limits.pendingBytes + (consumer?.mostMessages ?? 0) * (Self.mostWaiting * 2 + 6) * Self.largestEvent {
      world.fail("\(name) holds \(bytes) bytes, the budget is \(limits.pendingBytes)")
    }
  }
}
