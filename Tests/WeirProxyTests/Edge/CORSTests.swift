// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// Pages of other origins, on real sockets: what a browser asks beforehand, and what it is told with answers.
@Suite struct CORSTests {
  static func setup(_ change: (inout CORSRule.Settings) -> Void = { _ in }) throws -> Setup {
    var settings = CORSRule.Settings()
    settings.origins = ["https://shop.example", "https://*.pages.example"]
    settings.methods = ["GET", "PUT"]
    settings.headers = ["x-trace", "content-type"]
    settings.expose = ["x-total"]
    change(&settings)
    let policy = EdgePolicy(cors: CORSPolicy(try CORSRule(settings)))
    var setup = Setup()
    setup.configure = { $0.edgePolicies = [policy] }
    return setup
  }

  static func preflight(_ origin: String, _ method: String, _ headers: String? = nil) -> String {
    "OPTIONS / HTTP/1.1\r\nHost: test.example\r\nOrigin: \(origin)\r\nAccess-Control-Request-Method: \(method)\r\n"
      + (headers.map { "Access-Control-Request-Headers: \($0)\r\n" } ?? "") + "\r\n"
  }

  @Test("a preflight is answered here: yes only to what is listed")
  func preflights() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    try await withProxy(to: [backend.port], try Self.setup()) { server, port in
      let client = try Wire(port: port)
      let yes = try client.ask(Self.preflight("https://shop.example", "PUT", "X-Trace, content-type"))
      #expect(yes.status == 204)
      #expect(yes["access-control-allow-origin"] == "https://shop.example")
      #expect(yes["access-control-allow-methods"] == "GET, PUT")
      #expect(yes["access-control-allow-headers"] == "x-trace, content-type")
      #expect(yes["access-control-max-age"] == "600")
      #expect(yes["access-control-allow-credentials"] == nil)
      #expect(yes["vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
      for no in [
        Self.preflight("https://evil.example", "PUT"), Self.preflight("https://shop.example", "DELETE"),
        Self.preflight("https://shop.example", "PUT", "x-trace, x-other"),
        Self.preflight("https://shop.example.evil.example", "PUT"), Self.preflight("http://shop.example", "PUT"),
        Self.preflight("https://pages.example", "PUT"), Self.preflight("https://a.b@.pages.example", "PUT"),
      ] {
        let answer = try client.ask(no)
        #expect(answer.status == 204 && answer["access-control-allow-origin"] == nil, "\(no)")
        #expect(answer["vary"] != nil)
      }
      let below = try client.ask(Self.preflight("https://a.b.pages.example", "GET"))
      #expect(below["access-control-allow-origin"] == "https://a.b.pages.example")
      #expect(backend.count == 0)
      // No question of a browser: the service's own business.
      #expect(try client.ask("OPTIONS / HTTP/1.1\r\nHost: test.example\r\n\r\n").text == "ok")
      #expect(backend.count == 1)
      #expect(await server.reports()[0].ledger.routes[0].requests == 10)
    }
  }

  @Test("answers say who may read them; what the service says of it is not passed on")
  func answers() async throws {
    let backend = try Backend(answering: { head, _, _ in
      head.hasPrefix("GET /vary")
        ? Backend.ok("ok", "Vary: accept, ORIGIN\r\n")
        : Backend.ok("ok", "Access-Control-Allow-Origin: *\r\nX-Total: 3\r\nAccess-Control-Allow-Credentials: true\r\n")
    })
    try await withProxy(to: [backend.port], try Self.setup()) { _, port in
      let client = try Wire(port: port)
      let good = try client.get("/", "Origin: https://shop.example\r\n")
      #expect(good.text == "ok" && good["x-total"] == "3")
      #expect(good["access-control-allow-origin"] == "https://shop.example")
      #expect(good["access-control-expose-headers"] == "x-total")
      #expect(good["access-control-allow-credentials"] == nil)
      #expect(good["vary"] == "Origin")
      for fields in ["", "Origin: https://evil.example\r\n", "Origin: https://shop.example\r\nOrigin: x\r\n"] {
        let other = try client.get("/", fields)
        #expect(other.text == "ok" && other["access-control-allow-origin"] == nil)
        #expect(other["vary"] == "Origin")
      }
      let varies = try client.get("/vary", "Origin: https://shop.example\r\n")
      #expect(varies.head.components(separatedBy: "ary:").count == 2)
      #expect(varies["access-control-allow-origin"] == "https://shop.example")
    }
  }

  @Test("our own refusals can be read by the page, too")
  func refusals() async throws {
    var setup = try Self.setup()
    setup.call.retry.attempts = 1
    // Port 1 (tcpmux) is never handed out, so nothing listens there.
    try await withProxy(to: [1], setup) { _, port in
      let client = try Wire(port: port)
      let refused = try client.get("/", "Origin: https://shop.example\r\n")
      #expect(refused.reason == "connect-failed")
      #expect(refused["access-control-allow-origin"] == "https://shop.example")
    }
  }

  @Test("for all, and with credentials")
  func kinds() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    let all = try Self.setup {
      $0.origins = ["*"]
      $0.headers = ["*"]
    }
    try await withProxy(to: [backend.port], all) { _, port in
      let client = try Wire(port: port)
      let answer = try client.get("/", "Origin: https://any.example\r\n")
      #expect(answer["access-control-allow-origin"] == "*" && answer["vary"] == nil)
      let asked = try client.ask(Self.preflight("https://any.example", "PUT", "x-anything"))
      #expect(asked["access-control-allow-origin"] == "*")
      #expect(asked["access-control-allow-headers"] == "x-anything")
      let token = try client.ask(Self.preflight("https://any.example", "PUT", "Authorization"))
      #expect(token["access-control-allow-origin"] == nil)
    }
    let credentials = try Self.setup { $0.credentials = true }
    try await withProxy(to: [backend.port], credentials) { _, port in
      let client = try Wire(port: port)
      let answer = try client.get("/", "Origin: https://shop.example\r\n")
      #expect(answer["access-control-allow-credentials"] == "true")
      #expect(answer["access-control-allow-origin"] == "https://shop.example")
    }
  }
}
