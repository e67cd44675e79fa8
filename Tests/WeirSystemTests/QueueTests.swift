// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// Queues under `weir run`, with a consumer in Python that uses nothing but its standard library.
  @Suite struct QueueTests {
    /// What the consumer has written down of one delivery.
    private struct Delivery: Decodable {
      var id: String
      var key: String?
      var attempt: String
      var type: String?
      var status: Int
      var body: String
      var idempotency: String
    }

    private struct Message: Decodable {
      struct Attempt: Decodable {
        var status: Int
        var error: String
      }
      var id: String
      var state: String
      var attempts: Int
      var reason: String?
      var history: [Attempt]
    }

    private struct Page: Decodable { var messages: [Message] }
    private struct Sent: Decodable {
      var id: String
      var duplicate: Bool
    }

    private struct Queue: Decodable {
      var waiting: Int
      var delayed: Int
      var inFlight: Int
      var dead: Int
      var paused: Bool
      var isEmpty: Bool { waiting == 0 && delayed == 0 && inFlight == 0 }
    }

    private static func file(_ field: Field, queue: String = "to: POST worker/work") -> String {
      """
      weir: 1
      system: work
      gateway: { listen: \(field.port), routes: { all: { path: /**, to: worker } } }
      services:
        worker:
          run: python3 \(Program.root)/Tests/Queue/worker.py
          instances: 2
          health: /healthz
          at-once: 8
          sends: [work]
      queues:
        work: { \(queue) }
      """
    }

    private func done(_ field: Field) throws -> [Delivery] {
      try Program.read(field.folder + "/done").split(separator: "\n").map {
        try JSONDecoder().decode(Delivery.self, from: Data($0.utf8))
      }
    }

    private func mode(_ status: Int, _ field: Field) throws {
      try Data("\(status)".utf8).write(to: URL(fileURLWithPath: field.folder + "/mode"), options: .atomic)
    }

    private func queue(_ field: Field) async throws -> Queue {
      let result = try await field.verb([
        "queue", "list", "--file", field.file, "--state", field.state, "--format", "json",
      ])
      guard let queue = try? JSONDecoder().decode([Queue].self, from: Data(result.out.utf8)).first else {
        throw Mistake("weir queue list: \(result.out) \(result.err)")
      }
      return queue
    }

    private func verb(_ field: Field, _ words: [String]) async throws -> (code: Int32, out: String, err: String) {
      try await field.verb(["queue"] + words + ["--file", field.file, "--state", field.state])
    }

    private func send(_ field: Field, _ body: String, _ fields: [String: String] = [:]) async throws -> Sent {
      let reply = try await field.ask(
        "/send", "POST", fields: fields.merging(["Content-Type": "application/json"]) { $1 }, body: body)
      guard reply.status == 202 else { throw Mistake("send: \(reply.status) \(reply.text)") }
      return try JSONDecoder().decode(Sent.self, from: Data(reply.text.utf8))
    }

    @Test("what is sent is worked on once, in the order of its key, and its status can be asked for")
    func delivered() async throws {
      try await Field.with { field in
        // More at once than a frame may carry.
        try field.write(Self.file(field, queue: "to: POST worker/work, at-once: 5000"))
        let run = try await field.runReady(instances: 2)
        var sent: [Sent] = []
        for i in 0..<60 { sent.append(try await send(field, #"{"n":\#(i)}"#, ["Send-Key": "customer-\(i % 6)"])) }
        #expect(Set(sent.map(\.id)).count == 60 && sent.allSatisfy { !$0.duplicate })
        // The same message again.
        let twice = try await send(field, #"{"n":"again"}"#, ["Send-Id": sent[0].id])
        #expect(twice.duplicate && twice.id == sent[0].id)
        try await eventually("all are done") { try done(field).count >= 60 }
        try await eventually("and the queue is empty") { try await queue(field).isEmpty }
        let all = try done(field)
        #expect(all.count == 60)
        #expect(all.allSatisfy { $0.attempt == "1" && $0.type == "application/json" && $0.idempotency == $0.id })
        for key in 0..<6 {
          let bodies = all.filter { $0.key == "customer-\(key)" }.map(\.body)
          #expect(bodies == (0..<10).map { #"{"n":\#($0 * 6 + key)}"# }, "customer-\(key)")
        }
        let reply = try await field.ask("/send/messages/\(sent[7].id)")
        #expect(reply.status == 200 && reply.text.contains(#""state":"done""#), "\(reply.text)")
        #expect(try await field.ask("/send/messages/nobody").status == 404)
        #expect(try await field.metrics().contains(#"weir_queue_messages{queue="work",state="waiting"} 0"#))
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after queues")
      }
    }

    private struct Progress: Decodable {
      struct Result: Decodable { var said: String }
      var id: String
      var state: String
      var result: Result?
    }

    @Test("a route puts what it gets into the queue, and tells what became of it")
    func throughTheGateway() async throws {
      try await Field.with { field in
        let routes = "reports: { path: /reports/**, queue: work }, all: { path: /**, to: worker }"
        try field.write(
          Self.file(field, queue: "to: POST worker/work").replacing("all: { path: /**, to: worker }", with: routes))
        try mode(200, field)
        let run = try await field.runReady(instances: 2)
        let fields = ["Content-Type": "application/json", "Idempotency-Key": "r-1", "Weir-Delay": "1h"]
        let reply = try await field.ask("/reports", "POST", fields: fields, body: #"{"year":2026}"#)
        #expect(reply.status == 202, "\(reply.text)")
        #expect(try JSONDecoder().decode(Progress.self, from: Data(reply.text.utf8)).id == "r-1")
        // Who asks twice is served once.
        #expect(try await field.ask("/reports", "POST", fields: fields, body: #"{"year":2026}"#).status == 202)
        try await eventually("it is done") {
          let reply = try await field.ask("/reports/r-1")
          return try JSONDecoder().decode(Progress.self, from: Data(reply.text.utf8)).result?.said == "200"
        }
        let all = try done(field)
        #expect(all.count == 1 && all[0].id == "route.r-1" && all[0].body == #"{"year":2026}"#)
        #expect(try await field.ask("/reports/nobody").status == 404)
        #expect(try await field.ask("/reports").status == 405)
        run.ctrlC()
        #expect(try await run.end() == 0)
      }
    }

    @Test("what fails is tried again, what is refused is dead with its reason, and goes again when it is told to")
    func deadLetters() async throws {
      try await Field.with { field in
        try field.write(
          Self.file(
            field,
            queue: "to: POST worker/work, retry: { attempts: 3, backoff: { first: 100ms, max: 200ms } }, visibility: 6s"
          ))
        try mode(500, field)
        let run = try await field.runReady(instances: 2)
        let failing = try await send(field, #"{"n":1}"#)
        try await eventually("three attempts have failed") { try await queue(field).dead == 1 }
        #expect(try done(field).map(\.attempt) == ["1", "2", "3"])
        try mode(400, field)
        let refused = try await send(field, #"{"n":2}"#)
        try await eventually("it is dead at once") { try await queue(field).dead == 2 }
        #expect(try done(field).count == 4)

        let listed = try await verb(field, ["messages", "work", "--format", "json"])
        let page = try JSONDecoder().decode(Page.self, from: Data(listed.out.utf8))
        #expect(page.messages.map(\.id) == [failing.id, refused.id])
        #expect(page.messages.map(\.reason) == ["attempts", "refused"])
        let shown = try await verb(field, ["show", "work", failing.id, "--format", "json"])
        let message = try JSONDecoder().decode(Message.self, from: Data(shown.out.utf8))
        #expect(message.state == "dead" && message.attempts == 3 && message.history.map(\.status) == [500, 500, 500])
        let text = try await verb(field, ["show", "work", failing.id])
        #expect(text.out.contains("500 Internal Server Error") && text.out.contains(#"{"n":1}"#), "\(text.out)")

        try mode(204, field)
        #expect(try await verb(field, ["redrive", "work", failing.id]).out == "1 message of 'work' waits again\n")
        try await eventually("it is done") { try await queue(field).dead == 1 && (try done(field).count) == 5 }
        #expect(try await verb(field, ["redrive", "work", "--all"]).code == 0)
        try await eventually("all are done") { try await queue(field).dead == 0 && (try done(field).count) == 6 }

        // What an operator says.
        #expect(try await verb(field, ["pause", "work"]).code == 0)
        _ = try await send(field, #"{"n":3}"#)
        try await eventually("it waits") { try await queue(field).waiting == 1 }
        #expect(try await queue(field).paused)
        #expect(try await verb(field, ["purge", "work", "--all"]).code == 2)
        #expect(try await verb(field, ["purge", "work", "--all", "--yes"]).code == 0)
        #expect(try await queue(field).isEmpty)
        #expect(try await verb(field, ["resume", "work"]).code == 0)
        // What is none must not harm what else is asked of the state process.
        let long = String(repeating: "x", count: 300)
        for words in [["show", "work", long], ["show", long, "x"], ["remove", "work", long], ["messages", long]] {
          #expect(try await verb(field, words).code == 1, "\(words[0])")
        }
        #expect(try await field.status().state?.up == true)
        let listedWrong = try await verb(field, ["messages", "wrok"])
        #expect(listedWrong.code == 1 && listedWrong.err.contains("there is no queue 'wrok'"), "\(listedWrong.err)")
        let own = "/queues/work"
        let admin = try await field.status().admin.split(separator: ":").last.flatMap { Int($0) }
        #expect(try await field.ask(own + "/messages", port: admin).status == 401)
        #expect(try await field.ask(own + "/pause", "POST", port: admin, body: "").status == 401)
        let unknown = try await verb(field, ["pause", "wrok"])
        #expect(unknown.code == 1 && unknown.err.contains("there is no queue 'wrok'; there are: work"))
        #expect(try done(field).count == 6)
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after dead letters")
      }
    }

    @Test("a job is a message when it is due: each moment once, over a plane that dies and a run that ends")
    func jobs() async throws {
      try await Field.with { field in
        try field.write(Self.file(field) + "\njobs:\n  tick: { every: 1s, do: POST worker/work }\n")
        let run = try await field.runReady(instances: 2)
        try await eventually("it has run") { try done(field).count >= 2 }
        kill(try field.planePid(), SIGKILL)
        let before = try done(field).count
        try await eventually("it runs on") { try done(field).count >= before + 2 }
        run.ctrlC()
        #expect(try await run.end() == 0)
        let next = try await field.runReady(instances: 2)
        let after = try done(field).count
        try await eventually("and in the next run") { try done(field).count >= after + 2 }
        next.ctrlC()
        #expect(try await next.end() == 0)
        let all = try done(field)
        #expect(all.allSatisfy { $0.id.hasPrefix("tick@") && $0.body.contains(#""job":"tick""#) })
        // Delivered again is allowed, to who dies in the middle of it; begun anew is not.
        #expect(all.count { $0.attempt == "1" } == Set(all.map(\.id)).count)
        field.expectClear("after jobs")
      }
    }

    @Test("nothing that was acknowledged is lost, whatever is killed: state process, plane, consumer, all of it")
    func killed() async throws {
      try await Field.with { field in
        try field.write(
          Self.file(field, queue: "to: POST worker/work, visibility: 3s, retry: { backoff: { first: 100ms, max: 1s } }")
        )
        let run = try await field.runReady(instances: 2)
        var sent: Set<String> = []
        func some(_ word: String, _ count: Int) async throws {
          for i in 0..<count {
            // While something is down a send may be refused; then nothing was promised.
            if let one = try? await send(field, #"{"\#(word)":\#(i)}"#, ["Send-Key": "\(i % 4)"]) {
              sent.insert(one.id)
            }
          }
        }
        try await some("before", 40)
        for process in Machine.processes(marked: field.folder) where process.command.hasSuffix("state \(field.state)") {
          kill(process.pid, SIGKILL)
        }
        try await some("state", 40)
        kill(try field.planePid(), SIGKILL)
        try await eventually("the next plane serves") { (try? await field.ask("/healthz"))?.status == 200 }
        try await some("plane", 40)
        for instance in try await field.status().services.flatMap(\.instances) {
          if let pid = instance.pid { kill(pid, SIGKILL) }
        }
        try await eventually("a consumer is back") { (try? await field.ask("/healthz"))?.status == 200 }
        try await some("consumer", 40)
        #expect(sent.count >= 40)
        try await eventually("all are done") { sent.isSubset(of: Set(try done(field).map(\.id))) }

        // Everything at once, and another run on the same state.
        try mode(503, field)
        try await some("last", 10)
        for process in Machine.processes(marked: field.folder) { kill(process.pid, SIGKILL) }
        _ = try? await run.end()
        try mode(204, field)
        let next = try await field.runReady(instances: 2)
        try await eventually("all are done by the next run") { sent.isSubset(of: Set(try done(field).map(\.id))) }
        let all = try done(field)
        Claims.holds(
          true, "a queue loses nothing to kill -9 of state process, plane, consumers and all of it",
          "\(sent.count) sent, \(all.count) deliveries")
        next.ctrlC()
        #expect(try await next.end() == 0)
        field.expectClear("after queues")
      }
    }
  }
}
