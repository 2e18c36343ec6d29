import Foundation
import Yams

extension Topology {
  /// Reads and validates a topology.
  /// - Parameter file: what messages call the text; nothing is opened.
  /// - Throws: all problems found, not only the first.
  /// - Complexity: O(text), a few milliseconds.
  public static func parse(yaml: String, file: String) throws(TopologyErrors) -> Topology {
    let document: YAMLDocument
    do {
      document = try YAMLDocument(yaml)
    } catch {
      throw TopologyErrors(
        error.problems.map { TopologyProblem(file: file, line: $0.place.line, column: $0.place.column, message: $0.message) })
    }
    var reader = TopologyReader(file: file, hiddenKeys: document.hiddenKeys)
    guard let root = document.root else {
      throw TopologyErrors([
        TopologyProblem(
          file: file, line: 1, column: 1, message: "the file is empty, expected a topology that begins with topology: NAME")
      ])
    }
    guard var topology = reader.topology(root), reader.problems.isEmpty else { throw TopologyErrors(reader.problems) }
    topology.text = yaml
    return topology
  }

  /// Reads and validates the file at `path`; messages call it by that path.
  /// - Throws: all problems found; a file that cannot be read is one, at 1:1.
  public static func load(path: String) throws(TopologyErrors) -> Topology {
    func problem(_ message: String) -> TopologyErrors {
      TopologyErrors([TopologyProblem(file: path, line: 1, column: 1, message: message)])
    }
    let bytes: Data
    do {
      // No more than a topology can have: the path may be a device or the wrong, vast file.
      bytes = try FileHandle(forReadingFrom: URL(fileURLWithPath: path)).read(upToCount: YAMLDocument.longest + 1) ?? Data()
    } catch {
      var isDirectory: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
      let reason = !exists ? "there is no such file" : isDirectory.boolValue ? "it is a directory" : error.localizedDescription
      throw problem("the file cannot be read: \(reason)")
    }
    if bytes.count > YAMLDocument.longest { throw problem(YAMLDocument.tooLong) }
    guard let yaml = String(validating: bytes, as: UTF8.self) else {
      let line = 1 + bytes.prefix(validUTF8Prefix(of: bytes)).count { $0 == UInt8(ascii: "\n") }
      throw TopologyErrors([
        TopologyProblem(file: path, line: line, column: 1, message: "this line is not UTF-8, expected a UTF-8 text file")
      ])
    }
    return try parse(yaml: yaml, file: path)
  }

  /// Names that several topologies of one database may not share: topologies, and aggregates, since each is a table.
  /// - Throws: a problem at every later one.
  public static func checkTogether(_ topologies: [Topology]) throws(TopologyErrors) {
    var names: [String: String] = [:]
    var tables: [String: String] = [:]
    var problems: [TopologyProblem] = []
    for topology in topologies {
      if let other = names.updateValue(topology.file, forKey: topology.name) {
        problems.append(
          TopologyProblem(
            file: topology.file, line: 1, column: 1,
            message: "topology \"\(topology.name)\" is also the name of \(other): rename one"))
      }
      for aggregate in topology.aggregates {
        let owner = "\(topology.file):\(aggregate.line):\(aggregate.column)"
        if let other = tables.updateValue(owner, forKey: aggregate.tableName) {
          problems.append(
            TopologyProblem(
              file: topology.file, line: aggregate.line, column: aggregate.column,
              message: "aggregate \"\(aggregate.name)\" and the one at \(other) would both be the table "
                + "\(aggregate.tableName): rename one"))
        }
      }
    }
    problems += accessProblems(topologies)
    if !problems.isEmpty { throw TopologyErrors(problems) }
  }

  private static func validUTF8Prefix(of bytes: Data) -> Int {
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var valid = 0
    while case .scalarValue(let scalar) = decoder.decode(&iterator) { valid += UTF8.width(scalar) }
    return valid
  }
}
