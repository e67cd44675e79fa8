// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// A temporary folder with a system's file, free ports, and everything that runs there; gone when the test ends.
final class Field: Sendable {
  let folder: String
  let port: Int
  var file: String { folder + "/weir.yaml" }
  var state: String { folder + "/state" }

  static let faultToken = "system-test"

  /// Runs `body` in a field of its own and clears it afterwards, also when it throws.
  ///
  /// What is still running then carries the folder's name, for it is random and stands in every argument and variable.
  static func with(_ body: (Field) async throws -> Void) async throws {
    let field = try Field()
    do {
      try await body(field)
    } catch {
      field.clear()
      throw error
    }
    field.clear()
  }

  private init() throws {
    guard let temporary = realpath(NSTemporaryDirectory(), nil) else { throw Mistake("no temporary folder") }
    folder = String(cString: temporary) + "/weir-system-\(UUID().uuidString.prefix(12))"
    free(temporary)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    port = try Machine.freePort()
  }

  private func clear() {
    // The keeper first, so that it starts nothing again; what its programs start meanwhile is found by the next look.
    for _ in 0..<50 {
      let left = Machine.processes(marked: folder)
      if left.isEmpty { break }
      for process in left { kill(process.pid, SIGKILL) }
    }
    try? FileManager.default.removeItem(atPath: folder)  // What cannot be removed is left to the system.
  }

  /// The example's file on a port of our own.
  ///
  /// Its programs listen to faults; `edit` changes the text further.
  func writeExample(_ edit: (String) -> String = { $0 }) throws {
    var lines = Program.read(Program.root + "/examples/webapp/weir.yaml").components(separatedBy: "\n")
    guard let listen = lines.firstIndex(of: "  listen: 8080") else { throw Mistake("the example listens elsewhere") }
    lines[listen] = "  listen: \(port)"
    for (index, line) in lines.enumerated() where line.hasPrefix("    run: ") {
      lines[index] = "    run: { command: \"\(line.dropFirst(9))\", env: { WEIR_EXAMPLE_FAULTS: \(Field.faultToken) } }"
    }
    try write(edit(lines.joined(separator: "\n")))
  }

  func write(_ yaml: String) throws { try Data(yaml.utf8).write(to: URL(fileURLWithPath: file)) }

  /// Starts `weir run` on the file.
  func run(_ options: [String] = [], environment: [String: String] = [:]) throws -> Program {
    try Program(
      "weir", ["run", file, "--state", state, "--admin", "0"] + options, in: folder, environment: environment)
  }

  /// Starts it and waits until every instance is ready.
  func runReady(_ options: [String] = [], instances: Int = 6) async throws -> Program {
    let run = try run(options)
    try await eventually("the system is ready:\n\(run.out)\n\(run.err)") {
      guard run.isRunning else { throw Mistake("the run ended early:\n\(run.out)\n\(run.err)") }
      guard let status = try? await status() else { return false }
      let all = status.services.flatMap(\.instances)
      return all.count { $0.state == "ready" && $0.pid != nil } == instances
    }
    return run
  }

  /// Runs a verb to its end.
  func verb(
    _ arguments: [String], environment: [String: String] = [:], within limit: Duration = patience
  ) async throws -> (code: Int32, out: String, err: String) {
    let program = try Program("weir", arguments, in: folder, environment: environment)
    let code = try await program.end(within: limit)
    return (code, program.out, program.err)
  }

  func status() async throws -> Status {
    let result = try await verb(["status", file, "--state", state, "--format", "json"])
    guard result.code == 0 else { throw Mistake("weir status: \(result.err)") }
    return try JSONDecoder().decode(Status.self, from: Data(result.out.utf8))
  }

  func metrics() async throws -> String {
    let admin = try await status().admin
    guard let port = admin.split(separator: ":").last.flatMap({ Int($0) }) else { throw Mistake("no admin: \(admin)") }
    return try await ask("/metrics", port: port).text
  }

  func ask(
    _ path: String, _ method: String = "GET", port: Int? = nil, fields: [String: String] = [:], body: String? = nil
  ) async throws -> Talk.Reply {
    let port = port ?? self.port
    return try await offPool { try Talk(port: port, path, method, fields: fields, body: body).reply() }
  }

  /// Sets what is wrong with one instance, at its own port.
  func fault(_ instance: String, _ json: String) async throws {
    let port = try await status().instance(instance).port
    let reply = try await ask("/faults", "POST", port: port, fields: ["x-fault-token": Field.faultToken], body: json)
    guard reply.status == 200 else { throw Mistake("\(instance) takes no faults: \(reply.status) \(reply.text)") }
  }

  /// The lines of the access log, each as the object it is.
  func log() throws -> [LogLine] {
    try Program.read(state + "/logs/access.log").split(separator: "\n").map {
      try JSONDecoder().decode(LogLine.self, from: Data($0.utf8))
    }
  }

  /// The plane's process id, from the keeper's record.
  func planePid() throws -> Int32 {
    struct Record: Decodable {
      struct Process: Decodable { var pid: Int32 }
      var plane: Process?
    }
    let data = Data(Program.read(state + "/pids.json").utf8)
    guard let pid = try JSONDecoder().decode(Record.self, from: data).plane?.pid else { throw Mistake("no plane") }
    return pid
  }

  /// A sentence without the folder's long name.
  func short(_ text: String) -> String { text.replacingOccurrences(of: folder, with: "…") }

  func expectClear(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    let left = Machine.processes(marked: folder)
    #expect(left.isEmpty, "\(what): left running: \(left)", sourceLocation: sourceLocation)
    #expect(Machine.isFree(port), "\(what): port \(port) is not free", sourceLocation: sourceLocation)
  }
}

/// What `weir status --format json` says, as far as tests look at it.
struct Status: Decodable, Sendable {
  struct Instance: Decodable, Sendable {
    var name: String
    var state: String
    var pid: Int32?
    var address: String
    var restarts: Int
    var requests: Int?
    var failures: Int?
    var inFlight: Int?

    /// Its own port.
    var port: Int { address.split(separator: ":").last.flatMap { Int($0) } ?? 0 }
  }

  struct Service: Decodable, Sendable {
    var name: String
    var instances: [Instance]
  }

  struct Route: Decodable, Sendable {
    var name: String
    var requests: Int
    var failed: Int
  }

  struct Call: Decodable, Sendable {
    struct Breaker: Decodable, Sendable {
      var instance: String
      var state: String
      var ejected: Bool
    }

    var caller: String
    var callee: String
    var calls: Int
    var fallbacks: Int
    var breakers: [Breaker]
  }

  struct Happening: Decodable, Sendable {
    var kind: String
    var text: String
  }

  struct Process: Decodable, Sendable { var pid: Int32 }
  struct State: Decodable, Sendable {
    var up: Bool
    var restarts: Int
  }

  var admin: String
  var plane: Process?
  var elders: [Process]?
  var state: State?
  var routes: [Route]
  var services: [Service]
  var calls: [Call]
  var events: [Happening]

  func instance(_ name: String) throws -> Instance {
    guard let found = services.flatMap(\.instances).first(where: { $0.name == name }) else {
      throw Mistake("no instance \(name)")
    }
    return found
  }

  func requests(_ route: String) -> Int { routes.first { $0.name == route }?.requests ?? 0 }
  func happened(_ kind: String, _ of: String) -> Bool {
    events.contains { $0.kind == kind && $0.text.hasPrefix("\(kind) \(of)") }
  }

  /// Process ids by instance, of those that run.
  var pids: [String: Int32] {
    Dictionary(services.flatMap(\.instances).compactMap { i in i.pid.map { (i.name, $0) } }) { $1 }
  }
}

/// A line of the access log.
struct LogLine: Decodable, Sendable {
  var type: String
  var time: String
  var kind: String?
  var method: String?
  var path: String?
  var status: Int?
  var route: String?
  var service: String?
  var instance: String?
  var attempts: Int?
  var reason: String?
  var side: String?
  var phase: String?
  var trace: String?
  var fallback: Bool?
}
