// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// Answers that the gateway gives by itself, on real sockets.
@Suite struct StaticAnswerTests {
  /// A gateway whose one route answers by itself; no service is ever called.
  static func setup(_ policy: EdgePolicy, status: UInt16 = 200, limits: [FlowPlan.Limit] = []) -> Setup {
    var setup = Setup()
    setup.route = FlowPlan.Route(edge: nil, limit: limits.isEmpty ? nil : 0)
    setup.route.status = status
    setup.limits = limits
    setup.configure = { $0.edgePolicies = [policy] }
    return setup
  }

  @Test("status, fields and body as the file says, on a connection that stays")
  func answer() async throws {
    let answer = FixedAnswer(
      status: 503, fields: [("Content-Type", "text/plain; charset=utf-8"), ("Retry-After", "60")],
      body: Array("back soon".utf8))
    try await withProxy(to: [1], Self.setup(EdgePolicy(answer: answer), status: 503)) { server, port in
      let client = try Wire(port: port)
      for _ in 0..<2 {
        let got = try client.get("/anything?x=1")
        #expect(got.status == 503 && got.text == "back soon")
        #expect(got["content-type"] == "text/plain; charset=utf-8" && got["retry-after"] == "60")
        #expect(got["date"] != nil && got["proxy-status"] == nil)
      }
      let head = try client.ask("HEAD / HTTP/1.1\r\nHost: test.example\r\n\r\n", toHead: true)
      #expect(head.status == 503 && head["content-length"] == "9")
      #expect(try client.get("/").text == "back soon")
      let report = await server.reports()[0]
      #expect(report.ledger.routes[0].requests == 4)
      #expect(report.ledger.routes[0].statuses[4] == 4)
    }
  }

  @Test("a body that nobody wants is read past, and the next request is answered")
  func body() async throws {
    let policy = EdgePolicy(answer: FixedAnswer(status: 204))
    try await withProxy(to: [1], Self.setup(policy, status: 204)) { _, port in
      let client = try Wire(port: port)
      let post = "POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\n"
      try client.send(post + "he")
      #expect(try client.answer().status == 204)
      try client.send("llo")
      #expect(try client.ask(post + "again").status == 204)
      // Pipelined.
      try client.send(post + "12345" + post + "67890")
      #expect(try client.answer().status == 204)
      #expect(try client.answer().status == 204)
      let old = try Wire(port: port)
      let answer = try old.ask("GET / HTTP/1.0\r\n\r\n")
      // The route has a host, and a request without one has no route.
      #expect(answer.status == 404)
    }
  }

  @Test("the route's limit holds for it, too")
  func limit() async throws {
    let limits = [FlowPlan.Limit(rate: .init(perSecond: 0.01), burst: 2)]
    let policy = EdgePolicy(answer: FixedAnswer(status: 200, body: Array("ok".utf8)))
    try await withProxy(to: [1], Self.setup(policy, limits: limits)) { _, port in
      let client = try Wire(port: port)
      #expect(try client.get().status == 200)
      #expect(try client.get().status == 200)
      #expect(try client.get().reason == "limit-reached")
    }
  }
}
