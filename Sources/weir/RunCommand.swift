// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirBase
import WeirModel
import WeirPlatform
import WeirReport
import WeirRuntime

/// `weir run FILE`: starts, routes, protects, until Ctrl-C.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run the system: start its programs, route requests to them, protect them.",
    discussion: """
      Ctrl-C ends it: requests finish, programs end in the order of their dependencies, nothing is left running.
      """)

  enum Log: String, ExpressibleByArgument, CaseIterable { case off, output, file }
  enum View: String, ExpressibleByArgument, CaseIterable { case live, lines }

  @Argument(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
  @Option(help: "Event loops: one a core that Weir may use.") var loops = 1
  @Option(help: "The state folder; .weir/<system> beside the file unless said.") var state: String?
  @Option(
    help: "The admin listener's port on loopback: a number, 0 for a free one, or off. (default: 9180, or a free one)")
  var admin: String?
  @Option(help: "The access log: file (in the state folder), output, or off.") var accessLog = Log.file
  @Option(help: "live: a picture of the system; lines: what happens, line by line. (default: live on a terminal)")
  var view: View?
  @Option(help: "Seconds that requests may take to finish when the end was asked for.") var drain = 30.0
  @Flag(inversion: .prefixedNo, help: "Reload when the file has changed; SIGHUP reloads in any case.") var watch = true
  @Option(
    help: "Play what this scenario of the file does to messages: 'delay' and 'double', counted from the start of Weir.")
  var scenario: String?
  @Flag(help: "End when a program has ended repeatedly without ever being ready.") var failFast = false

  func validate() throws {
    if !(1...64).contains(loops) { throw ValidationError("--loops is a number from 1 to 64, not \(loops)") }
    if !(0...3600).contains(drain) { throw ValidationError("--drain is a number of seconds from 0 to 3600") }
    if let admin, admin != "off", UInt16(admin) == nil {
      throw ValidationError("--admin is a port, 0 for a free one, or off; not '\(admin)'")
    }
  }

  func run() throws {
    let loaded = try LoadedFile(path: file)
    try loaded.require(.run)
    var settings = RunSettings(file: loaded.absolute, state: loaded.statePath(state))
    settings.loops = loops
    settings.drainSeconds = drain
    settings.failFast = failFast
    settings.watch = watch
    settings.live = view != .lines && Terminal.isTerminal(1)
    settings.colour = Output.mayColour
    settings.accessLog =
      switch accessLog {
      case .off: .off
      case .output: .output
      case .file: .file
      }
    if let scenario { try play(scenario, of: loaded, &settings) }
    settings.admin = admin.map { $0 == "off" ? .off : .port(Int($0) ?? 0) } ?? .usual
    throw ExitCode(Launch.run(settings, plan: Plan(loaded.design)))
  }

  private func play(_ name: String, of loaded: LoadedFile, _ settings: inout RunSettings) throws {
    guard let scenario = loaded.design.scenario(named: name) else {
      let known = loaded.design.scenarios.map(\.name.text).joined(separator: ", ")
      Output.note(
        "weir: there is no scenario '\(name)'; " + (known.isEmpty ? "the file has none" : "the file has: \(known)"))
      throw ExitCode.misuse
    }
    if !scenario.unplayable.isEmpty {
      LoadedFile.print(scenario.unplayable, sources: loaded.sources, format: .text)
      throw ExitCode.misuse
    }
    settings.scenario = name
    settings.scenarioBegan = SystemClock.wall().milliseconds
  }
}

/// `weir plane`: the half of `weir run` that the keeper starts; nothing for people.
struct PlaneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "plane", abstract: "", shouldDisplay: false)

  @Argument var settings: String

  func run() throws { throw ExitCode(Plane.run(settings)) }
}
