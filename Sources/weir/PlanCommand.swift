// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirBase
import WeirModel
import WeirReport
import WeirSimulation

/// `weir plan OLD NEW`: what a changed file would change, and what that would do.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Compare two files: what changes by name, what a running system does about it, and the predicted effect.",
    discussion: """
      Where both files describe traffic, both are simulated: availability and latency beside each other. Exit code 0:
      it can be taken over and meets its requirements; 1: a running system would refuse it, or a requirement is missed or
      undecided; 2: one of the files cannot be used.
      """)

  @Argument(help: "The file as it runs.", completion: .file(extensions: ["yaml", "yml"])) var old: String
  @Argument(help: "The changed file.", completion: .file(extensions: ["yaml", "yml"])) var new: String
  @Option(help: "Only this scenario, beside the quiet case; may be given more than once.") var scenario: [String] = []
  @Option(help: "The seed of both forecasts.") var seed: UInt64 = 1
  @Option(help: "Length of the quiet case, in seconds.") var duration = 60.0
  @Option(help: "Event loops of the modelled gateway.") var loops = 1
  @Flag(inversion: .prefixedNo, help: "Simulate both files.") var simulate = true
  @Option(help: "text or json.") var format = OutputFormat.text

  func validate() throws {
    if !(duration > 0) || duration > 1e6 { throw ValidationError("--duration is a number of seconds above 0") }
    if !(1...64).contains(loops) { throw ValidationError("--loops is a number from 1 to 64, not \(loops)") }
  }

  func run() throws {
    let plans = try [old, new].map { Plan(try LoadedFile(path: $0, format: format).design) }
    let difference = PlanDifference(from: plans[0], to: plans[1])
    var forecasts: [[Forecast]] = [[], []]
    let canPlay = plans.allSatisfy { !$0.loads.isEmpty && $0.design.unsupported(for: .simulate).isEmpty }
    if simulate && canPlay && !difference.isEmpty {
      var options = SimulationOptions()
      options.seed = seed
      options.loops = loops
      options.duration = .seconds(duration)
      forecasts = try plans.map { plan in
        var options = options
        // The quiet case always; of the scenarios those that are asked for.
        options.scenarios = scenario
        return try Stories.quiet(plan, options) + (scenario.isEmpty ? [] : try Stories.play(plan, options))
      }
    }
    switch format {
    case .json: Output.result(difference.json(forecasts[0], forecasts[1]).rendered())
    case .text: Output.result(difference.text(forecasts[0], forecasts[1]))
    }
    if difference.refusal != nil || forecasts[1].contains(where: { $0.outcome != .met }) { throw ExitCode.findings }
  }
}
