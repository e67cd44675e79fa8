// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirProxy
import WeirStorage
import WeirWire

/// What programs are told at the loopback listener about queues, topics and streams, with a state process in the test.
@Suite struct MessagingTests {
  /// A queue that holds one message, a topic with a schema and a group that holds one event, and a stream of two types.
  private func withMessaging(_ body: @escaping @Sendable (Wire) async throws -> Void) async throws {
    let state = try KeyedTests.State()
    let folder = state.folder
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    let schema = try JSONSchema(Array(#"{"type":"object","required":["order"]}"#.utf8))
    var setup = Setup()
    setup.configure = { configuration in
      var emails = QueueDeclaration(name: "emails")
      emails.length = 1
      var group = QueueDeclaration(name: "events.slow")
      group.length = 1
      var events = LogDeclaration(name: "events")
      events.groups = [LogGroup(queue: group.name)]
      configuration.queues = [emails, group]
      configuration.logs = [events, LogDeclaration(name: "ledger")]
      configuration.messaging = MessagingAPI(
        logs: LogAPI([
          LogAPI.Log(.topic, "events", schema: schema, groups: ["slow"]),
          LogAPI.Log(.stream, "ledger", types: ["Placed", "Paid"]),
        ]))
      configuration.statePath = StateProcess.socketPath(folder)
      configuration.listeners.append(.init(.bind(host: "127.0.0.1", port: 0), .calls))
    }
    try await withProxy(to: [backend.port], setup) { server, _ in
      let client = try Wire(port: server.ports[1])
      // What is declared is on the disk when it answers.
      try await eventually("the state process is there") {
        try client.ask(Self.request("GET", "/topics/events")).status == 200
      }
      try await body(client)
    }
    try state.end()
  }

  private static func request(_ method: String, _ path: String, _ body: String = "", _ fields: [String] = []) -> String
  {
    "\(method) /from/web\(path) HTTP/1.1\r\nHost: test.example\r\nContent-Type: application/json\r\n"
      + fields.map { $0 + "\r\n" }.joined() + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  @Test("each refusal of a queue, a topic and a stream has its reason")
  func reasons() async throws {
    try await withMessaging { client in
      func expect(
        _ reason: Reason, _ method: String, _ path: String, _ body: String = "", _ fields: [String] = []
      ) throws {
        let answer = try client.ask(Self.request(method, path, body, fields))
        #expect(answer.reason == "\(reason.name)" && answer.status == Int(reason.status), "\(answer.text)")
      }
      try expect(.queueUnknown, "POST", "/queues/mails", "{}")
      try expect(.messageMalformed, "POST", "/queues/emails", "{}", ["Weir-Delay: soon"])
      try expect(.messageUnknown, "GET", "/queues/emails/messages/nobody")
      #expect(try client.ask(Self.request("POST", "/queues/emails", "{}")).status == 202)
      try expect(.backlogFull, "POST", "/queues/emails", "{}")
      try expect(.leaseLost, "POST", "/queues/emails/ack", #"{"leases":["1.9"]}"#)

      try expect(.topicUnknown, "POST", "/topics/ledger", "{}")
      try expect(.groupUnknown, "POST", "/topics/events/groups/fast/lease")
      try expect(.eventMisfit, "POST", "/topics/events", "{}")
      #expect(try client.ask(Self.request("POST", "/topics/events", #"{"order":1}"#)).status == 202)
      // A group that is as far behind as it may be holds up everybody.
      try expect(.backlogFull, "POST", "/topics/events", #"{"order":2}"#)

      try expect(.streamUnknown, "POST", "/streams/events/o-1", "{}")
      try expect(.eventMisfit, "POST", "/streams/ledger/o-1", "{}", ["Weir-Type: Lost"])
      let first = ["Weir-Type: Placed", "Weir-Expected-Version: 0"]
      #expect(try client.ask(Self.request("POST", "/streams/ledger/o-1", "{}", first)).status == 201)
      try expect(.versionConflict, "POST", "/streams/ledger/o-1", "{}", first)
      try expect(.snapshotUnknown, "GET", "/streams/ledger/o-1/snapshot")
    }
  }

  @Test("an answer that takes several asks: a snapshot is kept and read, a topic is read from a moment on")
  func leadsOn() async throws {
    try await withMessaging { client in
      let sent = try client.ask(Self.request("POST", "/streams/ledger/o-1", "{}", ["Weir-Type: Placed"]))
      #expect(sent.status == 201 && sent.text.contains(#""version":1"#), "\(sent.text)")
      let kept = try client.ask(Self.request("PUT", "/streams/ledger/o-1/snapshot", #"{"n":1}"#, ["Weir-Version: 1"]))
      #expect(kept.status == 200, "\(kept.text)")
      let read = try client.ask(Self.request("GET", "/streams/ledger/o-1/snapshot"))
      #expect(read.status == 200 && read.text == #"{"n":1}"# && read["weir-version"] == "1")
      #expect(try client.ask(Self.request("POST", "/topics/events", #"{"order":1}"#)).status == 202)
      let all = try client.ask(Self.request("GET", "/topics/events/events?from=2026-01-01T00:00:00Z"))
      #expect(all.status == 200 && all.text.contains(#""position":1"#), "\(all.text)")
      let none = try client.ask(Self.request("GET", "/topics/events/events?from=2100-01-01T00:00:00Z"))
      #expect(none.status == 200 && none.text.contains(#""events":[]"#), "\(none.text)")
    }
  }
}
