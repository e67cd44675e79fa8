// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy
import WeirWire

/// Routes that differ by what a request brings along, and what they do to requests and answers, on real sockets.
@Suite("routing") struct RoutingTests {
  /// Two services that answer with their name and the head they saw.
  private func backends() throws -> [Backend] {
    try ["old", "new"].map { name in
      try Backend { wire, _ in
        while let head = try wire.head() {
          let (body, _) = try wire.body(of: head, isAnswer: false)
          try wire.send(
            Backend.ok(name + "\n" + head + String(decoding: body, as: UTF8.self), "Server: x\r\nX-Old: 1\r\n"))
        }
      }
    }
  }

  /// A gateway with routes to both, by index of `routes`.
  private func configure(
    _ ports: [Int], _ routes: [(pattern: RoutePattern, route: FlowPlan.Route, policy: RoutePolicy?)]
  ) -> @Sendable (inout ProxyConfiguration) -> Void {
    { configuration in
      var builder = RouteTrie.Builder()
      for (index, route) in routes.enumerated() { builder.add(route.pattern, route: index) }
      let call = configuration.plan.edges[0].call
      configuration.plan.services = [.init(instances: 1), .init(instances: 1)]
      configuration.plan.edges = [.init(service: 0, call: call), .init(service: 1, call: call)]
      configuration.plan.routes = routes.map(\.route)
      configuration.addresses = ports.map { [.tcp(host: "127.0.0.1", port: $0)] }
      configuration.listeners[0].kind = .gateway(builder.build())
      configuration.routes = routes.map(\.policy)
      configuration.serviceNames = ["old", "new"]
    }
  }

  @Test("headers, cookies, the query and media types choose the route; what comes twice chooses none")
  func conditions() async throws {
    let backends = try backends()
    func pattern(_ conditions: [RouteCondition]) throws -> RoutePattern {
      try RoutePattern(path: "/api/**", conditions: conditions)
    }
    let to1 = FlowPlan.Route(edge: 1)
    var setup = Setup()
    setup.configure = configure(
      backends.map(\.port),
      [
        (try pattern([]), FlowPlan.Route(edge: 0), nil),
        (try pattern([.init(.header("x-canary"), .present)]), to1, nil),
        (try pattern([.init(.cookie("beta"), .equals("1"))]), to1, nil),
        (try pattern([.init(.query("v"), .equals("2"))]), to1, nil),
        (try pattern([.init(.mediaType(header: "accept"), .equals("application/vnd.shop.v2+json"))]), to1, nil),
      ])
    try await withProxy(to: [backends[0].port], setup) { _, port in
      let client = try Wire(port: port)
      func name(_ path: String, _ fields: String) throws -> Substring? {
        try client.get(path, fields).text.split(separator: "\n").first
      }
      #expect(try name("/api/x", "") == "old")
      #expect(try name("/api/x", "X-Canary: yes\r\n") == "new")
      #expect(try name("/api/x", "Cookie: a=b; beta=1\r\n") == "new")
      #expect(try name("/api/x", "Cookie: beta=1; beta=2\r\n") == "old")
      #expect(try name("/api/x?a=1&v=2", "") == "new")
      #expect(try name("/api/x?v=1", "") == "old")
      #expect(try name("/api/x", "Accept: text/html, application/vnd.shop.v2+json;q=0.5\r\n") == "new")
    }
  }

  @Test("path, host, query and header fields are changed on the way, and nothing else is")
  func transforms() async throws {
    let backends = try backends()
    let pattern = try RoutePattern(path: "/api/*/**")
    var policy = RoutePolicy(name: "api")
    policy.rewrite = try Template(rewrite: "/v2/*/x/**", of: pattern)
    policy.host = "inner.example:81"
    policy.query = QueryEdits(set: [("tenant", "a b")], remove: ["debug"])
    policy.request = try HeaderEdits(
      set: [("X-Client", "$client"), ("x-part", "$1 of $host")], add: [("accept", "text/plain")], remove: ["x-gone"],
      path: pattern)
    policy.response = try HeaderEdits(
      set: [("server", "shop"), ("x-route", "$route $service $method")], remove: ["x-old"], path: pattern)
    var setup = Setup()
    setup.configure = configure(backends.map(\.port), [(pattern, FlowPlan.Route(edge: 1), policy)])
    try await withProxy(to: [backends[0].port], setup) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<2 {
        let answer = try client.ask(
          "POST /api/shop/a%20b/c?x=1&debug=true&y=%20&tenant=evil HTTP/1.1\r\nHost: test.example\r\nX-Gone: 1\r\n"
            + "Accept: */*\r\nX-Client: spoofed\r\nContent-Length: 2\r\n\r\nhi")
        let seen = answer.text
        #expect(seen.hasPrefix("new\nPOST /v2/shop/x/a%20b/c?x=1&y=%20&tenant=a%20b HTTP/1.1\r\n"))
        #expect(seen.hasSuffix("\r\n\r\nhi"))
        #expect(field("host", of: seen) == "inner.example:81")
        #expect(field("x-forwarded-host", of: seen) == "test.example")
        #expect(field("x-client", of: seen) == "127.0.0.1" && !seen.contains("spoofed"))
        #expect(field("x-part", of: seen) == "shop of test.example")
        #expect(seen.contains("Accept: */*\r\n") && seen.contains("accept: text/plain\r\n"))
        #expect(!seen.lowercased().contains("x-gone"))
        #expect(answer["server"] == "shop" && answer["x-old"] == nil)
        #expect(answer["x-route"] == "api new POST")
      }
      // A rest that is empty, and one that would begin another host's address.
      #expect(try client.get("/api/shop").text.hasPrefix("new\nGET /v2/shop/x?tenant=a%20b HTTP/1.1\r\n"))
    }
  }

  @Test("a redirect names the new place, keeps the connection, and is counted as an answer of its route")
  func redirects() async throws {
    let backends = try backends()
    let pattern = try RoutePattern(path: "/old/**")
    var policy = RoutePolicy(name: "moved")
    policy.redirect = .init(to: try Template("https://$host/new$rest$?query", path: pattern), status: 308)
    policy.response = try HeaderEdits(set: [("x-a", "b"), ("content-type", "text/plain")])
    var local = RoutePolicy(name: "local")
    local.redirect = .init(to: try Template("$path/", path: pattern), status: 302)
    var setup = Setup()
    setup.configure = configure(
      backends.map(\.port),
      [(pattern, FlowPlan.Route(edge: nil), policy), (try RoutePattern(path: "/**"), FlowPlan.Route(edge: nil), local)])
    try await withProxy(to: [backends[0].port], setup) { server, port in
      let client = try Wire(port: port)
      let answer = try client.get("/old/a/b?c=d")
      #expect(answer.status == 308 && answer["location"] == "https://test.example/new/a/b?c=d")
      #expect(answer["x-a"] == "b" && answer["content-type"] == nil && answer["content-length"] == "0")
      #expect(try client.get("/old")["location"] == "https://test.example/new")
      let withBody = try client.ask("POST /old HTTP/1.1\r\nHost: test.example\r\nContent-Length: 3\r\n\r\nabc")
      #expect(withBody.status == 308)
      #expect(try client.get("/x")["location"] == "/x/")
      let reports = await server.reports()
      #expect(reports[0].ledger.routes[0].requests == 3 && reports[0].ledger.routes[0].statuses[2] == 3)
      #expect(backends.allSatisfy { $0.count == 0 })
    }
  }

  @Test("refusals and fallbacks of a route carry its fields, too")
  func ownAnswers() async throws {
    let closed = 1
    var policy = RoutePolicy(name: "all")
    policy.response = try HeaderEdits(set: [("strict-transport-security", "max-age=1"), ("cache-control", "public")])
    var setup = Setup()
    setup.call.retry.attempts = 1
    setup.configure = configure([closed, closed], [(try RoutePattern(path: "/**"), FlowPlan.Route(edge: 0), policy)])
    try await withProxy(to: [closed], setup) { _, port in
      let client = try Wire(port: port)
      let answer = try client.get("/")
      #expect(answer.status >= 500 && answer["strict-transport-security"] == "max-age=1")
      #expect(answer["cache-control"] == "no-store")
      // Of no route, so without them.
      #expect(try client.ask("GET http:// HTTP/1.1\r\nHost: x\r\n\r\n")["strict-transport-security"] == nil)
    }
  }

  @Test("a split shares requests out by weight; a client with a key stays where it is")
  func split() async throws {
    let backends = try backends()
    var route = FlowPlan.Route(edge: 0)
    route.split = FlowPlan.Split(edges: [0, 1], weights: [3, 1], salt: 5)
    var setup = Setup()
    setup.configure = configure(backends.map(\.port), [(try RoutePattern(path: "/**"), route, nil)])
    try await withProxy(to: [backends[0].port], setup) { server, port in
      let client = try Wire(port: port)
      var new = 0
      for _ in 0..<400 where try client.get("/").text.hasPrefix("new") { new += 1 }
      // 100 of 400 with a deviation of 8.7: five of them on each side.
      #expect((57...143).contains(new))
      let ledger = await server.reports()[0].ledger
      #expect(Int(ledger.edges[1].answered) == new && Int(ledger.edges[0].answered) == 400 - new)
    }
  }

  @Test("behind trusted proxies the client is the first address that is none of theirs")
  func clients() async throws {
    let backends = try backends()
    var policy = RoutePolicy(name: "all")
    policy.request = try HeaderEdits(set: [("x-client", "$client")])
    let routes = configure(backends.map(\.port), [(try RoutePattern(path: "/**"), FlowPlan.Route(edge: 0), policy)])
    var setup = Setup()
    setup.configure = { configuration in
      routes(&configuration)
      configuration.trusted = ["127.0.0.0/8", "10.0.0.0/8"].compactMap { AddressRange($0) }
    }
    try await withProxy(to: [backends[0].port], setup) { _, port in
      let client = try Wire(port: port)
      func seen(_ fields: String) throws -> String? { field("x-client", of: try client.get("/", fields).text) }
      #expect(try seen("") == "127.0.0.1")
      #expect(try seen("X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3\r\n") == "203.0.113.9")
      #expect(try seen("X-Forwarded-For: 6.6.6.6, nonsense, 10.1.2.3\r\n") == "10.1.2.3")
      #expect(try seen("Forwarded: for=\"[2001:db8::7]:80\";proto=https, for=10.9.9.9\r\n") == "2001:db8::7")
    }
  }
}
