// The port between the journal and a disk. `PosixStorage` is the real one; tests have one that fails on purpose.

/// A directory tree with durable files. All paths are as given to `Journal`.
public protocol Storage {
  /// Makes the directory and those above it, durably. No error if it exists.
  func createDirectory(_ path: String) throws(StorageError)
  /// Names in the directory, in any order; empty if there is no such directory.
  func list(_ directory: String) throws(StorageError) -> [String]
  /// Takes the lock file at `path`, making it if needed, without waiting.
  func lock(_ path: String) throws(StorageError) -> LockOutcome
  /// Opens an existing file for reading and writing.
  func open(_ path: String) throws(StorageError) -> any StorageFile
  /// Makes an empty file, or empties the one that is there.
  func create(_ path: String) throws(StorageError) -> any StorageFile
  /// Atomic; replaces `to`. Durable only after `syncDirectory`.
  func rename(_ path: String, to: String) throws(StorageError)
  /// No error if there is no such file. Durable only after `syncDirectory`.
  func remove(_ path: String) throws(StorageError)
  func syncDirectory(_ path: String) throws(StorageError)
}

/// An open file; closed with its last reference at the latest.
public protocol StorageFile: AnyObject {
  /// Bytes, those preallocated included.
  func size() throws(StorageError) -> Int
  /// Up to `count` bytes from `position`: fewer only where the file ends.
  func read(_ count: Int, at position: Int) throws(StorageError) -> [UInt8]
  /// Writes all, or throws after having written any part of it.
  func write(_ bytes: UnsafeRawBufferPointer, at position: Int) throws(StorageError)
  /// Reserves room for `size` bytes in all; new bytes read as zero. False: the file system cannot do that, nothing happened.
  func preallocate(_ size: Int) throws(StorageError) -> Bool
  func truncate(_ size: Int) throws(StorageError)
  /// Returns when everything written is durable. After an error nothing is known of what is.
  func sync() throws(StorageError)
  func close() throws(StorageError)
}

/// A lock that is held as long as this object lives, or until `release`.
public protocol StorageLock: AnyObject {
  func release()
}

/// What came of asking for a lock.
public enum LockOutcome {
  case taken(any StorageLock)
  /// Text that the holder left in the file: its process id.
  case held(by: String)
}

/// A failed call on a file.
public struct StorageError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Name of the system call.
  public var call: String
  public var path: String
  /// `errno`, read at once.
  public var code: Int32
  public var reason: String
  /// No room left, or a quota reached.
  public var isFull: Bool
  /// There is no such file.
  public var isMissing: Bool
  public init(call: String, path: String, code: Int32, reason: String, isFull: Bool = false, isMissing: Bool = false) {
    self.call = call; self.path = path; self.code = code; self.reason = reason
    self.isFull = isFull; self.isMissing = isMissing
  }
  public var description: String { "\(call) \(path): \(reason) (errno \(code))" }
}
