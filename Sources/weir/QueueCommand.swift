// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime
import WeirTelemetry

/// `weir queue …`: the queues of the running system.
struct QueueCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "queue", abstract: "Look into the queues of the running system, and steer them.",
    subcommands: [
      List.self, Messages.self, Show.self, Redrive.self, Remove.self, Purge.self, Pause.self, Resume.self,
    ], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All queues: what waits, is in flight, is dead.")
    @OptionGroup var options: RunningSystem
    @Option(help: "text or json.") var format = OutputFormat.text

    func run() throws {
      let queues = try options.ask { try $0.queues() }
      switch format {
      case .json: Output.result(try Output.json(queues))
      case .text:
        Output.result(queues.isEmpty ? "no queues" : queues.text(colour: Output.mayColour))
      }
    }
  }

  /// What the state process calls the states of a message.
  enum MessageState: String, ExpressibleByArgument, CaseIterable {
    case waiting, delayed, dead
    case inFlight = "in-flight"
  }

  struct Messages: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The messages of a queue: the dead ones, unless another state is named.")
    @Argument(help: "The queue.") var queue: String
    @OptionGroup var options: RunningSystem
    @Option(help: "waiting, delayed, in-flight or dead.") var only = MessageState.dead
    @Option(help: "How many at most, up to 1000.") var limit = 50
    @Option(help: "Behind this place: `next` of the page before.") var after: Int64 = 0
    @Option(help: "text or json.") var format = OutputFormat.text

    func run() throws {
      guard (1...1000).contains(limit) else { throw ValidationError("--limit is from 1 to 1000") }
      let page = try options.ask { try $0.messages(of: queue, only.rawValue, after: after, limit: limit) }
      switch format {
      case .json: Output.result(try Output.json(page))
      case .text:
        Output.result(
          page.messages.isEmpty ? "no \(only.rawValue) messages" : page.messages.text(colour: Output.mayColour))
        if let next = page.next { Output.note("more: --after \(next)") }
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One message: its attempts, fields and body.")
    @Argument(help: "The queue.") var queue: String
    @Argument(help: "The message's id.") var id: String
    @OptionGroup var options: RunningSystem
    @Option(help: "text or json.") var format = OutputFormat.text

    func run() throws {
      guard let message = try options.ask({ try $0.message(id, of: queue) }) else {
        Output.note("weir: the queue '\(queue)' has no message '\(id)'; one that is done is forgotten after a while")
        throw ExitCode.findings
      }
      switch format {
      case .json: Output.result(try Output.json(message))
      case .text: Output.result(message.text(colour: Output.mayColour))
      }
    }
  }

  struct Redrive: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Dead messages are tried again, from their first attempt.")
    @Argument(help: "The queue.") var queue: String
    @Argument(help: "Ids of dead messages.") var ids: [String] = []
    @Flag(help: "All that are dead.") var all = false
    @OptionGroup var options: RunningSystem

    func run() throws {
      guard all != !ids.isEmpty else { throw ValidationError("name messages, or say --all") }
      try options.order(.redrive, queue, .init(ids: all ? nil : ids))
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Messages are thrown away, whatever state they are in.")
    @Argument(help: "The queue.") var queue: String
    @Argument(help: "Ids of messages.") var ids: [String]
    @OptionGroup var options: RunningSystem

    func run() throws { try options.order(.remove, queue, .init(ids: ids)) }
  }

  struct Purge: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The dead messages are thrown away; with --all every message.",
      discussion: "Nothing brings them back: it is done with --yes only.")
    @Argument(help: "The queue.") var queue: String
    @Flag(help: "Every message, those that wait included.") var all = false
    @Flag(help: "Yes, throw them away.") var yes = false
    @OptionGroup var options: RunningSystem

    func run() throws {
      guard yes else {
        throw ValidationError(
          "this throws away \(all ? "every message" : "the dead messages") of '\(queue)': say --yes")
      }
      try options.order(.purge, queue, .init(all: all))
    }
  }

  struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Nothing is taken out of a queue any more; what comes is kept, what is in flight ends.")
    @Argument(help: "The queue.") var queue: String
    @OptionGroup var options: RunningSystem
    func run() throws { try options.order(.pause, queue) }
  }

  struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "A paused queue goes on.")
    @Argument(help: "The queue.") var queue: String
    @OptionGroup var options: RunningSystem
    func run() throws { try options.order(.resume, queue) }
  }
}

extension RunningSystem {
  fileprivate func order(
    _ word: Status.QueueOrder.Word, _ queue: String, _ order: Status.QueueOrder = .init()
  ) throws {
    try give { try $0.order(word, queue: queue, order) }
  }
}
