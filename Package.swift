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

let package = Package(
  name: "tidemark",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
  ],
  targets: [
    .systemLibrary(name: "CRdKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .target(
      name: "CSimdJSON",
      cxxSettings: [.unsafeFlags(["-O2", "-DNDEBUG"])],
      linkerSettings: [.linkedLibrary("simdjson"), .linkedLibrary("z")]),

    room("Aggregation"),
    room("Topologies", ["Aggregation", yams]),
    room("Decoding", ["Aggregation", "CSimdJSON"]),
    room("Engine", ["Aggregation", "Decoding"]),
    room("Kafka", ["CRdKafka"]),
    room("Journal", ["Aggregation", "CSimdJSON"]),
    room("Runtime", ["Engine", "Kafka", "Aggregation", "Decoding"]),

    tests("AggregationTests", ["Aggregation"]),
    tests("DecodingTests", ["Decoding", "Aggregation"]),
    tests("EngineTests", ["Engine", "Aggregation", "Decoding"]),
    tests("KafkaTests", ["Kafka"]),
    tests("JournalTests", ["Journal", "Aggregation", "CSimdJSON"]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)
