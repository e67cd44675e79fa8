// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime
import WeirTelemetry

/// Which of the two a command is about.
protocol LogKind {
  static var kind: Status.Log.Kind { get }
}

/// `weir topic …`: the topics of the running system.
struct TopicCommand: ParsableCommand, LogKind {
  static let kind = Status.Log.Kind.topic
  static let configuration = CommandConfiguration(
    commandName: "topic", abstract: "Look into the topics of the running system, and have a group hear events again.",
    subcommands: [
      ListLogs<Self>.self, ShowEvents<Self>.self, ListGroups<Self>.self, Replay<Self>.self,
    ], defaultSubcommand: ListLogs<Self>.self)
}

/// `weir stream …`: the streams of the running system.
struct StreamCommand: ParsableCommand, LogKind {
  static let kind = Status.Log.Kind.stream
  static let configuration = CommandConfiguration(
    commandName: "stream", abstract: "Look into the streams of the running system, and have a projection made anew.",
    subcommands: [
      ListLogs<Self>.self, ShowEvents<Self>.self, ListGroups<Self>.self, Replay<Self>.self,
    ], defaultSubcommand: ListLogs<Self>.self)
}

struct ListLogs<Of: LogKind>: ParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "list", abstract: "All \(Of.kind.rawValue)s: how long they are, and how far those are who read them."
    )
  }
  @OptionGroup var options: RunningSystem
  @Option(help: "text or json.") var format = OutputFormat.text

  func run() throws {
    let logs = try options.ask { try $0.logs(Of.kind) }
    switch format {
    case .json: Output.result(try Output.json(logs))
    case .text: Output.result(logs.isEmpty ? "no \(Of.kind.rawValue)s" : logs.text(colour: Output.mayColour))
    }
  }
}

struct ListGroups<Of: LogKind>: ParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "groups", abstract: "Who reads a \(Of.kind.rawValue), and how far each has come.")
  }
  @Argument(help: "Its name.") var name: String
  @OptionGroup var options: RunningSystem
  @Option(help: "text or json.") var format = OutputFormat.text

  func run() throws {
    guard let log = try options.ask({ try $0.logs(Of.kind) }).first(where: { $0.name == name }) else {
      Output.note(
        "weir: there is no \(Of.kind.rawValue) '\(name)' (weir \(Of.kind.rawValue) list tells which there are)")
      throw ExitCode.findings
    }
    switch format {
    case .json: Output.result(try Output.json(log.groups))
    case .text: Output.result(log.groups.isEmpty ? "no groups" : [log].groupsText(colour: Output.mayColour))
    }
  }
}

struct ShowEvents<Of: LogKind>: ParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "events",
      abstract: "The events of a \(Of.kind.rawValue): the last ones, unless it is said from where on.")
  }
  @Argument(help: "Its name.") var name: String
  @Option(help: "Of one key only; then --after is a version.") var key: String?
  @OptionGroup var options: RunningSystem
  @Option(help: "Those behind this position.") var after: Int64?
  @Option(help: "Those since this time, as 2026-11-22T09:00:00Z.") var from: String?
  @Option(help: "How many at most, up to 1000.") var limit = 20
  @Option(help: "text or json.") var format = OutputFormat.text

  func run() throws {
    guard (1...1000).contains(limit) else { throw ValidationError("--limit is from 1 to 1000") }
    let query = Status.LogQuery(key: key, after: after, from: from, limit: limit)
    let page = try options.ask { try $0.events(of: Of.kind, name, query) }
    switch format {
    case .json: Output.result(try Output.json(page))
    case .text:
      Output.result(page.events.isEmpty ? "no events" : page.events.text(colour: Output.mayColour))
      if let next = page.next, after != nil || from != nil || key != nil { Output.note("more: --after \(next)") }
    }
  }
}

struct Replay<Of: LogKind>: ParsableCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "replay",
      abstract: Of.kind == .topic
        ? "A group hears events again, from a position or a time on."
        : "A projection gets events again, all of them or from a position or a time on.",
      discussion:
        "They wait in their order, and what comes meanwhile behind them. What still waits there is not doubled.")
  }
  @Argument(help: "The \(Of.kind.rawValue).") var name: String
  @Argument(help: "The group.") var group: String
  @Option(help: "From this position on.") var from: Int64?
  @Option(help: "Since this time, as 2026-11-22T09:00:00Z.") var since: String?
  @Flag(help: "All that there are.") var all = false
  @Option(help: "Up to this position.") var to: Int64?
  @OptionGroup var options: RunningSystem

  func run() throws {
    guard [from != nil, since != nil, all].count(where: { $0 }) == 1 else {
      throw ValidationError("say one of --from POSITION, --since TIME and --all")
    }
    let order = Status.ReplayOrder(from: all ? 1 : from, time: since, to: to)
    try options.give { try $0.replay(Of.kind, name, group, order) }
  }
}
