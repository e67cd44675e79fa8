// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

struct QueueMessageTests {
  private static let declaration: QueueDeclaration = {
    var queue = QueueDeclaration(name: "emails")
    queue.visibility = 1
    queue.attempts = 2
    queue.backoffFirst = 3
    queue.backoffMax = 4
    queue.backoffJitter = 0.25
    queue.keepsDead = false
    queue.keep = 5
    queue.dedup = 6
    queue.length = 7
    queue.bytes = 8
    queue.atOnce = 9
    queue.keyAtOnce = 10
    queue.rate = 11.5
    queue.order = GroupOrder(
      sequence: .init(by: "number", wait: 12, stops: true), dedup: .init(by: "event_id", within: 13))
    return queue
  }()
  private static let plain: QueueDeclaration = {
    var queue = QueueDeclaration(name: "emails")
    queue.order = GroupOrder(dedup: .init(within: 13))
    return queue
  }()
  static let message = NewMessage(
    id: [1], key: [2, 3], tenant: [4], priority: 9, notBefore: 5, keep: 6, fields: Array("A: b\r\n".utf8),
    body: [0, 255])
  private static let view: MessageView = {
    var view = MessageView(
      sequence: 1, id: [2], key: [3], tenant: [4], priority: 5, state: .dead, attempts: 6, enqueuedAt: 7, dueAt: 8,
      endedAt: 9, death: .refused, result: [10], bytes: 11)
    view.history = [
      AttemptView(attempt: 1, at: 2, latency: 3, status: 503, error: "no"),
      AttemptView(attempt: 2, at: 3, latency: 4, status: 0, error: ""),
    ]
    view.fields = [12]
    view.body = [13]
    return view
  }()

  static let requests: [StateRequest] =
    [
      .declare([]), .declare([declaration, plain, QueueDeclaration(name: "bills")]), .enqueue(queue: "emails", []),
      .enqueue(queue: "emails", [message, NewMessage(id: [9], body: [])]),
      .lease(queue: "emails", max: 1, visibility: nil, wait: 0),
      .lease(queue: "émails", max: 1000, visibility: 5, wait: .max),
      .settle(
        queue: "emails",
        [
          Settlement(sequence: 1, attempt: 2, verdict: .ack(result: [3])),
          Settlement(
            sequence: .max, attempt: .max,
            verdict: .nack(error: "refused", status: 503, latency: 4, retryAfter: 5, isFinal: true)),
          Settlement(
            sequence: 0, attempt: 0, verdict: .nack(error: "", status: 0, latency: 0, retryAfter: nil, isFinal: false)),
          Settlement(sequence: 1, attempt: 1, verdict: .extend(by: 6)),
          Settlement(sequence: 1, attempt: 1, verdict: .giveBack),
        ]),
      .look(queue: "emails", .counts), .look(queue: "emails", .message(id: [1, 2])),
    ] + MessageState.allCases.filter { $0 != .done }.map { .look(queue: "q", .list($0, after: 7, limit: 1000)) }
    + [QueueSteer.pause, .resume, .redrive([]), .redrive([1, 2]), .remove([3]), .purge(all: true), .purge(all: false)]
    .map { .steer(queue: "q", $0) }

  static let replies: [StateReply] = [
    .declared, .enqueued([]), .enqueued([Enqueued(id: [1], isDuplicate: true), Enqueued(id: [2], isDuplicate: false)]),
    .queueFull(retryAfter: 1000), .unknownQueue, .leased([]),
    .leased([LeasedMessage(sequence: 1, attempt: 2, until: 3, enqueuedAt: 4, message: message)]),
    .settled([.done, .retry(at: 1), .dead, .extended(until: 2), .givenBack, .lost]), .counts(QueueCounts()),
    .counts(
      {
        var counts = QueueCounts()
        counts.waiting = 1
        counts.delayed = 2
        counts.inFlight = 3
        counts.dead = 4
        counts.blocked = 5
        counts.retrying = 6
        counts.bytes = 7
        counts.oldest = 8
        counts.isPaused = true
        counts.pollers = 9
        counts.declaredAt = 10
        var order = OrderCounts()
        order.copies = 11
        order.kept = 12
        order.skipped = 13
        order.late = 14
        order.keeping = 15
        order.gaps = 16
        counts.order = order
        return counts
      }()),
    .message(nil), .message(view), .messages([]),
    .messages(
      MessageState.allCases.map { state in
        MessageView(
          sequence: 1, id: [2], key: [], tenant: [], priority: 0, state: state, attempts: 0, enqueuedAt: 0, dueAt: 0,
          endedAt: nil, death: nil, result: [], bytes: 0)
      }), .steered(.max),
  ]

  private func content(_ request: StateRequest) -> [UInt8] {
    var bytes: [UInt8] = []
    StateFrames.append(request, id: 1, to: &bytes)
    return Array(bytes.dropFirst(4))
  }

  private func content(_ reply: StateReply) -> [UInt8] {
    var bytes: [UInt8] = []
    StateFrames.append(reply, id: 1, to: &bytes)
    return Array(bytes.dropFirst(4))
  }

  @Test("each message is read as it was written, many in a row")
  func roundTrip() throws {
    var bytes: [UInt8] = []
    for (i, request) in Self.requests.enumerated() { StateFrames.append(request, id: UInt64(i), to: &bytes) }
    var reader = StateFrameReader()
    reader.feed(bytes.span)
    for (i, request) in Self.requests.enumerated() {
      let frame = try #require(try reader.next())
      let (id, read) = try StateFrames.request(frame.span)
      #expect(id == UInt64(i) && read == request)
    }
    #expect(try reader.next() == nil)
    for reply in Self.replies { #expect(try StateFrames.reply(content(reply).span).reply == reply) }
  }

  @Test("what is cut short anywhere, or too long, is refused")
  func truncated() throws {
    for request in Self.requests {
      let whole = content(request)
      for count in 0..<whole.count {
        #expect(throws: StateFrameError.tooShort) { try StateFrames.request(Array(whole.prefix(count)).span) }
      }
      #expect(throws: StateFrameError.surplus(1)) { try StateFrames.request((whole + [0]).span) }
    }
    for reply in Self.replies {
      let whole = content(reply)
      for count in 0..<whole.count {
        #expect(throws: StateFrameError.tooShort) { try StateFrames.reply(Array(whole.prefix(count)).span) }
      }
      #expect(throws: StateFrameError.surplus(1)) { try StateFrames.reply((whole + [0]).span) }
    }
  }

  /// Each limit from both sides.
  @Test("limits are checked when a message is read")
  func limits() throws {
    func takes(_ request: StateRequest, _ other: StateRequest) {
      #expect(throws: Never.self) { try StateFrames.request(content(request).span) }
      #expect(throws: StateFrameError.badValue) { try StateFrames.request(content(other).span) }
    }
    func enqueue(_ change: (inout NewMessage) -> Void) -> StateRequest {
      var message = NewMessage(id: [1], body: [])
      change(&message)
      return .enqueue(queue: "q", [message])
    }
    func zeros(_ count: Int) -> [UInt8] { Array(repeating: 48, count: count) }
    takes(enqueue { $0.id = zeros(128) }, enqueue { $0.id = zeros(129) })
    takes(enqueue { $0.id = zeros(1) }, enqueue { $0.id = [] })
    takes(enqueue { $0.key = zeros(256) }, enqueue { $0.key = zeros(257) })
    takes(enqueue { $0.tenant = zeros(256) }, enqueue { $0.tenant = zeros(257) })
    takes(enqueue { $0.priority = 9 }, enqueue { $0.priority = 10 })
    takes(enqueue { $0.notBefore = 0 }, enqueue { $0.notBefore = -1 })
    takes(enqueue { $0.keep = 0 }, enqueue { $0.keep = -1 })
    takes(enqueue { $0.fields = zeros(16 << 10) }, enqueue { $0.fields = zeros(16 << 10 + 1) })
    takes(enqueue { $0.body = zeros(1 << 20) }, enqueue { $0.body = zeros(1 << 20 + 1) })
    let message = NewMessage(id: [1], body: [])
    takes(
      .enqueue(queue: "q", Array(repeating: message, count: 1000)),
      .enqueue(queue: "q", Array(repeating: message, count: 1001)))
    takes(
      .look(queue: String(repeating: "q", count: 128), .counts),
      .look(queue: String(repeating: "q", count: 129), .counts))
    takes(.look(queue: "q", .counts), .look(queue: "", .counts))
    takes(.lease(queue: "q", max: 1, visibility: 0, wait: 0), .lease(queue: "q", max: 0, visibility: 0, wait: 0))
    takes(.lease(queue: "q", max: 1000, visibility: 0, wait: 0), .lease(queue: "q", max: 1001, visibility: 0, wait: 0))
    takes(.lease(queue: "q", max: 1, visibility: 0, wait: 0), .lease(queue: "q", max: 1, visibility: -1, wait: 0))
    takes(
      .look(queue: "q", .list(.dead, after: 0, limit: 1000)), .look(queue: "q", .list(.dead, after: 0, limit: 1001)))
    takes(.look(queue: "q", .list(.dead, after: 0, limit: 1)), .look(queue: "q", .list(.done, after: 0, limit: 1)))
    func settle(_ verdict: Settlement.Verdict) -> StateRequest {
      .settle(queue: "q", [Settlement(sequence: 1, attempt: 1, verdict: verdict)])
    }
    func failed(_ error: String) -> StateRequest {
      settle(.nack(error: error, status: 0, latency: 0, retryAfter: nil, isFinal: false))
    }
    takes(settle(.ack(result: zeros(4 << 10))), settle(.ack(result: zeros(4 << 10 + 1))))
    takes(failed(String(repeating: "x", count: 1024)), failed(String(repeating: "x", count: 1025)))
    func declare(_ change: (inout QueueDeclaration) -> Void) -> StateRequest {
      var queue = QueueDeclaration(name: "q")
      change(&queue)
      return .declare([queue])
    }
    takes(declare { $0.attempts = 1 }, declare { $0.attempts = 0 })
    takes(declare { $0.backoffJitter = 1 }, declare { $0.backoffJitter = 1.1 })
    takes(declare { $0.backoffJitter = 0 }, declare { $0.backoffJitter = .nan })
    takes(declare { $0.rate = 0.1 }, declare { $0.rate = 0 })
    takes(declare { $0.rate = 1e9 }, declare { $0.rate = .infinity })
    takes(declare { $0.atOnce = 1 }, declare { $0.atOnce = 0 })
    takes(declare { $0.keyAtOnce = 1 }, declare { $0.keyAtOnce = 0 })
    // A name that is no UTF-8.
    var bytes = content(.look(queue: "q", .counts))
    bytes[13] = 0xff
    #expect(throws: StateFrameError.badValue) { try StateFrames.request(bytes.span) }
  }
}
