// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// What we refuse, and how we say so.
@Suite struct RefusalTests {
  static let host = "Host: test.example\r\n"

  @Test(
    "each refusal says its reason in Proxy-Status, problem+json and the record",
    arguments: [
      ("GET / HTTP/1.1\r\n\r\n", 400, "bad-request", true),
      ("GET /a/../b HTTP/1.1\r\n\(host)\r\n", 400, "bad-request", true),
      ("POST / HTTP/1.1\r\n\(host)Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad-request", true),
      ("GET /\(String(repeating: "x", count: 40_000)) HTTP/1.1\r\n", 414, "target-too-long", true),
      ("GET / HTTP/1.1\r\n\(host)A: \(String(repeating: "x", count: 40_000))\r\n\r\n", 431, "head-too-large", true),
      ("GET / HTTP/1.1\r\n\(host)\(String(repeating: "A: b\r\n", count: 100))\r\n", 431, "head-too-large", true),
      ("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n", 404, "no-route", false),
      ("POST /only-get HTTP/1.1\r\n\(host)Content-Length: 2\r\n\r\nab", 405, "method-not-allowed", false),
      ("POST / HTTP/1.1\r\n\(host)Content-Length: 99999999\r\n\r\n", 413, "body-too-large", true),
      (
        "GET / HTTP/1.1\r\n\(host)Upgrade: websocket\r\nConnection: upgrade\r\n\r\n", 501, "upgrade-not-supported",
        false
      ),
      ("CONNECT a:443 HTTP/1.1\r\n\(host)\r\n", 501, "upgrade-not-supported", true),
      ("POST / HTTP/1.1\r\n\(host)Expect: tea\r\nContent-Length: 1\r\n\r\nx", 417, "expectation-failed", true),
    ] as [(String, Int, String, Bool)])
  func reasons(_ request: String, _ status: Int, _ reason: String, _ closes: Bool) async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.configure = { configuration in
      var routes = RouteTrie.Builder()
      // `/only-get` takes no other method; the rest takes all, on one host.
      try? routes.add(path: "/only-get", methods: .get, route: 0)
      for path in ["/", "/a/**"] { try? routes.add(path: path, host: "test.example", route: 0) }
      configuration.listeners = [.init(.bind(host: "127.0.0.1", port: 0), .gateway(routes.build()))]
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let client = try Wire(port: port)
      let answer = try client.ask(request)
      #expect(answer.status == status)
      #expect(answer.reason == reason)
      #expect(answer["content-type"] == "application/problem+json")
      #expect((answer["allow"] != nil) == (status == 405))
      #expect(answer.text.contains("\"reason\":\"\(reason)\""))
      #expect(answer.text.contains("\"status\":\(status)"))
      #expect((answer["connection"] == "close") == closes)
      if closes { #expect(try client.ends()) } else { #expect(try client.get("/").text == "ok") }
      let record = await server.reports()[0].records.first
      #expect(record.map { "\($0.reason.name)" } == reason)
      #expect(record?.status == UInt16(status))
    }
  }

  @Test("a chunked body over the limit is refused as soon as it is announced; a malformed one as soon as it shows")
  func chunkedBodies() async throws {
    let backend = try Backend { wire, _ in
      guard try wire.head() != nil else { return }
      _ = try? wire.takeAll()
    }
    try await withProxy(to: [backend.port]) { _, port in
      let start = "POST / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
      let large = try Wire(port: port)
      let answer = try large.ask(start + "fffffff\r\n")
      #expect(answer.reason == "body-too-large")
      #expect(try large.ends())
      let broken = try Wire(port: port)
      #expect(try broken.ask(start + "xyz\r\n").reason == "bad-request")
      #expect(try broken.ends())
    }
  }

  @Test("slow senders are cut: a head in time, a body without long silence, and idle connections")
  func slowSenders() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.configure = {
      $0.limits.headTime = .milliseconds(200)
      $0.limits.bodyIdle = .milliseconds(200)
      $0.limits.keepAlive = .milliseconds(200)
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let head = try Wire(port: port)
      try head.send("GET / HTTP/1.1\r\nHo")
      #expect(try head.answer().reason == "sender-too-slow")
      #expect(try head.ends())
      let body = try Wire(port: port)
      try body.send("POST / HTTP/1.1\r\n\(Self.host)Content-Length: 10\r\n\r\nabc")
      #expect(try body.answer().reason == "sender-too-slow")
      #expect(try body.ends())
      let silent = try Wire(port: port)
      #expect(try silent.ends())
      let idle = try Wire(port: port)
      #expect(try idle.get().text == "ok")
      #expect(try idle.ends())
      let phases = await server.reports()[0].records.map(\.phase)
      #expect(phases == [.head, .body, .done])
    }
  }

  @Test("clients over their limit are told when to come again")
  func rateLimit() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.limits = [FlowPlan.Limit(rate: Rate(perSecond: 0.01), burst: 3)]
    setup.route = FlowPlan.Route(edge: 0, limit: 0)
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      for left in (0..<3).reversed() {
        let allowed = try client.get()
        #expect(allowed.status == 200)
        #expect(allowed["ratelimit"]?.hasPrefix("\"default\";r=\(left);t=") == true)
        #expect(allowed["ratelimit-policy"] == "\"default\";q=3;w=300")
      }
      let refused = try client.get()
      #expect(refused.status == 429)
      #expect(refused.reason == "limit-reached")
      #expect((refused["retry-after"].flatMap(Int.init) ?? 0) > 90)
      #expect(refused["ratelimit"]?.hasPrefix("\"default\";r=0;t=") == true)
      #expect(refused["ratelimit-policy"] == "\"default\";q=3;w=300")
      #expect(backend.count == 3)
    }
  }

  @Test("an address has so many connections and no more")
  func addressLimit() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.configure = { $0.addressLimit.perAddress = 2 }
    try await withProxy(to: [backend.port], setup) { _, port in
      let kept = try [Wire(port: port), Wire(port: port)]
      for wire in kept { #expect(try wire.get().status == 200) }
      let third = try Wire(port: port)
      #expect(try third.answer().reason == "too-many-connections")
      kept[0].finishSending()
      #expect(try kept[0].ends())
      try await eventually("a place is free") { (try? Wire(port: port).get().status) == 200 }
    }
  }

  @Test(
    "draining: answers say close, idle connections end, nothing new is accepted, nothing is cut", arguments: [1, 4])
  func drain(_ loops: Int) async throws {
    let gate = Gate()
    let backend = try Backend(answering: { head, _, _ in
      if head.contains("/slow") { gate.wait() }
      return Backend.ok()
    })
    var setup = Setup()
    setup.loops = loops
    try await withProxy(to: [backend.port], setup) { server, port in
      let idle = try Wire(port: port)
      #expect(try idle.get().status == 200)
      let busy = try Wire(port: port)
      try busy.send("GET /slow HTTP/1.1\r\n\(Self.host)\r\n")
      try await eventually("the request is there") { backend.count == 2 }
      async let drained = server.drain(within: .seconds(20))
      #expect(try idle.ends())
      gate.open()
      let answer = try busy.answer()
      #expect(answer.text == "ok")
      // With several loops the answer may be out before its own loop has heard of the drain; the end comes all the same.
      if loops == 1 { #expect(answer["connection"] == "close") }
      #expect(try busy.ends())
      #expect(await drained)
      // A program that another test starts has what this process has open, until it has become itself.
      try await eventually("nothing new is accepted") { (try? Wire(port: port)) == nil }
    }
  }

  /// DP-4: what an upgrade does to the connections of the process before it.
  @Test(
    "handing over: what still comes is answered and told to go, nothing is refused, idle connections end later",
    arguments: [1, 4])
  func handingOver(_ loops: Int) async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.loops = loops
    try await withProxy(to: [backend.port], setup) { server, port in
      let clients = try (0..<8).map { _ in try Wire(port: port) }
      for client in clients { #expect(try client.get("/")["connection"] == nil) }
      let over = Task { await server.handOver(within: .seconds(120), grace: .seconds(15)) }
      // The second sign of it, after the sockets are closed.
      while !(await server.reports().allSatisfy(\.isDraining)) { await Task.yield() }
      for client in clients.dropLast(2) {
        let answer = try client.get("/")
        #expect(answer.status == 200)
        #expect(answer["connection"] == "close")
        #expect(try client.ends())
      }
      // Never asks again: closed, but not at once.
      for client in clients.suffix(2) { #expect(try client.ends()) }
      #expect(await over.value)
    }
  }

  /// RP-5, `draining`: who is connected already may still ask, and is told when its answer might be cut.
  @Test(
    "draining: a request that might be cut is refused, one that is sure to be over in time is not",
    arguments: [(1, true), (4, true), (1, false), (4, false)])
  func draining(_ loops: Int, _ isLong: Bool) async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.loops = loops
    setup.call.timeout = isLong ? .seconds(60) : .seconds(1)
    try await withProxy(to: [backend.port], setup) { server, port in
      let client = try Wire(port: port)
      // With half a head behind the first request the connection is not idle, and the drain leaves it.
      try client.send("GET / HTTP/1.1\r\n\(Self.host)\r\nGET / HTTP/1.1\r\n")
      #expect(try client.answer().status == 200)
      async let drained = server.drain(within: .seconds(20))
      try await eventually("every loop drains") { await server.reports().allSatisfy(\.isDraining) }
      let answer = try client.ask("\(Self.host)\r\n")
      #expect(answer.status == (isLong ? 503 : 200))
      #expect(answer.reason == (isLong ? "draining" : nil))
      #expect(answer["connection"] == "close")
      #expect(try client.ends())
      #expect(await drained)
      #expect(backend.count == (isLong ? 1 : 2))
      let ledgers = await server.reports().map(\.ledger)
      #expect(ledgers.reduce(0) { $0 + $1.routeReason(0, .draining) } == (isLong ? 1 : 0))
    }
  }

  /// RP-5, `overloaded`: each loop takes its part of what the node may have in work.
  @Test("more in work than a node may have is refused at once, and told when to come again", arguments: [1, 4])
  func overloaded(_ loops: Int) async throws {
    let gate = Gate()
    let backend = try Backend(answering: { _, _, _ in
      gate.wait()
      return Backend.ok()
    })
    var setup = Setup()
    setup.loops = loops
    setup.configure = { $0.plan.requestsAtOnce = loops }
    try await withProxy(to: [backend.port], setup) { server, port in
      let clients = try (0..<16).map { _ in try Wire(port: port) }
      for client in clients { try client.send("GET / HTTP/1.1\r\n\(Self.host)\r\n") }
      try await eventually("each is at work or refused") {
        let refused = await server.reports().reduce(0) { $0 + Int($1.ledger.routeReason(0, .overloaded)) }
        return refused + backend.count == clients.count
      }
      #expect((1...loops).contains(backend.count))
      gate.open()
      let answers = try clients.map { try $0.answer() }
      #expect(answers.count { $0.status == 200 } == backend.count)
      for answer in answers where answer.status != 200 {
        #expect(answer.status == 503 && answer.reason == "overloaded" && answer["retry-after"] == "1")
      }
      // Nobody lost the connection by it.
      for client in clients { #expect(try client.get().status == 200) }
    }
  }

  @Test("a drain that takes too long ends all the same")
  func drainTimesOut() async throws {
    let gate = Gate()
    let backend = try Backend(answering: { _, _, _ in
      gate.wait()
      return Backend.ok()
    })
    try await withProxy(to: [backend.port]) { server, port in
      let busy = try Wire(port: port)
      try busy.send("GET / HTTP/1.1\r\n\(Self.host)\r\n")
      try await eventually("the request is there") { backend.count == 1 }
      #expect(await server.drain(within: .milliseconds(50)) == false)
      await server.stop()
      #expect(try busy.ends())
      gate.open()
    }
  }
}
