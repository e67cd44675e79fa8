// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// Where instances are, and what becomes of those that never are there.
  @Suite struct InstanceTests {
    @Test("a program without a health check that never listens is told, counted and started again")
    func neverListens() async throws {
      try await Field.with { field in
        try field.write(
          """
          weir: 1
          system: mute
          gateway: { listen: \(field.port), routes: { all: { path: /**, to: mute } } }
          services:
            mute: { run: sleep 100000, health: { start-within: 500ms } }
          """)
        let run = try field.run()
        try await eventually("it is started again:\n\(run.out)\n\(run.err)") {
          guard run.isRunning else { throw Mistake("the run ended early:\n\(run.out)\n\(run.err)") }
          guard let status = try? await field.status() else { return false }
          return status.services.flatMap(\.instances).contains { $0.restarts > 0 }
        }
        #expect(run.out.contains("mute-1 was not ready within its start time"))
        run.signal(SIGTERM)
        _ = try await run.end()
        field.expectClear("after SIGTERM")
      }
    }

    @Test("a name says where the instances are, and one that has no answer is told")
    func names() async throws {
      try await Field.with { field in
        try field.write(
          """
          weir: 1
          system: names
          gateway:
            listen: \(field.port)
            routes:
              fine: { path: /fine, answer: { body: "fine" } }
              self: { path: /self, to: self, rewrite: /fine }
              nobody: { path: /nobody, to: nobody }
          services:
            self: { at: { dns: "localhost:\(field.port)" } }
            nobody: { at: { dns: "nobody.weir.invalid:80", every: 1s, most: 3 } }
          """)
        let run = try field.run()
        try await eventually("the name is known:\n\(run.out)\n\(run.err)") {
          guard run.isRunning else { throw Mistake("the run ended early:\n\(run.out)\n\(run.err)") }
          return (try? await field.ask("/self").text) == "fine"
        }
        let refused = try await field.ask("/nobody")
        #expect(refused.status == 503 && refused.field("proxy-status")?.contains("no-healthy-instance") == true)
        try await eventually("status and metrics say so:\n\(run.out)") {
          let status = try await field.status()
          let instances = status.services.first { $0.name == "self" }?.instances ?? []
          let none = status.services.first { $0.name == "nobody" }?.instances ?? []
          guard !instances.isEmpty, instances.count <= 2, instances.allSatisfy({ $0.state == "ready" }), none.isEmpty
          else { return false }
          return try await field.metrics().contains("weir_events_total{kind=\"name-unresolved\"} 1\n")
        }
        #expect(run.out.contains("'nobody.weir.invalid:80' of 'nobody' cannot be resolved"))
        run.signal(SIGTERM)
        #expect(try await run.end() == 0)
        field.expectClear("after SIGTERM")
      }
    }

    @Test("hosts of listed instances are asked again and again; without an answer the last one stays")
    func hosts() async throws {
      try await Field.with { field in
        try field.write(
          """
          weir: 1
          system: hosts
          gateway:
            listen: \(field.port)
            routes:
              fine: { path: /fine, answer: { body: "fine" } }
              self: { path: /self, to: self, rewrite: /fine }
          services:
            self: { at: [{ at: "localhost:\(field.port)", every: 100ms }] }
            nobody: { at: [{ at: "nobody.weir.invalid:80", every: 1s }] }
          """)
        let run = try field.run()
        try await eventually("it serves:\n\(run.out)\n\(run.err)") {
          guard run.isRunning else { throw Mistake("the run ended early:\n\(run.out)\n\(run.err)") }
          return (try? await field.ask("/self").text) == "fine"
        }
        try await eventually("what has no answer is told:\n\(run.out)") {
          try await field.metrics().contains("weir_events_total{kind=\"name-unresolved\"} 1\n")
        }
        #expect(run.out.contains("'nobody.weir.invalid:80' of 'nobody' cannot be resolved"))
        // It has been asked many times by now, and is where it was.
        #expect(try await field.ask("/self").text == "fine")
        #expect(!run.out.contains("self-1: localhost is at"))
        try await eventually("status counts its requests") {
          let status = try await field.status()
          let instance = status.services.first { $0.name == "self" }?.instances.first
          return (instance?.requests ?? 0) >= 2 && instance?.failures == 0 && instance?.inFlight == 0
        }
        #expect(
          try await field.metrics().contains("weir_instance_failures_total{service=\"self\",instance=\"self-1\"} 0\n"))
        run.signal(SIGTERM)
        #expect(try await run.end() == 0)
        field.expectClear("after SIGTERM")
      }
    }

    @Test("an instance is taken out of use by hand, and back; the last one is not")
    func drained() async throws {
      try await Field.with { field in
        try field.write(
          """
          weir: 1
          system: pair
          gateway: { listen: \(field.port), routes: { all: { path: /**, answer: { body: "fine" } }, to: { path: /to, to: a, rewrite: /x } } }
          services:
            a: { at: ["127.0.0.1:\(field.port)", "localhost:\(field.port)"] }
          """)
        let run = try field.run()
        try await eventually("it serves:\n\(run.out)\n\(run.err)") { (try? await field.ask("/to").text) == "fine" }
        let order = ["instance", "drain", "--state", field.state, "--file", field.file, "a"]
        let first = try await field.verb(order + ["2"])
        #expect(first.code == 0, "\(first.err)")
        let last = try await field.verb(order + ["1"])
        #expect(last.code == 1 && last.err.contains("a-1 is the last one that serves"))
        let unknown = try await field.verb(order + ["3"])
        #expect(unknown.code == 1 && unknown.err.contains("'a' has 2 instances"))
        try await eventually("status shows it") {
          try await field.status().services.flatMap(\.instances).map(\.state) == ["ready", "drained"]
        }
        #expect(try await field.ask("/to").text == "fine")
        let back = try await field.verb(["instance", "undrain", "--state", field.state, "--file", field.file, "a", "2"])
        #expect(back.code == 0)
        try await eventually("it is back") {
          try await field.status().services.flatMap(\.instances).allSatisfy { $0.state == "ready" }
        }
        run.signal(SIGTERM)
        #expect(try await run.end() == 0)
        field.expectClear("after SIGTERM")
      }
    }
  }
}
