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
    case .alert(let id, let kind, _): "alert \(kind) of \(id)"
    }
  }

  private static func text(_ flush: FlushRequest) -> String {
    flush.parts.map { "\($0.partition) \($0.delta.from.value) to \($0.delta.to.value), epoch \($0.epoch.value)" }.joined(separator: "; ")
  }
}
