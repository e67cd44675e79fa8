// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import NIOCore
import NIOPosix

/// `weir-example load`: an open-loop load generator.
struct LoadCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "load",
    abstract: "Sends requests at a rate that does not wait for answers (Poisson, open loop).")

  enum Format: String, ExpressibleByArgument, CaseIterable { case text, json }

  @Option(help: "Where to send to, as http://127.0.0.1:8080.") var target: String
  @Option(help: "A JSON file: a list of { method, path, body, rate }.") var mix: String?
  @Option(help: "A single path instead of a mix.") var path: String?
  @Option(help: "Its method.") var method = "GET"
  @Option(help: "Its body.") var body: String?
  @Option(help: "Requests a second; scales a mix.") var rate: Double?
  @Option(name: .customLong("for"), help: "How long.") var length = TimeLength(nanoseconds: 10_000_000_000)
  @Option(help: "Connections at most.") var connections = 64
  @Option(help: "The longest a request may take.") var timeout = TimeLength(nanoseconds: 10_000_000_000)
  @Option(help: "Seed of the arrivals.") var seed: UInt64 = 1
  @Option(help: "text or json.") var format = Format.text

  func validate() throws {
    guard (mix == nil) != (path == nil) else { throw ValidationError("give either --mix or --path") }
    if path != nil, rate == nil { throw ValidationError("--path needs --rate") }
    if let rate, !(rate > 0 && rate.isFinite) { throw ValidationError("--rate must be above 0") }
    guard connections > 0 else { throw ValidationError("--connections must be at least 1") }
    guard length.nanoseconds > 0, timeout.nanoseconds > 0 else { throw ValidationError("a length must be above 0") }
  }

  func run() async throws {
    let address: CallTarget
    let whole: LoadMix
    do {
      address = try CallTarget(target)
      whole = try readMix()
    } catch let mistake as CallTarget.Mistake {
      throw Refusal(mistake.description)
    } catch let mistake as LoadMix.Mistake {
      throw Refusal(mistake.description)
    }
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let report = try await LoadRun.run(
      whole, target: address,
      settings: .init(
        length: length.nanoseconds, connections: connections, timeout: timeout.nanoseconds, seed: seed),
      on: group.any())
    switch format {
    case .text: print(report.text)
    case .json:
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }
    try await group.shutdownGracefully()
  }

  private func readMix() throws -> LoadMix {
    if let path {
      return try LoadMix(single: .init(method: method.uppercased(), path: path, body: body, rate: rate ?? 0))
    }
    let file = mix ?? ""
    guard let data = FileManager.default.contents(atPath: file) else {
      throw LoadMix.Mistake(description: "cannot read \(file)")
    }
    let whole = try LoadMix(json: data)
    guard let rate else { return whole }
    return whole.scaled(to: rate)
  }
}
