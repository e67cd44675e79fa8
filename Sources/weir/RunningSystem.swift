// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import WeirRuntime
import WeirTelemetry

/// Which running system a verb talks to.
struct RunningSystem: ParsableArguments {
  @Option(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
  @Option(help: "The state folder, where it is not beside the file.") var state: String?

  func ask<Answer>(_ body: (StatusClient) throws -> Answer) throws -> Answer {
    let client = try StatusClient.of(file, state: state)
    do { return try body(client) } catch let error as StatusClient.Failure {
      Output.note("weir: \(error)")
      throw ExitCode.findings
    }
  }

  /// Gives an order, and prints what it came to; exit code 1: it was refused.
  func give(_ body: (StatusClient) throws -> Status.QueueOutcome) throws {
    let outcome = try ask(body)
    if outcome.isDone { return Output.result(outcome.text) }
    Output.note("weir: \(outcome.text)")
    throw ExitCode.findings
  }
}
