// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirExample

/// The load generator against a program whose service time is known.
@Suite(.timeLimit(.minutes(2)))
struct LoadTests {
  struct Report: Decodable {
    struct Counts: Decodable, Equatable {
      var offered: Int
      var ok: Int
      var refused: Int
      var failed: Int
    }
    struct Latency: Decodable {
      var mean: Double
      var p50: Double
      var max: Double
    }
    struct Kind: Decodable {
      var method: String
      var path: String
      var counts: Counts
      var latency: Latency?
    }
    var schema: Int
    var offered: Int
    var done: Int
    var ok: Int
    var refused: Int
    var failed: Int
    var statuses: [String: Int]
    var failures: [String: Int]
    var latency: Latency?
    var kinds: [Kind]
    var timeline: [Counts]
  }

  private func load(_ target: String, _ arguments: [String]) async throws -> Report {
    let end = try await run(["load", "--target", target, "--format", "json"] + arguments)
    #expect(end.code == 0, "\(end.errors)")
    return try JSONDecoder().decode(Report.self, from: end.output)
  }

  @Test("the number of arrivals is Poisson's, every one has an outcome, and none is faster than the work")
  func rate() async throws {
    let program = try await RunningProgram(["web", "--work-median", "5ms"])
    for seed in 1...3 {
      let report = try await load(program.url, ["--path", "/", "--rate", "300", "--for", "2s", "--seed", "\(seed)"])
      // 600 are expected, with a standard error of √600.
      #expect(abs(Double(report.offered) - 600) < 4 * 600.0.squareRoot())
      #expect(report.done == report.offered && report.ok == report.offered && report.failed == 0)
      #expect(report.timeline.count == 2)
      #expect(report.timeline.reduce(0) { $0 + $1.ok } == report.ok)
      #expect(try #require(report.latency).p50 >= 5)
    }
  }

  @Test("the same seed offers the same")
  func seeded() async throws {
    let program = try await RunningProgram(["web"])
    let arguments = ["--path", "/", "--rate", "400", "--for", "1s", "--seed", "7"]
    let first = try await load(program.url, arguments)
    #expect(try await load(program.url, arguments).offered == first.offered)
    #expect(try await load(program.url, arguments).timeline.map(\.offered) == first.timeline.map(\.offered))
  }

  /// The worst wait a server can cause, in numbers.
  ///
  /// One worker at 20 ms a request, offered twice what it can do: the last of n requests ends n · 20 ms after the start
  /// at the earliest, and was due within the first second. A generator that waits for answers would see 4 · 20 ms.
  @Test("waiting that a slow server causes is counted from the moment a request was due")
  func noCoordinatedOmission() async throws {
    let program = try await RunningProgram(["web", "--workers", "1", "--work-median", "20ms"])
    let report = try await load(
      program.url, ["--path", "/", "--rate", "100", "--for", "1s", "--connections", "4"])
    #expect(report.ok == report.offered)
    #expect(try #require(report.latency).max >= Double(report.offered) * 20 - 1000)
  }

  @Test("a mix is split by its rates, numbers its requests, and each kind has its own counts")
  func mix() async throws {
    let folder = try Folder()
    let api = try await RunningProgram(["api", "--database", folder.path("notes.db")])
    let file = folder.path("mix.json")
    let mix = """
      [{ "path": "/api/notes", "rate": 300 },
       { "method": "POST", "path": "/api/notes", "body": "{\\"text\\": \\"note {n}\\"}", "rate": 60 },
       { "path": "/api/nothing", "rate": 40 }]
      """
    try mix.write(toFile: file, atomically: true, encoding: .utf8)
    let report = try await load(api.url, ["--mix", file, "--rate", "200", "--for", "2s"])
    #expect(
      report.kinds.map { "\($0.method) \($0.path)" } == ["GET /api/notes", "POST /api/notes", "GET /api/nothing"])
    // 400 at 200/s, of which 75 %, 15 %, 10 %.
    for (kind, expected) in zip(report.kinds, [300.0, 60, 40]) {
      #expect(abs(Double(kind.counts.offered) - expected) < 4 * expected.squareRoot())
    }
    #expect(report.statuses["201"] == report.kinds[1].counts.offered)
    #expect(report.refused == report.kinds[2].counts.offered && report.statuses["404"] == report.refused)
    let notes = try await api.get("/api/notes?limit=200").json([NoteAnswer].self)
    #expect(notes.count == report.kinds[1].counts.ok)
    #expect(Set(notes.map(\.text)).count == notes.count)
  }

  @Test("what fails is counted by its kind: nobody there, connection closed, no answer in time, 5xx")
  func failures() async throws {
    let arguments = ["--path", "/", "--rate", "50", "--for", "500ms"]
    let nobody = try await load("http://127.0.0.1:1", arguments)
    #expect(nobody.failed == nobody.offered && nobody.failures == ["connect": nobody.offered])
    #expect(nobody.latency == nil)
    let program = try await RunningProgram(["web"])
    try await program.faults("{\"close\":true}")
    let closed = try await load(program.url, arguments)
    #expect(closed.failures == ["closed": closed.offered])
    try await program.faults("{\"status\":500}")
    let errors = try await load(program.url, arguments)
    #expect(errors.failed == errors.offered && errors.statuses == ["500": errors.offered])
    try await program.faults("{\"hang\":true}")
    let late = try await load(program.url, arguments + ["--timeout", "200ms"])
    #expect(late.failures == ["timeout": late.offered])
    try await program.faults("{}")
  }

  @Test("quantiles are within 0.8 %, mean and maximum exact")
  func tally() {
    var tally = LatencyTally()
    for i in 1...100_000 { tally.record(Int64(i) * 10_000) }
    #expect(tally.mean == 500_005_000 && tally.maximum == 1_000_000_000 && tally.count == 100_000)
    for q in [0.5, 0.9, 0.99, 0.999] {
      let exact = q * 1e9
      let value = Double(tally.quantile(q))
      #expect(value >= exact && value <= exact * 1.008 + 1000)
    }
    #expect(LatencyTally().quantile(0.99) == 0)
    var far = LatencyTally()
    far.record(.max)
    far.record(-5)
    #expect(far.quantile(1) == .max && far.quantile(0.5) <= 1000)
  }
}
