// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirWire

/// What programs ask, and what the state process is asked then.
@Suite struct QueueAPITests {
  static let now = WallTime(milliseconds: 1_795_305_600_000)  // 2026-11-22T00:00:00Z

  static func parse(
    _ method: String, _ target: String, _ fields: [(String, String)] = [], _ body: String = "",
    keyFields: [String: String] = [:]
  ) -> QueueAPI.Parsed {
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    var random = SeededRandom(seed: 7)
    return QueueAPI(keyFields: keyFields).parse(
      MessagingRequest(
        method: method, path: parts[0], query: parts.count > 1 ? parts[1] : nil,
        fields: fields.map { MessagingField($0.0, $0.1) }, body: Array(body.utf8)),
      now: now, using: &random)
  }

  /// The messages that would be enqueued, after their way through a frame: what its reader refuses is never asked.
  static func messages(_ parsed: QueueAPI.Parsed) throws -> [NewMessage] {
    guard case .ask(let request, _) = parsed, case .enqueue(_, let messages) = try framed(request) else {
      Issue.record("nothing to enqueue: \(text(parsed))")
      return []
    }
    return messages
  }

  static func framed(_ request: StateRequest) throws -> StateRequest {
    var bytes: [UInt8] = []
    StateFrames.append(request, id: 1, to: &bytes)
    var reader = StateFrameReader()
    reader.feed(bytes.span)
    let content = Array(try #require(try reader.next()))
    let read = try StateFrames.request(content.span).request
    #expect(read == request)
    return read
  }

  static func text(_ parsed: QueueAPI.Parsed) -> String {
    guard case .refuse(let answer) = parsed else { return "\(parsed)" }
    return "\(answer.status) \(String(decoding: answer.body, as: UTF8.self))"
  }

  struct Problem: Decodable {
    struct Item: Decodable {
      var at: String
      var what: String
      var mend: String?
    }
    var status: Int
    var reason: String
    var detail: String
    var errors: [Item]?
  }

  static func problem(_ parsed: QueueAPI.Parsed) throws -> Problem {
    guard case .refuse(let answer) = parsed else { throw Unexpected(what: "\(parsed)") }
    return try problem(answer)
  }

  static func problem(_ answer: MessagingAnswer) throws -> Problem {
    let problem = try JSONDecoder().decode(Problem.self, from: Data(answer.body))
    #expect(problem.status == Int(answer.status) && answer.status == answer.reason.status)
    #expect(problem.reason == "\(answer.reason.name)")
    #expect(answer.fields.contains(MessagingField("Content-Type", "application/problem+json")))
    #expect(answer.fields.contains { $0.name == "Proxy-Status" && $0.value.contains(problem.reason) })
    return problem
  }

  struct Unexpected: Error, CustomStringConvertible {
    var what: String
    var description: String { what }
  }

  // MARK: Enqueue

  @Test("a message with all that can be said of it")
  func enqueue() throws {
    let parsed = Self.parse(
      "POST", "/queues/emails",
      [
        ("Host", "127.0.0.1"), ("Content-Type", "application/json"), ("weir-ID", "order-7"), ("Weir-Key", " Zoë & Co "),
        ("Weir-Priority", "9"), ("Weir-Delay", "1.5s"), ("Weir-Keep", "2d"), ("Weir-Tenant", "acme"),
        ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("ce-type", "com.example.order"),
        ("Authorization", "Bearer secret"), ("Weir-Deadline", "100"), ("Content-Length", "9"),
      ], #"{"a": 1}"#)
    let message = try #require(try Self.messages(parsed).first)
    #expect(
      message
        == NewMessage(
          id: Array("order-7".utf8), key: Array("Zoë & Co".utf8), tenant: Array("acme".utf8), priority: 9,
          notBefore: Self.now.milliseconds + 1500, keep: 2 * 86_400_000,
          fields: Array(
            """
            content-type: application/json\r
            traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r
            ce-type: com.example.order\r\n
            """.utf8), body: Array(#"{"a": 1}"#.utf8)))
    guard case .ask(.enqueue(let queue, _), let answering) = parsed else { return }
    #expect(queue == "emails" && answering == .enqueued("emails", isSingle: true))
  }

  @Test("nothing but a body: an id of our own, which rises with the time, and what is usual")
  func plain() throws {
    let message = try #require(try Self.messages(Self.parse("POST", "/queues/emails", [], "hello")).first)
    let id = String(decoding: message.id, as: UTF8.self)
    #expect(
      UUID(uuidString: id) != nil && id.dropFirst(14).first == "7" && "89ab".contains(id.dropFirst(19).first ?? "x"))
    #expect(id.hasPrefix("01a2008d-7400-7"))
    #expect(message == NewMessage(id: message.id, body: Array("hello".utf8)))
    #expect(try Self.messages(Self.parse("POST", "/queues/emails")).first?.body == [])

    // Ids differ, and those of a later millisecond are greater.
    var random = SeededRandom(seed: 1)
    var last = ""
    for i in 0..<1000 {
      let parsed = QueueAPI().parse(
        MessagingRequest(method: "POST", path: "/queues/a"),
        now: WallTime(milliseconds: Self.now.milliseconds + Int64(i)),
        using: &random)
      let id = String(decoding: try #require(try Self.messages(parsed).first).id, as: UTF8.self)
      #expect(id > last)
      last = id
    }
  }

  @Test(
    "times and delays",
    arguments: [
      ("Weir-Delay", "0s", 0), ("Weir-Delay", "30s", 30_000), ("Weir-Delay", "5m", 300_000),
      ("Weir-Delay", "2h", 7_200_000),
      ("Weir-Delay", "1d", 86_400_000), ("Weir-Delay", "250ms", 250), ("Weir-Delay", "0.5h", 1_800_000),
      ("Weir-Delay", "1ns", 1), ("Weir-Delay", "3650d", 3650 * 86_400_000),
      ("Weir-At", "2026-11-22T00:00:01Z", 1000), ("Weir-At", "2026-11-22t00:00:00.250z", 250),
      ("Weir-At", "2026-11-22T01:00:01+01:00", 1000), ("Weir-At", "2026-11-21T23:30:00-00:30", 0),
      ("Weir-At", "2026-11-21T00:00:00Z", 0), ("Weir-At", "1970-01-01T00:00:00Z", 0),
      ("Weir-At", "2028-02-29T00:00:00Z", 464 * 86_400_000), ("Weir-At", "2026-12-31T23:59:60Z", 40 * 86_400_000),
    ] as [(String, String, Int64)])
  func times(_ name: String, _ value: String, after: Int64) throws {
    let message = try #require(try Self.messages(Self.parse("POST", "/queues/a", [(name, value)])).first)
    #expect(message.notBefore == (after == 0 ? 0 : Self.now.milliseconds + after))
  }

  @Test(
    "malformed fields say which, what and how it is mended",
    arguments: [
      ([("Weir-Id", "")], "Weir-Id", "id"), ([("Weir-Id", "a b")], "Weir-Id", "visible"),
      ([("Weir-Id", "ä")], "Weir-Id", "ASCII"),
      ([("Weir-Id", String(repeating: "a", count: 129))], "Weir-Id", "128"),
      ([("Weir-Id", "a"), ("weir-id", "b")], "Weir-Id", "twice"),
      ([("Weir-Key", "")], "Weir-Key", "256"), ([("Weir-Key", String(repeating: "a", count: 257))], "Weir-Key", "256"),
      ([("Weir-Key", "a\u{fffd}")], "Weir-Key", "UTF-8"), ([("Weir-Tenant", "a\u{1}")], "Weir-Tenant", "control"),
      ([("Weir-Priority", "10")], "Weir-Priority", "from 0 to 9"),
      ([("Weir-Priority", "-1")], "Weir-Priority", "0 to 9"),
      ([("Weir-Priority", "+1")], "Weir-Priority", "0 to 9"), ([("Weir-Priority", "high")], "Weir-Priority", "'high'"),
      ([("Weir-Delay", "30")], "Weir-Delay", "'30' is no length"), ([("Weir-Delay", "5 min")], "Weir-Delay", "5m"),
      ([("Weir-Delay", "-1s")], "Weir-Delay", "no length"), ([("Weir-Delay", "1.s")], "Weir-Delay", "no length"),
      ([("Weir-Delay", "3651d")], "Weir-Delay", "no length"),
      ([("Weir-Delay", "99999999999999999999s")], "Weir-Delay", "no length"),
      ([("Weir-Delay", "999999999999999d")], "Weir-Delay", "no length"),
      ([("Weir-Keep", "0s")], "Weir-Keep", "between"),
      ([("Weir-At", "tomorrow")], "Weir-At", "2026-11-22T00:00:00.000Z"),
      ([("Weir-At", "2026-11-22")], "Weir-At", "RFC 3339"),
      ([("Weir-At", "2026-11-22T00:00:00")], "Weir-At", "point"),
      ([("Weir-At", "2026-02-29T00:00:00Z")], "Weir-At", "point"),
      ([("Weir-At", "2026-13-01T00:00:00Z")], "Weir-At", "point"),
      ([("Weir-At", "2026-11-22T24:00:00Z")], "Weir-At", "point"),
      ([("Weir-At", "2026-11-22T00:00:00.Z")], "Weir-At", "point"),
      ([("Weir-At", "1969-12-31T23:59:59Z")], "Weir-At", "point"),
      ([("Weir-At", "2026-11-22T00:00:00Z!")], "Weir-At", "point"),
      ([("Weir-At", "2026-11-22T00:00:00+24:00")], "Weir-At", "point"),
      ([("Weir-At", "2026-11-22T00:00:00Z"), ("Weir-Delay", "1s")], "Weir-Delay", "not both"),
      ([("Weir-Delay", "1s"), ("Weir-At", "2026-11-22T00:00:00Z")], "Weir-At", "not both"),
      ([("Weir-Dealy", "30s")], "Weir-Dealy", "Did you mean Weir-Delay?"),
      ([("weir-prioriti", "3")], "weir-prioriti", "Weir-Priority"),
      ([("Content-Type", "a/b\r\nx: y")], "Content-Type", "control"), ([("ce-type", "a\u{0}")], "ce-type", "control"),
      ([("ce-a b", "c")], "ce-a b", "field"), ([("baggage", String(repeating: "a", count: 4097))], "baggage", "4096"),
      (Array(repeating: ("baggage", String(repeating: "a", count: 4000)), count: 5), "the fields", "bytes"),
    ] as [([(String, String)], String, String)])
  func malformed(_ fields: [(String, String)], at: String, says: String) throws {
    let parsed = Self.parse("POST", "/queues/emails", fields, "x")
    let problem = try Self.problem(parsed)
    #expect(problem.reason == "message-malformed" && problem.status == 422)
    let error = try #require(problem.errors?.first)
    #expect(error.at.lowercased() == at.lowercased())
    #expect((error.what + " " + (error.mend ?? "")).contains(says), "\(error)")
    #expect(problem.detail.contains(error.what))
  }

  @Test("all mistakes are told at once; fields of others are nobody's business")
  func severalFlaws() throws {
    let problem = try Self.problem(
      Self.parse("POST", "/queues/emails", [("Weir-Delay", "x"), ("Weir-Priority", "x"), ("Weir-Keep", "x")]))
    #expect(problem.errors?.map(\.at) == ["Weir-Delay", "Weir-Priority", "Weir-Keep"])
    #expect(
      try Self.messages(Self.parse("POST", "/queues/a", [("Weir-Something-Else", "x"), ("X-Y", "z")])).count == 1)
  }

  @Test("a message may have 1 MiB, and not a byte more")
  func sizes() throws {
    let full = String(repeating: "a", count: 1 << 20)
    #expect(try Self.messages(Self.parse("POST", "/queues/a", [], full)).first?.body.count == 1 << 20)
    let problem = try Self.problem(Self.parse("POST", "/queues/a", [], full + "a"))
    #expect(problem.status == 413 && problem.detail.contains("1048577"))
  }

  @Test("the key comes from the payload's member, or a field, when the sender names none")
  func derivedKey() throws {
    let fields = ["emails": "customer_id"]
    let json = ("Content-Type", "application/json; charset=utf-8")
    func key(_ headers: [(String, String)], _ body: String) throws -> String {
      String(
        decoding: try Self.messages(Self.parse("POST", "/queues/emails", headers, body, keyFields: fields)).first?.key
          ?? [],
        as: UTF8.self)
    }
    #expect(try key([json], #"{"customer_id":"c7","x":{"customer_id":"no"}}"#) == "c7")
    #expect(try key([json], #"{"x":[1,{}],"customer_id": 4711 }"#) == "4711")
    #expect(try key([json], #"{"customer\u005fid":"\u005a\u00f6\ud83d\ude00"}"#) == "Zö😀")
    #expect(try key([json, ("Weir-Key", "mine")], #"{"customer_id":"c7"}"#) == "mine")
    #expect(try key([json, ("Customer_Id", "h")], #"{"other":1}"#) == "h")
    #expect(try key([("Customer_ID", "h")], "text") == "h")
    #expect(try key([("Content-Type", "text/plain")], #"{"customer_id":"c7"}"#) == "")
    for body in [#"{"customer_id":null}"#, #"{"customer_id":{}}"#, #"{"customer_id":""}"#, "{", "[]", ""] {
      #expect(try key([json], body) == "")
    }
    let long = String(repeating: "k", count: 257)
    let problem = try Self.problem(
      Self.parse("POST", "/queues/emails", [json], #"{"customer_id":"\#(long)"}"#, keyFields: fields))
    #expect(problem.errors?.first?.at == "the payload's customer_id")
    let batch = Self.parse(
      "POST", "/queues/emails/batch", [], #"{"messages":[{"body":{"customer_id":1}},{"text":"{\"customer_id\":2}"}]}"#,
      keyFields: fields)
    #expect(try Self.messages(batch).map(\.key) == [Array("1".utf8), []])
  }

  // MARK: Batch

  @Test("a batch: JSON as it was written, text, bytes")
  func batch() throws {
    let parsed = Self.parse(
      "POST", "/queues/emails/batch", [("Content-Type", "application/json"), ("traceparent", "00-a-b-01")],
      #"""
      { "messages": [
        {"id": "a", "key": "k", "priority": 0, "delay": "1m", "tenant": "t", "keep": "1h",
         "body": { "z": 1.50, "a": 123456789012345678901234567890, "s": "ä\u00e4\"" }},
        {"at": "2026-11-22T00:00:01Z", "text": "Grüße\n"},
        {"base64": "AP8=", "content-type": "image/png", "priority": "7", "key": null},
        {"body": null}, {"body": "x"}, {"text": ""}
      ] }
      """#)
    let messages = try Self.messages(parsed)
    #expect(messages.count == 6)
    #expect(
      String(decoding: messages[0].body, as: UTF8.self)
        == #"{ "z": 1.50, "a": 123456789012345678901234567890, "s": "ä\u00e4\"" }"#)
    #expect(messages[0].id == Array("a".utf8) && messages[0].key == Array("k".utf8) && messages[0].priority == 0)
    #expect(messages[0].notBefore == Self.now.milliseconds + 60_000 && messages[0].keep == 3_600_000)
    #expect(messages[0].fields == Array("content-type: application/json\r\ntraceparent: 00-a-b-01\r\n".utf8))
    #expect(messages[1].body == Array("Grüße\n".utf8) && messages[1].notBefore == Self.now.milliseconds + 1000)
    #expect(messages[1].fields.starts(with: Array("content-type: text/plain; charset=utf-8\r\n".utf8)))
    #expect(messages[2].body == [0, 255] && messages[2].priority == 7 && messages[2].key.isEmpty)
    #expect(messages[2].fields.starts(with: Array("content-type: image/png\r\n".utf8)))
    #expect(messages[3].body == Array("null".utf8) && messages[4].body == Array("\"x\"".utf8) && messages[5].body == [])
    #expect(Set(messages.map(\.id)).count == 6)
  }

  @Test(
    "a malformed batch says where",
    arguments: [
      ("", "line 1, column 1", "empty"), ("{", "line 1, column 2", "JSON"),
      ("{\n\"messages\": [}", "line 2, column 14", "JSON"),
      ("[]", "$", "a list stands"), ("{}", "$.messages", "missing"), (#"{"messages":{}}"#, "$.messages", "list"),
      (#"{"messages":[]}"#, "$.messages", "0 messages"), (#"{"mesages":[]}"#, "$.mesages", "Did you mean messages?"),
      (#"{"messages":[{"text":"a"}],"messages":[]}"#, "$.messages", "twice"),
      (#"{"messages":[{"text":"a"},7]}"#, "$.messages[1]", "a number is no message"),
      (#"{"messages":[{"text":"a"},{}]}"#, "$.messages[1]", "one of body, text and base64"),
      (#"{"messages":[{"text":"a","body":1}]}"#, "$.messages[0].body", "text is there, too"),
      (#"{"messages":[{"text":1}]}"#, "$.messages[0].text", "a number is no text"),
      (#"{"messages":[{"text":"a","text":"b"}]}"#, "$.messages[0].text", "twice"),
      (#"{"messages":[{"base64":"?"}]}"#, "$.messages[0].base64", "no base64"),
      (#"{"messages":[{"text":"a","delay":30}]}"#, "$.messages[0].delay", #"Write "30s"."#),
      (#"{"messages":[{"text":"a","delay":"5 min"}]}"#, "$.messages[0].delay", "no length of time"),
      (#"{"messages":[{"text":"a","delay":"1s","at":"2026-11-22T00:00:00Z"}]}"#, "$.messages[0].at", "not both"),
      (#"{"messages":[{"text":"a","priority":1.5}]}"#, "$.messages[0].priority", "0 to 9"),
      (#"{"messages":[{"text":"a","priority":[]}]}"#, "$.messages[0].priority", "a list"),
      (#"{"messages":[{"text":"a","id":7}]}"#, "$.messages[0].id", "a number is no text"),
      (#"{"messages":[{"text":"a","id":"a b"}]}"#, "$.messages[0].id", "visible"),
      (#"{"messages":[{"text":"a","key":"\u0000"}]}"#, "$.messages[0].key", "control"),
      (#"{"messages":[{"text":"a","key":"\ud800"}]}"#, "$.messages[0].key", "a text is no text"),
      (#"{"messages":[{"text":"a","proirity":1}]}"#, "$.messages[0].proirity", "Did you mean priority?"),
      (#"{"messages":[{"text":"a","xyz":1}]}"#, "$.messages[0].xyz", "Known are id, key"),
      (#"{"messages":[{"text":"a","content-type":"a\r\nb: c"}]}"#, "$.messages[0].content-type", "control"),
      (#"{"messages":[{"text":"a","content-type":""}]}"#, "$.messages[0].content-type", "1 to 4096"),
    ])
  func malformedBatch(_ body: String, at: String, says: String) throws {
    let problem = try Self.problem(Self.parse("POST", "/queues/emails/batch", [], body))
    #expect(problem.reason == "message-malformed")
    let error = try #require(problem.errors?.first)
    #expect(error.at == at, "\(error)")
    #expect((error.what + " " + (error.mend ?? "")).contains(says), "\(error)")
  }

  @Test("batches are bounded in messages, bytes, and the bytes of each")
  func batchBounds() throws {
    func body(_ count: Int) -> String {
      #"{"messages":["# + Array(repeating: #"{"text":"a"}"#, count: count).joined(separator: ",") + "]}"
    }
    #expect(try Self.messages(Self.parse("POST", "/queues/a/batch", [], body(1000))).count == 1000)
    #expect(try Self.problem(Self.parse("POST", "/queues/a/batch", [], body(1001))).detail.contains("1001 messages"))
    let large = #"{"messages":[{"text":"\#(String(repeating: "a", count: (1 << 20) + 1))"}]}"#
    #expect(
      try Self.problem(Self.parse("POST", "/queues/a/batch", [], large)).errors?.first?.at == "$.messages[0].text")
    let whole = String(repeating: " ", count: (8 << 20) + 1)
    #expect(try Self.problem(Self.parse("POST", "/queues/a/batch", [], whole)).status == 413)
    // What each message inherits counts, too.
    let baggage =
      [("baggage", String(repeating: "a", count: 4000)), ("tracestate", String(repeating: "a", count: 4000))]
      + [("traceparent", String(repeating: "a", count: 4000))]
    #expect(try Self.problem(Self.parse("POST", "/queues/a/batch", baggage, body(1000))).status == 413)
    let wrong = #"{"messages":["# + Array(repeating: "1", count: 100).joined(separator: ",") + "]}"
    #expect(try Self.problem(Self.parse("POST", "/queues/a/batch", [], wrong)).errors?.count == 16)
  }

  // MARK: Lease and settle

  @Test(
    "leases",
    arguments: [
      ("", 1, nil, 0), ("?max=10&wait=20s&visibility=60s", 10, 60_000, 20_000),
      ("?max=1000&wait=60s", 1000, nil, 60_000),
      ("?visibility=12h", 1, 43_200_000, 0), ("?&max=2&", 2, nil, 0), ("?m%61x=3", 3, nil, 0),
    ] as [(String, UInt16, Int64?, Int64)])
  func lease(_ query: String, max: UInt16, visibility: Int64?, wait: Int64) throws {
    guard case .ask(let request, .leased) = Self.parse("POST", "/queues/emails/lease\(query)") else {
      Issue.record("refused")
      return
    }
    #expect(try Self.framed(request) == .lease(queue: "emails", max: max, visibility: visibility, wait: wait))
  }

  @Test(
    "malformed words of leases and settlements",
    arguments: [
      ("/queues/a/lease?max=0", "", "?max"), ("/queues/a/lease?max=1001", "", "?max"),
      ("/queues/a/lease?max=", "", "?max"),
      ("/queues/a/lease?max=1&max=2", "", "?max"), ("/queues/a/lease?wait=61s", "", "?wait"),
      ("/queues/a/lease?wait=20", "", "?wait"), ("/queues/a/lease?visibility=999ms", "", "?visibility"),
      ("/queues/a/lease?visibility=13h", "", "?visibility"), ("/queues/a/lease?mx=1", "", "?mx"),
      ("/queues/a/lease?max=%", "", "the query"), ("/queues/a/lease?max=%ff", "", "the query"),
      ("/queues/a/lease", "{}", "the body"),
      ("/queues/a/ack", "", "$.leases"), ("/queues/a/ack", "{}", "$.leases"),
      ("/queues/a/ack", #"{"leases":[]}"#, "$.leases"),
      ("/queues/a/ack", #"{"leases":"12.1"}"#, "$.leases"), ("/queues/a/ack", #"{"leases":[12.1]}"#, "$.leases[0]"),
      ("/queues/a/ack", #"{"leases":["12.1","12"]}"#, "$.leases[1]"),
      ("/queues/a/ack", #"{"leases":["a.b"]}"#, "$.leases[0]"),
      ("/queues/a/ack", #"{"leases":["-1.1"]}"#, "$.leases[0]"),
      ("/queues/a/ack", #"{"leases":["1.65536"]}"#, "$.leases[0]"),
      ("/queues/a/ack", #"{"leases":["9999999999999999999.1"]}"#, "$.leases[0]"),
      ("/queues/a/ack", #"{"leases":["1.1"],"error":"x"}"#, "$.error"), ("/queues/a/ack?lease=x", "", "?lease"),
      ("/queues/a/ack", #"{"leases":["1.1"],"result":"\#(String(repeating: "r", count: 4095))"}"#, "$.result"),
      ("/queues/a/nack", #"{"leases":["1.1"],"final":"yes"}"#, "$.final"),
      ("/queues/a/nack", #"{"leases":["1.1"],"retry-after":30}"#, "$.retry-after"),
      ("/queues/a/nack?lease=1.1&final=yes", "", "?final"),
      ("/queues/a/nack?lease=1.1&retry-after=x", "", "?retry-after"),
      ("/queues/a/nack?lease=1.1&retry-after=3650d", "", "?retry-after"),
      ("/queues/a/nack", #"{"leases":["1.1"],"retry-after":"721m"}"#, "$.retry-after"),
      ("/queues/a/nack", #"{"leases":["1.1"],"error":7}"#, "$.error"),
      ("/queues/a/extend?lease=1.1", "", "$.by"), ("/queues/a/extend?lease=1.1&by=0s", "", "?by"),
      ("/queues/a/extend", #"{"leases":["1.1"],"by":60}"#, "$.by"),
      ("/queues/a/extend", "{\n\n  x}", "line 3, column 3"),
    ])
  func malformedWords(_ target: String, _ body: String, at: String) throws {
    let problem = try Self.problem(Self.parse("POST", target, [], body))
    #expect(problem.reason == "message-malformed")
    #expect(problem.errors?.first?.at == at, "\(problem)")
  }

  @Test("ack, nack and extend, in the query and as JSON")
  func settle() throws {
    func settlements(_ target: String, _ body: String = "") throws -> [Settlement] {
      guard case .ask(let request, .settled(let leases)) = Self.parse("POST", target, [], body),
        case .settle("emails", let settlements) = try Self.framed(request)
      else {
        Issue.record("\(target) \(body): \(Self.text(Self.parse("POST", target, [], body)))")
        return []
      }
      #expect(leases == settlements.map { "\($0.sequence).\($0.attempt)" })
      return settlements
    }
    #expect(
      try settlements("/queues/emails/ack?lease=12.1&lease=13.2")
        == [
          Settlement(sequence: 12, attempt: 1, verdict: .ack(result: [])),
          Settlement(sequence: 13, attempt: 2, verdict: .ack(result: [])),
        ])
    #expect(
      try settlements("/queues/emails/ack", #"{"leases":["12.1"],"result":{"sent":true}}"#)
        == [Settlement(sequence: 12, attempt: 1, verdict: .ack(result: Array(#"{"sent":true}"#.utf8)))])
    #expect(
      try settlements(
        "/queues/emails/nack", #"{"leases":["12.1"],"error":"smtp: 451","retry-after":"30s","final":true}"#)
        == [
          Settlement(
            sequence: 12, attempt: 1,
            verdict: .nack(error: "smtp: 451", status: 0, latency: 0, retryAfter: 30_000, isFinal: true))
        ])
    #expect(
      try settlements("/queues/emails/nack?lease=12.1&error=a+b%21&final=false")
        == [
          Settlement(
            sequence: 12, attempt: 1,
            verdict: .nack(error: "a b!", status: 0, latency: 0, retryAfter: nil, isFinal: false))
        ])
    #expect(
      try settlements("/queues/emails/nack?lease=12.1&retry-after=720m")
        == [
          Settlement(
            sequence: 12, attempt: 1,
            verdict: .nack(error: "", status: 0, latency: 0, retryAfter: 43_200_000, isFinal: false))
        ])
    #expect(
      try settlements("/queues/emails/extend?lease=9223372036854775807.65535", #"{"by":"60s"}"#)
        == [Settlement(sequence: .max, attempt: .max, verdict: .extend(by: 60_000))])
    // A stack trace is cut, not refused, and not within a character.
    let trace = String(repeating: "a", count: 1023) + "€€"
    guard
      case .nack(let error, _, _, _, _) = try settlements(
        "/queues/emails/nack", #"{"leases":["1.1"],"error":"\#(trace)"}"#)[0].verdict
    else { return }
    #expect(error == String(repeating: "a", count: 1023))
  }

  // MARK: Places

  @Test("questions about a queue and a message")
  func looks() throws {
    #expect(Self.parse("GET", "/queues/emails") == .ask(.look(queue: "emails", .counts), then: .counts("emails")))
    #expect(
      Self.parse("GET", "/queues/emails/messages/order%2F7")
        == .ask(.look(queue: "emails", .message(id: Array("order/7".utf8))), then: .message("emails")))
  }

  @Test(
    "places that there are not, and methods",
    arguments: [
      ("GET", "/", 404, "no-route"), ("GET", "/queues", 404, "no-route"), ("GET", "queues/emails", 404, "no-route"),
      ("POST", "/queues/emails/", 404, "no-route"), ("POST", "/queues/emails/acks", 404, "no-route"),
      ("POST", "/queues/emails/ack/1", 404, "no-route"), ("GET", "/queues/emails/messages", 404, "no-route"),
      ("GET", "/queues/emails/messages/a/b", 404, "no-route"), ("GET", "/topics/emails", 404, "no-route"),
      ("POST", "/queues/%zz", 404, "no-route"), ("POST", "/queues/", 404, "queue-unknown"),
      ("POST", "/queues/Emails", 404, "queue-unknown"), ("POST", "/queues/a_b", 404, "queue-unknown"),
      ("POST", "/queues/-a", 404, "queue-unknown"), ("POST", "/queues/%00", 404, "queue-unknown"),
      ("POST", "/queues/\(String(repeating: "a", count: 64))", 404, "queue-unknown"),
      ("GET", "/queues/emails/messages/", 404, "message-unknown"),
      ("GET", "/queues/emails/messages/\(String(repeating: "a", count: 129))", 404, "message-unknown"),
      ("PUT", "/queues/emails", 405, "method-not-allowed"), ("GET", "/queues/emails/lease", 405, "method-not-allowed"),
      ("DELETE", "/queues/emails/messages/1", 405, "method-not-allowed"),
      ("GET", "/queues/emails/ack", 405, "method-not-allowed"),
      ("GET", "/queues/emails/batch", 405, "method-not-allowed"),
      ("POST", "/queues/emails?a=b", 422, "message-malformed"), ("GET", "/queues/emails?a=b", 422, "message-malformed"),
    ])
  func places(_ method: String, _ target: String, status: Int, reason: String) throws {
    let parsed = Self.parse(method, target)
    let problem = try Self.problem(parsed)
    #expect(problem.status == status && problem.reason == reason)
    guard case .refuse(let answer) = parsed else { return }
    #expect((status == 405) == answer.fields.contains { $0.name == "Allow" })
  }
}
