// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirRuntime
import WeirTelemetry

/// `weir webhook …`: the endpoints of partners that the running system delivers to.
struct WebhookCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "webhook", abstract: "Look at the endpoints that webhooks go to, and steer them.",
    subcommands: [
      List.self, Show.self, Add.self, Remove.self, Enable.self, Disable.self, Rotate.self, Replay.self,
    ], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All endpoints: what was delivered, what failed, what waits.")
    @OptionGroup var options: RunningSystem
    @Option(help: "text or json.") var format = OutputFormat.text

    func run() throws {
      let webhooks = try options.ask { try $0.webhooks() }
      switch format {
      case .json: Output.result(try Output.json(webhooks))
      case .text: Output.result(webhooks.isEmpty ? "no endpoints" : webhooks.text)
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "One endpoint: where, which types, since when it fails; its secrets are not shown.")
    @Argument(help: "The webhook.") var webhook: String
    @Argument(help: "The endpoint's id.") var endpoint: String
    @OptionGroup var options: RunningSystem
    func run() throws { try options.call { try $0.webhook("GET", webhook, endpoint) } }
  }

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "A new endpoint; its secret is shown this once.")
    @Argument(help: "The webhook.") var webhook: String
    @Argument(help: "Where it is: https://partner.example.com/hook") var url: String
    @Option(help: "Its id; without one it gets one.") var id: String?
    @Option(help: "A type of events that it wants, as order.paid or order.*; may stand several times; none: all.")
    var type: [String] = []
    @Option(help: "How many deliveries it takes, as 10/s.") var rate: String?
    @OptionGroup var options: RunningSystem

    func run() throws {
      var body: [String: Any] = ["url": url]
      if let id { body["id"] = id }
      if !type.isEmpty { body["types"] = type }
      if let rate { body["rate"] = rate }
      let json = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
      try options.call { try $0.webhook("POST", webhook, body: json) }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "An endpoint is forgotten, with what waits for it.")
    @Argument(help: "The webhook.") var webhook: String
    @Argument(help: "The endpoint's id.") var endpoint: String
    @OptionGroup var options: RunningSystem
    func run() throws { try options.call { try $0.webhook("DELETE", webhook, endpoint) } }
  }

  struct Enable: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "An endpoint gets what is published from now on; what it has missed is replayed.")
    @Argument(help: "The webhook.") var webhook: String
    @Argument(help: "The endpoint's id.") var endpoint: String
    @OptionGroup var options: RunningSystem
    func run() throws { try options.call { try $0.webhook("POST", webhook, endpoint, "enable") } }
  }

  struct Disable: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Nothing is sent to an endpoint any more, and nothing is kept for it.")
    @Argument(help: "The webhook.") var webhook: String
    @Argument(help: "The endpoint's id.") var endpoint: String
    @OptionGroup var options: RunningSystem
    func run() throws { try options.call { try $0.webhook("POST", webhook, endpoint, "disable") } }
  }

  struct Rotate: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "A new secret, shown this once; the old one signs along for 24 hours.")
    @Argument(help: "The webhook.") var webhook: String
    @Argument(help: "The endpoint's id.") var endpoint: String
    @OptionGroup var options: RunningSystem
    func run() throws { try options.call { try $0.webhook("POST", webhook, endpoint, "rotate") } }
  }

  struct Replay: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What was published from a moment on is delivered to an endpoint again, with the ids that it had.")
    @Argument(help: "The webhook.") var webhook: String
    @Argument(help: "The endpoint's id.") var endpoint: String
    @Option(help: "From when on, as 2026-11-21T09:00:00Z.") var from: String
    @OptionGroup var options: RunningSystem

    func run() throws {
      let json = String(decoding: try JSONSerialization.data(withJSONObject: ["from": from]), as: UTF8.self)
      try options.call { try $0.webhook("POST", webhook, endpoint, "replay", body: json) }
    }
  }
}

extension RunningSystem {
  /// Prints the answer's JSON, or says why it was refused.
  fileprivate func call(_ body: (StatusClient) throws -> (isDone: Bool, json: String)) throws {
    let answer = try ask(body)
    let read = try? JSONSerialization.jsonObject(with: Data(answer.json.utf8))
    if answer.isDone {
      let pretty = try read.map {
        try JSONSerialization.data(
          withJSONObject: $0, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
      }
      return Output.result(pretty.map { String(decoding: $0, as: UTF8.self) } ?? answer.json)
    }
    let detail = (read as? [String: Any])?["detail"] as? String
    Output.note("weir: \(detail ?? "it was refused")")
    throw ExitCode.findings
  }
}
