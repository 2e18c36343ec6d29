import Aggregation
import Engine

/// Lines of a trace.
enum Trace {
  /// `12.345`: seconds of virtual time.
  static func time(_ milliseconds: Int64) -> String {
    let fraction = String(1000 + milliseconds % 1000).dropFirst()
    return "\(milliseconds / 1000).\(fraction)"
  }

  static func text(_ request: StoreRequest) -> String {
    switch request {
    case .acquire(let ids): "acquire \(ids)"
    case .flush(let flush): "flush \(flush.id): \(text(flush))"
    case .resolve(let flush): "resolve flush \(flush.id)"
    case .release(let id, let epoch): "release \(id), epoch \(epoch.value)"
    case .compact(let id, _): "compact \(id)"
    case .alert(let id, let epoch, let kind, _): "alert \(kind) of \(id), epoch \(epoch.value)"
    }
  }

  static func text(_ call: ConsumerCall) -> String {
    func list(_ offsets: [PartitionID: Int64]) -> String { offsets.sorted { $0.key < $1.key }.map { "\($0.key) at \($0.value)" }.joined(separator: ", ") }
    return switch call {
    case .assign(let partitions): "assign \(list(partitions))"
    case .unassign(let ids): "unassign \(ids)"
    case .pause(let ids): "pause \(ids)"
    case .resume(let ids): "resume \(ids)"
    case .seek(let id, let offset): "seek \(id) at \(offset)"
    case .acknowledge(let offsets): "acknowledge \(list(offsets.mapValues(\.value)))"
    }
  }

  private static func text(_ flush: FlushRequest) -> String {
    flush.parts.map { "\($0.partition) \($0.delta.from.value) to \($0.delta.to.value), epoch \($0.epoch.value)" }.joined(separator: "; ")
  }
}
