// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing

/// One of our two programs, or another, started in a folder of its test.
final class Program: Sendable {
  private let process: TestProgram

  /// The folder that holds `weir` and `weir-example`: `WEIR_BIN`, or where the tests themselves were built.
  static let bin: String = {
    if let given = ProcessInfo.processInfo.environment["WEIR_BIN"], !given.isEmpty { return given }
    return URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0]).resolvingSymlinksInPath()
      .deletingLastPathComponent().path
  }()

  /// The repository.
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  /// Starts one of our two, or the program at an absolute path.
  ///
  /// `folder` is where it runs.
  init(
    _ name: String, _ arguments: [String], in folder: String, environment: [String: String] = [:]
  ) throws {
    let path = name.hasPrefix("/") ? name : Program.bin + "/" + name
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw Mistake("\(path) is not there: build it (swift build -c release) and name its folder in WEIR_BIN")
    }
    let usual = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    let variables = ["PATH": Program.bin + ":" + usual, "HOME": folder].merging(environment) { $1 }
    process = try TestProgram(path, arguments, environment: variables, in: folder)
  }

  var pid: Int32 { process.pid }
  var isRunning: Bool { process.isRunning }
  var out: String { process.out }
  var err: String { process.err }
  /// Both: what is told while it runs may stand on either.
  var says: String { out + err }

  func signal(_ number: Int32) { process.signal(number) }

  /// As a terminal does it: to every process of the foreground group.
  func ctrlC() { process.ctrlC() }

  /// Its end: the exit code, or minus the signal.
  func end(within limit: Duration = patience, sourceLocation: SourceLocation = #_sourceLocation) async throws -> Int32 {
    try await eventually(
      "process \(pid) ends\n\(out)\n\(err)", within: limit, sourceLocation: sourceLocation
    ) { !isRunning }
    guard let exit = process.exit else { throw Mistake("process \(pid) has not ended") }
    return exit
  }

  static func read(_ path: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
  }
}
