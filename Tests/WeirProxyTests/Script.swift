// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirPlatform

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

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
  convenience init(_ words: String...) throws { try self.init(words) }

  init(_ words: [String]) throws {
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

  /// What it ended with; nil while it runs.
  ///
  /// Foundation learns of an end by a socket that other children may have inherited: on a busy machine one script of a
  /// hundred had ended, and was said to run. So the system is asked, in a way that leaves the end for Foundation.
  private var status: Int32? {
    if !process.isRunning { return process.terminationStatus }
    var info = siginfo_t()
    guard waitid(P_PID, id_t(process.processIdentifier), &info, WEXITED | WNOHANG | WNOWAIT) == 0 else { return nil }
    return Script.ended(info)
  }

  private static func ended(_ info: siginfo_t) -> Int32? {
    #if canImport(Glibc)
      let (pid, status) = (info._sifields._sigchld.si_pid, info._sifields._sigchld.si_status)
    #else
      let (pid, status) = (info.si_pid, info.si_status)
    #endif
    return pid == 0 ? nil : status
  }

  /// What it said when it did not end well; nil when it did.
  ///
  /// One that does not end within two minutes is ended: a client that hangs must not hold up every other test.
  func failure() -> String? {
    let end = ContinuousClock().now + .seconds(120)
    var none: [Poll.Interest] = []
    var status = self.status
    while status == nil, ContinuousClock().now < end {
      _ = try? Poll.wait(&none, nanoseconds: 5_000_000)
      status = self.status
    }
    let said = (try? String(contentsOf: errors, encoding: .utf8)) ?? ""
    guard let status else {
      process.terminate()
      return "did not end within two minutes\n\(said)"
    }
    if status == 0 { return nil }
    return said.isEmpty ? "ended with \(status)" : said
  }
}
