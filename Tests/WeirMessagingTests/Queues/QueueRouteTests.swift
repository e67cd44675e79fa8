// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirWire

/// Requests of a gateway's route that are messages of a queue.
@Suite struct QueueRouteTests {
  private let now = WallTime(milliseconds: 1_700_000_000_000)

  private func parse(
    _ method: String, _ path: String, _ fields: [MessagingField] = [], body: String = "",
    of caller: QueueRoute.Caller = .init()
  ) -> QueueAPI.Parsed {
    var source = SystemRandomNumberGenerator()
    return QueueRoute(queue: "reports", skip: 2).parse(
      MessagingRequest(method: method, path: path, fields: fields, body: Array(body.utf8)),
      of: caller, by: QueueAPI(keyFields: ["reports": "customer"]), now: now, using: &source)
  }

  @Test("the body is the message; of the caller's fields only those that describe it go along")
  func takes() throws {
    let fields = [
      MessagingField("Content-Type", "application/json"), MessagingField("Weir-Priority", "9"),
      MessagingField("Weir-Key", "mine"), MessagingField("ce-id", "7"), MessagingField("Cookie", "a=b"),
      MessagingField("Idempotency-Key", "\"r-1\""), MessagingField("weir-tenant", "acme"),
    ]
    guard
      case .ask(.enqueue(let queue, let messages), let then) = parse(
        "POST", "/api/reports", fields, body: #"{"customer":"c7"}"#,
        of: .init(fields: Array("x-user: 8\r\n".utf8), tenant: Array("acme".utf8)))
    else {
      Issue.record("it is not taken")
      return
    }
    let message = try #require(messages.first)
    #expect(queue == "reports" && messages.count == 1 && message.id == Array("route.r-1".utf8))
    #expect(
      message.priority == QueueLimits.priorityUsual && message.tenant == Array("acme".utf8)
        && message.key == Array("c7".utf8))
    #expect(String(decoding: message.fields, as: UTF8.self) == "content-type: application/json\r\nx-user: 8\r\n")
    #expect(String(decoding: message.body, as: UTF8.self) == #"{"customer":"c7"}"#)
    let answer = then.answer(.enqueued([Enqueued(id: message.id, isDuplicate: true)]))
    #expect(answer.status == 202 && answer.fields.contains(MessagingField("Location", "reports/r-1")))
    #expect(String(decoding: answer.body, as: UTF8.self) == #"{"id":"r-1","state":"waiting"}"# + "\n")
    #expect(then.answer(.queueFull(retryAfter: 2500)).status == Reason.backlogFull.status)
  }

  @Test("a key is its caller's: another's is another message, the same one's the same")
  func keys() {
    func id(_ name: String, _ key: String = "r-1") -> String? {
      let fields = [MessagingField("Idempotency-Key", key)]
      let parsed = parse("POST", "/api/reports", fields, of: .init(name: Array(name.utf8)))
      guard case .ask(.enqueue(_, let messages), _) = parsed else { return nil }
      return messages.first.map { String(decoding: $0.id, as: UTF8.self) }
    }
    #expect(id("") == "route.r-1")
    #expect(id("0 alice")?.count == 38 && id("0 alice") == id("0 alice"))
    #expect(Set([id("0 alice"), id("0 bob"), id("1 alice"), id("0 alice", "r-2")]).count == 4)
    // Who is not known takes no id of one who is, and none is too long to be looked up.
    let made = id("0 alice").map { String($0.dropFirst(6)) } ?? ""
    #expect(made.count == 32 && id("", made) != id("0 alice") && id("", made) == id("", made))
    let long = String(repeating: "k", count: QueueLimits.idBytesMax)
    #expect(id("", long)?.count == 38 && id("", String(long.dropFirst(6))) == "route.\(long.dropFirst(6))")
  }

  @Test("no id of a stranger is one that a program has given, and none of those is shown")
  func namespace() {
    var random = SeededRandom(seed: 7)
    let mine = QueueAPI().parse(
      MessagingRequest(method: "POST", path: "/queues/reports", fields: [MessagingField("Weir-Id", "order-7")]),
      now: now, using: &random)
    let theirs = parse("POST", "/api/reports", [MessagingField("Idempotency-Key", "order-7")])
    let looked = parse("GET", "/api/reports/order-7")
    guard case .ask(.enqueue(_, let own), _) = mine, case .ask(.enqueue(_, let strange), _) = theirs,
      case .ask(.look(_, .message(let asked)), _) = looked
    else {
      Issue.record("one of them is not asked")
      return
    }
    #expect(own[0].id == Array("order-7".utf8))
    #expect(own[0].id != strange[0].id && asked == strange[0].id)
  }

  @Test("without a key the id is drawn; a path with a slash at its end is the same")
  func draws() {
    var ids: Set<[UInt8]> = []
    for path in ["/api/reports", "/api/reports/"] {
      guard case .ask(.enqueue(_, let messages), let then) = parse("POST", path) else {
        Issue.record("it is not taken")
        continue
      }
      #expect(messages.first?.id.count == 42)
      let drawn = messages.first.map { String(decoding: $0.id, as: UTF8.self) } ?? ""
      #expect(
        drawn.contains(/^route\.[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/), "\(drawn)")
      if let id = messages.first?.id { ids.insert(id) }
      let location = path.hasSuffix("/") ? "r" : "reports/r"
      let answer = then.answer(.enqueued([Enqueued(id: Array("route.r".utf8), isDuplicate: false)]))
      #expect(answer.fields.contains(MessagingField("Location", location)))
    }
    #expect(ids.count == 2)
  }

  @Test("what became of it is told, and nothing of who worked on it")
  func progress() {
    guard case .ask(let request, let then) = parse("GET", "/api/reports/r%2F1") else {
      Issue.record("it is not asked")
      return
    }
    #expect(request == .look(queue: "reports", .message(id: Array("route.r/1".utf8))))
    var view = MessageView(
      sequence: 1, id: Array("route.r/1".utf8), key: Array("k".utf8), tenant: Array("t".utf8), priority: 4,
      state: .inFlight,
      attempts: 2, enqueuedAt: 1_700_000_000_000, dueAt: 0, endedAt: nil, death: nil, result: [], bytes: 5)
    let waiting = then.answer(.message(view))
    #expect(waiting.fields.contains(MessagingField("Retry-After", "1")))
    #expect(
      String(decoding: waiting.body, as: UTF8.self)
        == #"{"id":"r/1","state":"in-flight","enqueued-at":"2023-11-14T22:13:20.000Z"}"# + "\n")
    view.state = .done
    view.endedAt = 1_700_000_001_000
    view.result = Array(#"{"rows":3}"#.utf8)
    let done = then.answer(.message(view))
    #expect(!done.fields.contains { $0.name == "Retry-After" })
    #expect(
      String(decoding: done.body, as: UTF8.self)
        == #"{"id":"r/1","state":"done","enqueued-at":"2023-11-14T22:13:20.000Z","ended-at":"2023-11-14T22:13:21.000Z","#
        + #""result":{"rows":3}}"# + "\n")
    #expect(then.answer(.message(nil)).reason == .messageUnknown)
  }

  @Test("what makes no sense is refused, and why is said")
  func refuses() {
    func reason(_ parsed: QueueAPI.Parsed) -> Reason? {
      if case .refuse(let answer) = parsed { answer.reason } else { nil }
    }
    #expect(reason(parse("GET", "/api/reports")) == .methodNotAllowed)
    #expect(reason(parse("DELETE", "/api/reports/7")) == .methodNotAllowed)
    #expect(reason(parse("GET", "/api/reports/7/8")) == .noRoute)
    #expect(reason(parse("GET", "/api/reports/%00")) == .messageUnknown)
    let long = String(repeating: "k", count: QueueLimits.idBytesMax + 1)
    #expect(reason(parse("POST", "/api/reports", [MessagingField("Idempotency-Key", long)])) == .messageMalformed)
    let much = QueueRoute.Caller(fields: Array(repeating: 0x61, count: QueueLimits.fieldsBytesMax))
    #expect(reason(parse("POST", "/api/reports", [MessagingField("Content-Type", "text/plain")], of: much)) != nil)
    let twice = [MessagingField("Idempotency-Key", "a"), MessagingField("idempotency-key", "b")]
    #expect(reason(parse("POST", "/api/reports", twice)) == .messageMalformed)
  }
}
