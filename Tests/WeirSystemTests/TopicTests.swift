// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// Topics and streams under `weir run`, with a program in Python that uses nothing but its standard library.
  @Suite struct TopicTests {
    /// What the program has written down of one event.
    private struct Heard: Decodable {
      var id: String?
      var key: String?
      var type: String?
      var position: String?
      var version: String?
      var topic: String?
      var stream: String?
      var group: String?
      var attempt: String
      var count: String?
      var ce: String?
      var body: String
      var status: Int
    }

    private struct Group: Decodable {
      var name: String
      var lag: Int
      var position: Int
      var inFlight: Int
      var dead: Int
    }

    private struct Event: Decodable {
      var position: Int
      var version: Int?
      var id: String
      var key: String?
      var type: String?
      var at: String
      var body: String?
    }

    private struct Page: Decodable { var events: [Event] }
    private struct Sent: Decodable {
      var id: String
      var position: Int
      var version: Int?
    }

    private static func file(
      _ field: Field, events: String = "mails: POST shop/heard/mails", ledger: String = "list: POST shop/heard/list"
    ) -> String {
      """
      weir: 1
      system: shop
      gateway: { listen: \(field.port), routes: { all: { path: /**, to: shop } } }
      services:
        shop:
          run: python3 \(Program.root)/Tests/Queue/listener.py
          health: /healthz
          at-once: 16
          sends: [events, ledger]
      topics:
        events:
          key: order
          to:
            \(events)
            audit: { visibility: 3s, retry: { backoff: { first: 100ms, max: 1s } } }
      streams:
        ledger: { events: [Placed, Paid], key: order, projections: { \(ledger) } }
      """
    }

    private func heard(_ name: String, _ field: Field) throws -> [Heard] {
      try Program.read("\(field.folder)/\(name)").split(separator: "\n").map {
        try JSONDecoder().decode(Heard.self, from: Data($0.utf8))
      }
    }

    private func verb(_ field: Field, _ words: [String]) async throws -> (code: Int32, out: String, err: String) {
      try await field.verb(words + ["--file", field.file, "--state", field.state])
    }

    private func read<Answer: Decodable>(_ field: Field, _ words: [String], as: Answer.Type = Answer.self) async throws
      -> Answer
    {
      let result = try await verb(field, words + ["--format", "json"])
      do { return try JSONDecoder().decode(Answer.self, from: Data(result.out.utf8)) } catch {
        throw Mistake("weir \(words.joined(separator: " ")): \(result.out) \(result.err)")
      }
    }

    private func group(_ field: Field, _ kind: String, _ log: String, _ name: String) async throws -> Group {
      let groups = try await read(field, [kind, "groups", log], as: [Group].self)
      guard let group = groups.first(where: { $0.name == name }) else { throw Mistake("no group \(name)") }
      return group
    }

    private func send(
      _ field: Field, _ path: String, _ body: String, _ fields: [String: String] = [:], status: Int
    ) async throws -> Sent {
      let reply = try await field.ask(
        path, "POST", fields: fields, body: body)
      guard reply.status == status else { throw Mistake("\(path): \(reply.status) \(reply.text)") }
      return try JSONDecoder().decode(Sent.self, from: Data(reply.text.utf8))
    }

    private func publish(_ field: Field, _ n: Int, order: String) async throws -> Sent {
      try await send(field, "/pass/EVENTS_URL", #"{"order":"\#(order)","n":\#(n)}"#, status: 202)
    }

    private static func numbers(_ heard: [Heard], order: String) -> [Int] {
      struct Body: Decodable {
        var order: String
        var n: Int
      }
      return heard.compactMap { try? JSONDecoder().decode(Body.self, from: Data($0.body.utf8)) }
        .filter { $0.order == order }.map(\.n)
    }

    @Test("a topic is heard by a group that is called and by one that fetches, by each in the order of its key")
    func heard() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let run = try await field.runReady(instances: 1)
        for n in 0..<60 {
          let sent = try await publish(field, n, order: "order-\(n % 6)")
          #expect(sent.position == n + 1)
        }
        let cloud = #"{"specversion":"1.0","id":"c-1","source":"/shop","type":"order.paid","data":{"order":"o","n":0}}"#
        let event = try await send(
          field, "/pass/EVENTS_URL", cloud, ["X-Type": "application/cloudevents+json"], status: 202)
        #expect(event.position == 61 && event.id == "c-1")
        for name in ["mails", "audit"] {
          try await eventually("\(name) has heard all") { try heard(name, field).count >= 61 }
          try await eventually("\(name) has done all") {
            let group = try await group(field, "topic", "events", name)
            return group.lag == 0 && group.position == 61 && group.inFlight == 0
          }
          let all = try heard(name, field)
          #expect(all.count == 61 && Set(all.compactMap(\.position)).count == 61, "\(name)")
          for order in 0..<6 {
            let numbers = Self.numbers(all, order: "order-\(order)")
            #expect(numbers == (0..<10).map { $0 * 6 + order }, "\(name), order-\(order)")
          }
        }
        let mails = try heard("mails", field)
        #expect(mails.allSatisfy { $0.topic == "events" && $0.group == "mails" && $0.attempt == "1" })
        #expect(mails.first { $0.position == "61" }?.ce == "order.paid")

        // What stands there, and what is shown of it.
        let page = try await read(field, ["topic", "events", "events", "--after", "58"], as: Page.self)
        #expect(page.events.map(\.position) == [59, 60, 61])
        let live = try await field.ask("/pass/EVENTS_URL/events?after=60&wait=1s")
        #expect(live.status == 200 && live.text.contains(#""position":61"#), "\(live.text)")
        for line in [
          #"weir_log_last_position{log="events",kind="topic"} 61"#, #"weir_group_lag{log="events",group="mails"} 0"#,
          #"weir_queue_messages{queue="events.audit",state="waiting"} 0"#,
        ] {
          try await eventually("metrics have \(line)") { try await field.metrics().contains(line) }
        }
        #expect(try await verb(field, ["topic"]).out.contains("audit"))

        // Heard again, from a moment on.
        let all = try await read(field, ["topic", "events", "events", "--after", "0", "--limit", "100"], as: Page.self)
        let moment = all.events[40].at
        let again = all.events.filter { $0.at >= moment }
        let replayed = try await verb(field, ["topic", "replay", "events", "mails", "--since", moment])
        #expect(replayed.out == "\(again.count) events of 'events' go to 'mails' again\n", "\(replayed)")
        try await eventually("they are heard again") { try heard("mails", field).count >= 61 + again.count }
        let second = try heard("mails", field).dropFirst(61)
        #expect(Set(second.compactMap(\.position)) == Set(again.map { "\($0.position)" }))
        #expect(try heard("audit", field).count == 61)

        // What is none.
        let wrong = try await verb(field, ["topic", "replay", "events", "nobody", "--all"])
        #expect(wrong.code == 1 && wrong.err.contains("no group 'nobody'; it has: mails, audit"), "\(wrong.err)")
        #expect(try await verb(field, ["topic", "events", "event"]).err.contains("there are: events"))
        #expect(try await verb(field, ["topic", "events", "events", "--from", "now"]).code == 1)
        #expect(try await verb(field, ["stream", "events", "events"]).code == 1)
        #expect(try await verb(field, ["topic", "replay", "events", "mails"]).code == 2)
        let admin = try await field.status().admin.split(separator: ":").last.flatMap { Int($0) }
        #expect(try await field.ask("/topics", port: admin).status == 200)
        let own = "/topics/events"
        #expect(try await field.ask(own + "/events", port: admin).status == 401)
        #expect(try await field.ask(own + "/groups/mails/replay", "POST", port: admin, body: "{}").status == 401)
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after topics")
      }
    }

    @Test("a stream has versions; a projection is made of all of it, anew when it is told to, or when it is new")
    func projected() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let run = try await field.runReady(instances: 1)
        for n in 0..<12 {
          let sent = try await send(
            field, "/pass/LEDGER_URL/o-\(n % 3)", #"{"order":"o-\#(n % 3)","n":\#(n)}"#,
            ["Send-Type": n < 3 ? "Placed" : "Paid", "Send-Expected-Version": "\(n / 3)"], status: 201)
          #expect(sent.position == n + 1 && sent.version == n / 3 + 1)
        }
        let late = try await field.ask(
          "/pass/LEDGER_URL/o-0", "POST",
          fields: ["Send-Type": "Paid", "Send-Expected-Version": "1"], body: "{}")
        #expect(late.status == 409 && late.text.contains(#""version":4"#), "\(late.text)")
        let strange = try await field.ask(
          "/pass/LEDGER_URL/o-0", "POST", fields: ["Send-Type": "Lost"], body: "{}")
        #expect(strange.status == 422, "\(strange.text)")
        try await eventually("the projection has all") { try heard("list", field).count >= 12 }
        let first = try heard("list", field)
        #expect(first.count == 12 && first.allSatisfy { $0.stream == "ledger" && $0.version != nil })
        for order in 0..<3 {
          #expect(Self.numbers(first, order: "o-\(order)") == [order, order + 3, order + 6, order + 9])
        }
        let one = try await read(field, ["stream", "events", "ledger", "--key", "o-1", "--after", "2"], as: Page.self)
        #expect(one.events.map(\.version) == [3, 4] && one.events.map(\.position) == [8, 11])

        // Made anew.
        try await eventually("it is done with the first") {
          try await group(field, "stream", "ledger", "list").lag == 0
        }
        let rebuilt = try await verb(field, ["stream", "replay", "ledger", "list", "--all"])
        #expect(rebuilt.out == "12 events of 'ledger' go to 'list' again\n", "\(rebuilt)")
        try await eventually("it is made anew") { try heard("list", field).count >= 24 }
        let second = Array(try heard("list", field).dropFirst(12))
        for order in 0..<3 {
          #expect(Self.numbers(second, order: "o-\(order)") == [order, order + 3, order + 6, order + 9])
        }

        // One that comes later is made of everything, too, several in one request.
        try field.write(
          Self.file(
            field, ledger: "list: POST shop/heard/list, late: { do: POST shop/heard/late, batch: 5, at-once: 1 }"))
        let reload = try await field.verb(["reload", field.file, "--state", field.state])
        #expect(reload.code == 0, "\(reload)")
        try await eventually("the new one has all") {
          try heard("late", field).reduce(0) { $0 + (Int($1.count ?? "1") ?? 0) } >= 12
        }
        let lates = try heard("late", field)
        // A key's events never go together: there are three keys.
        #expect(lates.allSatisfy { $0.body.hasPrefix("[{") && (1...3).contains(Int($0.count ?? "") ?? 0) })
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after streams")
      }
    }

    @Test("what was published is heard by every group, whatever is killed: state process, plane, program")
    func killed() async throws {
      try await Field.with { field in
        try field.write(
          Self.file(
            field,
            events:
              "mails: { do: POST shop/heard/mails, visibility: 3s, retry: { backoff: { first: 100ms, max: 1s } } }"))
        let run = try await field.runReady(instances: 1)
        var sent: [Int: Int] = [:]
        var n = 0
        func some(_ count: Int) async throws {
          for _ in 0..<count {
            // While something is down it may be refused; then nothing was promised.
            if let one = try? await publish(field, n, order: "order-\(n % 4)") { sent[one.position] = n }
            n += 1
          }
        }
        try await some(30)
        for process in Machine.processes(marked: field.folder) where process.command.hasSuffix("state \(field.state)") {
          kill(process.pid, SIGKILL)
        }
        try await some(30)
        kill(try field.planePid(), SIGKILL)
        try await eventually("the next plane serves") { (try? await field.ask("/healthz"))?.status == 200 }
        try await some(30)
        for instance in try await field.status().services.flatMap(\.instances) {
          if let pid = instance.pid { kill(pid, SIGKILL) }
        }
        try await eventually("the program is back") { (try? await field.ask("/healthz"))?.status == 200 }
        try await some(30)
        let wanted = Set(sent.keys.map { "\($0)" })
        var wrong: [String] = []
        for name in ["mails", "audit"] {
          try await eventually("\(name) has heard all that was promised") {
            wanted.isSubset(of: Set(try heard(name, field).compactMap(\.position)))
          }
          // Again is allowed, to who dies in the middle of it; out of order is not.
          let all = try heard(name, field)
          for order in 0..<4 {
            var seen: Set<Int> = []
            let firsts = Self.numbers(all, order: "order-\(order)").filter { seen.insert($0).inserted }
            if firsts != firsts.sorted() { wrong.append("\(name), order-\(order): \(firsts)") }
          }
        }
        let page = try await read(
          field, ["topic", "events", "events", "--after", "0", "--limit", "1000"], as: Page.self)
        let positions = page.events.map(\.position)
        if positions != Array(1...max(1, positions.count)) { wrong.append("positions \(positions)") }
        let kept = page.events.reduce(into: [:]) { $0[$1.position] = $1.body }
        for (position, number) in sent where kept[position]?.contains("\"n\":\(number)}") != true {
          wrong.append("\(number) at \(position): \(kept[position] ?? "nothing")")
        }
        Claims.holds(
          wrong.isEmpty && sent.count >= 60, "a topic loses nothing to kill -9 of state process, plane and program",
          "\(sent.count) published, two groups; wrong: \(wrong)")
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after topics")
      }
    }
  }
}
