// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime

/// `weir`: one file describes a system; this checks it, simulates it and runs it.
@main
struct Weir: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weir", abstract: "One file describes a distributed system: check it, simulate it, run it.",
    discussion: """
      Exit codes: 0 good; 1 findings, or a requirement missed or undecided; 2 wrong use or an unreadable file; 3 our fault.
      """, version: WeirVersion.text,
    subcommands: [
      CheckCommand.self, ExplainCommand.self, SimulateCommand.self, PlanCommand.self, RunCommand.self,
      ReloadCommand.self, UpgradeCommand.self, InstanceCommand.self, QueueCommand.self, WebhookCommand.self,
      TopicCommand.self,
      StreamCommand.self, SagaCommand.self, StatusCommand.self,
      SchemaCommand.self,
      KeyCommand.self, PlaneCommand.self, StateCommand.self,
    ])

  /// Wrong use exits with 2, as every verb does; the parser's own code would be 64.
  static func main() {
    // A keeper that has become this binary goes on before anything else runs.
    if let code = Launch.resume() { Foundation.exit(code) }
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let exit as ExitCode {
      Foundation.exit(exit.rawValue)
    } catch {
      let isGood = exitCode(for: error) == .success
      let message = fullMessage(for: error)
      if !message.isEmpty { (isGood ? FileHandle.standardOutput : .standardError).write(Data((message + "\n").utf8)) }
      Foundation.exit(isGood ? 0 : 2)
    }
  }
}

/// The exit codes of every verb.
extension ExitCode {
  /// Findings, or a requirement that is missed or undecided.
  static let findings = ExitCode(1)
  /// Wrong use, or a file that cannot be read.
  static let misuse = ExitCode(2)
  /// A defect of ours.
  static let ours = ExitCode(3)
}
