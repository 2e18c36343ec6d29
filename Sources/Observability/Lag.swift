import Aggregation
import Engine
import Runtime

/// How far a partition is behind: the one definition for metrics, console, `/status` and `tidemark status`.
struct Lag: Equatable {
  /// Offsets between what is in PostgreSQL and the end; nil: the end is not known.
  var events: Int64?
  /// Age of the last record that is in PostgreSQL, 0 where all is; nil: not known.
  var seconds: Double?

  /// - Parameters:
  ///   - end: the next offset that Kafka will give.
  ///   - recordTime: Kafka timestamp of the last record that is in PostgreSQL, milliseconds since the epoch; nil: not known, the
  ///     watermark has to do.
  ///   - now: milliseconds since the epoch.
  init(flushed: Int64, end: Int64?, recordTime: Int64?, watermark: EventTime?, now: Int64) {
    guard let end else { return }
    let behind = max(0, end - flushed)
    events = behind
    seconds = behind == 0 ? 0 : (recordTime ?? watermark.map { $0.microseconds / 1000 }).map { Double(max(0, now - $0)) / 1000 }
  }

  init() {}

  /// Of several partitions together: events add up, of seconds the worst counts. One that is not known does not hide the others.
  static func worst(_ lags: [Lag]) -> Lag {
    var result = Lag()
    for lag in lags {
      if let events = lag.events { result.events = (result.events ?? 0) + events }
      if let seconds = lag.seconds { result.seconds = max(result.seconds ?? 0, seconds) }
    }
    return result
  }
}

extension RunStatus {
  /// The end of a partition in Kafka as far as anybody here knows.
  func end(of part: PartitionLoad) -> Int64? {
    switch (ends[part.id], part.end?.value) {
    case (let a?, let b?): return max(a, b)
    case (let a, let b): return a ?? b
    }
  }

  /// One an assigned partition.
  func lags(now: Int64) -> [Lag] {
    load.partitions.map { part in
      guard part.epoch.value > 0 else { return Lag() }
      return Lag(
        flushed: part.flushed.value, end: end(of: part), recordTime: part.flushedRecordTime, watermark: part.watermark, now: now)
    }
  }

  func lag(now: Int64) -> Lag { Lag.worst(lags(now: now)) }
}
