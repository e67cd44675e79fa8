// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestPrograms

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// A built `weir-example` as a process of its own, and the HTTP to talk to it.
final class RunningProgram: Sendable {
  static let faultToken = "test"

  /// One line the program wrote, as JSON.
  struct Line: Decodable, Sendable {
    var program: String
    var event: String
    var port: Int?
    var served: Int?
    var abandoned: Int?
    var path: String?
    var traceparent: String?
  }

  struct Mistake: Error, CustomStringConvertible {
    let description: String
  }

  let port: Int
  private let process: TestProgram

  /// The binary is built beside the tests' own.
  static var binary: String {
    URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0]).resolvingSymlinksInPath()
      .deletingLastPathComponent().appendingPathComponent("weir-example").path
  }

  /// Starts a program on a free port, and waits for its line that says which.
  convenience init(_ arguments: [String], environment: [String: String] = [:]) async throws {
    try await self.init(command: RunningProgram.binary, arguments + ["--port", "0"], environment: environment)
  }

  /// Starts another program that says in a line where it listens.
  init(command: String, _ arguments: [String], environment: [String: String] = [:]) async throws {
    process = try TestProgram(
      command, arguments,
      environment: ["WEIR_EXAMPLE_FAULTS": RunningProgram.faultToken].merging(environment) { $1 })
    while process.isRunning, try RunningProgram.lines(of: process).isEmpty { await RunningProgram.nextLook() }
    guard let port = try RunningProgram.lines(of: process).first?.port else {
      throw Mistake(description: "\(arguments) did not start: \(process.err)")
    }
    self.port = port
  }

  var url: String { "http://127.0.0.1:\(port)" }

  func signal(_ number: Int32) { process.signal(number) }

  /// Waits for the end; the exit code and all lines.
  func waitForEnd() async throws -> (code: Int32, lines: [Line]) {
    let code = await RunningProgram.end(of: process)
    return (code, try RunningProgram.lines(of: process))
  }

  /// Waits for the exit code, or minus the signal, without a thread of the pool.
  static func end(of process: TestProgram) async -> Int32 {
    while process.isRunning { await nextLook() }
    return process.exit ?? 0
  }

  static func nextLook() async {
    await withCheckedContinuation { continuation in
      DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(5)) { continuation.resume() }
    }
  }

  /// The whole lines written so far.
  private static func lines(of process: TestProgram) throws -> [Line] {
    let whole = process.outBytes
    guard let end = whole.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
    return try whole[..<end].split(separator: UInt8(ascii: "\n")).map {
      try JSONDecoder().decode(Line.self, from: Data($0))
    }
  }

  /// SIGTERM, and the end.
  func stop() async throws -> (code: Int32, lines: [Line]) {
    signal(SIGTERM)
    return try await waitForEnd()
  }
}

/// An answer as tests look at it.
struct Answer: Sendable {
  var status: Int
  var fields: [String: String]
  var body: Data

  var text: String { String(decoding: body, as: UTF8.self) }

  func field(_ name: String) -> String? { fields[name.lowercased()] }

  func json<Value: Decodable>(_ type: Value.Type) throws -> Value { try JSONDecoder().decode(type, from: body) }
}

struct NoteAnswer: Decodable, Equatable {
  var id: Int
  var text: String
  var createdAt: String
}

struct ProblemAnswer: Decodable {
  var status: Int
  var title: String
  var detail: String
}

extension RunningProgram {
  private static let session: URLSession = {
    let configuration = URLSessionConfiguration.ephemeral
    configuration.timeoutIntervalForRequest = 30
    configuration.httpMaximumConnectionsPerHost = 32
    configuration.urlCache = nil
    return URLSession(configuration: configuration)
  }()

  @discardableResult
  func send(
    _ method: String, _ path: String, body: Data? = nil, fields: [String: String] = [:]
  ) async throws -> Answer {
    guard let address = URL(string: url + path) else { throw Mistake(description: "\(path) is no path") }
    var request = URLRequest(url: address)
    request.httpMethod = method
    request.httpBody = body
    for (name, value) in fields { request.setValue(value, forHTTPHeaderField: name) }
    let (data, response) = try await RunningProgram.session.data(for: request)
    guard let response = response as? HTTPURLResponse else { throw Mistake(description: "no HTTP") }
    var answered: [String: String] = [:]
    for (name, value) in response.allHeaderFields { answered["\(name)".lowercased()] = "\(value)" }
    return Answer(status: response.statusCode, fields: answered, body: data)
  }

  func get(_ path: String, fields: [String: String] = [:]) async throws -> Answer {
    try await send("GET", path, fields: fields)
  }

  func post(_ path: String, json: String, type: String = "application/json") async throws -> Answer {
    try await send("POST", path, body: Data(json.utf8), fields: ["content-type": type])
  }

  @discardableResult
  func faults(_ json: String) async throws -> Answer {
    try await send("POST", "/faults", body: Data(json.utf8), fields: ["x-fault-token": RunningProgram.faultToken])
  }
}

/// A folder of one test, gone with it.
final class Folder: Sendable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("weir-example-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit {
    // What cannot be removed is left to the system's temporary folder.
    try? FileManager.default.removeItem(at: url)
  }

  func path(_ name: String) -> String { url.appendingPathComponent(name).path }
}

/// Runs `weir-example` to its end.
func run(_ arguments: [String]) async throws -> (code: Int32, output: Data, errors: String) {
  let process = try TestProgram(RunningProgram.binary, arguments, environment: [:])
  let code = await RunningProgram.end(of: process)
  return (code, Data(process.outBytes), process.err)
}
