// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// A headless Chromium that uses a page as a person would: the scripts of `Tests/Browser`.
enum Browser {
  /// Playwright looks for its own things in the home folder.
  private static func home(_ field: Field) -> [String: String] {
    ["HOME": ProcessInfo.processInfo.environment["HOME"] ?? field.folder]
  }

  /// Whether there is one; without it a test says so and ends, but for a machine that tests for others (`CI=true`).
  static func isThere(_ field: Field) async throws -> Bool {
    let words =
      "python3 -c 'import playwright' && command -v chromium chromium-browser google-chrome | head -n 1 | grep ."
    let probe = try Program("/bin/sh", ["-c", words], in: field.folder, environment: home(field))
    if try await probe.end() == 0 { return true }
    let why = "no Chromium, or no Python package playwright (Tests/requirements.txt): \(probe.err)"
    if ProcessInfo.processInfo.environment["CI"] == "true" { throw Mistake(why) }
    print("the page was not tried: \(why)")
    return false
  }

  /// Starts a walk; its pictures go to `WEIR_SHOTS`, if that is named.
  static func walk(_ script: String, _ arguments: [String], _ field: Field) throws -> Program {
    let shots = ProcessInfo.processInfo.environment["WEIR_SHOTS"] ?? field.folder + "/shots"
    return try Program(
      "/bin/sh",
      ["-c", "exec python3 \"$@\"", "sh", "\(Program.root)/Tests/Browser/\(script)"] + arguments + [shots],
      in: field.folder, environment: home(field))
  }
}
