// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// A stranger's package: it knows Weir only as a dependency, and uses nothing but the library product.
let package = Package(
  name: "consumer",
  platforms: [.macOS(.v26)],
  dependencies: [.package(name: "weir", path: "../..")],
  targets: [
    .executableTarget(
      name: "Consumer", dependencies: [.product(name: "WeirPatterns", package: "weir")],
      swiftSettings: [.swiftLanguageMode(.v6)])
  ]
)
