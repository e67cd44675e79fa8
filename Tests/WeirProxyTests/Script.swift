// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirPlatform

/// A stock client or server of another language that a test starts; ended with its owner.
final class Script: @unchecked Sendable {
  // Unchecked: each is used by one test's task.
  private let process = Process()
  private let output = Pipe()
  private let errors: URL

  /// Whether Python has all of these packages.
  static func has(_ packages: String...) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-c", "import \(packages.joined(separator: ", "))"]
    process.standardError = FileHandle.nullDevice
    do { try process.run() } catch { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }

  /// `words`: the script below `Tests/`, and what it is told.
  init(_ words: String...) throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    errors = FileManager.default.temporaryDirectory.appendingPathComponent("weir-script-\(UUID().uuidString)")
    _ = FileManager.default.createFile(atPath: errors.path, contents: nil)
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", tests.appendingPathComponent(words[0]).path] + words.dropFirst()
    process.standardOutput = output
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
  }

  /// The next line that it prints; empty when it has ended.
  func line() -> String {
    var line: [UInt8] = []
    while let byte = try? output.fileHandleForReading.read(upToCount: 1), let first = byte.first, first != 10 {
      line.append(first)
    }
    return String(decoding: line, as: UTF8.self)
  }

  func end() { if process.isRunning { process.terminate() } }

  deinit {
    end()
    try? FileManager.default.removeItem(at: errors)
  }

  /// What it said when it did not end well; nil when it did.
  ///
  /// One that does not end within two minutes is ended: a client that hangs must not hold up every other test.
  func failure() -> String? {
    let end = ContinuousClock().now + .seconds(120)
    var none: [Poll.Interest] = []
    while process.isRunning, ContinuousClock().now < end { _ = try? Poll.wait(&none, nanoseconds: 5_000_000) }
    let said = (try? String(contentsOf: errors, encoding: .utf8)) ?? ""
    if process.isRunning {
      process.terminate()
      return "did not end within two minutes\n\(said)"
    }
    if process.terminationStatus == 0 { return nil }
    return said.isEmpty ? "ended with \(process.terminationStatus)" : said
  }
}
