// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirBase
import WeirModel
import WeirReport
import WeirSimulation

/// `weir simulate FILE`: what will happen, and whether it is good enough.
struct SimulateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Play traffic and failures in virtual time: what will happen, is it good enough?",
    discussion: """
      Without --scenario the quiet case and every scenario of the file are played. Exit code 0: every requirement is met;
      1: one is missed, or undecided: its interval straddles the requirement.
      """)

  @Argument(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
  @Option(help: "Only this scenario; may be given more than once.") var scenario: [String] = []
  @Option(help: "Requests a second in all, instead of requirements.load; traffic keeps its proportions.") var load:
    Double?
  @Option(help: "The seed: the same seed gives the same forecast, byte for byte.") var seed: UInt64 = 1
  @Option(help: "Event loops of the modelled gateway.") var loops = 1
  @Option(help: "Length of the quiet case, in seconds.") var duration = 60.0
  @Option(help: "Replications; without it as many as the verdict needs, up to 40.") var replications: Int?
  @Option(help: "One way through the network, in microseconds.") var network = 50.0
  @Option(help: "Threads that replications run on; they change nothing but the time it takes.") var threads = 2
  @Option(help: "text or json.") var format = OutputFormat.text

  func validate() throws {
    if !(1...64).contains(loops) { throw ValidationError("--loops is a number from 1 to 64, not \(loops)") }
    if let load, !(load > 0) || load > 1e9 { throw ValidationError("--load is a rate above 0, not \(load)") }
    if !(duration > 0) || duration > 1e6 { throw ValidationError("--duration is a number of seconds above 0") }
    if let replications, !(2...1000).contains(replications) {
      throw ValidationError("--replications is a number from 2 to 1000: one alone has no interval")
    }
    if !(network >= 0) || network > 1e7 { throw ValidationError("--network is a number of microseconds, 0 or more") }
    if !(1...64).contains(threads) { throw ValidationError("--threads is a number from 1 to 64, not \(threads)") }
  }

  func run() throws {
    let loaded = try LoadedFile(path: file, format: format)
    try loaded.require(.simulate)
    let plan = Plan(loaded.design)
    if plan.loads.isEmpty {
      Output.note(
        "weir: \(file) describes no traffic: there is nothing to simulate. Add for example:\n"
          + "  traffic:\n    reading: { to: GET /, rate: 10/s }")
      throw ExitCode.misuse
    }
    var options = SimulationOptions()
    options.scenarios = scenario.isEmpty ? nil : scenario
    options.load = load.map { Rate(perSecond: $0) }
    options.seed = seed
    options.loops = loops
    options.duration = .seconds(duration)
    options.replications = replications
    options.network = .nanoseconds(Int64(network * 1000))
    options.threads = threads

    let forecasts = try Stories.play(plan, options)
    switch format {
    case .json: Output.result(Forecast.json(forecasts).rendered())
    case .text: Output.result(ForecastText(color: Output.mayColour).text(forecasts))
    }
    if forecasts.contains(where: { $0.outcome != .met }) { throw ExitCode.findings }
  }
}

/// Plays stories for a verb that has to wait for them.
enum Stories {
  /// Waits for the stories, which run on threads of their own.
  static func play(_ plan: Plan, _ options: SimulationOptions) throws -> [Forecast] {
    let progress = Progress()
    defer { progress.clear() }
    return try wait { () async throws(Simulation.UnknownScenario) in
      try await Simulation.run(plan, options) { story in progress.show("simulating: \(story) …") }
    }
  }

  /// The file's traffic and nothing going wrong.
  static func quiet(_ plan: Plan, _ options: SimulationOptions) throws -> [Forecast] {
    try wait { [await Simulation.run(plan, scenario: nil, options)] }
  }

  private static func wait(
    _ body: @escaping @Sendable () async throws(Simulation.UnknownScenario) -> [Forecast]
  ) throws -> [Forecast] {
    let box = ResultBox()
    let done = DispatchSemaphore(value: 0)
    Task.detached {
      do throws(Simulation.UnknownScenario) { box.value = .success(try await body()) } catch {
        box.value = .failure(error)
      }
      done.signal()
    }
    done.wait()
    switch box.value {
    case .success(let forecasts): return forecasts
    case .failure(let unknown):
      let known = unknown.known.isEmpty ? "the file has none" : "the file has: " + unknown.known.joined(separator: ", ")
      Output.note("weir: there is no scenario '\(unknown.name)'; \(known)")
      throw ExitCode.misuse
    case nil: throw ExitCode.ours
    }
  }

  /// Carries the result from its task to the waiting thread; the semaphore orders the two accesses, which is why the
  /// compiler may be told that it is safe.
  private final class ResultBox: @unchecked Sendable {
    var value: Result<[Forecast], Simulation.UnknownScenario>?
  }
}
