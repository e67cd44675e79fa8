// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// The page in a headless Chromium, through the gateway.
  @Suite struct BrowserTests {
    @Test func thePageIsUsedThroughTheGateway() async throws {
      try await Field.with { field in
        guard try await Browser.isThere(field) else { return }
        try field.writeExample()
        let run = try await field.runReady()
        let base = "http://127.0.0.1:\(field.port)"
        let seen = try await browser(["--base", base], field)
        Claims.holds(
          seen.code == 0 && seen.steps.count >= 6, "Chromium: a note added, found, there after a reload, by keyboard",
          "\(seen.steps.count) steps seen, exit code \(seen.code)")
        // Search closes every connection; its check still passes, so that it stays as it is during the walk.
        try await field.fault("search-1", #"{"close":true}"#)
        let without = try await browser(["--base", base, "--degraded"], field)
        Claims.holds(
          without.code == 0 && without.steps.contains { $0.contains("without search") },
          "Chromium: without search the page says so and goes on",
          "\(without.steps.count) steps seen, exit code \(without.code)")
        run.ctrlC()
        #expect(try await run.end() == 0)
      }
    }

    private func browser(_ arguments: [String], _ field: Field) async throws -> (code: Int32, steps: [String]) {
      let walk = try Browser.walk("notes.py", arguments, field)
      let code = try await walk.end(within: .seconds(120))
      #expect(code == 0, "\(walk.out)\n\(walk.err)")
      return (code, walk.out.split(separator: "\n").map(String.init).filter { $0.hasPrefix("seen: ") })
    }
  }
}
