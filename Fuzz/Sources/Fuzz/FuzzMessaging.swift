// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirMessaging
import WeirWire

// MARK: What programs ask over HTTP

/// A line with method and target, lines with fields, an empty line, and the body.
private func request(_ bytes: [UInt8]) -> MessagingRequest {
  var at = 0
  func line() -> String? {
    guard at < bytes.count else { return nil }
    let end = bytes[at...].firstIndex(of: 0x0a) ?? bytes.count
    defer { at = min(bytes.count, end + 1) }
    return String(decoding: bytes[at..<end], as: UTF8.self)
  }
  let first = (line() ?? "").split(separator: " ", maxSplits: 1).map(String.init)
  let target = (first.last ?? "").split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
  var fields: [MessagingField] = []
  while let text = line(), !text.isEmpty {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    fields.append(MessagingField(parts[0], parts.count > 1 ? parts[1] : ""))
  }
  return MessagingRequest(
    method: first.first ?? "", path: target.first ?? "", query: target.count > 1 ? target[1] : nil, fields: fields,
    body: Array(bytes[at...]))
}

private func look(_ answer: MessagingAnswer) {
  let isProblem = answer.fields.contains { $0.value == "application/problem+json" }
  let isJSON = JSONText.isWhole(answer.body.span)
  require(!isProblem || isJSON, "a refusal that is no JSON")
  require(
    answer.fields.allSatisfy { field in field.value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } },
    "an answer's field has a control character")
}

/// What is asked fits a frame, and is read as it was written.
private func look(_ question: StateRequest) {
  var bytes: [UInt8] = []
  StateFrames.append(question, id: 7, to: &bytes)
  var reader = StateFrameReader()
  reader.feed(bytes.span)
  guard let content = try? reader.next().map({ Array($0) }),
    let read = try? StateFrames.request(content.span).request
  else { return require(false, "no frame holds \(question)") }
  require(read == question, "a frame holds something else than \(question)")
  let runs: [[UInt8]] =
    switch question {
    case .enqueue(_, let messages): messages.map(\.fields)
    case .append(_, let entries): entries.map(\.fields)
    default: []
    }
  for fields in runs where !fields.isEmpty {
    require(fields.suffix(2).elementsEqual([0x0d, 0x0a]), "kept fields end within a line")
    for line in fields.dropLast(2).split(separator: 0x0a) {
      require(line.contains(0x3a) && !line.dropLast().contains(0x0d), "a kept field has a line end in it")
    }
  }
}

/// A reply of each kind that such a question may get, and one that it may not.
private func replies(_ question: StateRequest) -> [StateReply] {
  let entry = { (fields: String, body: [UInt8]) in
    LogEntry(
      position: 3, version: 1, at: 0, id: [0x69], key: [0x6b], type: [], fields: Array(fields.utf8), body: body)
  }
  switch question {
  case .append(_, let entries):
    let appended = entries.indices.map { Appended(position: Int64($0 + 1), version: 1, isDuplicate: false) }
    return [.appended(appended), .conflict(index: 0, version: 4), .queueFull(retryAfter: 5)]
  case .read:
    return [
      .entries([]), .entries([entry("", [1]), entry("content-type: application/json\r\n", [0x37])]), .unknownQueue,
    ]
  case .seek: return [.position(1), .position(9)]
  case .lookLog: return [.logCounts(LogCounts())]
  case .document(_, let key):
    return [.document(nil), .document(LogDocument(key: key, version: 2, body: Array("weir-version: 1\r\n\r\nx".utf8)))]
  case .saveDocument: return [.saved(version: 1), .conflict(index: 0, version: 3)]
  case .enqueue(_, let messages): return [.enqueued(messages.map { Enqueued(id: $0.id, isDuplicate: false) })]
  case .settle(_, let settlements): return [.settled(settlements.map { _ in .lost }), .settled([])]
  default: return [.leased([]), .counts(QueueCounts()), .message(nil), .released]
  }
}

private func follow(_ outcome: MessagingAPI.Outcome, _ depth: Int) {
  switch outcome {
  case .answer(let answer): look(answer)
  case .ask(let question, let then):
    look(question)
    require(depth < 12, "asks without an end")
    for reply in replies(question) { follow(then.next(reply), depth + 1) }
  }
}

private func ask(_ bytes: [UInt8]) {
  var random = SeededRandom(seed: 1)
  follow(messaging.parse(request(bytes), now: WallTime(milliseconds: 1_795_305_600_000), using: &random), 0)
}

private let messaging = MessagingAPI(
  queues: QueueAPI(keyFields: ["emails": "customer.id"]),
  logs: LogAPI([
    LogAPI.Log(.topic, "events", key: "customer_id", groups: ["mail"]),
    LogAPI.Log(
      .topic, "strict",
      schema: try? JSONSchema(Array(#"{"required":["order"],"properties":{"order":{"type":"integer"}}}"#.utf8))),
    LogAPI.Log(.stream, "orders", key: "order", types: ["OrderPaid"], groups: ["list"]), LogAPI.Log(.stream, "ledger"),
  ]))

func fuzzQueues(_ bytes: [UInt8]) { ask(bytes) }
func fuzzLogs(_ bytes: [UInt8]) { ask(bytes) }

// MARK: What strangers put into a queue through the gateway

private struct Drawn: RandomNumberGenerator {
  var last: UInt64 = 0

  mutating func next() -> UInt64 {
    last &+= 0x9e37_79b9_7f4a_7c15
    return last
  }
}

private let strangers = QueueRoute(queue: "emails", skip: 1)
private let queues = QueueAPI(keyFields: ["emails": "customer.id"])

/// One byte, whether the caller is known, then a request: whatever strangers send, they reach only what carries the route's
/// mark, one message at a time, which has nothing of theirs but its body and what describes it.
func fuzzQueueRoute(_ bytes: [UInt8]) {
  guard let first = bytes.first else { return }
  let asked = request(Array(bytes.dropFirst()))
  // No other path comes past the scanner.
  guard asked.path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return }
  let mark = Array("route.".utf8)
  var known = QueueRoute.Caller()
  known.name = Array("users\0ann".utf8)
  known.tenant = Array("acme".utf8)
  known.fields = Array("x-user: ann\r\n".utf8)
  func parse(_ caller: QueueRoute.Caller) -> QueueAPI.Parsed {
    var drawn = Drawn()
    return strangers.parse(
      asked, of: caller, by: queues, now: WallTime(milliseconds: 1_795_305_600_000), using: &drawn)
  }
  let caller = first & 1 == 1 ? known : QueueRoute.Caller()
  let outcome = parse(caller)
  require(outcome == parse(caller), "the same request is something else the second time")
  switch outcome {
  case .refuse(let answer): look(answer)
  case .ask(let question, let then):
    look(question)
    switch question {
    case .enqueue(let queue, let messages):
      require(queue == "emails" && messages.count == 1, "not one message of its queue")
      let message = messages[0]
      require(message.id.starts(with: mark) && message.id.count <= QueueLimits.idBytesMax, "an id without the mark")
      require(
        message.priority == QueueLimits.priorityUsual && message.notBefore == 0 && message.keep == nil
          && message.body == asked.body, "a stranger's word counts")
      require(message.tenant == caller.tenant, "another tenant")
      for line in String(decoding: message.fields, as: UTF8.self).split(separator: "\r\n") {
        let name = line.prefix { $0 != ":" }.lowercased()
        require(
          ["content-type", "content-encoding", "content-language", "traceparent", "tracestate", "baggage", "x-user"]
            .contains(name), "a field that describes nothing: \(name)")
      }
      if case .ask(.enqueue(_, let others), _) = parse(first & 1 == 1 ? QueueRoute.Caller() : known),
        asked.fields.contains(where: { $0.name.lowercased() == "idempotency-key" })
      {
        require(others[0].id != message.id, "one who is known has the id of somebody else")
      }
      look(then.answer(.enqueued([Enqueued(id: message.id, isDuplicate: true)])))
    case .look(let queue, .message(let id)):
      require(queue == "emails" && id.starts(with: mark), "a look at what a program has sent")
      look(then.answer(.message(nil)))
      look(
        then.answer(
          .message(
            MessageView(
              sequence: 1, id: id, key: [], tenant: [], priority: 4, state: .done, attempts: 1, enqueuedAt: 0, dueAt: 0,
              endedAt: 9, death: nil, result: [0x37], bytes: 1))))
    default: require(false, "strangers ask \(question)")
    }
    look(then.answer(.queueFull(retryAfter: 5)))
    look(then.answer(.unknownQueue))
  }
}

// MARK: What a group gets

/// What a request publishes comes to a group: fetched it is JSON, brought it is a request with one head and this body.
func fuzzGroup(_ bytes: [UInt8]) {
  guard let first = bytes.first else { return }
  var random = SeededRandom(seed: 1)
  let now = WallTime(milliseconds: 1_795_305_600_000)
  guard
    case .ask(.append(let log, let entries), _) = messaging.parse(
      request(Array(bytes.dropFirst())), now: now, using: &random)
  else { return }
  let isStream = log == "orders" || log == "ledger"
  let messages = entries.enumerated().map { i, entry in
    LeasedMessage(
      sequence: Int64(i), attempt: UInt16(first >> 4) + 1, until: now.milliseconds + 30_000,
      enqueuedAt: now.milliseconds,
      message: NewMessage(id: entry.id, key: entry.key, fields: entry.fields, body: entry.body),
      entry: MessageEntry(
        position: Int64(i) + 1, version: isStream ? Int64(i) + 1 : 0, at: now.milliseconds, id: entry.id,
        type: entry.type))
  }
  // Fetched, as programs do.
  let lease = MessagingRequest(
    method: "POST", path: isStream ? "/streams/orders/groups/list/lease" : "/topics/events/groups/mail/lease",
    query: "max=1000")
  guard case .ask(let question, let then) = messaging.parse(lease, now: now, using: &random) else {
    return require(false, "a lease is refused")
  }
  look(question)
  guard case .answer(let answer) = then.next(.leased(messages)) else { return require(false, "no answer") }
  require(answer.status == 200 && JSONText.isWhole(answer.body.span), "an answer that is no JSON")
  // Brought: each alone, and all together.
  if messages.isEmpty { return }
  for message in messages.prefix(8) {
    let one = GroupDelivery(message, log: log, isStream: isStream, group: "mail")
    require(one.body == message.message.body, "another body")
    look(one)
  }
  let all = GroupDelivery(batch: messages.reversed(), log: log, isStream: isStream, group: "mail")
  require(JSONText.isWhole(all.body.span), "a batch that is no JSON")
  require(String(decoding: all.lines, as: UTF8.self).contains("Weir-Count: \(messages.count)\r\n"), "another count")
  require(
    String(decoding: all.lines, as: UTF8.self).contains(
      "Weir-Position: 1\r\nWeir-Last-Position: \(messages.count)\r\n"), "other positions")
  look(all)
}

/// It is one head, to its end, and what is ours to say stands there once.
private func look(_ delivery: GroupDelivery) {
  var head = Array("POST /events HTTP/1.0\r\nHost: mail\r\n".utf8) + delivery.fields + delivery.lines
  head += Array("Content-Length: \(delivery.body.count)\r\n\r\n".utf8)
  let (outcome, scanned) = scanRequest(head, [.proxy, .service])
  require(outcome == .complete && scanned.length == head.count, "the head is \(outcome)")
  let count = Int64(delivery.body.count)
  require(scanned.framing == .length(count) || count == 0 && scanned.framing == .none, "framed as \(scanned.framing)")
}

// MARK: JSON Schema

/// A schema, an empty line, a document: read or refused with a place, and judged the same twice.
func fuzzSchemas(_ bytes: [UInt8]) {
  let gap = bytes.indices.dropLast().first { bytes[$0] == 0x0a && bytes[$0 + 1] == 0x0a } ?? bytes.count
  let document = Array(bytes[min(bytes.count, gap + 2)...])
  let schema: JSONSchema
  do { schema = try JSONSchema(Array(bytes[..<gap])) } catch {
    require(!error.flaws.isEmpty && error.flaws.count <= 16, "refused without a flaw, or with too many")
    return
  }
  let flaws = schema.flaws(of: document)
  require(flaws.count <= 16, "too many flaws")
  require(flaws == schema.flaws(of: document), "judged otherwise the second time")
}
