// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// Outboxes and inboxes under `weir run`, while plane, state process and consumer are killed.
  @Suite struct OutboxTests {
    @Test("each committed message has its effect once, whoever is killed", arguments: ["sqlite", "postgres"])
    func crashes(_ database: String) async throws {
      try await Field.with { field in
        let script = Program.root + "/Tests/Outbox/crash.py"
        let run = try Program(
          "/usr/bin/env",
          [
            "python3", script, "--weir", Program.bin + "/weir", "--database", database, "--messages", "200", "--kills",
            "6", "--targets", "queues,topics,streams",
          ],
          in: field.folder, environment: ["TMPDIR": field.folder])
        let code = try await run.end(within: .seconds(600))
        #expect(code == 0, "\(run.out)\n\(run.err)")
        #expect(run.out.contains(#""lost": 0, "double": 0, "invented": 0, "out of order": 0"#), "\(run.out)")
        for place in ["/work", "/heard", "/listed"] { #expect(run.out.contains("\"\(place)\": "), "\(run.out)") }
      }
    }

    @Test("a secret that was missing is read by the next reload, and one that has changed by the one after it")
    func secrets() async throws {
      try await Field.with { field in
        try field.write(
          """
          weir: 1
          system: shop
          gateway: { listen: \(field.port), routes: { all: { path: /**, to: shop } } }
          services: { shop: { run: python3 \(Program.root)/Tests/Saga/participant.py shop, health: /healthz } }
          stores: { shop-db: { engine: postgres, connection: $(secret:shop-db), outbox: weir_outbox } }
          """)
        let run = try await field.runReady(instances: 1)
        func says(_ words: String) async throws {
          try await eventually("status says: \(words)") {
            try await field.verb(["status", field.file, "--state", field.state, "--format", "json"]).out.contains(words)
          }
        }
        func reload(_ secret: String) async throws {
          try FileManager.default.createDirectory(
            atPath: field.folder + "/secrets", withIntermediateDirectories: true)
          try Data(secret.utf8).write(to: URL(fileURLWithPath: field.folder + "/secrets/shop-db"))
          #expect(try await field.verb(["reload", field.file, "--state", field.state]).code == 0)
        }
        try await says("$(secret:shop-db) is found neither")
        try await reload("no connection at all")
        try await says("is no connection string and no URL")
        try await reload("host=127.0.0.1 port=\(try Machine.freePort()) user=shop password=hunter2")
        try await says("cannot be reached")
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after secrets")
        let told = run.out + run.err
        #expect(told.contains("cannot be reached") && !told.contains("hunter2"))
      }
    }
  }
}
