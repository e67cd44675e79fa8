// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// What all serving programs can be told.
struct ProgramOptions: ParsableArguments {
  @Option(help: "Where to listen; 0 takes a free port. Default: the environment's PORT.") var port: Int?
  @Option(help: "The address to listen on.") var host = "127.0.0.1"
  @Option(help: "Listen on this UNIX socket and not on a port; an empty word means none.") var socket: String?
  @Option(help: "How many requests are worked on at once; the rest waits inside.") var workers = 16
  @Option(help: "How many may wait for a worker; more are answered 503.") var waitingMax = 10_000
  @Option(help: "The median of a request's own work; 0 for none.") var workMedian = TimeLength.zero
  @Option(help: "Its 99th percentile (lognormal between).") var workP99: TimeLength?
  @Option(help: "Seed of the service times; the port is mixed in, so that instances differ.") var seed: UInt64 = 1
  @Flag(help: "One JSON line a request on standard output.") var logRequests = false

  func listeningPort() throws -> Int {
    if let port { return port }
    guard let text = ProcessInfo.processInfo.environment["PORT"], let port = Int(text) else {
      throw Refusal("no port: give --port or set PORT")
    }
    return port
  }

  func work() throws -> ServiceTime { try serviceTime(median: workMedian, p99: workP99, name: "work") }

  func validate() throws {
    if let port, !(0...65535).contains(port) { throw ValidationError("--port must be 0 to 65535") }
    if workers < 1 { throw ValidationError("--workers must be at least 1") }
    if waitingMax < 0 { throw ValidationError("--waiting-max must be at least 0") }
  }
}

/// The service time of two options, or a sentence about what is wrong with them.
func serviceTime(median: TimeLength, p99: TimeLength?, name: String) throws -> ServiceTime {
  guard let time = ServiceTime(median: median, p99: p99) else {
    throw Refusal("--\(name)-p99 must be at least --\(name)-median")
  }
  return time
}

/// Where the notes are kept, and how long that takes, for the programs that need it.
struct DatabaseOptions: ParsableArguments {
  @Option(help: "The median of the store's time in a request; 0 for none.") var storeMedian = TimeLength.zero
  @Option(help: "Its 99th percentile (lognormal between).") var storeP99: TimeLength?
  @Option(help: "The SQLite database, a path or a sqlite: URL. Default: the environment's NOTES_DB_URL.")
  var database: String?

  func storeTime() throws -> ServiceTime { try serviceTime(median: storeMedian, p99: storeP99, name: "store") }

  func path() throws -> String {
    guard let text = database ?? ProcessInfo.processInfo.environment["NOTES_DB_URL"] else {
      throw Refusal("no database: give --database or set NOTES_DB_URL")
    }
    guard let path = DatabaseLocation.path(of: text) else {
      throw Refusal("'\(text)' is neither a path nor a sqlite: URL")
    }
    return path
  }
}
