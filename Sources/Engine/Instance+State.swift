import Aggregation

/// State has a budget as well: a topic with more groups, members or event ids than memory can hold stops its own partition,
/// with an alert, and not the process. Nothing is dropped: what is not consumed stays in Kafka.
extension Instance {
  /// Looks at the size of all state once enough was consumed to have changed it by a tenth or so. O(groups) each time, some
  /// hundredths of what the events between cost.
  func watchState(consumed: Int) {
    guard limits.stateBytes < .max else { return }
    consumedSinceMeasured += consumed
    guard consumedSinceMeasured >= max(2048, stateBytes / 2048) else { return }
    measureState()
  }

  /// While partitions are held nothing may be consumed: somebody has to look whether others went and made room.
  func watchHeldState(_ now: Milliseconds) {
    guard !heldForState.isEmpty, now >= nextStateLook else { return }
    nextStateLook = now + 5000
    measureState()
  }

  /// Holds the largest partition when the budget is spent, and one more each time that state has grown by a twentieth of the
  /// budget since; all of them at a quarter above it. Lets go of them at nine tenths.
  private func measureState() {
    consumedSinceMeasured = 0
    heldForState.formIntersection(tasks.keys)
    let sizes = tasks.values.compactMap { task in task.state.map { (task: task, bytes: $0.processor.stateBytes) } }
    stateBytes = sizes.reduce(0) { $0 + $1.bytes }
    let twentieth = limits.stateBytes / 20
    if stateBytes < limits.stateBytes - 2 * twentieth, !heldForState.isEmpty {
      effects.append(.say(.info, "state takes \(stateBytes >> 20) MiB: \(list(heldForState.sorted())) go on"))
      heldForState = []
    }
    let candidates = sizes.filter { $0.task.isActive && !heldForState.contains($0.task.id) }
      .sorted { ($1.bytes, $0.task.id) < ($0.bytes, $1.task.id) }
    let isFar = stateBytes > limits.stateBytes + 5 * twentieth
    guard isFar || stateBytes > (heldForState.isEmpty ? limits.stateBytes : bytesWhenHeld + twentieth) else { return }
    bytesWhenHeld = stateBytes
    for (task, bytes) in candidates.prefix(isFar ? candidates.count : 1) {
      heldForState.insert(task.id)
      effects.append(
        .alert(task.id, task.epoch, kind: "state_over_budget", stops: true,
          "\(task.id) is held: all state takes \(stateBytes >> 20) MiB (budget \(limits.stateBytes >> 20)), \(bytes >> 20) of it this partition's. "
            + "Raise --state-budget, add instances, or give the topology a new name and its aggregates a lower max_groups"))
    }
  }
}
