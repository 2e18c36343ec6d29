import Aggregation
import Journal

/// Gives the journal what effects say, in order, and keeps it while the disk is full.
///
/// The journal learns of a change before anybody else does: `write` is called before every effect that is not its own.
public struct JournalWriter {
  /// What a failed write means.
  public enum Trouble: Equatable {
    /// Entries wait here until there is room.
    case full(String)
    /// Nothing is known of what the disk holds: the run has to end.
    case failed(String)
  }

  /// nil: no journal is kept.
  public let journal: Journal?
  public private(set) var isBlocked = false
  private var entries: [JournalEntry] = []

  public init(_ journal: Journal?) { self.journal = journal }

  public mutating func note(_ entry: JournalEntry) {
    if journal != nil { entries.append(entry) }
  }

  /// Whether `write` would write anything.
  public var canWrite: Bool { !entries.isEmpty && !isBlocked }

  /// Writes what was noted; nothing while the disk is full.
  public mutating func write(now: Milliseconds) -> Trouble? {
    guard canWrite else { return nil }
    do { try append(now: now) } catch { return trouble(error) }
    return nil
  }

  private mutating func append(now: Milliseconds) throws(JournalError) {
    try journal?.append(entries, now: now)
    entries.removeAll(keepingCapacity: true)
  }

  /// Syncs when it is time, and tries a full disk again. `isReady`: a disk that was full takes records again.
  public mutating func tend(now: Milliseconds) -> (isReady: Bool, trouble: Trouble?) {
    guard let journal else { return (false, nil) }
    var isReady = false
    if isBlocked {
      do {
        try append(now: now)
        isBlocked = false
        isReady = true
      } catch {
        return (false, error.kind == .full ? nil : trouble(error))
      }
    }
    do { try journal.tick(now: now) } catch { return (isReady, trouble(error)) }
    return (isReady, nil)
  }

  private mutating func trouble(_ error: JournalError) -> Trouble {
    isBlocked = true
    return error.kind == .full ? .full("\(error)") : .failed("\(error)")
  }

  /// What the journal holds of a partition, and why it is not used if it cannot be read: then it is as good as none.
  /// While entries wait for room it is behind what was consumed, and not used either.
  public func recover(_ id: PartitionID) -> (state: LocalState?, warning: String?) {
    guard let journal, !isBlocked else { return (nil, nil) }
    do { return (try journal.recover(id), nil) } catch {
      return (nil, "\(id): the journal cannot be read and is not used: \(error)")
    }
  }
}
