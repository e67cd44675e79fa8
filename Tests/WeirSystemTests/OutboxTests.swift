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
            "6",
          ],
          in: field.folder, environment: ["TMPDIR": field.folder])
        let code = try await run.end(within: .seconds(600))
        #expect(code == 0, "\(run.out)\n\(run.err)")
        #expect(run.out.contains(#""lost": 0, "double": 0, "invented": 0, "out of order": 0"#), "\(run.out)")
      }
    }
  }
}
