// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// Calls between services through `WEIR_URL`, retries, health, and the replay of a run.
@Suite struct CallsTests {
  /// A proxy with a gateway to `web` and the loopback listener, over which `web` calls `search`.
  func withCalls(
    search: Int, _ call: CallSettings, fallback: ProxyConfiguration.FallbackAnswer? = nil,
    _ body: @escaping @Sendable (ProxyServer, Int) async throws -> Void
  ) async throws {
    var edge = call
    edge.backoff.first = .milliseconds(5)
    var setup = Setup()
    let made = edge
    setup.configure = { configuration in
      configuration.plan.services.append(FlowPlan.Service(instances: 1))
      configuration.plan.edges.append(FlowPlan.Edge(service: 1, call: made))
      configuration.addresses.append([.tcp(host: "127.0.0.1", port: search)])
      configuration.listeners.append(.init(.bind(host: "127.0.0.1", port: 0), .calls))
      configuration.calls = [.init(caller: "web", callee: "search", edge: 1)]
      configuration.fallbacks = [nil, fallback]
    }
    try await withProxy(to: [search], setup) { server, _ in try await body(server, server.ports[1]) }
  }

  @Test("a call has the rest of the path, its own chain and its caller's deadline")
  func path() async throws {
    let backend = try Backend(answering: { head, _, _ in Backend.ok(head) })
    try await withCalls(search: backend.port, CallSettings()) { _, port in
      let client = try Wire(port: port)
      let seen = try client.get(
        "/from/web/call/search/notes/7?q=a", "Weir-Deadline: 4000\r\nX-Forwarded-For: 9.9.9.9\r\n"
      ).text
      #expect(seen.hasPrefix("GET /notes/7?q=a HTTP/1.1\r\n"))
      #expect(field("x-forwarded-for", of: seen) == "9.9.9.9")
      let left = field("weir-deadline", of: seen).flatMap(Int.init) ?? 0
      #expect(left > 0 && left <= 4000)
      #expect(try client.get("/from/web/call/search").text.hasPrefix("GET / HTTP/1.1"))
      #expect(try client.get("/from/web/call/search?q=1").text.hasPrefix("GET /?q=1 HTTP/1.1"))
      for path in ["/from/web/call/nobody/", "/from/nobody/call/search/", "/from/web/", "/", "/call/search/"] {
        #expect(try client.get(path).reason == "no-route")
      }
    }
  }

  @Test("a caller's deadline ends its call")
  func deadline() async throws {
    let backend = try Backend { wire, _ in while try wire.readMore(within: 60) {} }
    try await withCalls(search: backend.port, CallSettings()) { _, port in
      let client = try Wire(port: port)
      #expect(try client.get("/from/web/call/search/", "Weir-Deadline: 50\r\n").reason == "deadline-passed")
      #expect(try client.get("/from/web/call/search/", "Weir-Deadline: 0\r\n").reason == "deadline-passed")
    }
    backend.stop()
  }

  @Test("an optional call that fails is answered with its fallback, or left out, and says why")
  func fallback() async throws {
    // Port 1 (tcpmux) is never handed out, so no other test can be listening there.
    let closed = 1
    var call = CallSettings()
    call.optional = true
    let fallback = ProxyConfiguration.FallbackAnswer(body: Array("[]".utf8))
    try await withCalls(search: closed, call, fallback: fallback) { server, port in
      let client = try Wire(port: port)
      let answer = try client.get("/from/web/call/search/")
      #expect(answer.status == 200 && answer.text == "[]")
      #expect(answer["content-type"] == "application/json")
      #expect(answer.reason == "connect-failed")
      let report = await server.reports()[0]
      #expect(report.ledger.edges[1].fallbacks == 1)
      #expect(report.events.contains { $0.kind == .fallbackBegan })
    }
    try await withCalls(search: closed, call) { _, port in
      let client = try Wire(port: port)
      #expect(try client.get("/from/web/call/search/").status == 204)
      #expect(try client.get("/from/web/call/search/").status == 204)
    }
  }

  @Test("what fails on one instance is tried on another, and the caller does not notice", arguments: [1, 4])
  func retries(_ loops: Int) async throws {
    let good = try Backend(answering: { _, body, _ in Backend.ok(String(decoding: body, as: UTF8.self)) })
    let bad = try Backend(answering: { _, _, _ in Backend.status(503) })
    // Port 1 (tcpmux) is never handed out, so no other test can be listening there.
    let closed = 1
    var setup = Setup()
    setup.loops = loops
    // The first requests may meet both bad ones: two retries each, which four loops' parts of the usual floor do not cover.
    setup.call.budget.share = 2
    setup.call.budget.floor = 100
    try await withProxy(to: [good.port, bad.port, closed], setup) { _, port in
      let client = try Wire(port: port)
      let put = "PUT / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello"
      for _ in 0..<100 {
        let answer = try client.ask(put)
        #expect(answer.status == 200 && answer.text == "hello")
      }
    }
  }

  @Test("a kept connection that its server has closed is made up for")
  func staleConnection() async throws {
    let backend = try Backend { wire, backend in
      // Answers once and closes without a word, as a server does whose idle time is over.
      guard try wire.head() != nil else { return }
      try wire.send(Backend.ok())
      backend.requests.add(1, ordering: .relaxed)
    }
    var setup = Setup()
    setup.call.budget.share = 1
    setup.call.breaks = false
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<50 { #expect(try client.get().status == 200) }
    }
  }

  @Test("a UNIX socket is as good as a port")
  func unixSocket() async throws {
    let path = "/tmp/weir-proxy-test-\(UInt32.random(in: 0...(.max))).sock"
    let listener = try Listening.unix(path: path)
    try SystemThread.start {
      while let socket = try? Connecting.accept(from: listener) {
        try? SystemThread.start {
          let wire = Wire(socket)
          while (try? wire.head()) != nil { try? wire.send(Backend.ok("unix")) }
        }
      }
    }
    var setup = Setup()
    setup.configure = { $0.addresses = [[.unix(path: path)]] }
    try await withProxy(to: [1], setup) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<20 { #expect(try client.get().text == "unix") }
    }
    try Files.remove(path)
  }

  @Test("an instance gets traffic when its check says so, and none when it is unwell", arguments: [1, 4])
  func health(_ loops: Int) async throws {
    let isWell = Atomic<Bool>(false)
    let backend = try Backend(answering: { head, _, _ in
      if head.hasPrefix("GET /ready") { return Backend.status(isWell.load(ordering: .relaxed) ? 200 : 503) }
      return Backend.ok()
    })
    var setup = Setup()
    setup.loops = loops
    let changes = Mutex<[HealthChange]>([])
    setup.configure = {
      $0.plan.services[0].startsReady = false
      $0.plan.services[0].hasHealthCheck = true
      var settings = HealthMonitor.Settings()
      settings.every = .milliseconds(100)
      settings.doubtEvery = .milliseconds(100)
      $0.health = [.init(ready: "/ready", settings: settings)]
    }
    _ = changes
    try await withProxy(to: [backend.port], setup) { server, port in
      let client = try Wire(port: port)
      #expect(try client.get().reason == "no-healthy-instance")
      isWell.store(true, ordering: .relaxed)
      try await eventually("it is ready") { try client.get().status == 200 }
      isWell.store(false, ordering: .relaxed)
      try await eventually("it is not") { try client.get().reason == "no-healthy-instance" }
      let events = server.nodeEvents().events.map(\.kind)
      #expect(events.contains(.instanceReady) && events.contains(.instanceUnready))
    }
  }

  /// The recorded inputs of a real run, fed to fresh flows, give the same actions (RL-1).
  @Test("a recorded run replays", arguments: [1, 4])
  func replay(_ loops: Int) async throws {
    let good = try Backend(answering: { _, _, _ in Backend.ok() })
    let counter = Atomic<Int>(0)
    let shaky = try Backend(answering: { _, _, _ in
      counter.add(1, ordering: .relaxed).newValue % 3 == 0 ? Backend.status(503) : Backend.ok()
    })
    var setup = Setup()
    setup.loops = loops
    setup.atOnce = 4
    setup.configure = { $0.recording = 100_000 }
    try await withProxy(to: [good.port, shaky.port], setup) { server, port in
      try await onThreads(16) { _ in
        let client = try Wire(port: port)
        for _ in 0..<50 { _ = try client.get() }
      }
      let configuration = server.configuration
      let node = NodeFlows(plan: configuration.plan, seed: configuration.seed)
      for (loop, recording) in await server.recordings().enumerated() {
        #expect(!recording.isCut)
        var flows = LoopFlows(
          plan: configuration.plan, views: configuration.plan.edges.indices.map { node.view($0) }, loop: loop,
          loops: loops, seed: configuration.seed)
        if let difference = recording.replay(into: &flows) {
          Issue.record(
            "loop \(loop) input \(difference.index): \(recording.inputs[difference.index]), got \(difference.got)")
        }
      }
    }
  }
}
