// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirPatterns

/// Origins are what everything hangs on: each way of being nearly right is a hole.
@Suite struct CORSRuleTests {
  func rule(_ origins: [String], credentials: Bool = false) throws -> CORSRule {
    var settings = CORSRule.Settings()
    settings.origins = origins
    settings.credentials = credentials
    return try CORSRule(settings)
  }

  @Test(
    "an origin is allowed letter by letter, or below a `*.`",
    arguments: [
      ("https://shop.example", true), ("https://shop.example:443", false), ("https://shop.exampl", false),
      ("https://shop.example.evil", false), ("https://Shop.example", false), ("http://shop.example", false),
      ("https://a.pages.example:8443", true), ("https://a.b.pages.example:8443", true),
      ("https://pages.example:8443", false), ("https://.pages.example:8443", false),
      ("https://a.pages.example", false), ("https://evil.example/.pages.example:8443", false),
      ("https://evil@x.pages.example:8443", false), ("null", false), ("", false),
    ])
  func origins(_ origin: String, _ expected: Bool) throws {
    let rule = try rule(["https://shop.example", "https://*.pages.example:8443"])
    let bytes = Array(origin.utf8)
    let isAllowed = rule.allows(origin: bytes.span)
    #expect(isAllowed == expected)
  }

  @Test("all origins, and the one that has no name")
  func all() throws {
    let bytes = Array("null".utf8)
    let byStar = try rule(["*"]).allows(origin: bytes.span)
    let byName = try rule(["null"]).allows(origin: bytes.span)
    #expect(byStar && byName)
    #expect(throws: CORSRule.Mistake.everyoneWithCredentials) { try rule(["*"], credentials: true) }
    #expect(throws: CORSRule.Mistake.everyoneAmongOthers) { try rule(["*", "https://a.example"]) }
  }

  @Test(
    "what is no origin",
    arguments: [
      "shop.example", "https://", "https://shop.example/", "https://Shop.example", "https://*", "https://a.*.example",
      "https://*.*.example", "https://*shop.example", "://shop.example", "https://a b", "https://*..example",
    ])
  func mistakes(_ origin: String) { #expect(CORSRule.mistake(in: origin) != nil) }

  @Test("methods as they are written, fields whatever their case")
  func words() throws {
    var settings = CORSRule.Settings()
    settings.origins = ["*"]
    settings.methods = ["PUT"]
    settings.headers = ["X-Trace"]
    let rule = try CORSRule(settings)
    func method(_ text: String) -> Bool {
      let bytes = Array(text.utf8)
      return rule.allows(method: bytes.span)
    }
    func header(_ text: String) -> Bool {
      let bytes = Array(text.utf8)
      return rule.allows(header: bytes.span)
    }
    #expect(method("PUT") && method("GET") && method("POST") && !method("put") && !method("DELETE"))
    #expect(header("x-trace") && header("X-TRACE") && !header("x-trac") && !header("authorization"))
  }
}
