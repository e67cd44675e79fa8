// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// A keyed POST under `weir run`, with the processes killed that could forget it (AM-5).
  @Suite struct IdempotencyTests {
    private static let key = ["Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"]

    /// The state process, found by its words in the process table.
    private func statePid(_ field: Field) throws -> Int32 {
      let mark = "state \(field.state)"
      guard let found = Machine.processes(marked: field.folder).first(where: { $0.command.hasSuffix(mark) }) else {
        throw Mistake("no state process")
      }
      return found.pid
    }

    private func notes(_ field: Field) async throws -> Int {
      let text = try await field.ask("/api/notes").text
      return text.components(separatedBy: "\"text\":\"once\"").count - 1
    }

    @Test func aKeyedPostIsDoneOnceWhateverIsKilled() async throws {
      try await Field.with { field in
        try field.writeExample {
          $0.replacingOccurrences(of: "  routes:\n", with: "  routes:\n\(Self.route)")
        }
        let run = try await field.runReady()
        let body = #"{"text":"once"}"#
        let port = field.port
        // Together, and one after the other.
        let together = try await offPool {
          try (0..<20).map { _ in try Talk(port: port, "/api/notes", "POST", fields: Self.key, body: body) }.map {
            try $0.reply()
          }
        }
        #expect(together.allSatisfy { $0.status == 201 })
        #expect(Set(together.map(\.text)).count == 1)
        #expect(together.count { $0.field("idempotency-replayed") == "true" } == 19)
        #expect(try await notes(field) == 1)
        let other = try await field.ask("/api/notes", "POST", fields: Self.key, body: #"{"text":"else"}"#)
        #expect(other.status == 422)
        #expect(try await field.ask("/api/notes", "POST", body: body).status == 400)

        // The state process: the keeper starts it again.
        let before = try statePid(field)
        kill(before, SIGKILL)
        try await eventually("another state process runs") { (try? statePid(field)).map { $0 != before } ?? false }
        try await eventually("the answer is known to the next state process") {
          try await field.ask("/api/notes", "POST", fields: Self.key, body: body).field("idempotency-replayed")
            == "true"
        }
        // The plane: the next one finds the same state process.
        let state = try statePid(field)
        let plane = try field.planePid()
        kill(plane, SIGKILL)
        try await eventually("the answer is known to the next plane") {
          let again = try await field.ask("/api/notes", "POST", fields: Self.key, body: body)
          return again.text == together[0].text && again.field("idempotency-replayed") == "true"
        }
        #expect(try statePid(field) == state)
        #expect(try await notes(field) == 1)
        try await eventually("it is counted") {
          (try? await field.metrics())?.contains(
            "weir_idempotency_requests_total{route=\"ordering\",outcome=\"replayed\"}") ?? false
        }
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after keyed requests")

        // The next run reads the same file.
        let next = try await field.runReady()
        let again = try await field.ask("/api/notes", "POST", fields: Self.key, body: body)
        Claims.holds(
          again.text == together[0].text && again.field("idempotency-replayed") == "true",
          "a keyed POST is done once: 20 at once, kill -9 of state process and plane, another run",
          "\(try await notes(field)) note")
        #expect(try await notes(field) == 1)
        next.ctrlC()
        #expect(try await next.end() == 0)
        field.expectClear("after keyed requests")
      }
    }

    private static let route =
      "    ordering: { path: /api/notes, methods: [POST], to: api, idempotency: { keep: 1h, required: true } }\n"
  }
}
