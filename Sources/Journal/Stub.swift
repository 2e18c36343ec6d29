import Aggregation
public struct JournalIdentity { public init(fingerprint: String, seed: UInt64) {} }
public struct JournalOptions { public enum Sync { case always, interval(Int64), never }; public var sync = Sync.never; public init() {} }
public struct JournalError: Error {}
public final class Journal {
  public init(directory: String, identity: JournalIdentity, options: JournalOptions) throws(JournalError) {}
  public var openingReport: [String] { [] }
  public var bytesOnDisk: Int { 0 }
  public func append(_ e: [JournalEntry], now: Int64) throws(JournalError) {}
  public func tick(now: Int64) throws(JournalError) {}
  public func recover(_ p: PartitionID) throws(JournalError) -> LocalState? { nil }
  public func close() {}
}
