// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirFlows
import WeirMessaging
import WeirWire

/// What programs are answered.
@Suite struct AnsweringTests {
  private func json(_ answering: Answering, _ reply: StateReply, _ status: UInt16 = 200) -> String {
    let answer = answering.answer(reply)
    #expect(answer.status == status && answer.reason == .none)
    #expect(answer.fields.first == MessagingField("Content-Type", "application/json"))
    return String(decoding: answer.body, as: UTF8.self)
  }

  @Test("what was taken, with the place where its state is told")
  func accepted() {
    let id = Array("a/b c".utf8)
    #expect(
      json(.enqueued("emails", isSingle: true), .enqueued([Enqueued(id: id, isDuplicate: false)]), 202)
        == #"{"id":"a/b c","queue":"emails","duplicate":false}"# + "\n")
    let answer = Answering.enqueued("emails", isSingle: true).answer(.enqueued([Enqueued(id: id, isDuplicate: true)]))
    #expect(answer.fields.contains(MessagingField("Location", "emails/messages/a%2Fb%20c")))
    // As RFC 3986 §5 resolves it, behind whatever prefix.
    let base = URL(string: "http://127.0.0.1:8080/from/shop/queues/emails")
    #expect(
      URL(string: "emails/messages/7", relativeTo: base)?.absoluteString
        == "http://127.0.0.1:8080/from/shop/queues/emails/messages/7")
    #expect(
      json(
        .enqueued("emails", isSingle: false),
        .enqueued([Enqueued(id: [0x61], isDuplicate: false), Enqueued(id: [0x62], isDuplicate: true)]), 202)
        == #"{"queue":"emails","messages":[{"id":"a","duplicate":false},{"id":"b","duplicate":true}]}"# + "\n")
  }

  @Test("leased messages: JSON as it was written, text as text, bytes as base64")
  func leased() {
    func leased(_ type: String, _ body: [UInt8], _ more: String = "") -> String {
      let message = NewMessage(
        id: Array("a".utf8), fields: Array((type.isEmpty ? "" : "content-type: \(type)\r\n").utf8) + Array(more.utf8),
        body: body)
      let all = json(
        .leased,
        .leased([LeasedMessage(sequence: 12, attempt: 1, until: 1000, enqueuedAt: 0, message: message)]))
      let start =
        #"{"messages":[{"lease":"12.1","id":"a","priority":4,"attempt":1,"until":"1970-01-01T00:00:01.000Z","#
        + #""enqueued-at":"1970-01-01T00:00:00.000Z","#
      #expect(all.hasPrefix(start) && all.hasSuffix("}]}\n"))
      return String(all.dropFirst(start.count).dropLast(4))
    }
    #expect(
      leased("application/json", Array(#"{ "z": 1.50 }"#.utf8))
        == #""content-type":"application/json","body":{ "z": 1.50 }"#)
    #expect(
      leased("application/vnd.x+json; v=1", Array("7".utf8))
        == #""content-type":"application/vnd.x+json; v=1","body":7"#)
    #expect(leased("application/json", Array("{".utf8)) == #""content-type":"application/json","text":"{""#)
    #expect(leased("", Array("a\"\\\n\u{1}ü".utf8)) == #""text":"a\"\\\n\u0001ü""#)
    #expect(leased("text/plain", []) == #""content-type":"text/plain","text":"""#)
    #expect(leased("image/png", [0, 255]) == #""content-type":"image/png","base64":"AP8=""#)
    #expect(
      leased("text/plain", [0x61], "ce-type: t\r\nbaggage: a=b\r\nbaggage: c=d\r\n")
        == #""content-type":"text/plain","text":"a","fields":{"ce-type":"t","baggage":"a=b, c=d"}"#)
    #expect(json(.leased, .leased([])) == #"{"messages":[]}"# + "\n")
  }

  @Test("a payload comes out as it went in, whatever its bytes")
  func payloads() throws {
    let bodies = [
      #"{"a":1e400,"b":-0.0,"c":"\u0000"}"#, "  [1, 2]\n", "\"x\"", "null", "12345678901234567890123", "{}",
    ]
    for body in bodies {
      let parsed = QueueAPITests.parse("POST", "/queues/a/batch", [], #"{"messages":[{"body":\#(body)}]}"#)
      let message = try #require(try QueueAPITests.messages(parsed).first)
      let trimmed = body.trimmingCharacters(in: .whitespacesAndNewlines)
      #expect(message.body == Array(trimmed.utf8))
      let out = json(
        .leased, .leased([LeasedMessage(sequence: 1, attempt: 1, until: 0, enqueuedAt: 0, message: message)]))
      #expect(out.contains("\"body\":\(trimmed)}"))
    }
  }

  @Test("results of settlements, one for one; a single lost one is a conflict")
  func settled() throws {
    let leases = ["1.1", "2.1", "3.1", "4.1", "5.1", "6.1"]
    #expect(
      json(
        .settled(leases), .settled([.done, .retry(at: 1000), .dead, .extended(until: 2000), .givenBack, .lost]))
        == #"{"results":[{"lease":"1.1","result":"done"},"#
        + #"{"lease":"2.1","result":"retry","at":"1970-01-01T00:00:01.000Z"},{"lease":"3.1","result":"dead"},"#
        + #"{"lease":"4.1","result":"extended","at":"1970-01-01T00:00:02.000Z"},"#
        + #"{"lease":"5.1","result":"given-back"},{"lease":"6.1","result":"lost"}]}"# + "\n")
    let lost = Answering.settled(["12.1"]).answer(.settled([.lost]))
    let problem = try QueueAPITests.problem(lost)
    #expect(problem.status == 409 && problem.reason == "lease-lost")
    #expect(String(decoding: lost.body, as: UTF8.self).contains(#""results":[{"lease":"12.1","result":"lost"}]"#))
  }

  @Test("what became of a message, and how a queue stands")
  func shown() {
    var view = MessageView(
      sequence: 7, id: Array("a".utf8), key: Array("k".utf8), tenant: [], priority: 4, state: .dead, attempts: 2,
      enqueuedAt: 0, dueAt: 5000, endedAt: 9000, death: .attempts, result: [], bytes: 3)
    view.history = [
      AttemptView(attempt: 1, at: 1000, latency: 1200, status: 503, error: ""),
      AttemptView(attempt: 2, at: 9000, latency: 0, status: 0, error: "gone"),
    ]
    #expect(
      json(.message("emails"), .message(view))
        == #"{"id":"a","queue":"emails","state":"dead","reason":"attempts","attempts":2,"key":"k","priority":4,"bytes":3,"#
        + #""enqueued-at":"1970-01-01T00:00:00.000Z","ended-at":"1970-01-01T00:00:09.000Z","#
        + #""history":[{"attempt":1,"at":"1970-01-01T00:00:01.000Z","latency":"1200ms","status":503},"#
        + #"{"attempt":2,"at":"1970-01-01T00:00:09.000Z","error":"gone"}]}"# + "\n")
    view = MessageView(
      sequence: 7, id: Array("a".utf8), key: [], tenant: [], priority: 4, state: .done, attempts: 1, enqueuedAt: 0,
      dueAt: 0, endedAt: 1000, death: nil, result: Array(#"{"sent":true}"#.utf8), bytes: 3)
    #expect(json(.message("emails"), .message(view)).contains(#""result":{"sent":true}"#))
    view.result = Array("plain".utf8)
    #expect(json(.message("emails"), .message(view)).contains(#""result":"plain""#))

    var counts = QueueCounts()
    counts.waiting = 3
    counts.oldest = 90_000
    #expect(
      json(.counts("emails"), .counts(counts))
        == #"{"queue":"emails","waiting":3,"delayed":0,"in-flight":0,"dead":0,"blocked":0,"retrying":0,"bytes":0,"#
        + #""oldest":"90s","paused":false,"pollers":0}"# + "\n")
  }

  @Test(
    "refusals of the state process",
    arguments: [
      (.queueFull(retryAfter: 1500), "backlog-full", 429, "2"), (.queueFull(retryAfter: 0), "backlog-full", 429, "1"),
      (.unknownQueue, "queue-unknown", 404, nil), (.failed(.full), "state-full", 507, nil),
      (.failed(.broken), "state-unavailable", 503, "1"), (.failed(.version), "state-unavailable", 503, "1"),
      (.failed(.tooMany), "overloaded", 503, "1"), (.stored, "internal-error", 500, nil),
    ] as [(StateReply, String, Int, String?)])
  func refusals(_ reply: StateReply, reason: String, status: Int, retryAfter: String?) throws {
    let answer = Answering.enqueued("emails", isSingle: true).answer(reply)
    let problem = try QueueAPITests.problem(answer)
    #expect(problem.reason == reason && problem.status == status)
    #expect(answer.fields.first { $0.name == "Retry-After" }?.value == retryAfter)
  }

  @Test("no answer, and answers to something else")
  func others() throws {
    #expect(try QueueAPITests.problem(Answering.unavailable).reason == "state-unavailable")
    #expect(try QueueAPITests.problem(Answering.message("a").answer(.message(nil))).reason == "message-unknown")
    #expect(try QueueAPITests.problem(Answering.settled(["1.1"]).answer(.settled([]))).reason == "internal-error")
    #expect(try QueueAPITests.problem(Answering.leased.answer(.queueFull(retryAfter: 1))).reason == "internal-error")
  }
}
