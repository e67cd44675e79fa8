// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy
import WeirWire

/// What routes do to requests and answers beside sending them on: retirement, shares with a key, ids, pages, copies.
@Suite("route treatments") struct TreatmentTests {
  private func gateway(
    _ ports: [Int], _ route: FlowPlan.Route, _ policy: RoutePolicy?,
    _ more: @escaping @Sendable (inout ProxyConfiguration) -> Void = { _ in }
  ) -> Setup {
    var setup = Setup()
    setup.configure = { configuration in
      let call = configuration.plan.edges[0].call
      configuration.plan.services = ports.map { _ in .init(instances: 1) }
      configuration.plan.edges = ports.indices.map { .init(service: $0, call: call) }
      configuration.plan.routes = [route]
      configuration.addresses = ports.map { [.tcp(host: "127.0.0.1", port: $0)] }
      configuration.routes = [policy]
      more(&configuration)
    }
    return setup
  }

  @Test("a deprecated route says so; past its day it refuses only if it shall")
  func retirement() async throws {
    let backend = try Backend { wire, _ in
      while try wire.head() != nil { try wire.send(Backend.ok("x", "Sunset: never\r\nLink: </a>; rel=\"next\"\r\n")) }
    }
    for refuses in [false, true] {
      var settings = Retirement.Settings()
      settings.since = WallTime(milliseconds: 1_577_836_800_000)
      settings.until = WallTime(milliseconds: 1_609_459_200_000)
      settings.refuses = refuses
      var policy = RoutePolicy(name: "v1")
      policy.retirement = Retirement(settings)
      policy.retirementLink = "https://shop.example/v2"
      try await withProxy(to: [backend.port], gateway([backend.port], FlowPlan.Route(edge: 0), policy)) {
        server, port in
        let answer = try Wire(port: port).get("/")
        #expect(answer.status == (refuses ? 410 : 200))
        #expect(answer.reason == (refuses ? "retired" : nil))
        #expect(answer["deprecation"] == "@1577836800")
        #expect(answer["sunset"] == "Fri, 01 Jan 2021 00:00:00 GMT")
        #expect(answer.head.contains("Link: <https://shop.example/v2>; rel=\"deprecation\"\r\n"))
        #expect(answer.head.contains("rel=\"next\"") == !refuses && !answer.head.contains("never"))
        #expect(await server.reports()[0].ledger.routes[0].requests == 1)
      }
    }
  }

  @Test("a client with the cookie of a split meets the same service always, and gets no other cookie")
  func sticky() async throws {
    let backends = try (0..<2).map { name in try Backend(answering: { _, _, _ in Backend.ok("\(name)") }) }
    var route = FlowPlan.Route(edge: 0)
    route.split = FlowPlan.Split(edges: [0, 1], weights: [1, 1], salt: 9, by: .key)
    var policy = RoutePolicy(name: "web")
    policy.keepsByCookie = true
    try await withProxy(to: [backends[0].port], gateway(backends.map(\.port), route, policy)) { _, port in
      let client = try Wire(port: port)
      var names: Set<String> = []
      for _ in 0..<20 {
        let first = try client.get("/")
        names.insert(first.text)
        let cookie = try #require(first["set-cookie"])
        #expect(cookie.hasSuffix("; Path=/; HttpOnly; SameSite=Lax"))
        let pair = cookie.prefix { $0 != ";" }
        for _ in 0..<5 {
          let again = try client.get("/", "Cookie: a=b; \(pair)\r\n")
          #expect(again.text == first.text && again["set-cookie"] == nil)
        }
      }
      #expect(names == ["0", "1"])
      // What is no key of ours is as none.
      #expect(try client.get("/", "Cookie: weir-split=zzzzzzzzzzzzzzzz\r\n")["set-cookie"] != nil)
    }
  }

  @Test("each request has an id: a trusted proxy's, or a new one; sent on, returned, logged, also with refusals")
  func ids() async throws {
    let backend = try Backend { wire, _ in
      while let head = try wire.head() { try wire.send(Backend.ok(head, "X-Request-Id: theirs\r\n")) }
    }
    for trusts in [false, true] {
      let setup = gateway([backend.port], FlowPlan.Route(edge: 0), nil) { configuration in
        configuration.requestID = RequestIDRule(header: "x-request-id", trusts: true)
        if trusts { configuration.trusted = ["127.0.0.0/8"].compactMap { AddressRange($0) } }
      }
      try await withProxy(to: [backend.port], setup) { server, port in
        let client = try Wire(port: port)
        var ids: [String] = []
        for _ in 0..<3 {
          let answer = try client.get("/", "X-Request-ID: mine/1\r\n")
          let id = try #require(answer["x-request-id"])
          #expect(field("x-request-id", of: answer.text) == id)
          #expect(answer.text.lowercased().components(separatedBy: "x-request-id").count == 2)
          #expect(!answer.head.contains("theirs"))
          ids.append(id)
        }
        if trusts {
          #expect(ids == ["mine/1", "mine/1", "mine/1"])
        } else {
          #expect(Set(ids).count == 3 && ids == ids.sorted())
          let parts = ids[0].split(separator: "-")
          #expect(
            parts.map(\.count) == [8, 4, 4, 4, 12] && parts[2].first == "7" && "89ab".contains(parts[3].prefix(1)))
        }
        // What could end the line of a log, or fill it, is not taken over.
        let long = try client.get("/", "X-Request-ID: \(String(repeating: "a", count: 129))\r\n")
        #expect(long["x-request-id"]?.count == 36)
        let refused = try client.ask("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n")
        #expect(refused.reason == "no-route" && refused["x-request-id"]?.count == 36)
        let access = await server.reports()[0].access
        #expect(access.prefix(3).map(\.requestID) == ids)
      }
    }
  }

  @Test("a page stands in place of a failure's body, the service's and ours; status and connection stay")
  func pages() async throws {
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        let status = head.split(separator: " ")[1].dropFirst().prefix(3)
        let text = "their own words"
        try wire.send(
          "HTTP/1.1 \(status) X\r\nContent-Type: text/weird\r\nETag: \"1\"\r\nRetry-After: 9\r\n"
            + "Transfer-Encoding: chunked\r\n\r\n" + (head.hasPrefix("HEAD") ? "" : "f\r\n\(text)\r\n0\r\n\r\n"))
      }
    }
    var policy = RoutePolicy(name: "all")
    policy.errorPages = [
      .init(statuses: 404...404, contentType: "text/html", body: Array("<p>not here".utf8)),
      .init(statuses: 500...599, contentType: "text/plain", body: Array("soon back".utf8)),
    ]
    var setup = gateway([backend.port], FlowPlan.Route(edge: 0), policy)
    setup.call.retry.attempts = 1
    try await withProxy(to: [backend.port], setup) { server, port in
      let client = try Wire(port: port)
      for _ in 0..<3 {
        let missing = try client.get("/404")
        #expect(missing.status == 404 && missing.text == "<p>not here" && missing["content-type"] == "text/html")
        #expect(missing["etag"] == nil && missing["retry-after"] == "9" && missing["transfer-encoding"] == nil)
        #expect(try client.get("/501").text == "soon back")
        #expect(try client.get("/400").text == "their own words")
        let head = try client.ask("HEAD /404 HTTP/1.1\r\nHost: test.example\r\n\r\n", toHead: true)
        #expect(head.status == 404 && head["content-length"] == "11")
      }
      backend.stop()
    }
    // Ours: nobody listens there.
    var dead = gateway([1], FlowPlan.Route(edge: 0), policy)
    dead.call.retry.attempts = 1
    try await withProxy(to: [1], dead) { _, port in
      let answer = try Wire(port: port).get("/")
      #expect(answer.status >= 500 && answer.text == "soon back" && answer.reason != nil)
      #expect(answer["content-type"] == "text/plain")
    }
  }
}
