import CZlib
import Foundation

/// Reads a text file line by line, plain or gzip (by its first bytes, whatever its name). Memory stays constant.
public final class LineReader {
  private let path: String
  // Safety: opened in init, closed once in deinit, used by one thread.
  private let file: gzFile
  private var chunk = [UInt8](repeating: 0, count: 1 << 18)
  private var filled = 0
  private var at = 0
  private var isAtEnd = false
  /// Number of the line that `next` gave last, from 1.
  public private(set) var line = 0

  /// Longest line, bytes.
  public static let longestLine = 16 << 20

  /// - Throws: `LineReaderError` that names the file.
  public init(path: String) throws(LineReaderError) {
    self.path = path
    guard let file = gzopen(path, "rb") else {
      throw LineReaderError(description: "\(path): cannot be opened: \(String(cString: strerror(errno)))")
    }
    self.file = file
    gzbuffer(file, 1 << 18)
  }

  deinit { gzclose(file) }

  /// The next line without its end (LF or CR LF); empty lines are passed over. nil: the end.
  /// - Throws: `LineReaderError` that names the file and the line: damaged gzip, a line beyond all bounds.
  public func next() throws(LineReaderError) -> [UInt8]? {
    while true {
      var bytes: [UInt8] = []
      var ended = false
      while !ended {
        if at == filled, !(try fill()) { break }
        let rest = chunk[at..<filled]
        if let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
          bytes.append(contentsOf: chunk[at..<newline])
          at = newline + 1
          ended = true
        } else {
          bytes.append(contentsOf: rest)
          at = filled
        }
        if bytes.count > Self.longestLine { throw LineReaderError(description: "\(path):\(line + 1): the line is longer than \(Self.longestLine) bytes") }
      }
      if bytes.isEmpty, !ended { return nil }
      line += 1
      if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
      if !bytes.isEmpty { return bytes }
    }
  }

  /// Whether there was more.
  private func fill() throws(LineReaderError) -> Bool {
    if isAtEnd { return false }
    let read = gzread(file, &chunk, UInt32(chunk.count))
    var code: Int32 = 0
    let words = gzerror(file, &code).map { String(cString: $0) } ?? ""
    guard read >= 0, code == Z_OK || code == Z_STREAM_END else {
      throw LineReaderError(description: "\(path):\(line + 1): the file is damaged here: \(words)")
    }
    (at, filled) = (0, Int(read))
    isAtEnd = read == 0
    return read > 0
  }
}

/// A file of lines cannot be read.
public struct LineReaderError: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}
