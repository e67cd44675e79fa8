// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms

/// The reference libraries of others, from Python's package index (`Tests/requirements.txt`).
enum Judge {
  static func has(_ package: String) -> Bool {
    (try? TestProgram("python3", ["-c", "import \(package)"]))?.wait() == 0
  }

  struct Refused: Error, CustomStringConvertible { var description: String }

  /// What `Tests/Messaging/judge.py` prints.
  static func ask(_ words: [String]) throws -> String {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let program = try TestProgram("python3", [tests.appendingPathComponent("Messaging/judge.py").path] + words)
    guard program.wait() == 0 else { throw Refused(description: program.err) }
    return String(decoding: program.outBytes, as: UTF8.self)
  }
}
