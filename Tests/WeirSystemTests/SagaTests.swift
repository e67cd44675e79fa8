// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// Sagas under `weir run`, over participants in Python that write down what they have done.
  @Suite struct SagaTests {
    private struct Row: Decodable {
      var key: String
      var calls: Int
      var done: Int
      var undone: Int
    }

    private struct Begun: Decodable {
      var id: String
      var duplicate: Bool
    }

    private struct Saga: Decodable {
      struct Step: Decodable {
        var state: String
        var attempts: Int
        var result: [String: String]?
      }
      var id: String
      var state: String
      var cause: String?
      var steps: [Step]
    }

    private struct Counts: Decodable {
      var running: Int
      var stuck: Int
      var finished: Int
      var compensated: Int
    }

    private static let participants = ["pay", "stock", "ship"]

    private static func file(_ field: Field, lastUndo: Bool = true) -> String {
      let services = (["orders"] + participants).map {
        """
          \($0):
            run: python3 \(Program.root)/Tests/Saga/participant.py \($0)
            health: /healthz
            at-once: 32\($0 == "orders" ? "\n    sends: [order]" : "")
        """
      }
      return """
        weir: 1
        system: shop
        gateway: { listen: \(field.port), routes: { all: { path: /**, to: orders } } }
        services:
        \(services.joined(separator: "\n"))
        sagas:
          order:
            steps:
              - { do: POST pay/do, undo: POST pay/undo }
              - { do: POST stock/do, undo: POST stock/undo }
              - { do: POST ship/do\(lastUndo ? ", undo: POST ship/undo" : "") }
        """
    }

    private func mode(_ participant: String, _ word: String, _ field: Field) throws {
      try Data(word.utf8).write(to: URL(fileURLWithPath: field.folder + "/mode-\(participant)"), options: .atomic)
    }

    private func begin(_ field: Field, _ id: String) async throws -> Begun {
      let reply = try await field.ask("/start", "POST", fields: ["Send-Id": id], body: #"{"order":"\#(id)"}"#)
      guard reply.status == 202 else { throw Mistake("begin: \(reply.status) \(reply.text)") }
      return try JSONDecoder().decode(Begun.self, from: Data(reply.text.utf8))
    }

    private func saga(_ field: Field, _ id: String, wait: String = "") async throws -> Saga {
      let reply = try await field.ask("/state/\(id)\(wait)")
      guard reply.status == 200 else { throw Mistake("state of \(id): \(reply.status) \(reply.text)") }
      return try JSONDecoder().decode(Saga.self, from: Data(reply.text.utf8))
    }

    private func over(_ field: Field, _ id: String) async throws -> Bool {
      guard let saga = try? await saga(field, id) else { return false }
      return ["finished", "compensated", "stuck"].contains(saga.state)
    }

    /// What a participant has done, by the saga's id.
    private func rows(_ field: Field, _ participant: String) async throws -> [String: Row] {
      let port = try await field.status().instance("\(participant)-1").port
      let reply = try await field.ask("/rows", port: port)
      var found: [String: Row] = [:]
      for row in try JSONDecoder().decode([Row].self, from: Data(reply.text.utf8)) {
        let parts = row.key.split(separator: "/")
        guard parts.count == 3, parts[0] == "order" else { throw Mistake("a strange key: \(row.key)") }
        found[String(parts[1])] = row
      }
      return found
    }

    private func verb(_ field: Field, _ words: [String]) async throws -> (code: Int32, out: String, err: String) {
      try await field.verb(["saga"] + words + ["--file", field.file, "--state", field.state])
    }

    /// Finished is all done, once; compensated is none; and nothing twice.
    private func judge(_ field: Field, _ ids: [String]) async throws -> (finished: Int, compensated: Int, wrong: Int) {
      var finished = 0
      var wrong = 0
      var compensated = 0
      var all: [String: [String: Row]] = [:]
      for participant in Self.participants { all[participant] = try await rows(field, participant) }
      for id in ids {
        let saga = try await saga(field, id)
        let effects = Self.participants.map { name in all[name]?[id].map { $0.done - $0.undone } ?? 0 }
        switch saga.state {
        case "finished":
          finished += 1
          #expect(effects == [1, 1, 1], "\(id) is finished")
          if effects != [1, 1, 1] { wrong += 1 }
        case "compensated":
          compensated += 1
          #expect(effects == [0, 0, 0], "\(id) is compensated")
          if effects != [0, 0, 0] { wrong += 1 }
        default: Issue.record("\(id) is \(saga.state)")
        }
      }
      return (finished, compensated, wrong)
    }

    @Test("over three services: finished, or, when one refuses, compensated; each step once")
    func steps() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let run = try await field.runReady(instances: 4)
        let good = (0..<12).map { "good-\($0)" }
        for id in good { #expect(try await begin(field, id).duplicate == false) }
        #expect(try await begin(field, good[0]).duplicate)
        let first = try await saga(field, good[0], wait: "?wait=60s")
        #expect(first.state == "finished")
        #expect(first.steps.map(\.state) == ["done", "done", "done"])
        #expect(first.steps.map { $0.result?["by"] } == ["pay", "stock", "ship"])
        for id in good { try await eventually("\(id) is over") { try await over(field, id) } }
        try mode("ship", "422", field)
        let bad = (0..<6).map { "bad-\($0)" }
        for id in bad { _ = try await begin(field, id) }
        for id in bad { try await eventually("\(id) is over") { try await over(field, id) } }
        let refused = try await saga(field, bad[0])
        #expect(refused.cause == "step 3, POST ship/do: answered 422", "\(refused.cause ?? "")")
        #expect(refused.steps.map(\.state) == ["undone", "undone", "refused"])
        let judged = try await judge(field, good + bad)
        #expect(judged == (12, 6, 0))

        let listed = try await verb(field, ["list", "--format", "json"])
        let counts = try JSONDecoder().decode([Counts].self, from: Data(listed.out.utf8))
        #expect(counts.map(\.finished) == [12] && counts.map(\.compensated) == [6], "\(listed.out)\(listed.err)")
        let shown = try await verb(field, ["show", "order", bad[0]])
        #expect(
          shown.code == 0 && shown.out.contains("compensated") && shown.out.contains("POST ship/do"), "\(shown.out)")
        #expect(try await verb(field, ["show", "order", "nobody"]).code == 1)
        #expect(try await verb(field, ["turn-back", "order", good[0]]).code == 1)
        #expect(try await field.ask("/state/nobody").status == 404)
        try await eventually("metrics tell of it") {
          try await field.metrics().contains(#"weir_sagas_ended_total{saga="order",state="compensated"} 6"#)
        }
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after sagas")
      }
    }

    @Test("one that is stuck waits for a word, and goes on by it")
    func stuck() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let run = try await field.runReady(instances: 4)
        try mode("ship", "422", field)
        try mode("stock", "keeps", field)
        _ = try await begin(field, "s1")
        try await eventually("it is stuck") { try await saga(field, "s1").state == "stuck" }
        let listed = try await verb(field, ["list", "order"])
        #expect(listed.out.contains("s1") && listed.out.contains("stuck"), "\(listed.out)\(listed.err)")
        #expect(try await verb(field, ["steer", "order", "s1", "1", "done"]).code == 1)
        let wrong = try await verb(field, ["steer", "order", "s1", "2", "done"])
        #expect(wrong.code == 1 && wrong.err.contains("not-done"), "\(wrong.err)")
        try mode("stock", "", field)
        let steered = try await verb(field, ["steer", "order", "s1", "2", "again"])
        #expect(steered.code == 0, "\(steered.err)")
        try await eventually("it is compensated") { try await saga(field, "s1").state == "compensated" }
        let judged = try await judge(field, ["s1"])
        #expect(judged == (0, 1, 0))
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after a stuck saga")
      }
    }

    @Test("exactly once in effect, whatever is killed midway: a participant, the state process, the plane, all of it")
    func killed() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let run = try await field.runReady(instances: 4)
        var begun: [String] = []
        func some(_ word: String, _ count: Int) async throws {
          for i in 0..<count {
            // While something is down a beginning may be refused; then nothing was promised.
            if let one = try? await begin(field, "\(word)-\(i)") { begun.append(one.id) }
          }
        }
        // A participant in the middle of its step, and one that loses its answers.
        try mode("stock", "slow", field)
        try mode("pay", "lost", field)
        try await some("participant", 8)
        if let pid = try await field.status().instance("stock-1").pid { kill(pid, SIGKILL) }
        try await some("between", 4)
        try mode("stock", "", field)
        for process in Machine.processes(marked: field.folder) where process.command.hasSuffix("state \(field.state)") {
          kill(process.pid, SIGKILL)
        }
        try await some("state", 8)
        try mode("ship", "422", field)
        try await some("refused", 4)
        kill(try field.planePid(), SIGKILL)
        try await eventually("the next plane serves") { (try? await field.ask("/healthz"))?.status == 200 }
        try await some("plane", 8)
        try mode("ship", "", field)
        try await some("all", 8)
        for process in Machine.processes(marked: field.folder) { kill(process.pid, SIGKILL) }
        _ = try? await run.end()
        let next = try await field.runReady(instances: 4)
        // What a dead plane had in hand is another's when its lease is over, after 60 s.
        for id in begun {
          try await eventually("\(id) is over", within: .seconds(240)) { try await over(field, id) }
        }
        let judged = try await judge(field, begun)
        Claims.holds(
          begun.count >= 20 && judged.finished + judged.compensated == begun.count && judged.wrong == 0,
          "sagas are finished or compensated exactly once in effect over kill -9 of participant, state process and plane",
          "\(begun.count) begun, \(judged.finished) finished, \(judged.compensated) compensated")
        next.ctrlC()
        #expect(try await next.end() == 0)
        field.expectClear("after sagas")
      }
    }
  }
}
