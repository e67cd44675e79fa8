// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

@Suite struct EventFactsTests {
  private static func text(_ name: String, fields: String = "", body: String) -> String? {
    var facts = EventFacts(fields: Array(fields.utf8), body: Array(body.utf8))
    return facts.text(name)
  }

  @Test("a member of JSON data, also within another; else an attribute; else a field that was kept for it")
  func places() {
    let body = #"{"n":7,"order":{"id":"x","paid":true},"a.b":1,"none":null,"list":[1]}"#
    #expect(Self.text("n", body: body) == "7" && Self.text("order.id", body: body) == "x")
    #expect(Self.text("order.paid", body: body) == "true" && Self.text("a.b", body: body) == "1")
    for name in ["none", "list", "order", "order.none", "x", "order.id.x"] {
      #expect(Self.text(name, body: body) == nil, "\(name)")
    }
    let fields =
      "ce-specversion: 1.0\r\nce-n: 5\r\ncontent-type: application/json\r\nweir-said-n: 6\r\nweir-said-x-y:  8\r\n"
    #expect(Self.text("n", fields: fields, body: body) == "7")
    #expect(Self.text("N", fields: fields, body: body) == "5")
    #expect(Self.text("X-Y", fields: fields, body: body) == "8")
    #expect(Self.text("specversion", fields: fields, body: body) == "1.0")
  }

  @Test("data that is not said to be JSON is not read, nor broken data")
  func types() {
    func n(_ fields: String, _ body: String = #"{"n":1}"#) -> String? { Self.text("n", fields: fields, body: body) }
    #expect(n("") == "1" && n("content-type: application/json; charset=utf-8\r\n") == "1")
    #expect(n("content-type: application/vnd.shop+json\r\n") == "1")
    #expect(n("content-type: text/plain\r\n") == nil && n("ce-specversion: 1.0\r\n") == nil)
    #expect(n("", #"{"n":1"#) == nil && n("", "") == nil && n("", "[1]") == nil)
  }

  @Test("a number is whole")
  func numbers() {
    func number(_ value: String) -> Int64? {
      var facts = EventFacts(fields: [], body: Array(#"{"n":\#(value)}"#.utf8))
      return facts.number("n")
    }
    #expect(number("12") == 12 && number(#""12""#) == 12 && number("-3") == -3)
    #expect(number("1.5") == nil && number("true") == nil && number(#""a""#) == nil)
    #expect(number("9223372036854775808") == nil)
  }
}
