// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// A package of its own: coverage and libFuzzer's entry point have no place in the gateway's build.
import PackageDescription

/// The readers under test are compiled with coverage of every edge, which guides the fuzzer.
let covered: [SwiftSetting] = [
  .swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .unsafeFlags(["-sanitize=fuzzer", "-parse-as-library", "-enforce-exclusivity=checked"]),
]

let package = Package(
  name: "weir-fuzz",
  targets: [
    .target(name: "WeirBase", swiftSettings: covered, linkerSettings: [.linkedLibrary("m")]),
    .target(name: "WeirWire", dependencies: ["WeirBase"], swiftSettings: covered),
    .target(name: "WeirPatterns", dependencies: ["WeirBase"], sources: ["Routing", "Balancing/KeyedHash.swift"], swiftSettings: covered),
    .executableTarget(
      name: "weir-fuzz", dependencies: ["WeirBase", "WeirWire", "WeirPatterns"], path: "Sources/Fuzz",
      swiftSettings: covered, linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]),
  ]
)
