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
  dependencies: [.package(url: "https://github.com/apple/swift-crypto", from: "4.5.2")],
  targets: [
    .target(name: "WeirBase", swiftSettings: covered, linkerSettings: [.linkedLibrary("m")]),
    .target(name: "WeirWire", dependencies: ["WeirBase"], swiftSettings: covered),
    .target(name: "WeirPatterns", dependencies: ["WeirBase"], swiftSettings: covered),
    .target(name: "WeirFlows", dependencies: ["WeirBase", "WeirPatterns"], swiftSettings: covered),
    .target(
      name: "WeirMessaging",
      dependencies: ["WeirBase", "WeirFlows", "WeirWire", .product(name: "Crypto", package: "swift-crypto")],
      swiftSettings: covered),
    .executableTarget(
      name: "weir-fuzz", dependencies: ["WeirBase", "WeirWire", "WeirPatterns", "WeirMessaging"], path: "Sources/Fuzz",
      swiftSettings: covered, linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]),
  ]
)
