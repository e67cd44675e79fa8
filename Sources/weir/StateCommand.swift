// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import WeirStorage

/// `weir state`: what must outlive the plane, in a process of its own; started by the keeper, nothing for people.
struct StateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "state", abstract: "", shouldDisplay: false)

  @Argument var folder: String

  func run() throws { throw ExitCode(StateProcess.run(folder: folder)) }
}
