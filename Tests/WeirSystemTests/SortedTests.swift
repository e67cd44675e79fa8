// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// Groups whose events are sorted, under `weir run`, while a scenario holds events up and sends them twice.
  @Suite struct SortedTests {
    private struct Heard: Decodable { var body: String }
    private struct Body: Decodable {
      var order: String
      var n: Int
    }
    private struct Group: Decodable {
      struct Order: Decodable {
        var keeping: Int
        var gaps: Int
        var copies: Int
        var skipped: Int
        var late: Int
      }
      var name: String
      var lag: Int
      var dead: Int
      var order: Order?
    }

    private static let orders = 12

    private static func file(_ field: Field) -> String {
      """
      weir: 1
      system: shop
      gateway: { listen: \(field.port), routes: { all: { path: /**, to: shop } } }
      services:
        shop:
          run: python3 \(Program.root)/Tests/Queue/listener.py
          health: /healthz
          at-once: 64
          sends: [events]
      topics:
        events:
          key: order
          to:
            plain: { do: POST shop/heard/plain, visibility: 3s, timeout: 2s }
            sorted:
              do: POST shop/heard/sorted
              visibility: 3s
              timeout: 2s
              sequence: { by: n, wait: 10m }
              dedup: { within: 1h, by: event }
            audit: { visibility: 3s }
      scenarios:
        glitch:
          for: 1h
          faults:
            - { when: 0s, delay: events, from: shop, by: 700ms, share: 40%, count: 8 }
            - { when: 0s, double: events, by: 300ms, share: 40%, count: 6 }
        outage: { for: 1m, faults: [{ when: 1s, kill: shop }] }
      """
    }

    private func statePid(_ field: Field) throws -> Int32 {
      let mark = "state \(field.state)"
      guard let found = Machine.processes(marked: field.folder).first(where: { $0.command.hasSuffix(mark) }) else {
        throw Mistake("no state process")
      }
      return found.pid
    }

    private func numbers(_ name: String, _ field: Field) throws -> [String: [Int]] {
      let bodies = try Program.read("\(field.folder)/\(name)").split(separator: "\n").map { line in
        let heard = try JSONDecoder().decode(Heard.self, from: Data(line.utf8))
        return try JSONDecoder().decode(Body.self, from: Data(heard.body.utf8))
      }
      return Dictionary(grouping: bodies) { $0.order }.mapValues { $0.map(\.n) }
    }

    private func sorted(_ field: Field) async throws -> Group {
      let result = try await field.verb([
        "topic", "groups", "events", "--file", field.file, "--state", field.state, "--format", "json",
      ])
      let groups = try JSONDecoder().decode([Group].self, from: Data(result.out.utf8))
      guard let group = groups.first(where: { $0.name == "sorted" }) else { throw Mistake("no group: \(result)") }
      return group
    }

    /// Publishes all numbers of all orders at once; each is tried until it is accepted.
    private func publish(_ field: Field, numbers: ClosedRange<Int>) async throws {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for order in 0..<Self.orders {
          for n in numbers {
            group.addTask {
              let body = #"{"order":"o-\#(order)","n":\#(n),"event":"\#(order)/\#(n)"}"#
              try await eventually("\(body) is published") {
                let reply = try? await field.ask(
                  "/pass/EVENTS_URL", "POST", fields: ["send-id": "\(order)-\(n)"], body: body)
                return reply?.status == 202
              }
            }
          }
        }
        try await group.waitForAll()
      }
    }

    @Test(
      "delayed and doubled by a scenario: each once and in order, over a kill -9 of the plane and of the state process")
    func glitch() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let refused = try await field.verb(["run", field.file, "--state", field.state, "--scenario", "outage"])
        #expect(refused.code == 2 && refused.err.contains("not 'kill' yet"), "\(refused.err)")
        let unknown = try await field.verb(["run", field.file, "--state", field.state, "--scenario", "glich"])
        #expect(unknown.code == 2 && unknown.err.contains("the file has: glitch, outage"), "\(unknown.err)")

        let run = try await field.runReady(["--scenario", "glitch"], instances: 1)
        try await publish(field, numbers: 1...3)
        try await eventually("all faults have hit") {
          let metrics = try await field.metrics()
          return metrics.contains(#"weir_fault_messages_total{fault="delay",to="events",from="shop"} 8"#)
            && metrics.contains(#"weir_fault_messages_total{fault="double",to="events",from=""} 6"#)
        }
        try await eventually("the copies have come") { try await sorted(field).order?.copies == 6 }
        // The plane, and then what it writes to, while the rest comes in.
        async let rest: Void = publish(field, numbers: 4...6)
        kill(try statePid(field), SIGKILL)
        kill(try field.planePid(), SIGKILL)
        try await rest
        try await eventually("all is done") {
          let group = try await sorted(field)
          return group.lag == 0 && group.order?.keeping == 0
        }
        let group = try await sorted(field)
        #expect(group.dead == 0 && group.order?.skipped == 0 && group.order?.late == 0 && group.order?.gaps == 0)
        let heard = try numbers("sorted", field)
        #expect(heard.count == Self.orders)
        for (order, numbers) in heard {
          // Called again where the plane was killed before it had heard that it was done: at once, so in order.
          #expect(
            numbers.reduce(into: []) { if $0.last != $1 { $0.append($1) } } == Array(1...6), "\(order): \(numbers)")
        }
        let plain = try numbers("plain", field)
        #expect(plain.values.map(\.count).reduce(0, +) >= Self.orders * 6 + 6)
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after sorted events")
      }
    }
  }
}
