// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirFlows
import WeirIdentity
import WeirMessaging
import WeirProxy
import WeirStorage
import WeirWire

/// Routes of the gateway that put what they get into a queue, on real sockets, with a state process in the test.
@Suite struct QueueRouteTests {
  private static func setup(
    _ state: KeyedTests.State, _ identities: [IdentitySettings] = [],
    _ more: @escaping @Sendable (inout ProxyConfiguration) -> Void = { _ in }
  ) throws -> Setup {
    let folder = state.folder
    @Sendable func configure(_ configuration: inout ProxyConfiguration) {
      configuration.queues = [QueueDeclaration(name: "reports")]
      configuration.statePath = StateProcess.socketPath(folder)
      configuration.edgePolicies = [EdgePolicy(queue: QueueRoute(queue: "reports", skip: 1))]
      configuration.listeners.append(.init(.bind(host: "127.0.0.1", port: 0), .calls))
      more(&configuration)
    }
    var setup = Setup()
    if identities.isEmpty {
      setup.configure = configure
    } else {
      setup = try IdentityTests.setup(identities, configure)
    }
    setup.route.edge = nil
    return setup
  }

  private static func post(_ body: String, _ fields: String = "") -> String {
    "POST /reports HTTP/1.1\r\nHost: test.example\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  @Test("the gateway's limit of bodies holds for a route to a queue, in chunks as well")
  func limits() async throws {
    let state = try KeyedTests.State()
    let setup = try Self.setup(state) { $0.limits.bodyBytes = 1000 }
    try await withProxy(to: [1], setup) { _, port in
      func chunked(_ count: Int) throws -> Int {
        let body = String(repeating: "a", count: count)
        let head = "POST /reports HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        return try Wire(port: port).ask("\(head)\(String(count, radix: 16))\r\n\(body)\r\n0\r\n\r\n").status
      }
      try await eventually("the state process is there") { try chunked(1) == 202 }
      #expect(try chunked(1000) == 202)
      #expect(try chunked(1001) == 413)
      #expect(try Wire(port: port).ask(Self.post(String(repeating: "a", count: 1001))).status == 413)
    }
    try state.end()
  }

  @Test("an id of a stranger is none of a program's: neither takes the other's place, nor is it shown to strangers")
  func strangers() async throws {
    let state = try KeyedTests.State()
    try await withProxy(to: [1], Self.setup(state)) { server, port in
      let (outside, inside) = (try Wire(port: port), try Wire(port: server.ports[1]))
      try await eventually("the state process is there") {
        try outside.ask(Self.post("{}", "Idempotency-Key: o-1\r\n")).status == 202
      }
      let own = "POST /from/web/queues/reports HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
      let taken = try inside.ask(own + "Weir-Id: o-1\r\n\r\n{}")
      #expect(taken.status == 202 && taken.text.contains(#""duplicate":false"#), "\(taken.text)")
      #expect(try inside.ask(own + "Weir-Id: o-2\r\n\r\n{}").status == 202)
      #expect(try outside.get("/reports/o-1").text.contains(#""id":"o-1""#))
      #expect(try outside.get("/reports/o-2").status == 404)
    }
    try state.end()
  }

  @Test("a large answer is composed aside and written as its reader takes it: whole, and the connection goes on")
  func large() async throws {
    let state = try KeyedTests.State()
    try await withProxy(to: [1], Self.setup(state)) { server, port in
      let (outside, inside) = (try Wire(port: port), try Wire(port: server.ports[1]))
      try await eventually("the state process is there") { try outside.get("/reports/nobody").status == 404 }
      let own = "POST /from/web/queues/reports HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"
      for letter in ["x", "y", "z"] {
        let body = String(repeating: letter, count: 700_000)
        #expect(try inside.ask(own + "Content-Length: 700000\r\n\r\n" + body).status == 202)
      }
      let lease = "POST /from/web/queues/reports/lease?max=3 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
      let leased = try inside.ask(lease)
      #expect(leased.status == 200 && leased.text.utf8.count > 2_100_000)
      for letter in ["x", "y", "z"] { #expect(leased.text.contains(String(repeating: letter, count: 700_000))) }
      let none = try inside.ask(lease)
      #expect(none.status == 200 && none.text.contains(#""messages":[]"#), "\(none.text.prefix(200))")
    }
    try state.end()
  }

  @Test("a caller stays the same when the file has the identities in another order")
  func reordered() async throws {
    let state = try KeyedTests.State()
    let users = IdentityTests.identity("users", IdentityTests.tokens())
    var rules = TokenRules()
    rules.issuer = "they"
    let others = IdentityTests.identity("others", .token(rules, KeyStore { IdentityTests.set() }, field: nil))
    let token = try IdentityTests.token(#"{"iss":"me","sub":"alice","exp":2000}"#)
    let found = Mutex<[String]>([])
    for identities in [[users, others], [others, users]] {
      try await withProxy(to: [1], Self.setup(state, identities)) { _, port in
        let post = Self.post("{}", "Authorization: Bearer \(token)\r\nIdempotency-Key: r-1\r\n")
        try await eventually("the state process is there") { try Wire(port: port).ask(post).status == 202 }
        // A connection of its own: one that rests while the machine stands still is closed.
        let answer = try Wire(port: port).ask(post)
        #expect(answer.status == 202 && answer.text.count > 50, "\(answer.text)")
        found.withLock { $0.append(answer.text) }
      }
    }
    let answers = found.withLock { $0 }
    #expect(answers.count == 2 && Set(answers).count == 1, "\(answers)")
    try state.end()
  }
}
