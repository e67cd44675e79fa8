// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime
import WeirTelemetry

/// `weir status [FILE]`: the running system.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show the running system: routes, instances, breakers, rates, events.")

  @Argument(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
  @Option(help: "The state folder, where it is not beside the file.") var state: String?
  @Option(help: "text or json.") var format = OutputFormat.text
  @Flag(help: "Show it again every second, until Ctrl-C.") var watch = false

  func run() throws {
    let client = try StatusClient.of(file, state: state)
    repeat {
      do {
        switch format {
        case .json: Output.result(try client.json())
        case .text:
          Output.result((watch ? "\u{1b}[H\u{1b}[2J" : "") + (try client.status().text(colour: Output.mayColour)))
        }
      } catch let error as StatusClient.Failure {
        Output.note("weir: \(error)")
        throw ExitCode.findings
      }
      if watch { Thread.sleep(forTimeInterval: 1) }
    } while watch
  }
}
