// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirMessaging
import WeirWire

/// Whatever comes in, and whatever the state process replies: a question that a frame can hold, or an answer.
@Suite struct LogAPIFuzzTests {
  private static let event = #"{"specversion":"1.0","id":"1","source":"/s","type":"OrderPaid","data":{"order":7}}"#
  /// Good requests, which are then spoiled.
  private static let seeds: [(method: String, target: String, fields: [(String, String)], body: String)] = [
    (
      "POST", "/topics/events",
      [("Content-Type", "application/json"), ("Weir-Id", "a-1"), ("Weir-Key", "k"), ("Weir-Type", "T")],
      #"{"customer_id": "c7", "n": [1, 2.5e3, {"x": null}]}"#
    ),
    (
      "POST", "/topics/strict", [("Content-Type", "application/json")], #"{"order": 7, "items": [{"price": 1.5e0}]}"#
    ),
    ("POST", "/topics/strict", [("Content-Type", "application/cloudevents+json")], event),
    ("POST", "/topics/nested", [("Content-Type", "application/cloudevents-batch+json")], "[\(event),\(event)]"),
    (
      "POST", "/topics/events",
      [
        ("ce-specversion", "1.0"), ("ce-id", "é%20"), ("ce-source", "/s"), ("ce-type", "t"), ("ce-customerid", "c"),
        ("Content-Type", "text/plain"),
      ], "x"
    ),
    ("GET", "/topics/events/events?after=12&limit=10&wait=30s", [("Accept", "application/cloudevents-batch+json")], ""),
    ("GET", "/topics/events/events?from=2026-11-22T10:00:00.5%2B01:00&limit=3", [], ""),
    ("GET", "/topics/events", [], ""),
    ("POST", "/topics/events/groups/mail/lease?max=10&wait=20s&visibility=60s", [], ""),
    ("POST", "/topics/events/groups/mail/nack", [], #"{"leases":["13.1"],"error":"a","retry-after":"30s"}"#),
    ("GET", "/streams/orders/groups/list/messages/12", [], ""),
    (
      "POST", "/streams/orders/a%2Fb",
      [
        ("Weir-Expected-Version", "3"), ("If-Match", "\"3\""), ("Weir-Type", "OrderPaid"),
        ("Content-Type", "text/plain"),
      ],
      "{}"
    ),
    ("POST", "/streams/orders", [("Content-Type", "application/cloudevents+json")], event),
    ("GET", "/streams/orders/a?after=3&wait=5s", [], ""), ("GET", "/streams/ledger", [], ""),
    ("PUT", "/streams/orders/a/snapshot", [("Weir-Version", "7"), ("Content-Type", "text/plain")], "sum"),
    ("GET", "/streams/orders/a/snapshot", [], ""),
  ]

  private static func replies(_ random: inout SeededRandom) -> StateReply {
    let number = Int64(random.index(below: 5))
    let bytes = ["", "x", "7", "\u{1}", "weir-version: 3\r\n\r\nx", "weir-version: 3", "{}", "ce-id: %"]
    func text(_ random: inout SeededRandom) -> [UInt8] { Array(bytes[random.index(below: bytes.count)].utf8) }
    switch random.index(below: 12) {
    case 0: return .unknownQueue
    case 1: return .queueFull(retryAfter: number)
    case 2: return .conflict(index: 0, version: number)
    case 3: return .position(number)
    case 4: return .saved(version: number)
    case 5: return .document(nil)
    case 6: return .document(LogDocument(key: text(&random), version: number, body: text(&random)))
    case 7: return .logCounts(LogCounts())
    case 8: return .failed([.full, .broken, .version, .tooMany][random.index(below: 4)])
    case 9, 10:
      return .entries(
        (0..<random.index(below: 3)).map { _ in
          let kinds = [
            "", "content-type: application/json\r\n", "ce-specversion: 1.0\r\nce-id: 8\r\nce-source: /s\r\n",
          ]
          return LogEntry(
            position: 5, version: number, at: 0, id: text(&random), key: text(&random), type: text(&random),
            fields: Array(kinds[random.index(below: kinds.count)].utf8) + text(&random), body: text(&random))
        })
    default:
      return .appended(
        (0..<random.index(below: 3)).map { _ in Appended(position: number, version: number, isDuplicate: false) })
    }
  }

  private static func check(_ answer: MessagingAnswer, _ what: @autoclosure () -> String) {
    let type = answer.fields.first { $0.name == "Content-Type" }?.value ?? ""
    if type.hasSuffix("json") {
      let isJSON = JSONText.isWhole(answer.body.span)
      // A snapshot is what its writer has made it.
      #expect(isJSON || answer.status == 200, "\(what()): \(String(decoding: answer.body, as: UTF8.self))")
    }
    #expect(answer.fields.allSatisfy { $0.value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } }, "\(what())")
  }

  @Test("20 000 spoiled requests, and replies of every kind to them: no crash, no frame that its reader refuses")
  func spoiled() throws {
    let seed = ProcessInfo.processInfo.environment["WEIR_SEED"].flatMap { UInt64($0) } ?? 1
    var random = SeededRandom(seed: seed, stream: "log api")
    let api = try LogAPITests.api()
    var (asked, answered, chains) = (0, 0, 0)
    for step in 0..<20_000 {
      var (method, target, fields, text) = Self.seeds[random.index(below: Self.seeds.count)]
      var body = Array(text.utf8)
      switch random.index(below: 7) {
      case 0: target = String(decoding: QueueAPIFuzzTests.spoil(target, &random), as: UTF8.self)
      case 1 where !fields.isEmpty:
        let i = random.index(below: fields.count)
        fields[i].1 = String(decoding: QueueAPIFuzzTests.spoil(fields[i].1, &random), as: UTF8.self)
      case 2 where !fields.isEmpty:
        let i = random.index(below: fields.count)
        fields[i].0 = String(decoding: QueueAPIFuzzTests.spoil(fields[i].0, &random), as: UTF8.self)
      case 3: method = ["GET", "POST", "PUT", "", "\0"][random.index(below: 5)]
      case 4: break
      default: body = QueueAPIFuzzTests.spoil(text, &random)
      }
      let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let request = MessagingRequest(
        method: method, path: parts.first ?? "", query: parts.count > 1 ? parts[1] : nil,
        fields: fields.map { MessagingField($0.0, $0.1) }, body: body)
      var outcome = api.parse(request, now: QueueAPITests.now, using: &random)
      for turn in 0..<20 {
        guard case .ask(let question, let then) = outcome else { break }
        if turn == 0 { asked += 1 } else { chains += 1 }
        try #require(turn < 19, "seed \(seed), step \(step): asks without an end")
        if case .append(_, let entries) = try QueueAPITests.framed(question) {
          for entry in entries {
            let lines = String(decoding: entry.fields, as: UTF8.self).components(separatedBy: "\r\n")
            #expect(
              lines.last == ""
                && lines.dropLast().allSatisfy { $0.range(of: ": ", options: .literal) != nil && !$0.utf8.contains(10) },
              "seed \(seed), step \(step): \(lines)")
            #expect(entry.key.count <= QueueLimits.keyBytesMax && entry.type.count <= LogLimits.typeBytesMax)
          }
        }
        outcome = then.next(Self.replies(&random))
      }
      guard case .answer(let answer) = outcome else { continue }
      answered += 1
      Self.check(answer, "seed \(seed), step \(step): \(request)")
    }
    #expect(asked > 4000 && answered > 19_000 && chains > 100, "\(asked) asked, \(answered) answered, \(chains) again")
  }

  @Test("10 000 spoiled schemas: read or refused, and what is read judges")
  func schemas() throws {
    let seed = ProcessInfo.processInfo.environment["WEIR_SEED"].flatMap { UInt64($0) } ?? 1
    var random = SeededRandom(seed: seed, stream: "spoiled schemas")
    var draw = JSONSchemaTests.Draw(random: SeededRandom(seed: seed, stream: "schemas to spoil"))
    var read = 0
    for _ in 0..<10_000 {
      let text = draw.whole()
      let bytes = random.index(below: 8) == 0 ? Array(text.utf8) : QueueAPIFuzzTests.spoil(text, &random)
      do {
        let schema = try JSONSchema(bytes)
        read += 1
        _ = schema.flaws(of: QueueAPIFuzzTests.spoil(draw.document(2), &random))
      } catch {
        #expect((1...16).contains(error.flaws.count) && error.flaws.allSatisfy { !$0.what.isEmpty })
      }
    }
    #expect((500...9000).contains(read), "\(read)")
  }
}
