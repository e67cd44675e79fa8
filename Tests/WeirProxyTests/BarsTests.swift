// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// The bars RP-1, RP-2, RP-3 and RP-5 on real sockets, with one loop and with four; the clocks of the patterns are short.
@Suite struct BarsTests {
  static let get = "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n"

  /// RP-1: a dependency that fails every time is not asked for more than 1.2 times what is offered, plus the floor.
  @Test("retries do not multiply a failing dependency's load", arguments: [(1, 1), (1, 10), (4, 1), (4, 10), (4, 100)])
  func amplification(_ loops: Int, _ callers: Int) async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.status(503) })
    var setup = Setup()
    setup.loops = loops
    // Without breakers: the budget alone has to hold.
    setup.call.breaks = false
    // An attempt that a busy machine does not connect in time would be counted here, and not at the dependency.
    setup.call.connect = .seconds(20)
    setup.call.timeout = .seconds(60)
    try await withProxy(to: [backend.port], setup) { server, port in
      let each = max(10, 1000 / callers)
      try await onThreads(callers) { _ in
        let client = try Wire(port: port)
        for _ in 0..<each { _ = try client.ask(Self.get) }
      }
      let offered = callers * each
      let attempts = await server.reports().reduce(0) { $0 + Int($1.ledger.edges[0].attempts) }
      #expect(attempts == backend.count)
      // Three a node at the same time and again over the run are the floor.
      #expect(Double(attempts) <= 1.2 * Double(offered) + 12, "\(attempts) attempts for \(offered)")
    }
  }

  /// RP-1 with the default breakers on: even less.
  @Test("a failing dependency is left alone by its breaker", arguments: [1, 4])
  func breaker(_ loops: Int) async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.status(503) })
    var setup = Setup()
    setup.loops = loops
    try await withProxy(to: [backend.port], setup) { server, port in
      try await onThreads(8) { _ in
        let client = try Wire(port: port)
        for _ in 0..<50 { #expect(try client.ask(Self.get).status == 503) }
      }
      #expect(backend.count < 100)
      let refused = await server.reports().reduce(0) { $0 + Int($1.ledger.edgeReason(0, .breakerOpen)) }
      #expect(refused > 250)
    }
  }

  /// RP-2: one of two instances answers 500: after the first second no client sees it, and when it is well it is back.
  @Test("an instance that answers 500 is found out, tried quietly, and taken back", arguments: [1, 4])
  func oneBad(_ loops: Int) async throws {
    let isBad = Atomic<Bool>(true)
    let good = try Backend(answering: { _, _, _ in Backend.ok("good") })
    let bad = try Backend(answering: { _, _, _ in
      isBad.load(ordering: .relaxed) ? Backend.status(500) : Backend.ok("mended")
    })
    var setup = Setup()
    setup.loops = loops
    setup.call.instanceBreaker.rest = .milliseconds(300)
    setup.call.instanceBreaker.restMax = .milliseconds(300)
    setup.call.instanceBreaker.ramp = .milliseconds(100)
    // The penalty for a failure fades in a dozen half-lives; the default of 7 s would make this test last minutes.
    setup.call.balance.halfLife = .milliseconds(20)
    setup.call.balance.slowStart = .milliseconds(100)
    try await withProxy(to: [good.port, bad.port], setup) { server, port in
      let clients = try (0..<8).map { _ in try Wire(port: port) }
      func round() throws -> Int { try clients.count { try $0.ask(Self.get).status != 200 } }
      // Counted in requests and not in seconds, which a busy machine makes short.
      try await eventually("it is found out") {
        _ = try round()
        return server.withNode { $0.breakerPhase(edge: 0, instance: 1) } != .closed
      }
      // Every loop hears of it with the next merge.
      try await eventually("every loop knows") {
        for _ in 0..<5 where try round() > 0 { return false }
        return true
      }
      var failed = 0
      var asked = 0
      while asked < 1600 {
        failed += try round()
        asked += clients.count
      }
      #expect(Double(failed) < 0.005 * Double(asked), "\(failed) of \(asked)")
      isBad.store(false, ordering: .relaxed)
      let count = bad.count
      try await eventually("it is back") {
        _ = try round()
        return server.withNode { $0.breakerPhase(edge: 0, instance: 1) } == .closed && bad.count > count + 20
      }
    }
  }

  /// RP-2: the last instance is never ejected, and when more than half are bad all serve.
  @Test("when both are bad both serve: the answers are the instances' own", arguments: [1, 4])
  func bothBad(_ loops: Int) async throws {
    let backends = try (0..<2).map { _ in try Backend(answering: { _, _, _ in Backend.status(500, "A: own\r\n") }) }
    var setup = Setup()
    setup.loops = loops
    // The callee's own breaker would rightly refuse; here it must not hide what ejection does.
    setup.call.serviceBreaker.inARow = .max
    setup.call.serviceBreaker.ofAtLeast = .max
    try await withProxy(to: backends.map(\.port), setup) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<200 {
        let answer = try client.ask(Self.get)
        #expect(answer.status == 500 && answer["a"] == "own")
      }
    }
  }

  /// RP-2: our own limits are not an instance's failure.
  @Test("what we refuse for lack of places counts against nobody", arguments: [1, 4])
  func ownLimits(_ loops: Int) async throws {
    let gate = Gate()
    let backend = try Backend(answering: { _, _, _ in
      gate.wait()
      return Backend.ok()
    })
    var setup = Setup()
    setup.loops = loops
    setup.atOnce = 2
    setup.call.queue.length = 4
    setup.call.queue.wait = .milliseconds(200)
    try await withProxy(to: [backend.port], setup) { server, port in
      let clients = try (0..<40).map { _ in try Wire(port: port) }
      for client in clients { try client.send(Self.get) }
      try await eventually("two are in work") { backend.count == 2 }
      try await eventually("the others are refused") {
        await server.reports().reduce(0) { $0 + Int($1.ledger.edges[0].refused) } == 38
      }
      gate.open()
      let reasons = try clients.map { try $0.answer() }.map { $0.status == 200 ? "ok" : $0.reason ?? "none" }
      #expect(reasons.count { $0 == "ok" } == 2)
      #expect(reasons.allSatisfy { ["ok", "queue-full", "queue-timeout"].contains($0) })
      #expect(server.withNode { $0.breakerPhase(edge: 0, instance: 0) } == .closed)
      #expect(backend.count == 2)
      #expect(server.placesTaken(service: 0, instance: 0) == 0)
      for client in clients { #expect(try client.ask(Self.get).status == 200) }
    }
  }

  /// RP-3: a thousand callers at the half-open moment, one probe; a probe whose caller goes away gives its permit back.
  @Test("as many probes as are allowed, however many callers and loops there are", arguments: [(1, 200), (4, 1000)])
  func probes(_ loops: Int, _ callers: Int) async throws {
    let isDown = Atomic<Bool>(true)
    let gate = Gate()
    let backend = try Backend(answering: { _, _, _ in
      if isDown.load(ordering: .relaxed) { return Backend.status(500) }
      gate.wait()
      return Backend.ok()
    })
    var setup = Setup()
    setup.loops = loops
    setup.call.timeout = .seconds(15)
    setup.call.serviceBreaker.rest = .milliseconds(300)
    setup.call.serviceBreaker.restMax = .milliseconds(300)
    setup.call.instanceBreaker.rest = .milliseconds(300)
    setup.call.instanceBreaker.restMax = .milliseconds(300)
    try await withProxy(to: [backend.port], setup) { server, port in
      let clients = try (0..<callers).map { _ in try Wire(port: port) }
      // Until every loop refuses.
      try await eventually("the breaker is open everywhere") {
        var isOpen = true
        for client in clients.prefix(loops * 16) where try client.ask(Self.get).reason != "breaker-open" {
          isOpen = false
        }
        return isOpen
      }
      isDown.store(false, ordering: .relaxed)
      let before = backend.count
      // All ask again and again until the one probe is out; every other one is refused while it is.
      try await eventually("a probe is out") {
        if backend.count > before { return true }
        for client in clients.prefix(32) { try client.send(Self.get) }
        var answered = 0
        for client in clients.prefix(32) {
          var ready = [Poll.Interest(client.socket.number)]
          if try Poll.wait(&ready, nanoseconds: 200_000_000) > 0 {
            _ = try client.answer()
            answered += 1
          }
        }
        return answered < 32
      }
      let rest = clients.dropFirst(32)
      for client in rest { try client.send(Self.get) }
      for client in rest { #expect(try client.answer().reason == "breaker-open") }
      #expect(backend.count == before + 1)
      gate.open()
      try await eventually("it is closed again") { try Wire(port: port).ask(Self.get).status == 200 }
      #expect(server.withNode { $0.breakerPhase(edge: 0, instance: nil) } == .closed)
    }
  }

  /// RP-5: every reason for an answer of ours that a call can end with, in its words: `Proxy-Status`, body, record, ledger.
  @Test("each way a call ends has its reason everywhere", arguments: [1, 4])
  func reasons(_ loops: Int) async throws {
    func check(
      _ reason: Reason, to ports: [Int], _ adjust: (inout Setup) -> Void = { _ in }, count: Int = 1
    ) async throws {
      var setup = Setup()
      setup.loops = loops
      setup.call.retry.attempts = 1
      adjust(&setup)
      try await withProxy(to: ports, setup) { server, port in
        var last: Answer?
        for _ in 0..<count { last = try Wire(port: port).ask(Self.get) }
        #expect(last?.reason == "\(reason.name)")
        #expect(last?.status == Int(reason.status))
        #expect(last?["proxy-status"]?.hasPrefix("weir; error=\(reason.proxyStatus); ") == true)
        #expect(last?.text.contains("\"reason\":\"\(reason.name)\"") == true)
        let reports = await server.reports()
        #expect(reports.flatMap(\.records).last { $0.reason == reason } != nil)
        #expect(reports.reduce(0) { $0 + Int($1.ledger.routeReason(0, reason)) } > 0)
        #expect(reports.reduce(0) { $0 + Int($1.ledger.edgeReason(0, reason)) } > 0)
      }
    }
    let silent = try Backend { wire, _ in while try wire.readMore(within: 60) {} }
    let broken = try Backend { wire, _ in if try wire.head() != nil { try wire.send("nonsense\r\n\r\n") } }
    let lost = try Backend { wire, _ in _ = try wire.head() }
    let failing = try Backend(answering: { _, _, _ in Backend.status(500) })

    // Port 1 (tcpmux) is never handed out, so no other test can be listening there.
    try await check(.connectFailed, to: [1])
    try await check(.connectionLost, to: [lost.port])
    try await check(.badAnswer, to: [broken.port])
    try await check(.attemptTimeout, to: [silent.port]) {
      $0.call.attempt = .milliseconds(100)
      $0.call.timeout = .seconds(5)
    }
    try await check(.deadlinePassed, to: [silent.port]) { $0.call.timeout = .milliseconds(100) }
    try await check(.breakerOpen, to: [failing.port], count: 60)
    try await check(.noHealthyInstance, to: [failing.port]) {
      $0.configure = { $0.plan.services[0].startsReady = false }
    }
    silent.stop()
  }

  /// A probe whose caller went away gives its permit back at once.
  @Test("a cancelled probe wedges nothing", arguments: [1, 4])
  func cancelledProbe(_ loops: Int) async throws {
    let state = Atomic<Int>(0)
    let backend = try Backend { wire, backend in
      while try wire.head() != nil {
        backend.requests.add(1, ordering: .relaxed)
        switch state.load(ordering: .relaxed) {
        case 0: try wire.send(Backend.status(500))
        // Never answers: reads until the other side goes away.
        case 1: while try wire.readMore(within: 60) {}
        default: try wire.send(Backend.ok())
        }
      }
    }
    var setup = Setup()
    setup.loops = loops
    for rest in [\CallSettings.serviceBreaker.rest, \.serviceBreaker.restMax, \.instanceBreaker.rest] {
      setup.call[keyPath: rest] = .milliseconds(200)
    }
    setup.call.instanceBreaker.restMax = .milliseconds(200)
    try await withProxy(to: [backend.port], setup) { _, port in
      try await eventually("it is open") { try Wire(port: port).ask(Self.get).reason == "breaker-open" }
      state.store(1, ordering: .relaxed)
      let before = backend.count
      try await eventually("a probe is out, and its caller goes away") {
        let client = try Wire(port: port)
        try client.send(Self.get)
        var ready = [Poll.Interest(client.socket.number)]
        let isAnswered = try Poll.wait(&ready, nanoseconds: 100_000_000) > 0
        client.reset()
        return !isAnswered && backend.count > before
      }
      state.store(2, ordering: .relaxed)
      try await eventually("it is well again") { try Wire(port: port).ask(Self.get).status == 200 }
    }
  }
}
