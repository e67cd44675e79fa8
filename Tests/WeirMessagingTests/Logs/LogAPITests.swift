// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirWire

/// What programs ask of topics and streams, what the state process is asked then, and what is answered.
@Suite struct LogAPITests {
  static let schema = #"""
    { "type": "object", "required": ["order"], "additionalProperties": false,
      "properties": { "order": { "type": "integer" }, "customer": { "type": "object" }, "items": {
        "type": "array", "items": { "properties": { "price": { "type": "number", "minimum": 0 } } } } } }
    """#

  static func api() throws -> MessagingAPI {
    MessagingAPI(
      queues: QueueAPI(),
      logs: LogAPI([
        LogAPI.Log(.topic, "events", key: "customer_id", groups: ["stock", "mail"]),
        LogAPI.Log(.topic, "nested", key: "customer.id"),
        LogAPI.Log(.topic, "strict", schema: try JSONSchema(Array(schema.utf8))),
        LogAPI.Log(.topic, "slow", schema: try JSONSchema(Array(#"{"pattern":"([a-h]|[a-i]){1,50}!"}"#.utf8))),
        LogAPI.Log(.stream, "orders", key: "order", types: ["OrderPlaced", "OrderPaid"], groups: ["list"]),
        LogAPI.Log(.stream, "ledger"),
      ]))
  }

  static func parse(
    _ method: String, _ target: String, _ fields: [(String, String)] = [], _ body: String = ""
  ) throws -> MessagingAPI.Outcome {
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    var random = SeededRandom(seed: 7)
    return try api().parse(
      MessagingRequest(
        method: method, path: parts[0], query: parts.count > 1 ? parts[1] : nil,
        fields: fields.map { MessagingField($0.0, $0.1) }, body: Array(body.utf8)),
      now: QueueAPITests.now, using: &random)
  }

  struct Unexpected: Error, CustomStringConvertible { var description: String }

  static func ask(_ outcome: MessagingAPI.Outcome) throws -> (StateRequest, MessagingAPI.Then) {
    guard case .ask(let request, let then) = outcome else { throw Unexpected(description: text(outcome)) }
    return (try QueueAPITests.framed(request), then)
  }

  static func answer(_ outcome: MessagingAPI.Outcome) throws -> MessagingAnswer {
    guard case .answer(let answer) = outcome else { throw Unexpected(description: text(outcome)) }
    return answer
  }

  static func text(_ outcome: MessagingAPI.Outcome) -> String {
    guard case .answer(let answer) = outcome else { return "\(outcome)" }
    return "\(answer.status) \(String(decoding: answer.body, as: UTF8.self))"
  }

  static func problem(_ outcome: MessagingAPI.Outcome) throws -> QueueAPITests.Problem {
    try QueueAPITests.problem(try answer(outcome))
  }

  private static func entries(_ outcome: MessagingAPI.Outcome, _ log: String) throws -> [NewEntry] {
    guard case .append(log, let entries) = try ask(outcome).0 else { throw Unexpected(description: text(outcome)) }
    return entries
  }

  static func entry(
    _ position: Int64, version: Int64 = 0, id: String = "i", key: String = "", type: String = "", fields: String = "",
    _ body: String
  ) -> LogEntry {
    LogEntry(
      position: position, version: version, at: QueueAPITests.now.milliseconds, id: Array(id.utf8),
      key: Array(key.utf8), type: Array(type.utf8), fields: Array(fields.utf8), body: Array(body.utf8))
  }

  // MARK: Publishing

  @Test("an event with all that can be said of it, and what is answered")
  func publish() throws {
    let outcome = try Self.parse(
      "POST", "/topics/events",
      [
        ("Content-Type", "application/json"), ("Weir-Id", "e-1"), ("weir-type", "OrderPlaced"), ("Weir-Key", "Zoë"),
        ("traceparent", "00-a-b-01"), ("Authorization", "Bearer x"),
      ], #"{"customer_id": 7}"#)
    #expect(
      try Self.entries(outcome, "events") == [
        NewEntry(
          id: Array("e-1".utf8), key: Array("Zoë".utf8), type: Array("OrderPlaced".utf8),
          fields: Array("content-type: application/json\r\ntraceparent: 00-a-b-01\r\n".utf8),
          body: Array(#"{"customer_id": 7}"#.utf8))
      ])
    let then = try Self.ask(outcome).1
    #expect(
      Self.text(then.next(.appended([Appended(position: 12, version: 3, isDuplicate: false)])))
        == #"202 {"id":"e-1","topic":"events","position":12,"duplicate":false}"# + "\n")
    // What may come instead.
    #expect(try Self.problem(then.next(.unknownQueue)).reason == "topic-unknown")
    let full = try Self.answer(then.next(.queueFull(retryAfter: 2500)))
    #expect(full.status == 429 && full.fields.contains(MessagingField("Retry-After", "3")))
    #expect(try Self.answer(then.next(.failed(.full))).status == 507)
    #expect(try Self.answer(then.next(.failed(.tooMany))).status == 503)
    #expect(try Self.answer(then.next(.failed(.broken))) == MessagingAPI.unavailable)
    #expect(try Self.answer(then.next(.released)).status == 500)
    #expect(try Self.answer(then.next(.appended([]))).status == 500)
  }

  @Test("the key: a member, one that dots lead to, an attribute, a field, or none")
  func keys() throws {
    func key(_ target: String, _ fields: [(String, String)], _ body: String) throws -> String {
      let entries = try Self.entries(
        Self.parse("POST", target, fields, body), String(target.split(separator: "/").last ?? ""))
      return String(decoding: entries[0].key, as: UTF8.self)
    }
    let json = ("Content-Type", "application/json")
    #expect(try key("/topics/events", [json], #"{"customer_id": 7}"#) == "7")
    #expect(try key("/topics/events", [json, ("Weir-Key", "k")], #"{"customer_id": 7}"#) == "k")
    #expect(try key("/topics/events", [("Customer_ID", "c")], "text") == "c")
    #expect(try key("/topics/events", [json], "[1]") == "")
    #expect(try key("/topics/nested", [json], #"{"customer": {"id": "n1"}}"#) == "n1")
    #expect(try key("/topics/nested", [json], #"{"customer.id": "flat", "customer": {"id": "n1"}}"#) == "flat")
    let event = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]
    #expect(try key("/topics/events", event + [json], #"{"customer_id": "d"}"#) == "d")
    #expect(
      try key(
        "/topics/events", [("Content-Type", "application/cloudevents+json")],
        #"{"specversion":"1.0","id":"1","source":"/s","type":"t","customerid":"a","data":{"customer_id":"d"}}"#) == "d")
  }

  @Test("CloudEvents in three modes become entries, the same ones")
  func cloudEvents() throws {
    let binary = try Self.entries(
      Self.parse(
        "POST", "/topics/events",
        [
          ("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/shop"), ("ce-type", "order.placed"),
          ("Content-Type", "application/json"),
        ], #"{"order":7}"#), "events")
    #expect(String(decoding: binary[0].id, as: UTF8.self) == "/shop|7")
    #expect(String(decoding: binary[0].type, as: UTF8.self) == "order.placed")
    #expect(binary[0].body == Array(#"{"order":7}"#.utf8))
    let one = #"{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed","data":{"order":7}}"#
    let structured = try Self.entries(
      Self.parse("POST", "/topics/events", [("Content-Type", "application/cloudevents+json")], one), "events")
    let batch = try Self.parse(
      "POST", "/topics/events", [("Content-Type", "application/cloudevents-batch+json")],
      #"[\#(one),{"specversion":"1.0","id":"8","source":"/shop","type":"t"}]"#)
    let batched = try Self.entries(batch, "events")
    #expect(structured[0] == batched[0] && batched.count == 2)
    #expect(binary[0].id == structured[0].id && binary[0].type == structured[0].type)
    #expect(binary[0].body == structured[0].body)
    #expect(
      Set(String(decoding: binary[0].fields, as: UTF8.self).split(separator: "\r\n"))
        == Set(String(decoding: structured[0].fields, as: UTF8.self).split(separator: "\r\n")))
    #expect(
      Self.text(
        try Self.ask(batch).1.next(
          .appended([
            Appended(position: 1, version: 0, isDuplicate: true), Appended(position: 2, version: 0, isDuplicate: false),
          ])))
        == #"202 {"topic":"events","events":[{"id":"7","position":1,"duplicate":true},"#
        + #"{"id":"8","position":2,"duplicate":false}]}"# + "\n")
    // The same id of another source is another event; what is no id of ours is known by its digest.
    let long = String(repeating: "x", count: 200)
    for (source, id) in [("/other", "7"), ("/shop", "é"), ("/shop", long)] {
      let entries = try Self.entries(
        Self.parse(
          "POST", "/topics/events", [("Content-Type", "application/cloudevents+json")],
          #"{"specversion":"1.0","id":"\#(id)","source":"\#(source)","type":"t"}"#), "events")
      #expect(entries[0].id != binary[0].id && entries[0].id.count <= QueueLimits.idBytesMax)
    }
    let none = try Self.parse("POST", "/topics/events", [("Content-Type", "application/cloudevents-batch+json")], "[]")
    #expect(Self.text(none) == #"202 {"topic":"events","events":[]}"# + "\n")
  }

  @Test("what is wrong is told by its place, all at once, and nothing is asked")
  func malformed() throws {
    let delayed = try Self.problem(
      Self.parse("POST", "/topics/events", [("Weir-Delay", "5s"), ("Weir-Idd", "x"), ("Weir-Id", "ä")]))
    #expect(delayed.status == 422 && delayed.reason == "message-malformed")
    #expect(Set(delayed.errors?.map(\.at) ?? []) == ["Weir-Delay", "Weir-Idd", "Weir-Id"])
    #expect(
      try Self.problem(Self.parse("POST", "/topics/events", [("Weir-Expected-Version", "3")])).errors?.first?.at
        == "Weir-Expected-Version")
    #expect(
      try Self.problem(
        Self.parse("POST", "/topics/events", [("Content-Type", "application/cloudevents+json")], #"{"id":"1"}"#)
      ).errors?.map(\.at) == ["$.specversion", "$.source", "$.type"])
    let large = try Self.problem(
      Self.parse("POST", "/topics/events", [], String(repeating: "x", count: QueueLimits.bodyBytesMax + 1)))
    #expect(large.status == 413)
    #expect(try Self.answer(Self.parse("DELETE", "/topics/events")).status == 405)
    for (target, reason) in [
      ("/topics/other", "topic-unknown"), ("/topics/orders", "topic-unknown"), ("/streams/events", "stream-unknown"),
      ("/topics/events/other", "no-route"), ("/topics", "no-route"),
      ("/topics/events/groups/none/lease", "group-unknown"),
      ("/streams/orders/groups/none/lease", "group-unknown"), ("/topics/events/groups/mail/batch", "no-route"),
      ("/topics/%zz", "no-route"), ("/other/x", "no-route"), ("/queues/events.mail/lease", "queue-unknown"),
      ("/streams/orders/a/b", "no-route"),
    ] {
      let problem = try Self.problem(Self.parse("POST", target))
      #expect(problem.status == 404 && problem.reason == reason, "\(target): \(problem)")
    }
  }

  @Test("the events of a batch are judged in the steps of one request, not each in as many")
  func effort() throws {
    func flaws(_ count: Int) throws -> Int {
      let text = String(repeating: "a", count: 600)
      let event = #"{"specversion":"1.0","id":"1","source":"/s","type":"T","data":"\#(text)!"}"#
      let batch = "[" + Array(repeating: event, count: count).joined(separator: ",") + "]"
      let outcome = try Self.parse(
        "POST", "/topics/slow", [("Content-Type", "application/cloudevents-batch+json")], batch)
      guard case .answer = outcome else { return 0 }
      let errors = try Self.problem(outcome).errors ?? []
      #expect(errors.allSatisfy { $0.what.contains("more steps") }, "\(errors)")
      return errors.count
    }
    #expect(try flaws(1) == 0)
    #expect(try flaws(20) > 0)
  }

  @Test("what does not fit the schema is told by its path, in a body, in data and in a batch")
  func schema() throws {
    let json = ("Content-Type", "application/json")
    _ = try Self.entries(Self.parse("POST", "/topics/strict", [json], #"{"order": 7.0, "items": []}"#), "strict")
    let problem = try Self.problem(
      Self.parse("POST", "/topics/strict", [json], #"{"order": "7", "items": [{"price": -1}], "custmer": {}}"#))
    #expect(problem.status == 422 && problem.reason == "event-misfit")
    #expect(Set(problem.errors?.map(\.at) ?? []) == ["$.order", "$.items[0].price", "$.custmer"])
    #expect(problem.errors?.contains { $0.mend == "Did you mean customer?" } == true)
    let start = #"{"specversion":"1.0","id":"1","source":"/s","type":"t""#
    let batch = try Self.problem(
      Self.parse(
        "POST", "/topics/strict", [("Content-Type", "application/cloudevents-batch+json")],
        #"[\#(start),"data":{"order":1}},\#(start),"data":{}},\#(start),"datacontenttype":"text/plain","data":"x"}]"#))
    #expect(batch.errors?.map(\.at) == ["$[1].data", "$[2].datacontenttype"])
    let bare = try Self.problem(
      Self.parse("POST", "/topics/strict", [("Content-Type", "application/cloudevents+json")], "\(start)}"))
    #expect(bare.errors?.map(\.what) == ["the event has no data, and strict has a schema"])
    #expect(try Self.problem(Self.parse("POST", "/topics/strict", [json], "{")).errors?.first?.at == "line 1, column 2")
    #expect(
      try Self.problem(Self.parse("POST", "/topics/strict", [("Content-Type", "text/plain")], "x")).errors?.first?.at
        == "Content-Type")
  }

  // MARK: Streams

  @Test("appending with an expected version, and the conflict")
  func append() throws {
    let outcome = try Self.parse(
      "POST", "/streams/orders/a%2Fb", [("Weir-Type", "OrderPlaced"), ("Weir-Expected-Version", "0")], "{}")
    let entry = try #require(try Self.entries(outcome, "orders").first)
    #expect(entry.key == Array("a/b".utf8) && entry.expected == 0 && !entry.reads)
    let then = try Self.ask(outcome).1
    let answer = try Self.answer(then.next(.appended([Appended(position: 9, version: 4, isDuplicate: false)])))
    #expect(answer.status == 201 && answer.fields.contains(MessagingField("Location", "a%2Fb?after=3&limit=1")))
    let text = String(decoding: answer.body, as: UTF8.self)
    #expect(text.hasSuffix(#""stream":"orders","key":"a/b","position":9,"version":4,"duplicate":false}"# + "\n"))
    let conflict = try Self.answer(then.next(.conflict(index: 0, version: 5)))
    #expect(conflict.status == 409 && String(decoding: conflict.body, as: UTF8.self).contains(#""version":5}"#))
    #expect(try QueueAPITests.problem(conflict).reason == "version-conflict")
    #expect(try Self.problem(then.next(.unknownQueue)).reason == "stream-unknown")

    let matched = try Self.parse("POST", "/streams/orders/a", [("Weir-Type", "OrderPaid"), ("If-Match", "\"12\"")])
    #expect(try Self.entries(matched, "orders").first?.expected == 12)
    for (value, isTwice) in [("12", false), ("W/\"12\"", false), ("*", false), ("\"-1\"", false), ("\"3\"", true)] {
      let fields = [("If-Match", value)] + (isTwice ? [("Weir-Expected-Version", "4")] : [])
      #expect(
        try Self.problem(Self.parse("POST", "/streams/orders/a", fields)).errors?.first?.at == "If-Match", "\(value)")
    }
  }

  @Test("a stream's key: of the address, of the data, one for all; types that it takes")
  func streamKeys() throws {
    let json = ("Content-Type", "application/json")
    let paid = ("Weir-Type", "OrderPaid")
    #expect(
      try Self.entries(Self.parse("POST", "/streams/orders", [json, paid], #"{"order":"o7"}"#), "orders").first?.key
        == Array("o7".utf8))
    #expect(
      try Self.entries(Self.parse("POST", "/streams/ledger", [], "x"), "ledger").first?.key == Array("ledger".utf8))
    #expect(
      try Self.problem(Self.parse("POST", "/streams/orders", [json, paid], "{}")).errors?.first?.what
        == "it has no order, and no key")
    #expect(
      try Self.problem(Self.parse("POST", "/streams/orders/o8", [json, paid], #"{"order":"o7"}"#)).errors?.first?.at
        == "$.order")
    let misfit = try Self.problem(Self.parse("POST", "/streams/orders/o8", [("Weir-Type", "OrderPayd")]))
    #expect(misfit.reason == "event-misfit" && misfit.errors?.first?.mend == "Did you mean OrderPaid?")
    #expect(try Self.problem(Self.parse("POST", "/streams/orders/o8")).reason == "event-misfit")
    // Several events of one stream: the first one's version is that of all; of several streams there is none.
    func batch(_ second: String) throws -> MessagingAPI.Outcome {
      let start = #"{"specversion":"1.0","source":"/s","type":"OrderPaid","#
      return try Self.parse(
        "POST", "/streams/orders",
        [("Content-Type", "application/cloudevents-batch+json"), ("Weir-Expected-Version", "2")],
        #"[\#(start)"id":"1","data":{"order":"a"}},\#(start)"id":"2","data":{"order":"\#(second)"}}]"#)
    }
    #expect(try Self.entries(batch("a"), "orders").map(\.expected) == [2, nil])
    #expect(try Self.problem(batch("b")).errors?.first?.at == "Weir-Expected-Version")
  }

  // MARK: Reading

  @Test("events are read behind a position, and as they came")
  func read() throws {
    let outcome = try Self.parse("GET", "/topics/events/events?after=40&limit=2&wait=30s")
    let (request, then) = try Self.ask(outcome)
    #expect(request == .read(log: "events", key: nil, after: 40, limit: 2, wait: 30_000))
    #expect(MessagingAPI.time(for: request) == 30_000)
    let entries = [
      Self.entry(
        41, id: "e", key: "k", type: "T", fields: "content-type: application/json\r\ntraceparent: t\r\n",
        "{\"a\": 1.50}"),
      Self.entry(
        42, id: "/s|8", type: "t",
        fields: "ce-specversion: 1.0\r\nce-id: 8\r\nce-source: /s\r\nce-type: t\r\nce-tier: gold\r\n", ""),
      Self.entry(43, "plain"),
    ]
    #expect(
      Self.text(then.next(.entries(entries)))
        == #"200 {"events":[{"position":41,"at":"2026-11-22T00:00:00.000Z","key":"k","id":"e","type":"T","#
        + #""datacontenttype":"application/json","data":{"a": 1.50},"fields":{"traceparent":"t"}},"#
        + #"{"position":42,"at":"2026-11-22T00:00:00.000Z","id":"8","type":"t","specversion":"1.0","source":"/s","#
        + #""tier":"gold"},"#
        + #"{"position":43,"at":"2026-11-22T00:00:00.000Z","id":"i","data":"plain"}],"next":43}"# + "\n")
    #expect(Self.text(then.next(.entries([]))) == #"200 {"events":[],"next":40}"# + "\n")

    let usual = try Self.ask(Self.parse("GET", "/streams/orders/a?after=3")).0
    #expect(usual == .read(log: "orders", key: Array("a".utf8), after: 3, limit: 100, wait: 0))
    let all = try Self.ask(Self.parse("GET", "/streams/orders")).0
    #expect(all == .read(log: "orders", key: nil, after: 0, limit: 100, wait: 0))
    #expect(
      try Self.problem(Self.parse("GET", "/topics/events/events?after=-1&limit=0&wait=2m&form=1")).errors?.map(\.at)
        == ["?form"])
    #expect(
      try Self.problem(Self.parse("GET", "/topics/events/events?after=-1&limit=0&wait=2m")).errors?.map(\.at)
        == ["?after", "?limit", "?wait"])
  }

  @Test("the next position of a stream's reader is a version")
  func streamNext() throws {
    let then = try Self.ask(Self.parse("GET", "/streams/orders/a?after=1")).1
    let text = Self.text(then.next(.entries([Self.entry(900, version: 2, key: "a", "x")])))
    #expect(text.contains(#""position":900,"version":2,"#) && text.hasSuffix(#""next":2}"# + "\n"))
  }

  @Test("from a time on: the position is sought first, then read")
  func from() throws {
    for time in ["2026-11-22T01:00:00%2B01:00", "2026-11-22T01:00:00+01:00", "2026-11-22T00:00:00Z"] {
      let (seek, then) = try Self.ask(Self.parse("GET", "/topics/events/events?from=\(time)&limit=5"))
      #expect(seek == .seek(log: "events", time: QueueAPITests.now.milliseconds))
      let (read, last) = try Self.ask(then.next(.position(17)))
      #expect(read == .read(log: "events", key: nil, after: 16, limit: 5, wait: 0))
      #expect(Self.text(last.next(.entries([]))) == #"200 {"events":[],"next":16}"# + "\n")
      #expect(try Self.problem(then.next(.unknownQueue)).reason == "topic-unknown")
    }
    #expect(
      try Self.problem(Self.parse("GET", "/topics/events/events?from=2026-11-22T00:00:00Z&after=3")).errors?.first?.at
        == "?from")
    #expect(try Self.problem(Self.parse("GET", "/topics/events/events?from=today")).errors?.first?.at == "?from")
  }

  @Test("as a batch of CloudEvents: what was none becomes one, what was one is itself")
  func batch() throws {
    let then = try Self.ask(
      Self.parse("GET", "/streams/orders", [("Accept", "text/html, application/cloudevents-batch+json;q=0.9")])
    ).1
    let answer = try Self.answer(
      then.next(
        .entries([
          Self.entry(
            5, version: 2, id: "e", key: "k", type: "OrderPaid", fields: "content-type: application/json\r\n",
            "{\"a\":1}"),
          Self.entry(
            6, version: 1, id: "/s|8", key: "l", type: "t",
            fields: "ce-specversion: 1.0\r\nce-id: 8\r\nce-source: /s\r\nce-type: t\r\n", ""),
          Self.entry(7, version: 3, "\u{1}"),
        ])))
    #expect(answer.fields.contains(MessagingField("Content-Type", "application/cloudevents-batch+json")))
    #expect(answer.fields.contains(MessagingField("Weir-Next", "7")))
    let events = try CloudEvent.read(jsonBatch: answer.body)
    #expect(events.map(\.id) == ["e", "8", "i"] && events.map(\.type) == ["OrderPaid", "t", "weir.event"])
    #expect(events.map(\.source) == ["/streams/orders", "/s", "/streams/orders"])
    #expect(events[0].data == Array("{\"a\":1}".utf8) && events[1].data == nil && events[2].data == [1])
    #expect(events[0].extensions.map(\.name) == ["weirposition", "weirversion", "partitionkey"])
  }

  // MARK: Groups

  @Test("a group is worked on as a queue, and its messages say where they stand")
  func groups() throws {
    let (request, then) = try Self.ask(Self.parse("POST", "/topics/events/groups/stock/lease?max=10&wait=20s"))
    #expect(request == .lease(queue: "events.stock", max: 10, visibility: nil, wait: 20_000))
    let message = LeasedMessage(
      sequence: 12, attempt: 1, until: QueueAPITests.now.milliseconds, enqueuedAt: QueueAPITests.now.milliseconds,
      message: NewMessage(id: Array("41".utf8), key: Array("k".utf8), body: Array("x".utf8)),
      entry: MessageEntry(position: 41, version: 3, at: 0, id: Array("e-1".utf8), type: Array("T".utf8)))
    #expect(
      Self.text(then.next(.leased([message]))).hasPrefix(
        #"200 {"messages":[{"lease":"12.1","id":"e-1","position":41,"version":3,"type":"T","key":"k","priority":4,"#))
    #expect(try Self.problem(then.next(.unknownQueue)).reason == "group-unknown")
    let settle = try Self.ask(Self.parse("POST", "/streams/orders/groups/list/ack?lease=12.1")).0
    #expect(
      settle
        == .settle(queue: "orders.list", [Settlement(sequence: 12, attempt: 1, verdict: .ack(result: []))]))
    #expect(
      try Self.ask(Self.parse("GET", "/topics/events/groups/mail")).0 == .look(queue: "events.mail", .counts))
    #expect(
      try Self.ask(Self.parse("GET", "/topics/events/groups/mail/messages/41")).0
        == .look(queue: "events.mail", .message(id: Array("41".utf8))))
    let mend = try Self.problem(Self.parse("POST", "/topics/events/groups/mail/lease", [], "x")).errors?.first?.mend
    #expect(mend?.contains("POST /topics/events/groups/mail/lease?") == true)
  }

  @Test("counts of a topic, with its groups under their own names")
  func counts() throws {
    let (request, then) = try Self.ask(Self.parse("GET", "/topics/events"))
    #expect(request == .lookLog(log: "events"))
    var counts = LogCounts()
    (counts.first, counts.last, counts.bytes) = (5, 12, 900)
    var group = GroupCounts(name: "events.mail")
    (group.lag, group.position, group.counts.dead) = (3, 9, 1)
    counts.groups = [group, GroupCounts(name: "webhooks.partners.p1")]
    let text = Self.text(then.next(.logCounts(counts)))
    #expect(
      text.hasPrefix(#"200 {"topic":"events","first":5,"last":12,"bytes":900,"groups":[{"group":"mail","lag":3,"#))
    #expect(text.contains(#""position":9,"in-flight":0,"retrying":0,"dead":1,"paused":false}"#))
    #expect(text.contains(#""group":"webhooks.partners.p1""#))
  }

  // MARK: Snapshots

  @Test("a snapshot is of a version that there is, replaces an older one, and never a later one")
  func snapshots() throws {
    let place = "/streams/orders/a/snapshot"
    let outcome = try Self.parse(
      "PUT", place, [("Weir-Version", "7"), ("Content-Type", "application/json")], #"{"sum":1}"#)
    let (read, came) = try Self.ask(outcome)
    #expect(read == .read(log: "orders", key: Array("a".utf8), after: 6, limit: 1, wait: 0))
    #expect(try Self.problem(came.next(.entries([]))).reason == "version-conflict")
    let (look, known) = try Self.ask(came.next(.entries([Self.entry(9, version: 7, "x")])))
    #expect(look == .document(log: "orders", key: Array("a".utf8)))
    let body = Array("weir-version: 7\r\ncontent-type: application/json\r\n\r\n{\"sum\":1}".utf8)
    let (save, saved) = try Self.ask(known.next(.document(nil)))
    #expect(save == .saveDocument(log: "orders", key: Array("a".utf8), body: body, expected: 0))
    #expect(
      Self.text(saved.next(.saved(version: 1))) == #"200 {"stream":"orders","key":"a","version":7}"# + "\n")
    // One that is older is replaced, with the version that was seen; one that is later stays.
    func document(_ version: Int64) -> StateReply {
      .document(
        LogDocument(key: Array("a".utf8), version: 3, body: Array("weir-version: \(version)\r\n\r\nx\ny".utf8)))
    }
    guard case .saveDocument(_, _, _, 3) = try Self.ask(known.next(document(5))).0 else {
      Issue.record("not saved over the one that was seen")
      return
    }
    let later = try Self.answer(known.next(document(8)))
    #expect(later.status == 409 && String(decoding: later.body, as: UTF8.self).contains(#""version":8}"#))
    // Another was faster: it is looked at again, not for ever.
    var turn = saved
    for _ in 0..<2 {
      let (again, next) = try Self.ask(turn.next(.conflict(index: 0, version: 4)))
      #expect(again == look)
      turn = try Self.ask(next.next(document(5))).1
    }
    #expect(try Self.answer(turn.next(.conflict(index: 0, version: 5))).status == 503)

    let (get, shown) = try Self.ask(Self.parse("GET", place))
    #expect(get == look)
    let answer = try Self.answer(shown.next(.document(LogDocument(key: Array("a".utf8), version: 1, body: body))))
    #expect(answer.body == Array(#"{"sum":1}"#.utf8) && answer.fields.contains(MessagingField("Weir-Version", "7")))
    #expect(answer.fields.contains(MessagingField("Content-Type", "application/json")))
    let bare = try Self.answer(shown.next(document(5)))
    #expect(bare.body == Array("x\ny".utf8))
    #expect(try Self.problem(shown.next(.document(nil))).reason == "snapshot-unknown")
    #expect(try Self.problem(Self.parse("PUT", place, [], "x")).errors?.first?.at == "Weir-Version")
    #expect(try Self.answer(Self.parse("POST", place)).status == 405)
  }
}
