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
