// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// Parts of the example fail under load, and its users do not notice.
  @Suite struct ResilienceTests {
    /// What `weir-example load --format json` reports.
    private struct Report: Decodable {
      struct Counts: Decodable { var offered: Int, ok: Int, refused: Int, failed: Int }
      struct Latency: Decodable { var mean: Double, p50: Double, p99: Double, max: Double }
      var seconds: Double
      var offered: Int, ok: Int, refused: Int, failed: Int
      var statuses: [String: Int]
      var failures: [String: Int]
      var latency: Latency?
      var timeline: [Counts]
    }

    // One instance is killed a third into the load, another answers 500 from the half on, until the end. Before that the
    // retry budget must have something to live on: a fifth of what came in the last seconds, by event loop.
    @Test(arguments: [1, 4])
    func anInstanceDiesAndAnotherAnswers500(loops: Int) async throws {
      try await Field.with { field in
        let (seconds, rate) = Claims.load
        try field.writeExample()
        let run = try await field.runReady(["--loops", "\(loops)"])
        let killed = try #require(try await field.status().pids["api-1"])
        let load = try Program(
          "weir-example",
          [
            "load", "--target", "http://127.0.0.1:\(field.port)", "--path", "/api/notes", "--rate", "\(rate)", "--for",
            "\(seconds)s", "--format", "json",
          ], in: field.folder)
        let began = ContinuousClock.now
        func passed(_ share: Double) async throws {
          try await eventually("\(share) of the load", within: .seconds(seconds) + patience) {
            ContinuousClock.now - began >= .seconds(Double(seconds) * share)
          }
        }
        try await passed(1 / 3)
        kill(killed, SIGKILL)
        try await passed(1 / 2)
        try await field.fault("api-2", #"{"status":500}"#)
        let faultAt = (ContinuousClock.now - began).inSeconds
        #expect(try await load.end(within: .seconds(seconds) + patience) == 0)
        let report = try JSONDecoder().decode(Report.self, from: Data(load.out.utf8))
        let figures =
          "\(report.offered) offered in \(Int(report.seconds)) s, \(report.ok) ok, \(report.refused) refused, "
          + "\(report.failed) failed, \(loops) loop\(loops == 1 ? "" : "s")"
          + (report.latency.map { String(format: ", p50 %.1f ms, p99 %.1f ms, max %.1f ms", $0.p50, $0.p99, $0.max) }
            ?? "")
        #expect(report.offered > seconds * rate / 2, "the load was what it should be: \(figures)")

        // The load's own clock begins after ours: what it counts in its second n came before our second n + 1 + start.
        // A failure may fall into the second in which the fault came, and the one after.
        let failing = report.timeline.indices.filter { report.timeline[$0].failed + report.timeline[$0].refused > 0 }
        let allowed = Int(faultAt) - 1...Int(faultAt) + 1
        Claims.holds(
          !failing.contains { !allowed.contains($0) && $0 < allowed.lowerBound },
          "an api instance killed with kill -9: no failed GET", figures)
        Claims.holds(
          !failing.contains { $0 > allowed.upperBound },
          "one that answers 500 for the rest: no failed GET after the first second",
          "failed in seconds \(failing), the fault came at \(String(format: "%.1f", faultAt)) s; \(figures)")

        try await eventually("the killed one is back by itself") {
          let instance = try await field.status().instance("api-1")
          return instance.state == "ready" && instance.pid != nil && instance.pid != killed
        }
        let status = try await field.status()
        Claims.holds(
          try status.instance("api-1").restarts == 1, "the killed one is back by itself",
          "restarts \(try status.instance("api-1").restarts), was \(killed), is \(try status.instance("api-1").pid ?? 0)"
        )

        // The same words in the status, the log, the metrics and on the terminal.
        #expect(status.happened("instance-exited", "api-1"))
        let bad = status.calls.first { $0.callee == "api" }?.breakers.first { $0.instance == "api-2" }
        let word = try #require(
          ["breaker-opened", "instance-ejected"].first { status.happened($0, "api-2") },
          "the status tells what was done about api-2: \(status.events.map(\.text))")
        #expect(
          bad.map { $0.ejected || $0.state != "closed" } == true, "api-2 is still left out: \(String(describing: bad))")
        let metrics = try await field.metrics()
        let log = try field.log()
        for (kind, instance) in [("instance-exited", "api-1"), (word, "api-2")] {
          let inLog = log.contains { $0.type == "event" && $0.kind == kind && $0.instance == instance }
          let inMetrics =
            metrics.split(separator: "\n").first { $0.hasPrefix(#"weir_events_total{kind="\#(kind)"}"#) }
            .map { !$0.hasSuffix(" 0") } ?? false
          let onTerminal = run.out.contains("| \(kind) \(instance)")
          Claims.holds(
            inLog && inMetrics && onTerminal, "status, log, metrics and terminal say '\(kind) \(instance)'",
            "log \(inLog), metrics \(inMetrics), terminal \(onTerminal)")
        }
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after the load")
      }
    }

    // Search is killed each time it comes back, until it rests long enough to be missed.
    @Test func withoutSearchThePagesGoOn() async throws {
      try await Field.with { field in
        try field.writeExample()
        let run = try await field.runReady()
        var answers = 0
        var degraded = 0
        try await eventually("the fallback is told") {
          let status = try await field.status()
          if let pid = status.pids["search-1"] { kill(pid, SIGKILL) }
          for path in ["/", "/api/notes", "/api/search?q=anything"] {
            let reply = try await field.ask(path)
            #expect(reply.status == 200, "\(path): \(reply.text)")
            answers += 1
            if reply.field("x-degraded") == "search" {
              degraded += 1
              #expect(reply.text == "[]")
            }
          }
          return degraded >= 3 && status.happened("fallback-began", "search")
        }
        let log = try field.log()
        let metrics = try await field.metrics()
        Claims.holds(
          log.contains { $0.kind == "fallback-began" && $0.service == "search" && $0.reason != nil }
            && !metrics.contains(#"weir_events_total{kind="fallback-began"} 0"#),
          "search dead: pages answer 200 without it (x-degraded), and fallback-began is told",
          "\(answers) answers of 200, \(degraded) of them degraded")

        // It is left in peace, and is found again.
        try await eventually("search is back", within: .seconds(60)) {
          let reply = try await field.ask("/api/search?q=anything")
          #expect(reply.status == 200)
          return reply.field("x-degraded") == nil
        }
        try await eventually("its return is told") { try await field.status().happened("fallback-ended", "search") }
        run.ctrlC()
        #expect(try await run.end() == 0)
      }
    }
  }
}
