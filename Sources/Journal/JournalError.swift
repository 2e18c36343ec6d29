/// Why the journal did not do what was asked of it; `kind` says what to do about it.
public struct JournalError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// No room. Nothing of the append is in the journal; the same entries can be appended again when there is room.
    case full
    /// The disk or the file system failed. The journal takes nothing more until it is opened again.
    case failed
    /// A record before the end of the log is damaged: remove the journal and rebuild from PostgreSQL and Kafka.
    case corrupt
    /// Written for another topology, another hash seed, or by another version.
    case foreign
    /// Another process has the directory.
    case locked
  }
  public var kind: Kind
  public var message: String
  /// Path of the file concerned, and where in it.
  public var file: String?
  public var byte: Int?

  public init(_ kind: Kind, _ message: String, file: String? = nil, byte: Int? = nil) {
    self.kind = kind; self.message = message; self.file = file; self.byte = byte
  }

  init(_ error: StorageError) {
    self.init(error.isFull ? .full : .failed, error.description, file: error.path)
  }

  /// Where in which file, if it is about a place in one, and what.
  public var description: String {
    guard let file, let byte else { return message }
    return "\(file), byte \(byte): \(message)"
  }
}

/// Performs `body`; an error of the storage becomes the journal's.
func onDisk<Result>(_ body: () throws(StorageError) -> Result) throws(JournalError) -> Result {
  do throws(StorageError) {
    return try body()
  } catch {
    throw JournalError(error)
  }
}
