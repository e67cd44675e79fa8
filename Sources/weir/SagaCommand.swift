// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime
import WeirTelemetry

/// `weir saga …`: the sagas of the running system.
struct SagaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "saga", abstract: "Look at the sagas of the running system, and steer those that are stuck.",
    subcommands: [List.self, Show.self, Steer.self, TurnBack.self], defaultSubcommand: List.self)

  enum InstanceState: String, ExpressibleByArgument, CaseIterable {
    case waiting, delayed, stuck
    case inFlight = "in-flight"
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All sagas, or the instances of one: the stuck ones, unless another state is named.")
    @Argument(help: "The saga; all of them unless named.") var saga: String?
    @OptionGroup var options: RunningSystem
    @Option(help: "waiting, in-flight (a call is out), delayed (waits for its next attempt) or stuck.")
    var only = InstanceState.stuck
    @Option(help: "How many at most, up to 200.") var limit = 50
    @Option(help: "Behind this place: `next` of the page before.") var after: Int64 = 0
    @Option(help: "text or json.") var format = OutputFormat.text

    func run() throws {
      guard (1...200).contains(limit) else { throw ValidationError("--limit is from 1 to 200") }
      guard let saga else {
        let sagas = try options.ask { try $0.sagas() }
        switch format {
        case .json: Output.result(try Output.json(sagas))
        case .text: Output.result(sagas.isEmpty ? "no sagas" : sagas.text(colour: Output.mayColour))
        }
        return
      }
      guard let page = try options.ask({ try $0.instances(of: saga, only.rawValue, after: after, limit: limit) }) else {
        Output.note("weir: there is no saga '\(saga)'; weir saga list tells which there are")
        throw ExitCode.findings
      }
      switch format {
      case .json: Output.result(try Output.json(page))
      case .text:
        Output.result(
          page.instances.isEmpty ? "none is \(only.rawValue)" : page.instances.text(colour: Output.mayColour))
        if let next = page.next { Output.note("more: --after \(next)") }
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "One instance: each step, how often it was called, and what was answered.")
    @Argument(help: "The saga.") var saga: String
    @Argument(help: "The instance's id.") var id: String
    @OptionGroup var options: RunningSystem
    @Option(help: "text or json.") var format = OutputFormat.text

    func run() throws {
      guard let instance = try options.ask({ try $0.instance(id, of: saga) }) else {
        Output.note("weir: the saga '\(saga)' has none of the id '\(id)'; one that is over is forgotten after 90 days")
        throw ExitCode.findings
      }
      switch format {
      case .json: Output.result(try Output.json(instance))
      case .text: Output.result(instance.text(colour: Output.mayColour))
      }
    }
  }

  enum Verdict: String, ExpressibleByArgument, CaseIterable {
    case done, again
    case notDone = "not-done"

    var said: Status.SagaOrder.Verdict {
      switch self {
      case .done: .done
      case .again: .again
      case .notDone: .notDone
      }
    }
  }

  struct Steer: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say what became of a step that is stuck; the saga goes on by that.",
      discussion:
        "Look at the participant first: what is said here is believed. done: the step is done. not-done: it is not, nor will "
        + "be (of an undo: it was undone by hand). again: it is tried again.")
    @Argument(help: "The saga.") var saga: String
    @Argument(help: "The instance's id.") var id: String
    @Argument(help: "The step, from 1.") var step: Int
    @Argument(help: "done, not-done or again.") var verdict: Verdict
    @OptionGroup var options: RunningSystem

    func run() throws {
      try options.order(.steer, saga, id, Status.SagaOrder(step: step, verdict: verdict.said))
    }
  }

  struct TurnBack: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "turn-back", abstract: "A saga that goes forward is undone instead.")
    @Argument(help: "The saga.") var saga: String
    @Argument(help: "The instance's id.") var id: String
    @OptionGroup var options: RunningSystem

    func run() throws { try options.order(.turnBack, saga, id, Status.SagaOrder()) }
  }
}

extension RunningSystem {
  fileprivate func order(
    _ word: Status.SagaOrder.Word, _ saga: String, _ id: String, _ order: Status.SagaOrder
  ) throws {
    try give { try $0.order(word, saga: saga, id: id, order) }
  }
}
