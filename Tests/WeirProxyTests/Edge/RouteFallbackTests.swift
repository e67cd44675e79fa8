// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// What a route answers when its call fails, on real sockets.
@Suite struct RouteFallbackTests {
  static func setup(_ way: FallbackWay, other: Int? = nil) -> Setup {
    var setup = Setup()
    setup.call.retry.attempts = 1
    setup.call.breaks = false
    setup.route.fallback = other == nil ? .own : .edge(1)
    let call = setup.call
    setup.configure = { configuration in
      if let other {
        configuration.plan.services.append(FlowPlan.Service(instances: 1))
        configuration.plan.edges.append(FlowPlan.Edge(service: 1, call: call))
        configuration.addresses.append([.tcp(host: "127.0.0.1", port: other)])
      }
      configuration.edgePolicies = [EdgePolicy(fallback: way)]
    }
    return setup
  }

  /// Answers well until it is told to fail.
  final class Moody: Sendable {
    let fails = Atomic<Bool>(false)
    func backend(_ fields: String = "Content-Type: text/plain\r\n") throws -> Backend {
      try Backend(answering: { [self] head, _, backend in
        if fails.load(ordering: .relaxed) { return Backend.status(500) }
        let path = head.split(separator: " ")[1]
        return Backend.ok("\(path) \(backend.count)", path == "/cookie" ? fields + "Set-Cookie: a=b\r\n" : fields)
      })
    }
  }

  @Test("a text, or nothing, in a failure's stead; why is said")
  func texts() async throws {
    let failing = try Backend(answering: { _, _, _ in Backend.status(503) })
    let answer = ProxyConfiguration.FallbackAnswer(contentType: "text/plain", body: Array("later".utf8))
    try await withProxy(to: [failing.port], Self.setup(.answer(answer))) { server, port in
      let got = try Wire(port: port).get()
      #expect(got.status == 200 && got.text == "later" && got.reason == "failed-answer")
      let report = await server.reports()[0]
      #expect(report.ledger.edges[0].fallbacks == 1 && report.ledger.routes[0].requests == 1)
    }
    try await withProxy(to: [1], Self.setup(.omit)) { _, port in
      let got = try Wire(port: port).get()
      #expect(got.status == 204 && got.reason == "connect-failed")
    }
  }

  @Test("another service answers; what it says is passed on, a kept body with it")
  func other() async throws {
    let failing = try Backend(answering: { _, _, _ in Backend.status(500) })
    let other = try Backend(answering: { head, body, _ in
      Backend.ok("\(head.split(separator: " ")[0]) \(String(decoding: body, as: UTF8.self))")
    })
    try await withProxy(to: [failing.port], Self.setup(.edge(1), other: other.port)) { server, port in
      let client = try Wire(port: port)
      let got = try client.get()
      #expect(got.status == 200 && got.text == "GET " && got.reason == "failed-answer")
      let put = try client.ask("PUT / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello")
      #expect(put.text == "PUT hello")
      // What was sent on its way cannot be sent again: the failure is passed on.
      let chunked = try client.ask(
        "PUT / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
      #expect(chunked.status == 500)
      let report = await server.reports()[0]
      #expect(report.ledger.edges.map(\.calls) == [3, 2] && report.ledger.edges[0].fallbacks == 2)
      #expect(report.ledger.routes[0].requests == 3)
      // The log names who answered, or whose failure was passed on.
      #expect(report.records.map(\.edge) == [1, 1, 0] && report.records.map(\.fallback) == [true, true, false])
      #expect(report.records.allSatisfy { $0.instance == 0 })
    }
    // Port 1 (tcpmux) is never handed out, so nothing listens there: the fallback's own failure is what is told.
    try await withProxy(to: [failing.port], Self.setup(.edge(1), other: 1)) { server, port in
      let got = try Wire(port: port).get()
      #expect(got.status == 502 && got.reason == "connect-failed")
      #expect(await server.reports()[0].records.map(\.edge) == [1])
    }
  }

  @Test("the last good answer to the same request, with its age; nobody's own, and nothing that was never good")
  func stale() async throws {
    let moody = Moody()
    let backend = try moody.backend()
    try await withProxy(to: [backend.port], Self.setup(.stale(route: "a"))) { server, port in
      let client = try Wire(port: port)
      for path in ["/a", "/b?x=1", "/cookie"] { #expect(try client.get(path).status == 200) }
      #expect(try client.get("/private", "Authorization: x\r\n").status == 200)
      let fresh = try client.get("/a").text
      moody.fails.store(true, ordering: .relaxed)
      let old = try client.get("/a")
      #expect(old.status == 200 && old.text == fresh && old.reason == "failed-answer")
      #expect(old["age"] == "0" && old["content-type"] == "text/plain")
      #expect(try client.get("/b?x=1").status == 200)
      for path in ["/b", "/b?x=2", "/cookie", "/private"] { #expect(try client.get(path).status == 500, "\(path)") }
      #expect(try client.get("/a", "Authorization: x\r\n").status == 500)
      #expect(try client.get("/a", "Cookie: a=b\r\n").status == 500)
      #expect(try client.ask("POST /a HTTP/1.1\r\nHost: test.example\r\nContent-Length: 0\r\n\r\n").status == 500)
      moody.fails.store(false, ordering: .relaxed)
      #expect(try client.get("/a").reason == nil)
      #expect(await server.reports()[0].ledger.edges[0].fallbacks == 2)
    }
  }

  @Test(
    "what says that it must not be kept is not",
    arguments: [
      "Cache-Control: no-store\r\n", "Cache-Control: public, private\r\n", "Vary: Accept-Language\r\n", "Vary: *\r\n",
      "Content-Encoding: gzip\r\n",
    ])
  func kept(_ fields: String) async throws {
    let moody = Moody()
    let backend = try moody.backend(fields)
    try await withProxy(to: [backend.port], Self.setup(.stale(route: "a"))) { _, port in
      let client = try Wire(port: port)
      #expect(try client.get("/a").status == 200)
      moody.fails.store(true, ordering: .relaxed)
      #expect(try client.get("/a").status == 500)
    }
  }
}
