import Foundation
import Testing

/// The house is kept tidy by a test: what may import what, which symbol lives where, what never appears.
@Suite struct HouseTests {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// What each room may import besides the standard library. The core imports nothing at all.
  static let mayImport: [String: Set<String>] = [
    "Aggregation": [],
    "Topologies": ["Aggregation", "Yams", "Foundation"],
    "Decoding": ["Aggregation", "CSimdJSON"],
    "Journal": ["Aggregation", "CSimdJSON", "Glibc"],
    "Engine": ["Aggregation", "Decoding", "Journal"],
    "Kafka": ["CRdKafka", "Foundation", "Synchronization"],
    "Postgres": ["CLibPQ", "Glibc"],
    "Alerting": ["Topologies", "Aggregation"],
    "Warehouse": ["Engine", "Postgres", "Topologies", "Aggregation", "Alerting"],
    "Channels": ["Alerting", "Foundation", "FoundationNetworking", "Glibc"],
    "Runtime": ["Engine", "Journal", "Kafka", "Warehouse", "Aggregation", "Alerting", "Topologies", "Foundation", "Glibc", "Synchronization"],
    "Observability": [
      "Runtime", "Warehouse", "Engine", "Aggregation", "Hummingbird", "HummingbirdCore", "HTTPTypes", "NIOCore", "Logging", "Foundation", "Synchronization",
    ],
    "Workload": ["Topologies", "Aggregation", "CZlib", "Foundation"],
    "LocalServers": ["Postgres", "Foundation", "Glibc"],
    "Reconciliation": ["Warehouse", "Postgres", "Topologies", "Aggregation"],
    "Simulation": ["Engine", "Journal", "Aggregation", "Decoding"],
    "tidemark-simulate": ["Simulation", "ArgumentParser", "Foundation", "Dispatch", "Glibc", "Synchronization"],
    "tidemark": [
      "Aggregation", "Topologies", "Kafka", "Postgres", "Warehouse", "Engine", "Runtime", "LocalServers", "Workload", "Reconciliation", "Alerting",
      "Channels", "Observability", "ArgumentParser", "Logging", "Foundation", "Glibc", "Synchronization",
    ],
  ]

  struct Source {
    var room: String
    var path: String
    var name: String
    var lines: [String]

    /// The line without its comment: a rule about code does not bind prose.
    func code(_ index: Int) -> String {
      let line = lines[index]
      guard let comment = line.range(of: "//") else { return line }
      return line[..<comment.lowerBound].hasSuffix(":") ? line : String(line[..<comment.lowerBound])
    }
  }

  static let sources: [Source] = files(under: "Sources", suffix: ".swift")
  static let tests: [Source] = files(under: "Tests", suffix: ".swift")

  static func files(under folder: String, suffix: String) -> [Source] {
    let base = root.appendingPathComponent(folder)
    let paths = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
    return paths.filter { $0.hasSuffix(suffix) }.sorted().compactMap { path in
      guard let text = try? String(contentsOf: base.appendingPathComponent(path), encoding: .utf8) else { return nil }
      let parts = path.split(separator: "/").map(String.init)
      return Source(
        room: parts[0], path: "\(folder)/\(path)", name: parts.last!, lines: text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
    }
  }

  /// Places in the sources whose code matches; `allowed` says where it may.
  private func expectOnly(_ pattern: String, in what: String, among sources: [Source] = Self.sources, allowed: (Source) -> Bool) throws {
    let expression = try Regex(pattern)
    for source in sources where !allowed(source) {
      for i in source.lines.indices where source.code(i).contains(expression) {
        Issue.record("\(source.path):\(i + 1): \(what) does not belong here: \(source.lines[i].trimmingCharacters(in: .whitespaces))")
      }
    }
  }

  @Test func everyRoomIsKnownAndImportsWhatItMay() {
    #expect(Self.sources.count > 60)
    for source in Self.sources {
      guard let allowed = Self.mayImport[source.room] else {
        Issue.record("\(source.path): room \(source.room) is not in the plan of the house")
        continue
      }
      for line in source.lines where line.hasPrefix("import ") || line.hasPrefix("@testable import ") {
        let module = String(line.split(separator: " ").last!.split(separator: ".")[0])
        #expect(allowed.contains(module), "\(source.path): \(source.room) may not import \(module)")
      }
    }
  }

  @Test func aFolderOwnsItsCPrefix() throws {
    try expectOnly("rd_kafka_|RD_KAFKA_", in: "librdkafka") { $0.room == "Kafka" && $0.name.hasPrefix("RdKafka") }
    try expectOnly("\\bPQ[a-z]\\w*\\(", in: "libpq") { $0.room == "Postgres" && $0.name.hasPrefix("LibPQ") }
    try expectOnly("\\bgz(open|read|close|buffer|error)\\(", in: "zlib") { $0.room == "Workload" && $0.name == "LineReader.swift" }
  }

  @Test func SQLLivesInTheWarehouse() throws {
    try expectOnly("\"\"?\"?\\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE (TABLE|ROLE|SCHEMA|POLICY)) ", in: "SQL") { ["Warehouse", "Reconciliation"].contains($0.room) }
  }

  @Test func onlyTheRuntimeAndTheEdgeKnowTimeAndThreads() throws {
    try expectOnly("\\bDate\\(\\)|\\bThread\\b|clock_gettime|usleep|DispatchQueue|\\bTask \\{|\\bTask\\.detached", in: "a clock or a thread") {
      ["Runtime", "tidemark", "tidemark-simulate", "LocalServers"].contains($0.room) || $0.path == "Sources/Postgres/LibPQConnection.swift"
    }
  }

  /// System calls need an import: in the journal only the storage has it.
  @Test func onlyTheStorageTouchesFileDescriptors() {
    for source in Self.sources where source.room == "Journal" && source.name != "PosixStorage.swift" {
      #expect(!source.lines.contains("import Glibc"), "\(source.path): system calls belong to PosixStorage.swift")
    }
  }

  @Test func nothingUnfinishedAndNothingPrinted() throws {
    for source in Self.sources + Self.tests where source.name != "HouseTests.swift" {
      for (i, line) in source.lines.enumerated() {
        for word in ["TODO", "FIXME", "XXX", "HACK"] where line.contains(word) { Issue.record("\(source.path):\(i + 1): \(word)") }
      }
    }
    try expectOnly("(^|[^.\\w])(print|debugPrint|dump)\\(", in: "print") { _ in false }
  }

  @Test func whatIsUnsafeSaysWhyItIsSafe() {
    for source in Self.sources {
      for i in source.lines.indices {
        let code = source.code(i)
        guard code.contains("@unchecked Sendable") || code.contains("nonisolated(unsafe)") || code.contains("unsafeBitCast") else { continue }
        let around = source.lines[max(0, i - 3)...min(source.lines.count - 1, i + 3)]
        #expect(around.contains { $0.contains("// Safety:") }, "\(source.path):\(i + 1): says not why it is safe")
      }
    }
  }

  @Test func filesAndLinesStayReadable() {
    for source in Self.sources {
      #expect(source.lines.count <= 360, "\(source.path) has \(source.lines.count) lines: one idea a file")
      for (i, line) in source.lines.enumerated() where line.count > 170 { Issue.record("\(source.path):\(i + 1): \(line.count) characters") }
    }
  }

  @Test func namesUseTheFieldsTerms() throws {
    try expectOnly("(class|struct|enum|protocol|actor) \\w*(Manager|Helper|Utils?|Impl)\\b", in: "a name that says nothing") { _ in false }
    for source in Self.sources { #expect(!["Utils.swift", "Helpers.swift", "Misc.swift", "Common.swift"].contains(source.name), "\(source.path)") }
  }

  @Test func theTopLevelHoldsWhatTheCardNames() throws {
    let allowed: Set<String> = [
      "Package.swift", "Sources", "Tests", "topologies", "docker-compose.yml", "README.md", "scripts", "deploy", "Benchmarks", "LICENSE", "Package.resolved",
    ]
    for name in try FileManager.default.contentsOfDirectory(atPath: Self.root.path) where !name.hasPrefix(".") {
      #expect(allowed.contains(name), "\(name) has no place at the top level")
    }
    let ignored = try String(contentsOf: Self.root.appendingPathComponent(".gitignore"), encoding: .utf8)
    #expect(ignored.contains("Package.resolved") && ignored.contains(".build/"))
  }

  @Test func theTopologyInsideTheCommandIsTheFile() throws {
    let file = try String(contentsOf: Self.root.appendingPathComponent("topologies/product-events.yaml"), encoding: .utf8)
    let source = try #require(Self.sources.first { $0.path == "Sources/tidemark/ProductEvents.swift" })
    let begin = try #require(source.lines.firstIndex { $0.hasSuffix("\"\"\"") })
    let end = try #require(source.lines.lastIndex { $0.trimmingCharacters(in: .whitespaces) == "\"\"\"" })
    let inside = source.lines[(begin + 1)..<end].map { $0.hasPrefix("    ") ? String($0.dropFirst(4)) : $0 }.joined(separator: "\n")
    #expect(inside.trimmingCharacters(in: .newlines) == file.trimmingCharacters(in: .newlines))
  }

  @Test func commandsThatTheReadmeNamesExist() throws {
    let readme = try String(contentsOf: Self.root.appendingPathComponent("README.md"), encoding: .utf8)
    var known = Set(Self.sources.filter { $0.room == "tidemark" }.flatMap(\.lines).compactMap { line -> String? in
      line.firstMatch(of: /commandName: "([a-z-]+)"/).map { String($0.1) }
    })
    // The others are named after their types, in the list of subcommands.
    let root = try #require(Self.sources.first { $0.path == "Sources/tidemark/Tidemark.swift" }).lines.joined(separator: "\n")
    known.formUnion(root.matches(of: /\b([A-Z][a-z]+)\.self/).map { $0.1.lowercased() })
    for match in readme.matches(of: /\btidemark ([a-z][a-z-]+)/) where readme[..<match.range.lowerBound].last == "`" || readme[..<match.range.lowerBound].last == "\n" {
      #expect(known.contains(String(match.1)), "README names tidemark \(match.1)")
    }
    for match in readme.matches(of: /`(scripts\/[a-z-]+|Benchmarks\/[a-z-]+)/) {
      #expect(FileManager.default.isExecutableFile(atPath: Self.root.appendingPathComponent(String(match.1)).path), "README names \(match.1)")
    }
  }
}
