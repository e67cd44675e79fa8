// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

/// What every target is compiled with; pure targets also refuse unsafe constructs that do not say so.
let common: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .treatAllWarnings(as: .error),
]
let pure = common + [.strictMemorySafety()]

/// The tests of a target, in the mirrored folder.
func test(_ target: String, _ others: [Target.Dependency] = [], exclude: [String] = []) -> Target {
  .testTarget(
    name: "\(target)Tests", dependencies: [.byName(name: target)] + others, exclude: exclude, swiftSettings: common)
}

/// Programs that tests start.
let programs: Target.Dependency = "TestPrograms"

func nio(_ name: String) -> Target.Dependency { .product(name: name, package: "swift-nio") }
let tls: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let http2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let cryptoExtras: Target.Dependency = .product(name: "CryptoExtras", package: "swift-crypto")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")

let package = Package(
  name: "weir",
  platforms: [.macOS(.v26)],
  products: [
    .executable(name: "weir", targets: ["weir"]),
    .executable(name: "weir-example", targets: ["WeirExample"]),
    .library(name: "WeirPatterns", targets: ["WeirPatterns", "WeirBase"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
  ],
  targets: [
    // Layer 0.
    // libm: without optimisation a program that links only this layer calls `round` and the like.
    .target(name: "WeirBase", swiftSettings: pure, linkerSettings: [.linkedLibrary("m")]),
    // Layer 1.
    .target(name: "WeirPatterns", dependencies: ["WeirBase"], swiftSettings: pure),
    .target(name: "WeirWire", dependencies: ["WeirBase"], swiftSettings: pure),
    .target(name: "CWeirPlatform"),
    .target(name: "WeirPlatform", dependencies: ["WeirBase", "CWeirPlatform"], swiftSettings: common),
    .target(
      name: "CWeirCompression",
      // Into the program itself: it is carried to machines that have none of them.
      linkerSettings: [":libz.a", ":libbrotlienc.a", ":libbrotlicommon.a", ":libzstd.a"].map {
        .linkedLibrary($0, .when(platforms: [.linux]))
      } + ["z", "brotlienc", "brotlicommon", "zstd"].map { .linkedLibrary($0, .when(platforms: [.macOS])) }),
    .target(name: "WeirCompression", dependencies: ["CWeirCompression"], swiftSettings: common),
    // Layer 2.
    .target(name: "WeirFlows", dependencies: ["WeirBase", "WeirPatterns"], swiftSettings: pure),
    // Layer 3.
    .target(
      name: "WeirModel", dependencies: ["WeirBase", "WeirPatterns", "WeirWire", "WeirFlows", "Yams"],
      swiftSettings: common),
    .target(
      name: "WeirCertificates",
      dependencies: [
        "WeirBase", crypto,
        .product(name: "X509", package: "swift-certificates"),
        .product(name: "SwiftASN1", package: "swift-asn1"),
      ], swiftSettings: common),
    // Layer 4.
    .target(
      name: "WeirCheck", dependencies: ["WeirBase", "WeirPatterns", "WeirFlows", "WeirModel"], swiftSettings: common),
    .target(
      name: "WeirSimulation", dependencies: ["WeirBase", "WeirPatterns", "WeirFlows", "WeirModel"],
      swiftSettings: common),
    .target(
      name: "WeirIdentity", dependencies: ["WeirBase", "WeirPatterns", "WeirFlows", crypto, cryptoExtras],
      swiftSettings: common),
    .target(
      name: "WeirStorage",
      dependencies: [
        "WeirBase", "WeirPatterns", "WeirFlows", "WeirWire", "WeirPlatform",
        .product(name: "GRDB", package: "GRDB.swift"),
      ], swiftSettings: common),
    .target(
      name: "WeirMessaging", dependencies: ["WeirBase", "WeirPatterns", "WeirFlows", "WeirWire", crypto],
      swiftSettings: common),
    .target(name: "CWeirPostgres", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
    .target(
      name: "WeirOutbox",
      dependencies: [
        "WeirBase", "WeirFlows", "WeirWire", "WeirPlatform", "WeirMessaging", "CWeirPostgres",
        .product(name: "GRDB", package: "GRDB.swift"),
      ], swiftSettings: common),
    .target(
      name: "WeirProxy",
      dependencies: [
        "WeirBase", "WeirPatterns", "WeirFlows", "WeirWire", "WeirModel", "WeirPlatform", "WeirCertificates",
        "WeirIdentity", "WeirCompression", "WeirMessaging",
        crypto, nio("NIOCore"), nio("NIOPosix"), nio("NIOTLS"), tls, http2,
        .product(name: "NIOHPACK", package: "swift-nio-http2"),
      ], swiftSettings: common),
    .target(
      name: "WeirProcesses", dependencies: ["WeirBase", "WeirPatterns", "WeirFlows", "WeirModel", "WeirPlatform"],
      swiftSettings: common),
    .target(
      name: "WeirTelemetry", dependencies: ["WeirBase", "WeirPatterns", "WeirFlows", "WeirModel"], swiftSettings: common
    ),
    // Layer 5.
    .target(
      name: "WeirReport", dependencies: ["WeirBase", "WeirFlows", "WeirModel", "WeirCheck", "WeirSimulation"],
      swiftSettings: common),
    .target(
      name: "WeirRuntime",
      dependencies: [
        "WeirBase", "WeirPatterns", "WeirFlows", "WeirWire", "WeirModel", "WeirCheck", "WeirPlatform", "WeirProxy",
        "WeirProcesses", "WeirTelemetry", "WeirCertificates", "WeirIdentity", "WeirMessaging", "WeirOutbox",
        nio("NIOCore"), nio("NIOPosix"), nio("NIOHTTP1"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ], swiftSettings: common),
    // Layer 7.
    .executableTarget(
      name: "weir",
      dependencies: [
        "WeirBase", "WeirFlows", "WeirModel", "WeirCheck", "WeirSimulation", "WeirReport", "WeirRuntime",
        "WeirProcesses", "WeirPlatform", "WeirTelemetry", "WeirIdentity", "WeirStorage",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: common),
    // The programs of the examples. They use nothing of Weir: any program in any language can take their place.
    .executableTarget(
      name: "WeirExample",
      dependencies: [
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Logging", package: "swift-log"),
        nio("NIOCore"), nio("NIOPosix"),
      ], resources: [.embedInCode("Page"), .embedInCode("ShopPage")], swiftSettings: common),
    // The keeper needs a process of its own in the tests, and a plane that can be killed.
    .executableTarget(
      name: "weir-keeper-fixture", dependencies: ["WeirBase", "WeirPatterns", "WeirPlatform", "WeirProcesses"],
      path: "Tests/WeirKeeperFixture", swiftSettings: common),
    // The state process with a store that dies where it is told to.
    .executableTarget(
      name: "weir-state-fixture",
      dependencies: ["WeirBase", "WeirPatterns", "WeirWire", "WeirPlatform", "WeirStorage"],
      path: "Tests/WeirStateFixture", swiftSettings: common),
    .target(
      name: "TestPrograms", dependencies: ["WeirPlatform"], path: "Tests/TestPrograms", swiftSettings: common),
    test("WeirBase"),
    test("WeirPatterns", ["WeirBase"]),
    test("WeirWire", ["WeirBase"]),
    test("WeirPlatform", ["WeirBase", programs]),
    test("WeirCompression", [programs]),
    test("WeirFlows", ["WeirBase", "WeirPatterns"]),
    test("WeirModel", ["WeirBase", "WeirPatterns", "WeirFlows", programs], exclude: ["Fixtures"]),
    test("WeirCertificates"),
    test("WeirCheck", ["WeirModel"], exclude: ["Fixtures"]),
    test("WeirSimulation", ["WeirBase", "WeirPatterns", "WeirFlows", "WeirModel"]),
    test(
      "WeirProxy",
      [
        "WeirBase", "WeirPatterns", "WeirFlows", "WeirWire", "WeirPlatform", "WeirCertificates", "WeirIdentity",
        "WeirStorage", "WeirMessaging", programs, crypto, tls,
        nio("NIOCore"),
        nio("NIOPosix"),
      ]),
    test("WeirIdentity", ["WeirPatterns", "WeirFlows", crypto, cryptoExtras]),
    test("WeirStorage", ["WeirBase", "WeirPatterns", "WeirWire", "WeirPlatform", "weir-state-fixture", programs]),
    test("WeirMessaging", ["WeirBase", "WeirPatterns", "WeirFlows", "WeirWire", programs]),
    test(
      "WeirOutbox",
      [
        "WeirBase", "WeirFlows", "WeirWire", "WeirPlatform", "WeirMessaging", programs,
        .product(name: "GRDB", package: "GRDB.swift"),
      ]),
    test("WeirProcesses", ["WeirBase", "WeirPatterns", "WeirPlatform", "weir-keeper-fixture", programs]),
    test("WeirTelemetry", ["WeirBase", "WeirFlows", programs]),
    test(
      "WeirReport", ["WeirBase", "WeirPatterns", "WeirFlows", "WeirModel", "WeirCheck", "WeirSimulation"],
      exclude: ["Fixtures"]),
    test("WeirExample", [programs, nio("NIOCore")]),
    .testTarget(name: "WeirSystemTests", dependencies: ["weir", "WeirExample", programs], swiftSettings: common),
    .testTarget(name: "TidyTests", swiftSettings: common),
  ]
)
