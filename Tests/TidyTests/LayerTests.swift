// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// The layers of the house: a target imports only targets of lower layers, and only the outside it may.
///
/// `swift build` does not reliably notice an import that the manifest does not declare, so every `import` is read here.
@Suite struct LayerTests {
  struct Target {
    var layer: Int
    /// Modules from outside, beside the standard library.
    var outside: Set<String> = []
    /// Targets of the same layer that it may import all the same.
    var arrows: Set<String> = []
  }

  static let nio: Set<String> = ["NIOCore", "NIOPosix"]
  static let targets: [String: Target] = [
    "WeirBase": Target(layer: 0),
    "WeirPatterns": Target(layer: 1),
    "WeirWire": Target(layer: 1),
    "WeirPlatform": Target(layer: 1, outside: ["Glibc", "Musl", "Darwin", "CWeirPlatform", "Synchronization"]),
    "WeirCompression": Target(layer: 1, outside: ["CWeirCompression"]),
    "WeirFlows": Target(layer: 2),
    "WeirModel": Target(layer: 3, outside: ["Yams", "Foundation", "FoundationEssentials"]),
    "WeirCertificates": Target(layer: 3, outside: ["Foundation", "Crypto", "X509", "SwiftASN1"]),
    "WeirCheck": Target(layer: 4, outside: ["Foundation", "FoundationEssentials"]),
    "WeirSimulation": Target(layer: 4, outside: ["Foundation", "FoundationEssentials", "Synchronization"]),
    "WeirIdentity": Target(layer: 4, outside: ["Crypto", "CryptoExtras", "Foundation", "Synchronization"]),
    "WeirProxy": Target(
      layer: 4, outside: nio.union(["Crypto", "Synchronization", "NIOSSL", "NIOTLS", "NIOHTTP2", "NIOHPACK"]),
      arrows: ["WeirIdentity", "WeirMessaging"]),
    "WeirStorage": Target(layer: 4, outside: ["GRDB", "Foundation", "FoundationEssentials", "Synchronization"]),
    "WeirOutbox": Target(
      layer: 4, outside: ["GRDB", "CWeirPostgres", "Foundation", "Synchronization"], arrows: ["WeirMessaging"]),
    "WeirMessaging": Target(layer: 4, outside: ["Crypto", "Foundation"]),
    "WeirProcesses": Target(layer: 4, outside: ["Foundation", "FoundationEssentials", "Synchronization"]),
    "WeirTelemetry": Target(layer: 4, outside: ["Foundation", "FoundationEssentials"]),
    "WeirReport": Target(layer: 5, outside: ["Foundation", "FoundationEssentials"]),
    "WeirRuntime": Target(
      layer: 5,
      outside: nio.union([
        "Foundation", "FoundationEssentials", "Synchronization", "Hummingbird", "HummingbirdCore", "Logging",
        "HTTPTypes", "ServiceLifecycle", "AsyncHTTPClient", "NIOHTTP1",
      ])),
    "weir": Target(layer: 7, outside: ["ArgumentParser", "Foundation", "FoundationEssentials"]),
  ]
  /// What the pure targets never touch.
  static let pure: Set<String> = ["WeirBase", "WeirPatterns", "WeirWire", "WeirFlows"]

  @Test func importsGoDownwards() throws {
    for path in Repository.files(below: "Sources", ".swift") {
      let target = String(path.split(separator: "/")[1])
      guard target != "WeirExample" else { continue }
      let rules = try #require(Self.targets[target], "\(path): a target without a place in the layers")
      for (number, line) in try Repository.lines(path).enumerated() {
        guard let module = Self.importedModule(line) else { continue }
        if let imported = Self.targets[module] {
          #expect(
            imported.layer < rules.layer || rules.arrows.contains(module),
            "\(path):\(number + 1): \(target) (layer \(rules.layer)) imports \(module) (layer \(imported.layer))")
        } else {
          #expect(rules.outside.contains(module), "\(path):\(number + 1): \(target) imports \(module) from outside")
        }
      }
    }
  }

  // The example programs stand for anybody's programs: they use nothing of Weir.
  @Test func examplesAreStrangers() throws {
    for path in Repository.files(below: "Sources/WeirExample", ".swift") {
      for line in try Repository.lines(path) {
        guard let module = Self.importedModule(line) else { continue }
        #expect(!module.hasPrefix("Weir"), "\(path) imports \(module)")
      }
    }
  }

  // Clocks, global chance, environment and files have no place where decisions are made.
  @Test func pureTargetsArePure() throws {
    let banned = [
      "Date()", "ContinuousClock", "SuspendingClock", "clock_gettime", ".random(in:", ".randomElement()", ".shuffled()",
      "SystemRandomNumberGenerator", "ProcessInfo", "getenv", "print(", "fatalError(", "Task {", "Task.sleep", "await ",
      "DispatchQueue", "@unchecked Sendable", "nonisolated(unsafe)",
    ]
    for path in Repository.files(below: "Sources", ".swift")
    where Self.pure.contains(String(path.split(separator: "/")[1])) {
      for (number, line) in try Repository.lines(path).enumerated() {
        let code = line.components(separatedBy: "//")[0]
        for word in banned where code.contains(word) {
          Issue.record("\(path):\(number + 1): \(word) in a pure target: pass it in as an argument")
        }
      }
    }
  }

  static func importedModule(_ line: String) -> String? {
    var words = line.split(separator: " ").map(String.init)
    while let first = words.first,
      ["public", "package", "internal", "private", "fileprivate", "@preconcurrency"].contains(first)
    {
      words.removeFirst()
    }
    guard words.first == "import", words.count >= 2 else { return nil }
    return words[1].split(separator: ".").first.map(String.init)
  }
}
