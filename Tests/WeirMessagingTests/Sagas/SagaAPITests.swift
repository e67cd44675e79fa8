// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirWire

/// HTTP of sagas: what is asked of the state process, and what is answered.
struct SagaAPITests {
  private let now = WallTime(milliseconds: 1_700_000_000_000)

  private func parse(
    _ method: String, _ path: String, query: String? = nil, fields: [MessagingField] = [], body: String = ""
  ) -> MessagingAPI.Outcome {
    var random = SeededRandom(seed: 1, stream: "saga api")
    let request = MessagingRequest(method: method, path: path, query: query, fields: fields, body: Array(body.utf8))
    return MessagingAPI().parse(request, now: now, using: &random)
  }

  private func text(_ outcome: MessagingAPI.Outcome) -> String {
    guard case .answer(let answer) = outcome else { return "\(outcome)" }
    return "\(answer.status) \(String(decoding: answer.body, as: UTF8.self))"
  }

  private static let script = SagaScript([
    [.init(act: "POST pay/charge", undo: "POST pay/refund")], [.init(act: "POST ship/send", undo: nil)],
  ])

  private func entry(_ version: Int64, _ records: [SagaRecord]) -> LogEntry {
    LogEntry(
      position: version, version: version, at: now.milliseconds + version, id: [], key: Array("o1".utf8), type: [],
      fields: [], body: SagaJournal.encode(records))
  }

  @Test("a saga is begun by a message of its queue, once per id")
  func begins() throws {
    let outcome = parse(
      "POST", "/sagas/order", fields: [.init("Content-Type", "application/json"), .init("Weir-Id", "o1")],
      body: #"{"sum":7}"#)
    guard case .ask(.enqueue("sagas.order", let messages), let then) = outcome else {
      Issue.record("\(outcome)")
      return
    }
    #expect(messages.map(\.id) == [Array("o1".utf8)])
    #expect(messages[0].body == Array(#"{"sum":7}"#.utf8))
    let answered = then.next(.enqueued([Enqueued(id: Array("o1".utf8), isDuplicate: false)]))
    #expect(text(answered) == "202 {\"id\":\"o1\",\"saga\":\"order\",\"duplicate\":false}\n")
    guard case .answer(let answer) = answered else { return }
    #expect(answer.fields.contains(MessagingField("Location", "order/o1")))
    #expect(text(then.next(.unknownQueue)).contains("saga-unknown"))
    #expect(text(then.next(.queueFull(retryAfter: 2000))).contains("backlog-full"))
    #expect(text(then.next(.failed(.full))).contains("state-full"))
    #expect(text(then.next(.failed(.broken))).contains("state-unavailable"))
    #expect(text(then.next(.stored)).contains("internal-error"))
  }

  @Test("its state is read from its journal, page by page")
  func shown() throws {
    guard case .ask(let question, let then) = parse("GET", "/sagas/order/o1") else { return }
    #expect(question == .read(log: "sagas.order", key: Array("o1".utf8), after: 0, limit: 500, wait: 0))
    let answer = SagaAnswer(at: now, status: 200, text: Array(#"{"charge":9}"#.utf8))
    let outcome = then.next(
      .entries([
        entry(1, [.script(Self.script), .entry(.begun(now)), .entry(.calling(0, attempt: 1))]),
        entry(2, [.answered(0, isUndo: false, answer), .entry(.done(0)), .entry(.calling(1, attempt: 1))]),
      ]))
    #expect(
      text(outcome) == """
        200 {"id":"o1","saga":"order","state":"running","begun-at":"2023-11-14T22:13:20.000Z","steps":[\
        {"do":"POST pay/charge","undo":"POST pay/refund","state":"done","attempts":1,"status":200,"result":{"charge":9}},\
        {"do":"POST ship/send","state":"calling","attempts":1}]}

        """)
    // Refused, turned back, undone.
    let no = SagaAnswer(at: now, status: 422, text: Array("no such street".utf8))
    let compensated = then.next(
      .entries([
        entry(
          1,
          [
            .script(Self.script), .entry(.begun(now)), .entry(.calling(0, attempt: 1)), .entry(.done(0)),
            .entry(.calling(1, attempt: 1)), .answered(1, isUndo: false, no),
            .entry(.failed(1, mayBeDone: false, retryAt: nil)), .entry(.turned(.step(1))),
            .entry(.undoing(0, attempt: 1)), .entry(.undone(0)), .entry(.compensated),
          ])
      ]))
    #expect(text(compensated).contains(#""state":"compensated","cause":"step 2, POST ship/send: answered 422""#))
    #expect(text(compensated).contains(#""result":"no such street""#))
    #expect(text(then.next(.entries([entry(1, [.taken])]))).contains("internal-error"))
  }

  @Test("whoever waits is answered when it is over, or when the time is")
  func waits() {
    guard case .ask(let question, let then) = parse("GET", "/sagas/order/o1", query: "wait=10s") else { return }
    #expect(question == .read(log: "sagas.order", key: Array("o1".utf8), after: 0, limit: 500, wait: 0))
    let begun = entry(1, [.script(Self.script), .entry(.begun(now)), .entry(.calling(0, attempt: 1))])
    guard case .ask(let second, let more) = then.next(.entries([begun])) else {
      Issue.record("it is not held")
      return
    }
    #expect(second == .read(log: "sagas.order", key: Array("o1".utf8), after: 1, limit: 500, wait: 9999))
    #expect(MessagingAPI.time(for: second) == 9999)
    #expect(text(more.next(.entries([]))).hasPrefix(#"200 {"id":"o1","saga":"order","state":"running""#))
    guard
      case .ask(let third, let last) = more.next(
        .entries([entry(2, [.entry(.done(0)), .entry(.calling(1, attempt: 1))])]))
    else {
      Issue.record("it is not held any more")
      return
    }
    #expect(third == .read(log: "sagas.order", key: Array("o1".utf8), after: 2, limit: 500, wait: 9998))
    let finished = last.next(.entries([entry(3, [.entry(.done(1)), .entry(.finished)])]))
    #expect(text(finished).contains(#""state":"finished""#))
  }

  @Test("one that is not begun yet is looked for in the queue")
  func queued() {
    guard case .ask(_, let then) = parse("GET", "/sagas/order/o1"),
      case .ask(let look, let looked) = then.next(.entries([]))
    else {
      Issue.record("nobody looks")
      return
    }
    #expect(look == .look(queue: "sagas.order", .message(id: Array("o1".utf8))))
    #expect(text(looked.next(.message(nil))).hasPrefix("404 "))
    var view = MessageView(
      sequence: 1, id: Array("o1".utf8), key: [], tenant: [], priority: 4, state: .waiting, attempts: 0, enqueuedAt: 0,
      dueAt: 0, endedAt: nil, death: nil, result: [], bytes: 2)
    #expect(text(looked.next(.message(view))).contains(#""state":"running","steps":[]"#))
    view.state = .dead
    view.death = .expired
    #expect(text(looked.next(.message(view))).contains(#""state":"stuck","cause":"expired""#))
  }

  @Test(
    "what is no request to a saga is refused",
    arguments: [
      ("GET", "/sagas/order", nil, 405), ("DELETE", "/sagas/order/o1", nil, 405), ("GET", "/sagas/Order/o1", nil, 404),
      ("GET", "/sagas/order/o1/steps", nil, 404), ("GET", "/sagas", nil, 404), ("GET", "/sagas/order/", nil, 404),
      ("GET", "/sagas/order/o1", "wait=10", 422), ("GET", "/sagas/order/o1", "wiat=10s", 422),
      ("GET", "/sagas/order/o%ff", nil, 404), ("POST", "/sagas/sagas.order", nil, 404),
    ] as [(String, String, String?, Int)])
  func refused(_ method: String, _ path: String, _ query: String?, _ status: Int) {
    #expect(text(parse(method, path, query: query)).hasPrefix("\(status) "), "\(method) \(path)")
  }
}
