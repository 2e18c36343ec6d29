// The only file that makes system calls. Each goes through `system`: EINTR is tried again, errno read at once.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Files of the operating system.
public struct PosixStorage: Storage, Sendable {
  public init() {}

  public func createDirectory(_ path: String) throws(StorageError) {
    do {
      _ = try system("mkdir", path) { mkdir(path, 0o700) }
    } catch {
      if error.code == EEXIST { return }
      let parent = Self.parent(path)
      guard error.isMissing, parent != path else { throw error }
      try createDirectory(parent)
      _ = try system("mkdir", path) { mkdir(path, 0o700) }
    }
    try syncDirectory(Self.parent(path))
  }

  static func parent(_ path: String) -> String {
    var text = path[...]
    while text.count > 1, text.last == "/" { text.removeLast() }
    guard let slash = text.lastIndex(of: "/") else { return "." }
    return slash == text.startIndex ? "/" : String(text[..<slash])
  }

  public func list(_ directory: String) throws(StorageError) -> [String] {
    guard let handle = opendir(directory) else {
      let code = errno
      if code == ENOENT { return [] }
      throw Self.error("opendir", directory, code)
    }
    defer { closedir(handle) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(handle) else {
        let code = errno
        if code != 0 { throw Self.error("readdir", directory, code) }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        // Safety: `d_name` is terminated by zero within its array.
        $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
  }

  public func lock(_ path: String) throws(StorageError) -> LockOutcome {
    let file = try PosixFile(path, O_RDWR | O_CREAT)
    do {
      _ = try system("flock", path) { flock(file.descriptor, LOCK_EX | LOCK_NB) }
    } catch {
      guard error.code == EWOULDBLOCK else { throw error }
      return .held(by: String(decoding: try file.read(32, at: 0), as: UTF8.self))
    }
    try file.truncate(0)
    do throws(StorageError) {
      try file.write(Array(String(getpid()).utf8), at: 0)
    } catch {
      // The lock holds without its text, which a full disk has no room for.
      if !error.isFull { throw error }
    }
    return .taken(PosixLock(file))
  }

  public func open(_ path: String) throws(StorageError) -> any StorageFile { try PosixFile(path, O_RDWR) }
  public func create(_ path: String) throws(StorageError) -> any StorageFile { try PosixFile(path, O_RDWR | O_CREAT | O_TRUNC) }

  public func rename(_ path: String, to: String) throws(StorageError) {
    #if canImport(Darwin)
      _ = try system("rename", path) { Darwin.rename(path, to) }
    #elseif canImport(Musl)
      _ = try system("rename", path) { Musl.rename(path, to) }
    #else
      _ = try system("rename", path) { Glibc.rename(path, to) }
    #endif
  }

  public func remove(_ path: String) throws(StorageError) {
    do {
      _ = try system("unlink", path) { unlink(path) }
    } catch {
      if !error.isMissing { throw error }
    }
  }

  public func syncDirectory(_ path: String) throws(StorageError) {
    let directory = try PosixFile(path, O_RDONLY | O_DIRECTORY)
    _ = try system("fsync", path) { fsync(directory.descriptor) }
    try directory.close()
  }

  static func error(_ call: String, _ path: String, _ code: Int32) -> StorageError {
    StorageError(
      call: call, path: path, code: code, reason: String(cString: strerror(code)), isFull: code == ENOSPC || code == EDQUOT,
      isMissing: code == ENOENT)
  }
}

/// Calls until it is not interrupted; -1 becomes an error that names call and path.
private func system<R: SignedInteger>(_ call: String, _ path: String, _ body: () -> R) throws(StorageError) -> R {
  while true {
    let result = body()
    if result != -1 { return result }
    let code = errno
    if code != EINTR { throw PosixStorage.error(call, path, code) }
  }
}

/// A descriptor and the path it was opened by.
final class PosixFile: StorageFile {
  private(set) var descriptor: Int32
  private let path: String

  init(_ path: String, _ flags: Int32) throws(StorageError) {
    self.path = path
    descriptor = try system("open", path) { open(path, flags | O_CLOEXEC, 0o600) }
  }

  deinit { if descriptor >= 0 { _ = systemClose(descriptor) } }

  func size() throws(StorageError) -> Int {
    var facts = stat()
    _ = try system("fstat", path) { fstat(descriptor, &facts) }
    return Int(facts.st_size)
  }

  func read(_ count: Int, at position: Int) throws(StorageError) -> [UInt8] {
    var failure: StorageError?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count {
        do throws(StorageError) {
          let n = try system("pread", path) {
            // Safety: `filled < count`, so the address lies in the buffer and `count - filled` bytes fit behind it.
            pread(descriptor, buffer.baseAddress! + filled, count - filled, off_t(position + filled))
          }
          if n == 0 { return }
          filled += n
        } catch {
          failure = error
          return
        }
      }
    }
    if let failure { throw failure }
    return bytes
  }

  func write(_ bytes: UnsafeRawBufferPointer, at position: Int) throws(StorageError) {
    var written = 0
    while written < bytes.count {
      // Safety: `written < count`, so the address lies in the buffer and `count - written` bytes lie behind it.
      written += try system("pwrite", path) {
        pwrite(descriptor, bytes.baseAddress! + written, bytes.count - written, off_t(position + written))
      }
    }
  }

  func preallocate(_ size: Int) throws(StorageError) -> Bool {
    #if os(Linux)
      do throws(StorageError) {
        _ = try system("posix_fallocate", path) {
          // It returns the error number that the others leave in `errno`.
          let code = posix_fallocate(descriptor, 0, off_t(size))
          errno = code
          return code == 0 ? Int32(0) : -1
        }
        return true
      } catch {
        if error.code == EOPNOTSUPP || error.code == EINVAL { return false }
        throw error
      }
    #else
      return false
    #endif
  }

  func truncate(_ size: Int) throws(StorageError) {
    _ = try system("ftruncate", path) { ftruncate(descriptor, off_t(size)) }
  }

  func sync() throws(StorageError) {
    #if os(Linux)
      _ = try system("fdatasync", path) { fdatasync(descriptor) }
    #else
      // Darwin's fsync leaves the bytes in the drive's own memory.
      _ = try system("fcntl(F_FULLFSYNC)", path) { fcntl(descriptor, F_FULLFSYNC) }
    #endif
  }

  func close() throws(StorageError) {
    guard descriptor >= 0 else { return }
    let closing = descriptor
    descriptor = -1
    // Linux has released the descriptor even when it says EINTR: a second try could close somebody else's file.
    guard systemClose(closing) == -1 else { return }
    let code = errno
    if code != EINTR { throw PosixStorage.error("close", path, code) }
  }
}

private func systemClose(_ descriptor: Int32) -> Int32 { close(descriptor) }

private final class PosixLock: StorageLock {
  private let file: PosixFile
  init(_ file: PosixFile) { self.file = file }
  // Closing releases the lock. The file stays: removing it would race with a process that has just opened it.
  func release() { try? file.close() }
}
