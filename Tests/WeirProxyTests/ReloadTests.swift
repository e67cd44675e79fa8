// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// A plan changes under traffic, on real sockets: nothing that is under way notices, and everything new follows it.
@Suite struct ReloadTests {
  /// Two services and a route to each: `/a` and `/b`.
  private struct System: Sendable {
    var names: [String]
    var ports: [[Int]]
    var plan: FlowPlan
    var paths: [String]

    /// `parts` are the services in order, each with its path and its instances' ports.
    init(_ parts: [(name: String, path: String, ports: [Int])], atOnce: Int32 = .max, limit: FlowPlan.Limit? = nil) {
      names = parts.map(\.name)
      ports = parts.map(\.ports)
      paths = parts.map(\.path)
      plan = FlowPlan(
        services: parts.map { FlowPlan.Service(instances: $0.ports.count, atOnce: atOnce) },
        edges: parts.indices.map {
          // For as long as a test needs, on a machine that does other things.
          var call = CallSettings()
          call.timeout = .seconds(60)
          call.queue.wait = .seconds(60)
          return FlowPlan.Edge(service: $0, call: call)
        },
        routes: parts.indices.map { FlowPlan.Route(edge: $0, limit: limit == nil ? nil : 0) },
        limits: limit.map { [$0] } ?? [])
    }

    func configuration() throws -> ProxyConfiguration {
      var routes = RouteTrie.Builder()
      for (i, path) in paths.enumerated() { try routes.add(path: path, route: i) }
      var configuration = ProxyConfiguration(
        plan: plan, listeners: [.init(.bind(host: "127.0.0.1", port: 0), .gateway(routes.build()), name: "gateway")],
        addresses: ports.map { $0.map { .tcp(host: "127.0.0.1", port: $0) } })
      configuration.seed = 7
      configuration.accessLog = 10_000
      configuration.addressLimit.perAddress = 5_000
      configuration.addressLimit.rate = Rate(perSecond: 1e6)
      configuration.addressLimit.burst = 100_000
      return configuration
    }

    func move(to new: System) -> PlanMove {
      let services = PlanMove.places(of: names, in: new.names)
      return PlanMove(
        services: services,
        instances: services.enumerated().map { s, to in
          guard let to else { return [] }
          return PlanMove.places(of: ports[s].map(String.init), in: new.ports[to].map(String.init))
        }, edges: services, routes: services,
        limits: plan.limits.indices.map { $0 < new.plan.limits.count ? $0 : nil })
    }
  }

  private func run(
    _ system: System, loops: Int = 1, _ body: @escaping @Sendable (ProxyServer, Int) async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(OwnThreads()) {
      var configuration = try system.configuration()
      configuration.loops = loops
      let server = try await ProxyServer.start(configuration)
      do { try await body(server, server.ports[0]) } catch {
        await server.stop()
        throw error
      }
      await server.stop()
    }
  }

  /// A server whose answers last until the gate opens, once the first half is sent.
  private func slow(_ gate: Gate) throws -> Backend {
    try Backend { wire, backend in
      while let head = try wire.head() {
        backend.requests.add(1, ordering: .relaxed)
        guard head.contains("/slow") else {
          try wire.send(Backend.ok())
          continue
        }
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        gate.wait()
        try wire.send("done")
      }
    }
  }

  @Test("new requests follow the new plan, on connections that stay", arguments: [1, 4])
  func follows(_ loops: Int) async throws {
    let a = try Backend(answering: { _, _, _ in Backend.ok("a") })
    let b = try Backend(answering: { _, _, _ in Backend.ok("b") })
    let c = try Backend(answering: { _, _, _ in Backend.ok("c") })
    let old = System([("a", "/a/**", [a.port]), ("b", "/b/**", [b.port])])
    let new = System([("c", "/c/**", [c.port]), ("a", "/a/**", [a.port]), ("b", "/moved/**", [b.port])])
    try await run(old, loops: loops) { server, port in
      let client = try Wire(port: port)
      #expect(try client.get("/a/1").text == "a")
      #expect(try client.get("/b/1").text == "b")
      #expect(try client.get("/c/1").reason == "no-route")
      let number = try await server.reload(try new.configuration(), by: old.move(to: new))
      #expect(number == 1)
      #expect(try client.get("/a/1").text == "a")
      #expect(try client.get("/moved/1").text == "b")
      #expect(try client.get("/b/1").reason == "no-route")
      #expect(try client.get("/c/1").text == "c")
      // The connection to `a` was kept, and its counters stand at the new ids.
      #expect(a.connections.load(ordering: .relaxed) == 1)
      let ledgers = await server.reports().map(\.ledger)
      func calls(_ edge: Int) -> UInt64 { ledgers.reduce(0) { $0 + $1.edges[edge].calls } }
      #expect(calls(0) == 1 && calls(1) == 2 && calls(2) == 2)
      #expect(ledgers.reduce(0) { $0 + $1.routes[3].requests } == 2, "without a route: one before, one after")
      #expect(server.livingEpochs == 1)
    }
  }

  /// Whoever waits is kept by the epoch; whoever has waited must not be, for a connection keeps its epoch, too.
  @Test("one who waited for a place in an old epoch and left leaves nothing of it behind", arguments: [1, 4])
  func waited(_ loops: Int) async throws {
    let gate = Gate()
    let a = try slow(gate)
    let old = System([("a", "/a/**", [a.port])], atOnce: 1)
    try await run(old, loops: loops) { server, port in
      let clients = try (0..<3).map { _ in try Wire(port: port) }
      for client in clients { try client.send("GET /a/slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") }
      try await eventually("two wait") {
        await server.reports().reduce(0) { $0 + $1.waiting.reduce(0, +) } == 2
      }
      try await server.reload(try old.configuration(), by: old.move(to: old))
      #expect(server.livingEpochs == 2)
      gate.open()
      for client in clients {
        #expect(try #require(try client.head()).hasPrefix("HTTP/1.1 200"))
        #expect(String(decoding: try client.take(8), as: UTF8.self) == "halfdone")
        #expect(try client.ends())
      }
      try await eventually("the old epoch is gone from memory") { server.livingEpochs == 1 }
    }
  }

  @Test(
    "an answer under way when its route and service go away comes whole; its epoch ends with it", arguments: [1, 4])
  func underWay(_ loops: Int) async throws {
    let gate = Gate()
    let a = try slow(gate)
    let b = try Backend(answering: { _, _, _ in Backend.ok("b") })
    let old = System([("a", "/a/**", [a.port]), ("b", "/b/**", [b.port])])
    let new = System([("b", "/b/**", [b.port])])
    try await run(old, loops: loops) { server, port in
      let reader = try Wire(port: port)
      try reader.send("GET /a/slow HTTP/1.1\r\nHost: x\r\n\r\n")
      let head = try #require(try reader.head())
      #expect(String(decoding: try reader.take(4), as: UTF8.self) == "half")
      for round in 0..<3 {
        try await server.reload(
          try new.configuration(), by: round == 0 ? old.move(to: new) : new.move(to: new))
      }
      #expect(server.livingEpochs == 2, "those in which nothing is under way are gone")
      let other = try Wire(port: port)
      #expect(try other.get("/b/1").text == "b")
      #expect(try other.get("/a/1").reason == "no-route")
      gate.open()
      #expect(head.hasPrefix("HTTP/1.1 200"))
      #expect(String(decoding: try reader.take(4), as: UTF8.self) == "done")
      try await eventually("the old epoch is gone") { server.livingEpochs == 1 }
      // The record of the request is in its own plan's ids.
      let reports = await server.reports()
      let records = reports.flatMap(\.oldRecords).filter { $0.epoch == 0 }.flatMap(\.records)
      #expect(records.map(\.route) == [0] && records.map(\.status) == [200])
      // And the connection goes on by the new plan.
      #expect(try reader.get("/b/1").text == "b")
      #expect(try reader.get("/a/slow").reason == "no-route")
    }
  }

  @Test("places that are taken under the old plan count under the new one, and who waits gets them", arguments: [1, 4])
  func places(_ loops: Int) async throws {
    let gate = Gate()
    let a = try slow(gate)
    let system = System([("a", "/a/**", [a.port])], atOnce: 1)
    try await run(system, loops: loops) { server, port in
      let reader = try Wire(port: port)
      try reader.send("GET /a/slow HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(try reader.head() != nil)
      try await server.reload(try system.configuration(), by: system.move(to: system))
      #expect(server.placesTaken(service: 0, instance: 0) == 1)
      let waiting = try Wire(port: port)
      try waiting.send("GET /a/1 HTTP/1.1\r\nHost: x\r\n\r\n")
      try await eventually("it waits") { await server.reports().reduce(0) { $0 + $1.waiting[0] } == 1 }
      gate.open()
      #expect(try waiting.answer().status == 200)
      #expect(String(decoding: try reader.take(8), as: UTF8.self) == "halfdone")
      try await eventually("both places are free") { server.placesTaken(service: 0, instance: 0) == 0 }
    }
  }

  @Test("a client's used burst stays used when its limit stays, and is scaled when the rate changes")
  func limits() async throws {
    let a = try Backend(answering: { _, _, _ in Backend.ok() })
    let limit = FlowPlan.Limit(rate: Rate(perSecond: 0.01), burst: 4)
    let parts = [(name: "a", path: "/**", ports: [a.port])]
    let old = System(parts, limit: limit)
    var wider = limit
    wider.rate = Rate(perSecond: 0.02)
    wider.burst = 6
    let new = System(parts, limit: wider)
    try await run(old) { server, port in
      let client = try Wire(port: port)
      for _ in 0..<4 { #expect(try client.get().status == 200) }
      #expect(try client.get().status == 429)
      try await server.reload(try old.configuration(), by: old.move(to: old))
      #expect(try client.get().status == 429)
      try await server.reload(try new.configuration(), by: old.move(to: new))
      // Four of six are used.
      #expect(try client.get().status == 200)
      #expect(try client.get().status == 200)
      #expect(try client.get().status == 429)
    }
  }

  @Test("an open breaker stays open, an instance that has gone gets nothing, one that has come gets requests")
  func instances() async throws {
    let bad = try Backend(answering: { _, _, _ in Backend.status(500) })
    let good = try Backend(answering: { _, _, _ in Backend.ok("good") })
    let late = try Backend(answering: { _, _, _ in Backend.ok("late") })
    let old = System([("a", "/**", [good.port, bad.port])])
    let new = System([("a", "/**", [late.port, bad.port])])
    try await run(old) { server, port in
      let client = try Wire(port: port)
      try await eventually("its breaker opens") {
        _ = try client.get()
        return server.withNode { $0.breakerPhase(edge: 0, instance: 1) } == .open
      }
      let before = good.count
      try await server.reload(try new.configuration(), by: old.move(to: new))
      #expect(server.withNode { $0.breakerPhase(edge: 0, instance: 1) } == .open)
      for _ in 0..<20 { #expect(try client.get().text == "late") }
      #expect(good.count == before)
    }
  }

  @Test("a listener comes and goes; a taken port refuses the whole reload and changes nothing")
  func listeners() async throws {
    let a = try Backend(answering: { _, _, _ in Backend.ok("a") })
    let b = try Backend(answering: { _, _, _ in Backend.ok("b") })
    let old = System([("a", "/**", [a.port])])
    let new = System([("b", "/**", [b.port])])
    try await run(old) { server, port in
      let client = try Wire(port: port)
      #expect(try client.get().text == "a")
      var configuration = try new.configuration()
      configuration.listeners.append(
        .init(.bind(host: "127.0.0.1", port: b.port), configuration.listeners[0].kind, name: "taken"))
      await #expect(throws: (any Error).self) { try await server.reload(configuration, by: old.move(to: new)) }
      #expect(try client.get().text == "a")
      #expect(server.openPorts.map(\.name) == ["gateway"])
      configuration.listeners[1] = .init(
        .bind(host: "127.0.0.1", port: 0), configuration.listeners[0].kind, name: "second")
      try await server.reload(configuration, by: old.move(to: new))
      let second = try #require(server.openPorts.last)
      #expect(second.name == "second")
      let other = try Wire(port: second.port)
      #expect(try other.get().text == "b")
      #expect(try client.get().text == "b")
      // The first one goes: its connection ends, the other's does not.
      configuration.listeners.removeFirst()
      try await server.reload(configuration, by: new.move(to: new))
      #expect(try client.ends())
      #expect(throws: (any Error).self) { try Wire(port: port).get() }
      #expect(try other.get().text == "b")
    }
  }

  /// RP-4, the part of HTTP/1.1: a long download and a slow trickle go on while a route changes again and again.
  ///
  /// What else can last (a tunnel, a stream) is added as one more thing that is kept busy.
  @Test("long downloads and steady requests on other routes do not notice reloads", arguments: [1, 4])
  func noHarm(_ loops: Int) async throws {
    let size = 64 << 20
    let block = [UInt8](repeating: 0x61, count: 64 << 10)
    let big = try Backend { wire, _ in
      while try wire.head() != nil {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
        for _ in 0..<(size / block.count) { try wire.send(block) }
      }
    }
    let b = try Backend(answering: { _, _, _ in Backend.ok("b") })
    let base = [(name: "big", path: "/big/**", ports: [big.port]), (name: "b", path: "/b/**", ports: [b.port])]
    let systems = [System(base), System([("b2", "/changed/**", [b.port])] + base)]
    try await run(systems[0], loops: loops) { server, port in
      let isOver = Atomic<Bool>(false)
      let reloaded = Atomic<Int>(0)
      let reloads = Task(executorPreference: OwnThreads()) {
        var count = 0
        while !isOver.load(ordering: .relaxed) {
          let (from, to) = (systems[count % 2], systems[(count + 1) % 2])
          try await server.reload(try to.configuration(), by: from.move(to: to))
          count += 1
          reloaded.store(count, ordering: .relaxed)
        }
        return count
      }
      let asked = Atomic<Int>(0)
      let isDone = Atomic<Bool>(false)
      try SystemThread.start {
        defer { isDone.store(true, ordering: .releasing) }
        do {
          let client = try Wire(port: port)
          while !isOver.load(ordering: .relaxed) {
            let answer = try client.get("/b/1")
            if answer.status != 200 { Issue.record("\(answer.head)") }
            asked.add(1, ordering: .relaxed)
          }
        } catch { Issue.record("a steady request: \(error)") }
      }
      let end = ContinuousClock.now + .seconds(120)
      try await onThreads(4) { _ in
        let reader = try Wire(port: port)
        try reader.send("GET /big/file HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try reader.head()
        for megabyte in 0..<(size >> 20) {
          _ = try reader.take(1 << 20)
          // However slow the machine is, all of it happens in the middle of a download.
          while megabyte == size >> 21, reloaded.load(ordering: .relaxed) <= 2 || asked.load(ordering: .relaxed) <= 10 {
            if ContinuousClock.now > end { throw Wire.TimedOut() }
            var none: [Poll.Interest] = []
            try Poll.wait(&none, nanoseconds: 2_000_000)
          }
        }
      }
      isOver.store(true, ordering: .relaxed)
      let count = try await reloads.value
      try await eventually("the steady requests are over") { isDone.load(ordering: .acquiring) }
      let total = asked.load(ordering: .relaxed)
      try await eventually("the old epochs are gone") { server.livingEpochs == 1 }
      // No counter has jumped back: all downloads and all steady requests are in the ledger.
      let ledgers = await server.reports().map(\.ledger)
      let offset = count % 2
      #expect(ledgers.reduce(0) { $0 + $1.routes[offset].requests } == 4)
      #expect(ledgers.reduce(0) { $0 + Int($1.routes[offset + 1].requests) } == total)
    }
  }
}
