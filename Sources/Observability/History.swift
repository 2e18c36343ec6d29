import Engine
import Runtime
import Synchronization

/// One second of one topology, for lines over time. Numbers of this instance.
struct HistoryPoint: Encodable, Equatable {
  /// Milliseconds since the epoch.
  var at: Int64
  /// Offsets folded, and offsets moved in PostgreSQL, a second.
  var consumed: Double
  var flushed: Double
  /// Offsets, seconds; absent while not known.
  var lag: Int64?
  var lagSeconds: Double?
  /// Seconds from a Kafka record to its row, of the last minute's records; absent where there were none.
  var p50: Double?
  var p99: Double?
}

/// The last ten minutes, a point a second, so that a page that is opened now shows what was before.
final class History: Sendable {
  static let length = 600
  /// Seconds over which quantiles are taken.
  static let window = 60

  private struct Track {
    var points: [HistoryPoint] = []
    /// Ages up to each of the last seconds, oldest first.
    var ages: [Histogram] = []
    var previous: (at: Int64, consumed: Int64, flushed: Int64)?
  }

  private let tracks = Mutex<[String: Track]>([:])

  /// To be called once a second.
  func sample(_ instance: ObservedInstance) {
    let now = instance.clock()
    for topology in instance.topologies {
      let status = topology.status()
      let lag = status.lag(now: now)
      tracks.withLock { tracks in
        var track = tracks.removeValue(forKey: topology.name) ?? Track()
        let seconds = track.previous.map { max(0.001, Double(now - $0.at) / 1000) } ?? 1
        let consumed = status.statistics.events
        let flushed = status.flushedOffsets
        track.ages.append(status.recordAges)
        if track.ages.count > Self.window + 1 { track.ages.removeFirst() }
        let recent = status.recordAges.since(track.ages[0])
        track.points.append(
          HistoryPoint(
            at: now, consumed: track.previous.map { Double(consumed - $0.consumed) / seconds } ?? 0,
            flushed: track.previous.map { Double(flushed - $0.flushed) / seconds } ?? 0, lag: lag.events, lagSeconds: lag.seconds,
            p50: recent.quantile(0.5), p99: recent.quantile(0.99)))
        if track.points.count > Self.length { track.points.removeFirst(track.points.count - Self.length) }
        track.previous = (now, consumed, flushed)
        tracks[topology.name] = track
      }
    }
  }

  /// Oldest first.
  func points(_ topology: String) -> [HistoryPoint] { tracks.withLock { $0[topology]?.points ?? [] } }
  func last(_ topology: String) -> HistoryPoint? { tracks.withLock { $0[topology]?.points.last } }
}
