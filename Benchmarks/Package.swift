// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// A package of its own, so that nobody who uses the library builds it.
let package = Package(
  name: "weir-benchmarks",
  platforms: [.macOS(.v26)],
  dependencies: [.package(name: "weir", path: "..")],
  targets: [
    .executableTarget(
      name: "PatternBench", dependencies: [.product(name: "WeirPatterns", package: "weir")],
      swiftSettings: [.swiftLanguageMode(.v6)])
  ]
)
