// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// The example of the repository, served.
  @Suite struct ServingTests {
    @Test func aNoteIsServedSearchedAndStillThereAfterARestart() async throws {
      try await Field.with { field in
        try field.writeExample()
        let word = "w\(UInt32.random(in: 0...UInt32.max))"
        let first = try await field.runReady()
        let page = try await field.ask("/")
        #expect(page.status == 200)
        #expect(page.field("content-type")?.hasPrefix("text/html") == true)
        #expect(page.text.contains("<title>"))
        let added = try await field.ask("/api/notes", "POST", body: #"{"text":"Order \#(word)"}"#)
        #expect(added.status == 201)
        #expect(try await field.ask("/api/notes").text.contains(word))
        let found = try await field.ask("/api/search?q=\(word)")
        #expect(found.status == 200 && found.text.contains(word))
        #expect(found.field("x-degraded") == nil)
        first.signal(SIGTERM)
        #expect(try await first.end() == 0)
        field.expectClear("after SIGTERM")

        let second = try await field.runReady()
        let again = try await field.ask("/api/notes")
        Claims.holds(
          again.status == 200 && again.text.contains(word), "a note is there after a restart of the whole run",
          "GET /api/notes: \(again.status)")
        second.ctrlC()
        #expect(try await second.end() == 0)
      }
    }

    @Test(arguments: [1, 4])
    func statusMetricsAndLogSayTheSame(loops: Int) async throws {
      try await Field.with { field in
        try field.writeExample {
          $0.replacingOccurrences(of: "weir-example api ", with: "weir-example api --log-requests ")
        }
        let run = try await field.runReady(["--loops", "\(loops)"])
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        for _ in 0..<20 { #expect(try await field.ask("/api/notes").status == 200) }
        let traced = try await field.ask("/api/notes", fields: ["traceparent": "00-\(trace)-00f067aa0ba902b7-01"])
        #expect(traced.status == 200)
        let refused = try await field.ask("/api/notes", "PUT", fields: ["Content-Length": "20000000"])
        #expect(refused.status == 413)
        #expect(refused.field("proxy-status")?.contains("body-too-large") == true)
        #expect(refused.field("content-type") == "application/problem+json")

        // What Weir counted, in its three places, within a second or so of the requests.
        try await eventually("22 requests are counted") {
          let status = try await field.status()
          return status.requests("api") == 21 && status.requests("none") == 1
        }
        let status = try await field.status()
        #expect(status.services.flatMap(\.instances).allSatisfy { $0.restarts == 0 })
        #expect(status.calls.first { $0.caller == "gateway" && $0.callee == "api" }?.calls == 21)
        let metrics = try await field.metrics()
        #expect(metrics.contains(#"weir_requests_total{route="api",class="2xx"} 21"#))
        #expect(metrics.contains(#"weir_request_reasons_total{route="none",reason="body-too-large"} 1"#))
        #expect(metrics.contains("weir_loops \(loops)"))
        let wrong = try await promtool(metrics, in: field.folder)
        Claims.holds(
          wrong.code == 0, "metrics pass promtool check metrics (\(loops) loop\(loops == 1 ? "" : "s"))",
          wrong.out.isEmpty ? "\(metrics.split(separator: "\n").count { !$0.hasPrefix("#") }) series" : wrong.out)

        let lines = try field.log()
        let requests = lines.filter { $0.type == "request" }
        #expect(requests.count == 22)
        // The one that was refused by its head was not traced: nothing was read of it.
        #expect(Set(requests.compactMap(\.trace)).count == 21, "each request that was read has a trace of its own")
        let kept = try #require(requests.first { $0.trace == trace })
        #expect(kept.status == 200 && kept.route == "api" && kept.service == "api" && kept.reason == nil)
        let told = try #require(requests.first { $0.reason != nil })
        #expect(told.reason == "body-too-large" && told.side == "client" && told.phase != nil && told.status == 413)
        #expect(lines.contains { $0.type == "event" && $0.kind == "instance-ready" && $0.instance == "api-2" })

        // The program was given the same trace, with another parent; those without one were given a new one.
        struct Line: Decodable { var event: String, path: String?, traceparent: String? }
        try await eventually("the programs' lines are written") {
          Program.read(field.state + "/logs/api.log").contains(trace)
        }
        let passed = Program.read(field.state + "/logs/api.log").split(separator: "\n").compactMap { line -> Line? in
          guard let brace = line.firstIndex(of: "{") else { return nil }
          return try? JSONDecoder().decode(Line.self, from: Data(line[brace...].utf8))  // Other lines are not JSON.
        }.filter { $0.path?.hasPrefix("/api/notes") == true }
        #expect(passed.count == 21)
        for line in passed { #expect(line.traceparent?.split(separator: "-").count == 4) }
        let parent = try #require(passed.compactMap(\.traceparent).first { $0.contains(trace) })
        #expect(parent.split(separator: "-").last == "01", "the sampled flag is kept")
        let logged = Set(requests.compactMap(\.trace))
        let sent = passed.compactMap { $0.traceparent?.split(separator: "-")[1] }.map(String.init)
        Claims.holds(
          sent.allSatisfy(logged.contains) && Set(sent).count == 21,
          "traceparent is made and passed on, and the access log names it", "\(sent.count) of 21 traces found in both")
        run.ctrlC()
        #expect(try await run.end() == 0)
      }
    }

    /// `promtool check metrics` reads from its standard input, which a shell gives it.
    private func promtool(_ metrics: String, in folder: String) async throws -> (code: Int32, out: String) {
      let file = folder + "/metrics.txt"
      try Data(metrics.utf8).write(to: URL(fileURLWithPath: file))
      let check = try Program("/bin/sh", ["-c", "promtool check metrics <\"$0\"", file], in: folder)
      let code = try await check.end()
      return (code, check.out + check.err)
    }
  }
}
