// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms

/// A stock client or server of another language that a test starts; ended with its owner.
///
/// A server is ended by its test (`defer`): its last use in the text is where its port is asked for.
final class Script: Sendable {
  private let program: TestProgram

  /// Whether Python has all of these packages.
  static func has(_ packages: String...) -> Bool {
    (try? TestProgram("python3", ["-c", "import \(packages.joined(separator: ", "))"]))?.wait() == 0
  }

  /// `words`: the script below `Tests/`, and what it is told.
  convenience init(_ words: String...) throws { try self.init(words) }

  init(_ words: [String]) throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    program = try TestProgram("python3", [tests.appendingPathComponent(words[0]).path] + words.dropFirst())
  }

  /// The next line that it prints; empty when it has ended.
  func line() -> String { program.line() ?? "" }

  func end() { program.signal(SIGTERM) }

  /// What it said when it did not end well; nil when it did.
  ///
  /// One that does not end within two minutes has failed: a client that hangs must not hold up every other test.
  func failure() -> String? {
    guard let exit = program.wait() else { return "did not end within two minutes\n\(program.err)" }
    if exit == 0 { return nil }
    return program.err.isEmpty ? "ended with \(exit)" : program.err
  }
}
