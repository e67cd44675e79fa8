// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirMessaging
import WeirWire

/// Whatever comes in: a question that a frame can hold, or a refusal that is a problem.
@Suite struct QueueAPIFuzzTests {
  /// Good requests, which are then spoiled.
  private static let seeds: [(method: String, target: String, fields: [(String, String)], body: String)] = [
    (
      "POST", "/queues/emails",
      [
        ("Content-Type", "application/json"), ("Weir-Id", "a-1"), ("Weir-Key", "k"), ("Weir-Delay", "30s"),
        ("Weir-Priority", "3"),
      ],
      #"{"customer_id": "c7", "n": [1, 2.5e3, {"x": null}]}"#
    ),
    (
      "POST", "/queues/emails", [("Weir-At", "2026-11-22T10:00:00.5+01:00"), ("ce-type", "t"), ("Weir-Keep", "1.5h")],
      "x"
    ),
    (
      "POST", "/queues/emails/batch", [("traceparent", "00-a-b-01")],
      #"{"messages":[{"id":"a","key":"k\u00e9","priority":2,"delay":"5m","body":{"a":[true,false,null,"\ud83d\ude00"]}},{"text":"t","at":"2026-11-22T00:00:00Z"},{"base64":"AP8=","content-type":"image/png"}]}"#
    ),
    ("POST", "/queues/emails/lease?max=10&wait=20s&visibility=60s", [], ""),
    ("POST", "/queues/emails/ack?lease=12.1", [], #"{"leases":["13.1","14.65535"],"result":{"ok":true}}"#),
    ("POST", "/queues/emails/nack", [], #"{"leases":["13.1"],"error":"a\"b\\c","retry-after":"30s","final":false}"#),
    ("POST", "/queues/emails/extend", [], #"{"leases":["13.1"],"by":"60s"}"#),
    ("GET", "/queues/emails/messages/a%2Fb", [], ""), ("GET", "/queues/emails", [], ""),
  ]

  static func spoil(_ text: String, _ random: inout SeededRandom) -> [UInt8] {
    var bytes = Array(text.utf8)
    let pieces = [
      "\"", "{", "}", "[", "]", ",", ":", "\\", "\\u", "\\ud800", "%", "%0", "null", "1e9", "-", "\0", "\r\n", "ÿ", "😀",
      "9999999999999999999",
    ]
    for _ in 0..<(1 + random.index(below: 4)) {
      let at = random.index(below: bytes.count + 1)
      switch random.index(below: 5) {
      case 0 where at < bytes.count: bytes[at] = UInt8(truncatingIfNeeded: random.next())
      case 1 where at < bytes.count: bytes.remove(at: at)
      case 2: bytes.insert(contentsOf: Array(pieces[random.index(below: pieces.count)].utf8), at: at)
      case 3: bytes.removeSubrange(at...)
      default:
        let end = min(bytes.count, at + random.index(below: 12))
        bytes.insert(contentsOf: Array(bytes[min(at, end)..<end]), at: random.index(below: bytes.count + 1))
      }
    }
    return bytes
  }

  @Test("20 000 spoiled requests: no crash, no frame that its reader refuses, no refusal that is no JSON")
  func spoiled() throws {
    let seed = ProcessInfo.processInfo.environment["WEIR_SEED"].flatMap { UInt64($0) } ?? 1
    var random = SeededRandom(seed: seed, stream: "queue api")
    let api = QueueAPI(keyFields: ["emails": "customer_id"])
    var asked = 0
    var refused = 0
    for step in 0..<20_000 {
      var (method, target, fields, text) = Self.seeds[random.index(below: Self.seeds.count)]
      var body = Array(text.utf8)
      switch random.index(below: 6) {
      case 0: target = String(decoding: Self.spoil(target, &random), as: UTF8.self)
      case 1 where !fields.isEmpty:
        let i = random.index(below: fields.count)
        fields[i].1 = String(decoding: Self.spoil(fields[i].1, &random), as: UTF8.self)
      case 2 where !fields.isEmpty:
        let i = random.index(below: fields.count)
        fields[i].0 = String(decoding: Self.spoil(fields[i].0, &random), as: UTF8.self)
      case 3: method = ["GET", "POST", "", "\0"][random.index(below: 4)]
      default: body = Self.spoil(text, &random)
      }
      let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let request = MessagingRequest(
        method: method, path: parts.first ?? "", query: parts.count > 1 ? parts[1] : nil,
        fields: fields.map { MessagingField($0.0, $0.1) }, body: body)
      switch api.parse(request, now: QueueAPITests.now, using: &random) {
      case .ask(let question, _):
        asked += 1
        let read = try QueueAPITests.framed(question)
        if case .enqueue(_, let messages) = read {
          for message in messages {
            // Each line that is kept is one line: what a value holds cannot begin another.
            let lines = String(decoding: message.fields, as: UTF8.self).components(separatedBy: "\r\n")
            #expect(lines.last == "" && lines.dropLast().allSatisfy { $0.contains(": ") && !$0.contains("\n") })
          }
        }
      case .refuse(let answer):
        refused += 1
        #expect((400..<500).contains(answer.status))
        let isJSON = JSONText.isWhole(answer.body.span)
        #expect(isJSON, "seed \(seed), step \(step): \(request)")
        #expect(answer.fields.allSatisfy { $0.value.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f } })
      }
    }
    // Both happen: the fuzz is neither all good nor all bad.
    #expect(asked > 2000 && refused > 2000, "\(asked) asked, \(refused) refused")
  }
}
