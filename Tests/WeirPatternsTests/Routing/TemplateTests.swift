// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct TemplateTests {
  private func fill(_ template: Template, path: String, host: String = "shop.example", query: String = "") -> String {
    let head = Array((host + path + query).utf8)
    let own = Array("httpsreq-7".utf8)
    var values = Template.Values()
    let (hostEnd, pathEnd) = (host.utf8.count, host.utf8.count + path.utf8.count)
    values.set(.host, inHead: 0..<hostEnd)
    values.set(.path, inHead: hostEnd..<pathEnd)
    values.set(.query, inHead: pathEnd..<head.count)
    values.set(.scheme, inOwn: 0..<5)
    values.set(.requestID, inOwn: 5..<10)
    var buffer = Array("before ".utf8)
    template.fill(values, head: head.span, own: own.span, into: &buffer)
    return String(decoding: buffer.dropFirst(7), as: UTF8.self)
  }

  @Test(
    "rewritten paths",
    arguments: [
      ("/api/products/**", "/v2/**", "/api/products", "/v2"), ("/api/products/**", "/v2/**", "/api/products/", "/v2/"),
      ("/api/products/**", "/v2/**", "/api/products/7/x", "/v2/7/x"), ("/a/**", "/**", "/a", "/"),
      ("/a/**", "/**", "/a/", "/"), ("/a/**", "/**", "/a/b", "/b"), ("/**", "/v2/**", "/", "/v2/"),
      ("/**", "/v2/**", "/x/y", "/v2/x/y"), ("/users/*/posts/*", "/p/*/of/*", "/users/7/posts/9", "/p/7/of/9"),
      ("/users/*/**", "/u/*/**", "/users/%41b/c/d", "/u/%41b/c/d"), ("/a/*", "/fixed", "/a/b", "/fixed"),
      ("/a/*", "/x/", "/a/b", "/x/"), ("/a/**", "/**", "/a//evil.example/x", "/evil.example/x"),
      ("/a/**", "/**", "/a/\\evil.example", "/evil.example"), ("/a/**", "/b/**", "/a//c", "/b//c"),
    ])
  func rewrites(pattern: String, target: String, path: String, expected: String) throws {
    let template = try Template(rewrite: target, of: RoutePattern(path: pattern))
    #expect(fill(template, path: path) == expected)
  }

  @Test(
    "templates",
    arguments: [
      ("https://$host/new$rest$?query", "/a/7/b/c", "q=1", "https://shop.example/new/b/c?q=1"),
      ("https://$host/new$rest$?query", "/a/7", "", "https://shop.example/new"),
      ("${host}x-$1-$$5 $path?$query", "/a/7", "", "shop.examplex-7-$5 /a/7?"),
      ("$scheme://${request-id}", "/a/7", "", "https://req-7"),
      ("$path", "//evil.example", "", "/evil.example"), ("$rest", "/a/7//evil", "", "/evil"),
      ("plain", "/a/7", "", "plain"),
      ("", "/a/7", "", ""), ("/$host", "/a/7", "", "/shop.example"), ("$request-id.", "/a/7", "", "req-7."),
      ("$method", "/a/7", "", ""),
    ])
  func templates(text: String, path: String, query: String, expected: String) throws {
    let template = try Template(text, path: RoutePattern(path: "/a/*/**"))
    #expect(fill(template, path: path, query: query) == expected)
    #expect(template.isConstant == !text.contains("$"))
  }

  @Test(
    "templates that cannot be",
    arguments: [
      ("$hots", "no variable"), ("5$", "needs a name"), ("${host", "needs a name"), ("$()", "needs a name"),
      ("$2", "no 2. *"),
      ("$rest", "no **"), ("a\r\nb", "control character"), ("$0", "no variable"),
    ])
  func mistakes(text: String, words: String) {
    do {
      _ = try Template(text, path: RoutePattern(path: "/a/*"))
      Issue.record("“\(text)” was taken")
    } catch {
      #expect("\(error)".contains(words), "\(error)")
    }
  }

  @Test(
    "rewrites that cannot be",
    arguments: [
      ("v2/**", "/**"), ("/**/x", "/**"), ("/**", "/a"), ("/*/*", "/*"), ("/a*", "/*"), ("/a?b", "/*"), ("/a b", "/*"),
    ])
  func badRewrites(target: String, pattern: String) throws {
    let pattern = try RoutePattern(path: pattern)
    #expect(throws: Template.Mistake.self) { try Template(rewrite: target, of: pattern) }
  }

  @Test("header edits: what is dropped, what is written, in which order; framing is nobody's to edit")
  func headers() throws {
    let edits = try HeaderEdits(
      set: [("X-Shop", "$host")], add: [("via", "weir")], remove: ["Server"], path: RoutePattern(path: "/a"))
    func drops(_ name: String) -> Bool {
      let bytes = Array(name.utf8)
      return edits.drops(bytes.span)
    }
    #expect(drops("x-shop") && drops("X-SHOP") && drops("server") && !drops("via") && !drops("servet") && !drops(""))
    #expect(edits.edits.map { String(decoding: $0.name, as: UTF8.self) } == ["x-shop", "via"])
    #expect(edits.edits.map(\.isAdded) == [false, true] && !edits.isEmpty)
    #expect(fill(edits.edits[0].value, path: "/a") == "shop.example")
    #expect(throws: HeaderEdits.Mistake.reserved(name: "Content-Length")) {
      try HeaderEdits(set: [("Content-Length", "1")])
    }
    #expect(throws: HeaderEdits.Mistake.reserved(name: "host")) { try HeaderEdits(remove: ["host"]) }
    #expect(throws: HeaderEdits.Mistake.badName(name: "a b")) { try HeaderEdits(add: [("a b", "1")]) }
    #expect(throws: HeaderEdits.Mistake.twice(name: "A")) { try HeaderEdits(set: [("a", "1")], remove: ["A"]) }
    #expect(throws: HeaderEdits.Mistake.badValue(name: "a", because: .controlCharacter)) {
      try HeaderEdits(set: [("a", "1\n")])
    }
  }

  // RFC 8594's and RFC 9745's own examples, and the edges of a life.
  @Test("deprecation and sunset")
  func retirement() {
    var settings = Retirement.Settings()
    settings.since = WallTime(milliseconds: 1_688_169_599_000)
    settings.until = WallTime(milliseconds: 1_546_300_799_000)
    #expect(Retirement(settings).deprecationField == "@1688169599")
    #expect(Retirement(settings).sunsetField == "Mon, 31 Dec 2018 23:59:59 GMT")
    #expect(Retirement(settings).violation() != nil)
    settings.until = WallTime(milliseconds: 1_709_164_800_000)
    #expect(Retirement(settings).sunsetField == "Thu, 29 Feb 2024 00:00:00 GMT")
    for refuses in [false, true] {
      settings.refuses = refuses
      let life = Retirement(settings)
      #expect(life.violation() == nil)
      #expect(life.phase(now: WallTime(milliseconds: 1_688_169_598_999)) == .current)
      #expect(life.phase(now: WallTime(milliseconds: 1_688_169_599_000)) == .deprecated)
      #expect(life.phase(now: WallTime(milliseconds: 1_709_164_799_999)) == .deprecated)
      #expect(life.phase(now: WallTime(milliseconds: 1_709_164_800_000)) == (refuses ? .gone : .past))
    }
    let none = Retirement(Retirement.Settings())
    #expect(
      none.phase(now: WallTime(milliseconds: 0)) == .current && none.deprecationField == nil && none.sunsetField == nil)
  }
}
