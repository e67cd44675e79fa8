// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirMessaging
import WeirWire

/// CloudEvents 1.0.2: the facts of the JSON format and of the HTTP binding.
@Suite struct CloudEventTests {
  private static func flaws(_ read: () throws(CloudEvent.Malformed) -> Void) -> [Flaw] {
    do throws(CloudEvent.Malformed) { try read() } catch { return error.flaws }
    return []
  }

  private static func json(_ text: String) throws -> CloudEvent { try CloudEvent.read(json: Array(text.utf8)) }

  private static func text(_ event: CloudEvent) -> String { String(decoding: event.json, as: UTF8.self) }

  private static let start = #""specversion":"1.0","id":"1","source":"/s","type":"t""#

  @Test("the attributes of the specification's example, and extensions of three types")
  func attributes() throws {
    let event = try Self.json(
      #"""
      { "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject" : null,
        "id" : "C234-1234-1234", "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value",
        "comexampleothervalue" : 5, "flag" : true, "unsetextension" : null, "datacontenttype" : "application/json",
        "dataschema" : "https://example.com/schema#1", "data" : { "appinfoA" : "abc", "appinfoB" : 123, "c" : 1.50 } }
      """#)
    var expected = CloudEvent(id: "C234-1234-1234", source: "/mycontext", type: "com.example.someevent")
    expected.time = "2018-04-05T17:31:00Z"
    expected.datacontenttype = "application/json"
    expected.dataschema = "https://example.com/schema#1"
    expected.extensions = [
      .init("comexampleextension1", .text("value")), .init("comexampleothervalue", .integer(5)),
      .init("flag", .bool(true)),
    ]
    expected.data = Array(#"{ "appinfoA" : "abc", "appinfoB" : 123, "c" : 1.50 }"#.utf8)
    #expect(event == expected)
    #expect(try CloudEvent.read(json: event.json) == event)
    // And in fields, as the specification writes it.
    let (fields, body) = event.binary
    for field in [
      MessagingField("ce-specversion", "1.0"), MessagingField("ce-type", "com.example.someevent"),
      MessagingField("ce-source", "/mycontext"), MessagingField("ce-id", "C234-1234-1234"),
      MessagingField("ce-time", "2018-04-05T17:31:00Z"), MessagingField("ce-comexampleextension1", "value"),
      MessagingField("ce-comexampleothervalue", "5"), MessagingField("ce-flag", "true"),
      MessagingField("Content-Type", "application/json"),
    ] { #expect(fields.contains(field), "\(field)") }
    #expect(!fields.contains { $0.name.contains("subject") || $0.name.contains("datacontenttype") })
    #expect(body == expected.data)
  }

  // JSON format §3.1: what the data is in JSON, in bytes, and in JSON again.
  @Test(
    "data: JSON as it is written, text as text, bytes as base64",
    arguments: [
      (#""data":{"a": 1e2}"#, #"{"a": 1e2}"#, "application/json", #""data":{"a": 1e2}"#),
      // Without a type it is JSON; a text is a JSON text then, with its quotes.
      (#""data":"I'm just a string""#, #""I'm just a string""#, "application/json", #""data":"I'm just a string""#),
      (#""data":null"#, "null", "application/json", #""data":null"#),
      (#""datacontenttype":"text/json","data":[1]"#, "[1]", "text/json", #""data":[1]"#),
      (
        #""datacontenttype":"application/x+json; a=b","data":"{}""#, #""{}""#, "application/x+json; a=b",
        #""data":"{}""#
      ),
      (
        #""datacontenttype":"application/xml","data":"<much wow=\"xml\"/>""#, #"<much wow="xml"/>"#, "application/xml",
        #""data":"<much wow=\"xml\"/>""#
      ),
      (#""datacontenttype":"text/plain","data":"\u00fc\n""#, "ü\n", "text/plain", #""data":"ü\n""#),
      (
        #""datacontenttype":"application/octet-stream","data_base64":"YWJj""#, "abc", "application/octet-stream",
        #""data_base64":"YWJj""#
      ),
      (
        #""datacontenttype":"application/json","data_base64":"e30=""#, "{}", "application/json",
        #""data_base64":"e30=""#
      ),
      (
        #""datacontenttype":"application/octet-stream","data":"abc""#, "abc", "application/octet-stream",
        #""data_base64":"YWJj""#
      ),
      (#""datacontenttype":"text/plain","data":"","data_base64":null"#, "", "text/plain", #""data":"""#),
    ])
  func data(_ members: String, bytes: String, type: String, again: String) throws {
    let event = try Self.json("{\(Self.start),\(members)}")
    #expect(event.data == Array(bytes.utf8) && event.datacontenttype == type)
    #expect(Self.text(event) == #"{\#(Self.start),"datacontenttype":"\#(type)",\#(again)}"#)
    // Through HTTP's binary mode nothing is lost.
    guard case .events(let events, .binary) = try CloudEvent.read(event.binary.fields, event.binary.body) else {
      Issue.record("no event")
      return
    }
    #expect(events.first?.data == event.data && events.first?.datacontenttype == type)
  }

  @Test("no data is not an empty one")
  func noData() throws {
    let event = try Self.json("{\(Self.start)}")
    #expect(event.data == nil && event.datacontenttype == nil && Self.text(event) == "{\(Self.start)}")
    #expect(event.binary.body.isEmpty && !event.binary.fields.contains { $0.name == "Content-Type" })
    let bytes: [UInt8] = [0, 255]
    var other = event
    other.data = bytes
    #expect(Self.text(other) == #"{\#(Self.start),"data_base64":"AP8="}"#)
    other.datacontenttype = "application/json"
    #expect(Self.text(other).hasSuffix(#""data_base64":"AP8="}"#))
  }

  @Test(
    "events that are none say where",
    arguments: [
      ("", "line 1, column 1", "JSON"), ("{", "line 1, column 2", "JSON"), ("[]", "$", "no event"),
      ("null", "$", "no event"),
      ("{}", "$.specversion", "missing"), (#"{"specversion":"1.0","source":"/","type":"t"}"#, "$.id", "missing"),
      (#"{"specversion":"1.0","id":"1","type":"t"}"#, "$.source", "missing"),
      (#"{"specversion":"1.0","id":"1","source":"/"}"#, "$.type", "missing"),
      (#"{"specversion":"0.3","id":"1","source":"/","type":"t"}"#, "$.specversion", "1.0"),
      (#"{"specversion":1.0,"id":"1","source":"/","type":"t"}"#, "$.specversion", "a number is no text"),
      (#"{"specversion":"1.0","id":"","source":"/","type":"t"}"#, "$.id", "empty"),
      (#"{"specversion":"1.0","id":7,"source":"/","type":"t"}"#, "$.id", "quotes"),
      (#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#, "$.source", "URI"),
      (#"{"specversion":"1.0","id":"1","source":"/","type":"\u0007"}"#, "$.type", "control"),
      (#"{"specversion":"1.0","id":"\ud800","source":"/","type":"t"}"#, "$.id", "surrogate"),
      (#"{"specversion":"1.0","id":"\uffff","source":"/","type":"t"}"#, "$.id", "character"),
      (#"{\#(start),"subject":""}"#, "$.subject", "empty"), (#"{\#(start),"time":"yesterday"}"#, "$.time", "RFC 3339"),
      (#"{\#(start),"time":"2018-04-05"}"#, "$.time", "RFC 3339"),
      (#"{\#(start),"dataschema":"a/b"}"#, "$.dataschema", "URI"),
      (#"{\#(start),"datacontenttype":"json"}"#, "$.datacontenttype", "media type"),
      (#"{\#(start),"Ext":"a"}"#, "$.Ext", "lower-case"), (#"{\#(start),"my_ext":"a"}"#, "$.my_ext", "lower-case"),
      (#"{\#(start),"ext":1.5}"#, "$.ext", "whole"), (#"{\#(start),"ext":2147483648}"#, "$.ext", "2147483647"),
      (#"{\#(start),"ext":{}}"#, "$.ext", "an object"), (#"{\#(start),"ext":[]}"#, "$.ext", "a list"),
      (#"{\#(start),"id":"2"}"#, "$.id", "twice"),
      (#"{\#(start),"data":1,"data_base64":"AA=="}"#, "$.data", "one of them"),
      (#"{\#(start),"data_base64":"?"}"#, "$.data_base64", "base64"),
      (#"{\#(start),"datacontenttype":"text/plain","data":{}}"#, "$.data", "as a text"),
    ])
  func malformed(_ text: String, at: String, says: String) throws {
    let flaws = Self.flaws { () throws(CloudEvent.Malformed) in _ = try CloudEvent.read(json: Array(text.utf8)) }
    let flaw = try #require(flaws.first { $0.at == at }, "\(flaws)")
    #expect((flaw.what + " " + (flaw.mend ?? "")).contains(says), "\(flaw)")
  }

  @Test(
    "times keep their digits, whatever RFC 3339 allows",
    arguments: [
      "2018-04-05T17:31:00Z", "2018-04-05T17:31:00.123456789Z", "2018-04-05t17:31:00z", "1937-01-01T12:00:27.87+00:20",
      "0001-01-01T00:00:00Z", "1990-12-31T15:59:60-08:00",
    ])
  func times(_ time: String) throws {
    #expect(try Self.json(#"{\#(Self.start),"time":"\#(time)"}"#).time == time)
  }

  @Test("batches, empty ones too; each event's mistakes by its place")
  func batches() throws {
    #expect(try CloudEvent.read(jsonBatch: Array("[]".utf8)).isEmpty)
    let text = #"[{\#(Self.start),"data":1},{"specversion":"1.0","id":"2","source":"/s","type":"t"}]"#
    let events = try CloudEvent.read(jsonBatch: Array(text.utf8))
    #expect(events.map(\.id) == ["1", "2"])
    let (fields, body) = CloudEvent.batched(events)
    #expect(try CloudEvent.read(fields, body) == .events(events, .batched))
    let flaws = Self.flaws { () throws(CloudEvent.Malformed) in
      _ = try CloudEvent.read(jsonBatch: Array(#"[{\#(Self.start)},{"id":"2"},3]"#.utf8))
    }
    #expect(flaws.map(\.at) == ["$[1].specversion", "$[1].source", "$[1].type", "$[2]"])
    #expect(
      !Self.flaws { () throws(CloudEvent.Malformed) in _ = try CloudEvent.read(jsonBatch: Array("{}".utf8)) }.isEmpty)
  }

  // HTTP binding §3: which mode it is, by Content-Type alone.
  @Test("modes")
  func modes() throws {
    let body = Array("{\(Self.start)}".utf8)
    func mode(_ type: String, _ body: [UInt8], _ more: [MessagingField] = []) throws -> CloudEvent.Content {
      try CloudEvent.read([MessagingField("content-TYPE", type)] + more, body)
    }
    for type in [
      "application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8",
      "application/cloudevents+json;charset=\"UTF-8\"",
    ] {
      guard case .events(_, .structured) = try mode(type, body) else {
        Issue.record("\(type)")
        continue
      }
    }
    guard case .events(_, .batched) = try mode("application/cloudevents-batch+json", Array("[]".utf8)) else {
      Issue.record("no batch")
      return
    }
    #expect(try mode("application/json", body) == .none)
    #expect(try mode("application/json", body, [MessagingField("ce-id", "1")]) == .none)
    for type in [
      "application/cloudevents", "application/cloudevents+avro", "application/cloudevents-batch+avro",
      "application/cloudevents+json; charset=utf-16",
    ] {
      let flaws = Self.flaws { () throws(CloudEvent.Malformed) in
        _ = try CloudEvent.read([MessagingField("Content-Type", type)], body)
      }
      #expect(flaws.first?.at == "Content-Type")
    }
    // In structured mode fields beside it say nothing.
    guard
      case .events(let events, .structured) = try mode(
        "application/cloudevents+json", body,
        [MessagingField("ce-specversion", "1.0"), MessagingField("ce-id", "other")])
    else { return }
    #expect(events.first?.id == "1")
  }

  private static func fields(_ more: [(String, String)]) -> [MessagingField] {
    [("ce-specversion", "1.0"), ("CE-ID", "1"), ("ce-Source", "/s"), ("ce-type", "t")].map {
      MessagingField($0.0, $0.1)
    }
      + more.map { MessagingField($0.0, $0.1) }
  }

  // HTTP binding §3.1.3.2, with its own example, and the older, quoted form.
  @Test(
    "values in fields",
    arguments: [
      ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
      ("%e2%82%ac", "€", "%E2%82%AC"), ("%41bc", "Abc", "Abc"), ("%22%25", "\"%", "%22%25"),
      ("a\u{e9}", "aé", "a%C3%A9"),
      (#""a b""#, "a b", "a%20b"), (#""a \"b\" \\""#, "a \"b\" \\", "a%20%22b%22%20\\"),
      (#""Euro%20€""#, "Euro €", "Euro%20%E2%82%AC"),
      ("100%", "100%", "100%25"), ("%2541", "%41", "%2541"),
      ("!#$&'()*+,-./:;<=>?@[]^_`{|}~", "!#$&'()*+,-./:;<=>?@[]^_`{|}~", "!#$&'()*+,-./:;<=>?@[]^_`{|}~"),
    ])
  func values(_ written: String, means: String, again: String) throws {
    guard case .events(let events, .binary) = try CloudEvent.read(Self.fields([("ce-ext", written)]), []) else {
      Issue.record("no event")
      return
    }
    let event = try #require(events.first)
    #expect(event.extensions == [.init("ext", .text(means))])
    #expect(event.binary.fields.first { $0.name == "ce-ext" }?.value == again)
  }

  @Test(
    "fields that are none",
    arguments: [
      ([("ce-ext", "%C0%A0")], "ce-ext"), ([("ce-ext", "%ff")], "ce-ext"), ([("ce-ext", "%00")], "ce-ext"),
      ([("ce-datacontenttype", "a/b")], "ce-datacontenttype"), ([("ce-id", "2")], "ce-id"),
      ([("ce-my-ext", "a")], "ce-my-ext"),
      ([("ce-data", "a")], "ce-data"), ([("ce-", "a")], "ce-"), ([("ce-time", "now")], "ce-time"),
      ([("ce-subject", "")], "ce-subject"),
      ([("Content-Type", "json")], "Content-Type"),
      ([("Content-Type", "a/b"), ("Content-Type", "a/b")], "Content-Type"),
    ] as [([(String, String)], String)])
  func malformedFields(_ more: [(String, String)], at: String) throws {
    let flaws = Self.flaws { () throws(CloudEvent.Malformed) in _ = try CloudEvent.read(Self.fields(more), []) }
    #expect(flaws.map(\.at) == [at])
  }

  @Test("what is missing is told by its field")
  func missing() throws {
    let flaws = Self.flaws { () throws(CloudEvent.Malformed) in
      _ = try CloudEvent.read([MessagingField("Ce-SpecVersion", "0.3"), MessagingField("ce-id", "%ff")], [])
    }
    #expect(flaws.map(\.at) == ["ce-id", "ce-specversion", "ce-source", "ce-type"])
  }

  // Whatever is read can be written in each mode, and is the same event then.
  @Test("20 000 spoiled events: no crash, and what is read means the same in every mode")
  func spoiled() throws {
    let seed = ProcessInfo.processInfo.environment["WEIR_SEED"].flatMap { UInt64($0) } ?? 1
    var random = SeededRandom(seed: seed, stream: "cloud events")
    let seeds = [
      #"{\#(Self.start),"time":"2018-04-05T17:31:00.5Z","subject":"a b","ext":5,"flag":true,"data":{"a":[1,"\u00e9"]}}"#,
      #"{\#(Self.start),"datacontenttype":"text/plain","data":"a\n\"b","x":"\ud83d\ude00"}"#,
      #"{\#(Self.start),"datacontenttype":"image/png","data_base64":"AP8=","dataschema":"urn:x"}"#,
    ]
    let pieces = [
      "\"", "{", "}", ",", ":", "\\", "\\u0000", "\\ud800", "null", "1e9", "é", "\u{0}", "%41", "text/x", "[]",
    ]
    var read = 0
    for step in 0..<20_000 {
      var bytes = Array(seeds[random.index(below: seeds.count)].utf8)
      for _ in 0..<random.index(below: 4) {
        let at = random.index(below: bytes.count)
        switch random.index(below: 3) {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.remove(at: at)
        default: bytes.insert(contentsOf: Array(pieces[random.index(below: pieces.count)].utf8), at: at)
        }
      }
      guard let event = try? CloudEvent.read(json: bytes) else { continue }
      read += 1
      let again = try CloudEvent.read(json: event.json)
      var same = again
      // Text of a type that is not known for text is written as bytes.
      same.isBinary = event.isBinary
      #expect(same == event, "seed \(seed), step \(step): \(String(decoding: bytes, as: UTF8.self))")
      let (fields, body) = event.binary
      #expect(fields.allSatisfy { $0.value.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f } })
      guard case .events(let events, .binary) = try CloudEvent.read(fields, body), let inFields = events.first else {
        Issue.record("seed \(seed), step \(step): no event")
        continue
      }
      #expect(inFields.id == event.id && inFields.time == event.time && inFields.subject == event.subject)
      #expect(inFields.extensions.map(\.value.text) == event.extensions.map(\.value.text))
      #expect((inFields.data ?? []) == (event.data ?? []))
    }
    #expect(read > 4000, "\(read)")
  }

  // MARK: The reference library

  private struct Judged: Decodable {
    struct Message: Decodable {
      var headers: [String: String]
      var body: String
    }
    var attributes: [String: String]
    var data: String?
    var binary: Message
    var structured: Message
  }

  @Test(
    "the package cloudevents reads what we write, and we read what it writes",
    .enabled(if: Judge.has("cloudevents.core.bindings.http")))
  func judged() throws {
    var event = CloudEvent(id: "7 é", source: "/orders", type: "com.example.order.placed")
    event.subject = "Euro € 😀 \"100%\""
    event.time = "2026-11-22T09:00:00.25Z"
    event.extensions = [.init("sequence", .integer(12)), .init("partitionkey", .text("a b"))]
    for (type, data) in [
      ("application/json", #"{"n":1.5,"s":"ü"}"#), ("text/plain", "grüße\n"),
      ("application/octet-stream", "\u{1}bytes"),
    ] {
      event.datacontenttype = type
      event.data = Array(data.utf8)
      for (fields, body) in [event.binary, event.structured] {
        let headers = Dictionary(fields.map { ($0.name, $0.value) }) { first, _ in first }
        let answer = try Judge.ask([
          "cloudevent", String(decoding: try JSONEncoder().encode(headers), as: UTF8.self),
          Data(body).base64EncodedString(),
        ])
        let judged = try JSONDecoder().decode(Judged.self, from: Data(answer.utf8))
        for (name, value) in [
          ("id", event.id), ("source", event.source), ("type", event.type), ("subject", event.subject ?? ""),
          ("datacontenttype", type), ("sequence", "12"), ("partitionkey", "a b"), ("specversion", "1.0"),
          ("time", "2026-11-22T09:00:00.250000+00:00"),
        ] { #expect(judged.attributes[name] == value, "\(type): \(name)") }
        for message in [judged.binary, judged.structured] {
          let body = try #require(Data(base64Encoded: message.body))
          let fields = message.headers.map { MessagingField($0.key, $0.value) }
          guard case .events(let events, _) = try CloudEvent.read(fields, Array(body)), let back = events.first else {
            Issue.record("no event in \(message)")
            continue
          }
          #expect(back.id == event.id && back.subject == event.subject && back.datacontenttype == type)
          #expect(Set(back.extensions.map(\.name)) == ["sequence", "partitionkey"])
          if type == "application/json" {
            let parsed = try JSONSerialization.jsonObject(with: Data(back.data ?? [])) as? [String: Any]
            #expect(parsed?["n"] as? Double == 1.5 && parsed?["s"] as? String == "ü")
          } else {
            #expect(back.data == event.data, "\(type)")
          }
        }
      }
    }
  }
}
