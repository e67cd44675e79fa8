// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// RP-1 over three hops of real programs: client → gateway → a → b → c, each call through `WEIR_URL`, and c fails always.
  @Suite struct AmplificationTests {
    struct Case: Sendable, CustomTestStringConvertible {
      var callers: Int
      /// Whether the default breakers are on; without them the budget alone has to hold.
      var breaks: Bool
      /// Whether programs hand on the fields by which Weir tells an inner hop that an outer one retries.
      var handsOn: Bool
      var testDescription: String {
        "\(callers) at once, \(breaks ? "default breakers" : "no breakers"), "
          + (handsOn ? "Weir-Retries handed on" : "programs that know nothing of Weir")
      }
    }

    private struct Counts: Decodable { var asked: Int, made: Int }
    private struct Pressed: Decodable {
      var offered: Int, lost: Int
      var statuses: [String: Int]
    }

    // Ten seconds, the whole of a retry budget's window, and 200 at once in `script/test`; a minute and 1 000 in
    // `script/acceptance`.
    @Test(
      "three hops, the last one fails",
      arguments: [
        Case(callers: 1, breaks: true, handsOn: false), Case(callers: 10, breaks: true, handsOn: false),
        Case(callers: 1000, breaks: true, handsOn: false), Case(callers: 10, breaks: false, handsOn: true),
      ])
    func threeHops(_ it: Case) async throws {
      try await Field.with { field in
        let isWhole = Claims.load.seconds >= 60
        let seconds = max(10, isWhole ? Claims.load.seconds : 10)
        let callers = isWhole ? it.callers : min(it.callers, 200)
        try field.write(chain(field, it))
        let run = try await field.runReady(instances: 3)
        let press = try Program(
          "/bin/sh",
          [
            "-c", "exec python3 \"$@\"", "sh", Program.root + "/Tests/Chain/chain.py", "press", "--port",
            "\(field.port)", "--at-once", "\(callers)", "--seconds", "\(seconds)",
          ], in: field.folder)
        #expect(try await press.end(within: .seconds(seconds) + .seconds(60)) == 0, "\(press.err)")
        let pressed = try JSONDecoder().decode(Pressed.self, from: Data(press.out.utf8))
        var counts: [Counts] = []
        for name in ["a-1", "b-1", "c-1"] {
          let reply = try await field.ask("/counts", port: try await field.status().instance(name).port)
          counts.append(try JSONDecoder().decode(Counts.self, from: reply.body))
        }
        let offered = [pressed.offered, counts[0].made, counts[1].made]
        let asked = counts.map(\.asked)
        // The budget's floor: three retries a node in each of its windows of ten seconds, at either end of the run too.
        let floor = 3 * (seconds / 10 + 1)
        let ratios = zip(asked, offered).map { Double($0) / Double(max(1, $1)) }
        let figures =
          "\(callers) at once for \(seconds) s: \(pressed.offered) offered; asked of a, b, c: "
          + asked.map { "\($0)" }.joined(separator: ", ") + "; per hop "
          + ratios.map { String(format: "%.3f", $0) }.joined(separator: ", ") + "; end to end "
          + String(format: "%.3f", Double(asked[2]) / Double(max(1, pressed.offered)))
        #expect(pressed.lost == 0, "every request was answered: \(figures)")
        #expect(pressed.offered >= seconds * min(callers, 10), "\(figures) \(pressed.statuses)")
        #expect(pressed.statuses["200"] == nil, "\(pressed.statuses)")
        Claims.holds(
          zip(asked, offered).allSatisfy { Double($0) <= 1.2 * Double($1) + Double(floor) },
          "RP-1, attempts ÷ offered ≤ 1.20 at each of three hops, and the floor (\(it.testDescription))", figures)
        Claims.holds(
          asked.allSatisfy { Double($0) <= 1.25 * Double(pressed.offered) + Double(3 * floor) },
          "RP-1, ≤ 1.25 end to end, and the floors (\(it.testDescription))", figures)
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after the chain")
      }
    }

    private func chain(_ field: Field, _ it: Case) -> String {
      let program = "python3 \(Program.root)/Tests/Chain/chain.py serve --port $PORT" + (it.handsOn ? " --pass" : "")
      return """
        weir: 1
        system: chain
        gateway:
          listen: { port: \(field.port), host: 127.0.0.1 }
          routes:
            all: { path: /**, to: a }
        \(it.breaks ? "" : "defaults: { call: { breaker: none } }")
        services:
          a:
            run: \(program) --next b
            health: /healthz
            calls: { b: { timeout: 4s } }
          b:
            run: \(program) --next c
            health: /healthz
            calls: { c: { timeout: 3s } }
          c:
            run: \(program) --fail 503 --takes 0.02
            health: /healthz
        """
    }
  }
}
