// swift-tools-version: 6.1
import Foundation
import PackageDescription

/// CI sets TIDEMARK_STRICT=1: every warning is an error there, and only there, so that a newer
/// compiler's new warning never keeps a newcomer from building.
let strict = ProcessInfo.processInfo.environment["TIDEMARK_STRICT"] == "1"
let settings: [SwiftSetting] =
  [.enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility")]
  + (strict ? [.unsafeFlags(["-warnings-as-errors"])] : [])

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
  name: "tidemark",
  platforms: [.macOS(.v15)],
  products: [.executable(name: "tidemark", targets: ["tidemark"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
  ],
  targets: [
    .systemLibrary(name: "CRdKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .target(
      name: "CSimdJSON",
      cxxSettings: [.unsafeFlags(["-O2", "-DNDEBUG"])],
      linkerSettings: [.linkedLibrary("simdjson"), .linkedLibrary("z")]),

    room("Aggregation"),
    room("Topologies", ["Aggregation", yams]),
    room("Decoding", ["Aggregation", "CSimdJSON"]),
    room("Journal", ["Aggregation", "CSimdJSON"]),
    room("Engine", ["Aggregation", "Decoding", "Journal"]),
    room("Kafka", ["CRdKafka"]),
    room("Postgres", ["CLibPQ"]),
    room("Warehouse", ["Postgres", "Topologies", "Aggregation"]),
    room("Runtime", ["Engine", "Kafka", "Warehouse", "Aggregation", "Decoding", "Journal", "Topologies", log]),
    room("Workload", ["Topologies"]),
    .executableTarget(
      name: "tidemark",
      dependencies: [
        "Runtime", "Engine", "Kafka", "Postgres", "Warehouse", "Topologies", "Workload", "Aggregation", "Decoding", "Journal",
        arguments, log,
      ],
      swiftSettings: settings),

    tests("AggregationTests", ["Aggregation"]),
    tests("TopologiesTests", ["Topologies", "Aggregation"]),
    tests("DecodingTests", ["Decoding", "Aggregation", "Topologies"]),
    tests("JournalTests", ["Journal", "Aggregation"]),
    tests("EngineTests", ["Engine", "Aggregation", "Decoding", "Journal", "Topologies"]),
    tests("KafkaTests", ["Kafka"]),
    tests("WarehouseTests", ["Warehouse", "Postgres", "Topologies", "Aggregation", "TestServers"]),
    tests("WorkloadTests", ["Workload", "Topologies"]),
    tests("HouseTests", []),
    tests("EndToEndTests", ["TestServers", "Postgres", "Topologies"]),
    .target(name: "TestServers", dependencies: ["Postgres"], path: "Tests/TestServers", swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)
