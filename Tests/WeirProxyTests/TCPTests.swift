// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// TCP through the proxy, on real sockets.
@Suite struct TCPTests {
  static func setup(_ listener: TCPListener = TCPListener(edge: 0), proxied: Bool = false) -> Setup {
    var setup = Setup()
    setup.configure = { configuration in
      configuration.listeners = [.init(.bind(host: "127.0.0.1", port: 0), .tcp(listener))]
      configuration.listeners[0].isProxied = proxied
      if let local = AddressRange("127.0.0.0/8") { configuration.trusted = [local] }
    }
    return setup
  }

  /// Sends back what comes, then `last` when the client sends nothing more.
  static func echo(last: String = "", greeting: String = "") throws -> Backend {
    try Backend { wire, _ in
      try wire.send(greeting)
      while try wire.readMore() { try wire.send(wire.take(wire.buffer.count)) }
      try wire.send(last)
    }
  }

  /// Takes the records with it.
  static func count(_ server: ProxyServer) async -> TCPCount {
    await server.reports().reduce(into: TCPCount()) { sum, report in for (_, count) in report.tcp { sum += count } }
  }

  static func ended(_ reason: Reason, _ server: ProxyServer) async -> UInt64 {
    await count(server).ended[Int(reason.rawValue)]
  }

  @Test("a server may speak first; bytes pass both ways; each side ends for itself", arguments: [1, 2])
  func passes(_ loops: Int) async throws {
    let backend = try Self.echo(last: "bye", greeting: "hello\r\n")
    var setup = Self.setup()
    setup.loops = loops
    try await withProxy(to: [backend.port], setup) { server, port in
      let wire = try Wire(port: port)
      #expect(try wire.line() == "hello")
      let bytes = (0..<500_000).map { UInt8($0 & 255) }
      try SystemThread.start { try? wire.socket.writeAll(bytes) }
      #expect(try wire.take(bytes.count) == bytes)
      #expect(await Self.count(server).open == 1)
      wire.finishSending()
      #expect(try String(decoding: wire.takeAll(), as: UTF8.self) == "bye")
      try await eventually("the count") { await Self.ended(.none, server) == 1 }
      let count = await Self.count(server)
      #expect(count.open == 0 && count.bytesIn == 500_000 && count.bytesOut == 500_010)
    }
  }

  @Test("the record of a connection says where it went and how much; the call is counted when it opens")
  func record() async throws {
    let backend = try Self.echo(greeting: "go\r\n")
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      #expect(try wire.line() == "go")
      let open = await server.reports()[0]
      #expect(open.ledger.edges[0].answered == 1 && open.records.isEmpty)
      try wire.send("x")
      #expect(try wire.take(1) == [0x78])
      wire.finishSending()
      #expect(try wire.ends())
      var found: RequestRecord?
      var access: AccessEntry?
      try await eventually("the record") {
        let report = await server.reports()[0]
        found = report.records.first ?? found
        access = report.access.first ?? access
        return found != nil && access != nil
      }
      #expect(found?.reason == Reason.none)
      #expect(found?.edge == 0 && found?.instance == 0 && found?.status == 0)
      #expect(access?.method == "TCP" && access?.bytesIn == 1 && access?.bytesOut == 5)
      let over = await server.reports()[0]
      #expect(over.ledger.edges[0].answered == 1 && over.ledger.edges[0].ended == 1)
    }
  }

  @Test("connecting is tried elsewhere; with nobody left the connection is closed for its reason")
  func connects() async throws {
    // Port 1 is nobody's here; one that was given back could be another test's server by now.
    let closed = 1
    let backend = try Self.echo()
    try await withProxy(to: [backend.port, closed], Self.setup()) { _, port in
      for _ in 0..<6 {
        let wire = try Wire(port: port)
        try wire.send("x")
        #expect(try wire.take(1) == [0x78])
      }
    }
    try await withProxy(to: [closed], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      #expect(try wire.ends())
      try await eventually("the record") { await server.reports()[0].records.first?.reason == .connectFailed }
      #expect(await Self.ended(.connectFailed, server) == 1)
    }
  }

  @Test("a connection holds its place: the next one waits for it")
  func atOnce() async throws {
    let backend = try Self.echo(greeting: "go\r\n")
    var setup = Self.setup()
    setup.atOnce = 1
    try await withProxy(to: [backend.port], setup) { server, port in
      let first = try Wire(port: port)
      #expect(try first.line() == "go")
      let second = try Wire(port: port)
      // Its bytes wait with it.
      try second.send("early")
      try await eventually("it waits") { await server.reports()[0].waiting[0] == 1 }
      first.finishSending()
      #expect(try first.ends())
      #expect(try second.line() == "go")
      #expect(try second.take(5) == Array("early".utf8))
      second.finishSending()
      #expect(try second.ends())
      try await eventually("places are free") { server.placesTaken(service: 0, instance: 0) == 0 }
    }
  }

  @Test("who goes away while waiting leaves the line")
  func leavesLine() async throws {
    let backend = try Self.echo(greeting: "go\r\n")
    var setup = Self.setup()
    setup.atOnce = 1
    try await withProxy(to: [backend.port], setup) { server, port in
      let first = try Wire(port: port)
      #expect(try first.line() == "go")
      try {
        let second = try Wire(port: port)
        try second.send("x")
        second.resetAtEnd()
      }()
      try await eventually("it has left") { await Self.ended(.callerGone, server) == 1 }
      #expect(await server.reports()[0].waiting[0] == 0)
    }
  }

  @Test("a side that does not read stops the other; nothing is lost")
  func backPressure() async throws {
    let total = 32 << 20
    let backend = try Backend { wire, _ in
      try wire.send([UInt8](repeating: 7, count: total))
    }
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      var before: UInt64 = 1
      // It stops when the kernel's buffers and ours are full.
      try await eventually("it stops") {
        let now = await Self.count(server).bytesOut
        defer { before = now }
        var none: [Poll.Interest] = []
        try Poll.wait(&none, nanoseconds: 100_000_000)
        return now == before && now > 0
      }
      #expect(before < UInt64(total))
      wire.finishSending()
      var count = 0
      while try wire.readMore() { count += try wire.take(wire.buffer.count).count }
      #expect(count == total)
      try await eventually("its end") { await Self.ended(.none, server) == 1 }
    }
  }

  @Test("an instance that ends first, then the client: both have ended")
  func instanceFirst() async throws {
    let backend = try Backend { wire, _ in try wire.send("all") }
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      #expect(try String(decoding: wire.takeAll(), as: UTF8.self) == "all")
      #expect(await Self.count(server).open == 1)
      wire.finishSending()
      try await eventually("its end") { await Self.ended(.none, server) == 1 }
    }
  }

  @Test("what a client has sent last arrives, when the instance has ended first")
  func lastBytes() async throws {
    let whole = Mutex(0)
    let gate = Gate()
    let backend = try Backend { wire, _ in
      wire.finishSending()
      gate.wait()
      while try wire.readMore() { try whole.withLock { $0 += try wire.take(wire.buffer.count).count } }
      whole.withLock { $0 += 1 }
    }
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      #expect(try wire.ends())
      try wire.send([UInt8](repeating: 7, count: 300_000))
      wire.finishSending()
      gate.open()
      try await eventually("all of it") { whole.withLock { $0 } == 300_001 }
      try await eventually("its end") { await Self.ended(.none, server) == 1 }
    }
  }

  @Test("an instance that breaks off is told from one that ends")
  func broken() async throws {
    let backend = try Backend { wire, _ in
      try wire.send("go\r\n")
      _ = try wire.readMore()
      wire.resetAtEnd()
    }
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      #expect(try wire.line() == "go")
      try wire.send("x")
      #expect(try wire.ends())
      try await eventually("its reason") { await Self.ended(.answerCut, server) == 1 }
    }
  }

  @Test("one in which nothing moves is closed")
  func idle() async throws {
    let backend = try Self.echo(greeting: "go\r\n")
    try await withProxy(to: [backend.port], Self.setup(TCPListener(edge: 0, idle: .seconds(2)))) {
      server, port in
      let wire = try Wire(port: port)
      #expect(try wire.line() == "go")
      #expect(try wire.ends())
      try await eventually("its reason") { await Self.ended(.tunnelIdle, server) == 1 }
    }
  }

  @Test("an address has its limit of connections, and the reason is counted")
  func flood() async throws {
    let backend = try Self.echo(greeting: "go\r\n")
    var setup = Self.setup()
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.addressLimit.perAddress = 1
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let first = try Wire(port: port)
      #expect(try first.line() == "go")
      #expect(try Wire(port: port).ends())
      #expect(await Self.ended(.tooManyConnections, server) == 1)
    }
  }

  @Test("draining leaves open connections alone, and takes no new ones")
  func drains() async throws {
    let backend = try Self.echo(greeting: "go\r\n")
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      #expect(try wire.line() == "go")
      async let clean = server.drain(within: .seconds(20))
      try await eventually("it drains") { await server.reports().first?.isDraining == true }
      #expect((try? Wire(port: port).ends()) != false)
      try wire.send("x")
      #expect(try wire.take(1) == [0x78])
      wire.finishSending()
      #expect(try wire.ends())
      #expect(await clean)
    }
  }

  @Test("a reload leaves open connections alone; new ones go where it says, also those whose name was not known yet")
  func reloads() async throws {
    let old = try Self.echo(greeting: "old\r\n")
    let new = try Self.echo(greeting: "new\r\n")
    @Sendable func configuration(_ ports: [Int], _ listener: TCPListener) -> ProxyConfiguration {
      let plan = FlowPlan(
        services: ports.map { _ in FlowPlan.Service(instances: 1) },
        edges: ports.indices.map { FlowPlan.Edge(service: $0, call: CallSettings()) })
      return ProxyConfiguration(
        plan: plan, listeners: [.init(.bind(host: "127.0.0.1", port: 0), .tcp(listener), name: "one")],
        addresses: ports.map { [.tcp(host: "127.0.0.1", port: $0)] })
    }
    try await withProxy(to: [old.port]) { _, _ in
      let name = TCPListener(edge: 0, names: [.init(host: "a.example", edge: 0)])
      let server = try await ProxyServer.start(configuration([old.port], name))
      let wire = try Wire(port: server.ports[0])
      try wire.send(Self.hello("b.example"))
      #expect(try wire.line() == "old")
      let late = try Wire(port: server.ports[0])
      let hello = Self.hello("a.example")
      try late.send(Array(hello[..<20]))
      try await eventually("both are there") { await Self.count(server).open == 2 }
      // Another service comes first in the new plan; the name leads there, all others to the old one.
      try await server.reload(
        configuration([new.port, old.port], TCPListener(edge: 1, names: [.init(host: "a.example", edge: 0)])),
        by: PlanMove(services: [1], instances: [[0]], edges: [1], routes: [], limits: []))
      try late.send(Array(hello[20...]))
      #expect(try late.line() == "new")
      #expect(try wire.take(Self.hello("b.example").count) == Self.hello("b.example"))
      try wire.send("x")
      #expect(try wire.take(1) == [0x78])
      // The listener is gone: what is open stays open.
      var gone = configuration([new.port], TCPListener(edge: 0))
      gone.listeners[0].name = "two"
      try await server.reload(
        gone, by: PlanMove(services: [0, nil], instances: [[0], [nil]], edges: [0, nil], routes: [], limits: []))
      try wire.send("y")
      #expect(try wire.take(1) == [0x79])
      wire.finishSending()
      #expect(try wire.ends())
      try await eventually("its count") { await Self.ended(.none, server) >= 1 }
      await server.stop()
    }
  }

  static func hello(_ name: String) -> [UInt8] {
    func sized(_ count: Int, _ bytes: [UInt8]) -> [UInt8] {
      (0..<count).map { UInt8(bytes.count >> (8 * (count - 1 - $0)) & 255) } + bytes
    }
    let sni: [UInt8] = [0, 0] + sized(2, sized(2, [0] + sized(2, Array(name.utf8))))
    let body: [UInt8] =
      [3, 3] + Array(repeating: 7, count: 32) + [0] + sized(2, [0x13, 1]) + sized(1, [0]) + sized(2, sni)
    return [22, 3, 1] + sized(2, [1] + sized(3, body))
  }

  @Test("the name of a TLS client leads; its bytes arrive as they were sent")
  func names() async throws {
    let backend = try Self.echo()
    let listener = TCPListener(
      edge: nil, names: [.init(host: "a.example", edge: 0), .init(host: "*.b.example", edge: 0)])
    try await withProxy(to: [backend.port], Self.setup(listener)) { server, port in
      for name in ["a.example", "A.EXAMPLE", "x.b.example"] {
        let wire = try Wire(port: port)
        let hello = Self.hello(name)
        for byte in hello { try wire.send([byte]) }
        #expect(try wire.take(hello.count) == hello)
      }
      for (name, reason) in [("b.example", Reason.noRoute), ("", .badRequest)] {
        let wire = try Wire(port: port)
        try wire.send(name.isEmpty ? Array("GET / HTTP/1.1\r\n".utf8) : Self.hello(name))
        #expect(try wire.ends())
        try await eventually("its reason") { await Self.ended(reason, server) == 1 }
      }
    }
  }

  @Test("who says no name in time is closed")
  func slowName() async throws {
    let backend = try Self.echo()
    var setup = Self.setup(TCPListener(edge: 0, names: [.init(host: "a.example", edge: 0)]))
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.limits.headTime = .milliseconds(200)
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      #expect(try Wire(port: port).ends())
      try await eventually("its reason") { await Self.ended(.senderTooSlow, server) == 1 }
    }
  }

  @Test("an exact name comes before the longest wildcard")
  func nearest() async throws {
    let backends = try ["exact", "long", "short", "rest"].map { try Self.echo(greeting: "\($0)\r\n") }
    var setup = Setup()
    setup.configure = { configuration in
      configuration.plan = FlowPlan(
        services: backends.map { _ in FlowPlan.Service(instances: 1) },
        edges: backends.indices.map { FlowPlan.Edge(service: $0, call: CallSettings()) })
      configuration.addresses = backends.map { [.tcp(host: "127.0.0.1", port: $0.port)] }
      configuration.listeners = [
        .init(
          .bind(host: "127.0.0.1", port: 0),
          .tcp(
            TCPListener(
              edge: 3,
              names: [
                .init(host: "*.example", edge: 2), .init(host: "*.shop.example", edge: 1),
                .init(host: "a.shop.example", edge: 0),
              ])))
      ]
    }
    try await withProxy(to: [backends[0].port], setup) { _, port in
      for (name, service) in [
        ("a.shop.example", "exact"), ("b.shop.example", "long"), ("c.b.shop.example", "long"),
        ("shop.example", "short"),
        ("example", "rest"), ("shop.other", "rest"),
      ] {
        let wire = try Wire(port: port)
        try wire.send(Self.hello(name))
        #expect(try wire.line() == service, "\(name)")
      }
    }
  }
}

extension Wire {
  /// When the test lets it go its peer finds a reset, and no end.
  func resetAtEnd() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(socket.number, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
  }
}
