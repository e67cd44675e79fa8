// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime

/// `weir reload [FILE]`: has the running system read its file again, and says what came of it.
struct ReloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload", abstract: "Have the running system read its file again; it refuses what it cannot use.",
    discussion: "Exit code 0: it goes by the file, or did before; 1: it refused it, or nothing runs.")

  @Argument(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
  @Option(help: "The state folder, where it is not beside the file.") var state: String?
  @Option(help: "text or json.") var format = OutputFormat.text

  func run() throws {
    let client = try StatusClient.of(file, state: state)
    do {
      let outcome = try client.reload()
      switch format {
      case .json:
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        Output.result(String(decoding: try encoder.encode(outcome), as: UTF8.self) + "\n")
      case .text:
        let lines =
          ["\(outcome.result.rawValue): \(outcome.hash)"] + (outcome.errors + outcome.changes).map { "  \($0)" }
        Output.result(lines.joined(separator: "\n") + "\n")
      }
      if outcome.isRefused { throw ExitCode.findings }
    } catch let error as StatusClient.Failure {
      Output.note("weir: \(error)")
      throw ExitCode.findings
    }
  }
}
