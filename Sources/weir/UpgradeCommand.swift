// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirPlatform
import WeirRuntime

/// `weir upgrade [FILE]`: has another binary take over from the running one, with no request lost.
struct UpgradeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upgrade", abstract: "Have this binary, or another, take over from the running one.",
    discussion: """
      Programs and listening sockets stay as they are. When the new one does not start, or cannot use the file, the old \
      one goes on. Exit code 0: it has taken over; 1: it was refused, or nothing runs.
      """)

  @Argument(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
  @Option(help: "The binary. (default: the one that this command is)", completion: .file()) var to: String?
  @Option(help: "The state folder, where it is not beside the file.") var state: String?
  @Option(help: "text or json.") var format = OutputFormat.text

  func run() throws {
    let client = try StatusClient.of(file, state: state)
    guard let binary = to.map(absolute) ?? Files.ownExecutable else { throw ExitCode.ours }
    do {
      let outcome = try client.upgrade(to: binary)
      if let to = outcome.to { client.waitForPlane(to.pid) }
      switch format {
      case .json:
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        Output.result(String(decoding: try encoder.encode(outcome), as: UTF8.self) + "\n")
      case .text: Output.result(text(outcome))
      }
      if outcome.isRefused { throw ExitCode.findings }
    } catch let error as StatusClient.Failure {
      Output.note("weir: \(error)")
      throw ExitCode.findings
    }
  }

  private func absolute(_ path: String) -> String {
    Files.resolve(path, in: (try? Files.currentFolder()) ?? "/")  // Without a current folder the path is wrong anyway.
  }

  private func text(_ outcome: UpgradeOutcome) -> String {
    let from = "\(outcome.from.version) (process \(outcome.from.pid))"
    guard let to = outcome.to else {
      return (["refused: \(from) goes on"] + outcome.errors.map { "  \($0)" }).joined(separator: "\n") + "\n"
    }
    let time = outcome.milliseconds.map { " after \(Int($0.rounded())) ms" } ?? ""
    return "upgraded: \(to.version) (process \(to.pid), \(to.binary)) serves\(time)\n  \(from) finishes its requests\n"
  }
}
