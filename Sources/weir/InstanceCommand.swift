// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime

/// `weir instance drain|undrain SERVICE N`: takes an instance of the running system out of use, and back.
struct InstanceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "instance", abstract: "Take an instance of the running system out of use, or back.",
    subcommands: [Drain.self, Undrain.self])

  struct Options: ParsableArguments {
    @Argument(help: "The service.") var service: String
    @Argument(help: "Which of its instances, counted from 1, as in its name.") var instance: Int
    @Option(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
    @Option(help: "The state folder, where it is not beside the file.") var state: String?

    func order(drains: Bool) throws {
      let client = try StatusClient.of(file, state: state)
      do {
        let outcome = try client.drain(service: service, instance: instance, drains)
        if outcome.isDone {
          Output.result(outcome.text + "\n")
        } else {
          Output.note("weir: \(outcome.text)")
          throw ExitCode.findings
        }
      } catch let error as StatusClient.Failure {
        Output.note("weir: \(error)")
        throw ExitCode.findings
      }
    }
  }

  struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "It finishes what it has and gets nobody new, but for those whom a cookie sends there.",
      discussion: "Exit code 0: it is so; 1: it is refused, or nothing runs. The last one that serves stays.")
    @OptionGroup var options: Options
    func run() throws { try options.order(drains: true) }
  }

  struct Undrain: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "It is in use again, and starts slowly.")
    @OptionGroup var options: Options
    func run() throws { try options.order(drains: false) }
  }
}
