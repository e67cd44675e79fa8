// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// The file changes while the system runs.
  @Suite struct ReloadTests {
    @Test func aWrongFileIsRefusedAndAChangedOneIsTakenOverUnderLoad() async throws {
      try await Field.with { field in
        try field.writeExample()
        let run = try await field.runReady(["--no-watch"])
        let before = try await field.status()
        let good = try String(contentsOfFile: field.file, encoding: .utf8)

        // A mistake: refused with its line, and everything goes on.
        try field.write(good.replacingOccurrences(of: "gateway:", with: "gatewya:"))
        run.signal(SIGHUP)
        try await eventually("the refusal is counted") {
          try await field.metrics().contains("weir_config_reload_failures_total 1")
        }
        #expect(try await field.ask("/api/notes").status == 200)

        // A route more, an address of a client that asks all the time meanwhile.
        let isOver = Flag()
        let asking = Task {
          var bad: [Int] = []
          var count = 0
          while !isOver.isSet {
            let status = try await field.ask("/api/notes").status
            count += 1
            if status != 200 { bad.append(status) }
          }
          return (count, bad)
        }
        try field.write(
          good.replacingOccurrences(of: "  routes:\n", with: "  routes:\n    extra: { path: /extra/*, to: api }\n"))
        let outcome = try await field.verb(["reload", field.file, "--state", field.state])
        #expect(outcome.code == 0 && outcome.out.hasPrefix("reloaded"), "\(outcome.out)\(outcome.err)")
        let again = try await field.verb(["reload", field.file, "--state", field.state])
        #expect(again.out.hasPrefix("unchanged"))
        isOver.set()
        let (count, bad) = try await asking.value
        Claims.holds(
          bad.isEmpty && count > 0, "a reload under requests loses none", "\(count) requests, \(bad.count) not 200")
        // Counters went on; the status lags by half a second.
        try await eventually("the status knows of all requests") { try await field.status().requests("api") > count }
        // Programs were not touched.
        let after = try await field.status()
        #expect(
          before.services.flatMap(\.instances).map(\.pid) == after.services.flatMap(\.instances).map(\.pid))
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after reloads")
      }
    }

    /// The file stays as it is, only the list changes: a reload reads it again, or says why it cannot.
    @Test(arguments: ["$(file:partners.keys)", "partners.keys"])
    func aListOfKeysIsReadAgain(named list: String) async throws {
      try await Field.with { field in
        try field.write(
          """
          weir: 1
          system: small
          gateway:
            listen: { port: \(field.port), host: 127.0.0.1 }
            identities:
              partners: { api-key: { header: x-api-key, keys: \(list) } }
            routes:
              all: { path: /**, to: only, identity: partners }
          services:
            only: { run: "weir-example web --port $PORT", health: /healthz }
          """)
        func store(_ lines: String) throws {
          try Data(lines.utf8).write(to: URL(fileURLWithPath: field.folder + "/partners.keys"))
        }
        func make(_ name: String) async throws -> (key: String, line: String) {
          let made = try await field.verb(["key", "new", name])
          return (made.err.split(whereSeparator: \.isWhitespace).last.map(String.init) ?? "", made.out)
        }
        let (old, new) = (try await make("old"), try await make("new"))
        func status(_ key: String) async throws -> Int { try await field.ask("/", fields: ["x-api-key": key]).status }
        func reload() async throws -> (code: Int32, out: String, err: String) {
          try await field.verb(["reload", field.file, "--state", field.state])
        }
        try store(old.line)
        let run = try await field.runReady(["--no-watch"], instances: 1)
        #expect(try await status(old.key) == 200)
        #expect(try await status(new.key) == 401)
        #expect(try await reload().out.hasPrefix("unchanged"))

        try store(new.line)
        run.signal(SIGHUP)
        try await eventually("the list is read again") { try await status(new.key) == 200 }
        #expect(try await status(old.key) == 401)
        #expect(try await reload().out.hasPrefix("unchanged"))

        // What cannot be understood changes nothing.
        try store("no list at all")
        let refused = try await reload()
        #expect(refused.code == 1 && (refused.out + refused.err).contains("partners"), "\(refused)")
        #expect(try await status(new.key) == 200)
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after lists")
      }
    }
  }
}

/// Set by one task, looked at by another.
private final class Flag: @unchecked Sendable {
  // Unchecked: the lock orders the accesses.
  private let lock = NSLock()
  private var value = false
  var isSet: Bool { lock.withLock { value } }
  func set() { lock.withLock { value = true } }
}
