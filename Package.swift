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

let package = Package(
  name: "tidemark",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "tidemark", targets: ["tidemark"]), .executable(name: "tidemark-simulate", targets: ["tidemark-simulate"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.7.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
  ],
  targets: [
    .systemLibrary(name: "CRdKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(
      name: "CSimdJSON",
      cxxSettings: [.unsafeFlags(["-O2", "-DNDEBUG"])],
      linkerSettings: [.linkedLibrary("simdjson")]),

    room("Aggregation"),
    room("Topologies", ["Aggregation", yams]),
    room("Decoding", ["Aggregation", "CSimdJSON"]),
    room("Engine", ["Aggregation", "Decoding", "Journal"]),
    room("Kafka", ["CRdKafka"]),
    room("Postgres", ["CLibPQ"]),
    room("Alerting", ["Topologies", "Aggregation"]),
    room("Warehouse", ["Engine", "Postgres", "Topologies", "Aggregation", "Alerting"]),
    room("Reconciliation", ["Warehouse", "Postgres", "Topologies", "Aggregation"]),
    room("LocalServers", ["Postgres"]),
    room("Workload", ["Topologies", "Aggregation", "CZlib"]),
    room("Journal", ["Aggregation", "CSimdJSON"]),
    room("Channels", ["Alerting"]),
    room("Runtime", ["Engine", "Journal", "Kafka", "Warehouse", "Aggregation", "Alerting", "Topologies"]),
    .target(
      name: "Observability",
      dependencies: [
        "Runtime", "Warehouse", "Engine", "Aggregation", log, .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"), .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
      ],
      resources: [.embedInCode("Console")], swiftSettings: settings),
    room("Simulation", ["Engine", "Journal", "Aggregation", "Decoding"]),
    .executableTarget(
      name: "tidemark-simulate", dependencies: ["Simulation", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: settings),
    .executableTarget(
      name: "tidemark",
      dependencies: [
        "Aggregation", "Topologies", "Kafka", "Postgres", "Warehouse", "Engine", "Runtime", "LocalServers", "Workload", "Reconciliation", "Alerting",
        "Channels", "Observability", .product(name: "ArgumentParser", package: "swift-argument-parser"), log,
      ], swiftSettings: settings),

    tests("AggregationTests", ["Aggregation"]),
    tests("TopologiesTests", ["Topologies", "Aggregation"]),
    tests("DecodingTests", ["Decoding", "Aggregation"]),
    tests("EngineTests", ["Engine", "Aggregation", "Decoding"]),
    tests("AlertingTests", ["Alerting", "Topologies", "Aggregation"]),
    tests(
      "MonitoringTests", ["Runtime", "Warehouse", "Alerting", "Channels", "LocalServers", "Postgres", "Topologies", "Aggregation", "Engine"]),
    tests("KafkaTests", ["Kafka"]),
    tests("WorkloadTests", ["Workload", "Topologies", "Aggregation", "Decoding"]),
    tests("PostgresTests", ["Postgres", "LocalServers"]),
    tests("WarehouseTests", ["Warehouse", "Postgres", "LocalServers", "Topologies", "Aggregation", "Decoding"]),
    tests("ReconciliationTests", ["Reconciliation", "Warehouse", "Postgres", "LocalServers", "Topologies", "Aggregation", "Engine"]),
    tests("AccessTests", ["Warehouse", "Engine", "Postgres", "LocalServers", "Topologies", "Aggregation"]),
    tests("RuntimeTests", ["Runtime", "Engine", "Journal", "Kafka", "Aggregation"]),
    tests("SimulationTests", ["Simulation", "Engine", "Warehouse", "Postgres", "LocalServers", "Topologies", "Aggregation"]),
    tests("ObservabilityTests", ["Observability", "Runtime", "Warehouse", "Engine", "Aggregation"]),
    tests("HouseTests", []),
    tests("EndToEndTests", ["tidemark", "LocalServers", "Postgres", "Kafka", "Workload"]),
    tests("JournalTests", ["Journal", "Simulation", "Aggregation", "CSimdJSON"]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)
