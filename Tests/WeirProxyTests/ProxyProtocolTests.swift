// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// The PROXY protocol on both sides, on real sockets.
@Suite struct ProxyProtocolTests {
  static let header: [Int: [UInt8]] = [
    1: Array("PROXY TCP4 203.0.113.7 198.51.100.1 4711 80\r\n".utf8),
    2: [
      13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 12, 203, 0, 113, 7, 198, 51, 100, 1, 18, 103, 0, 80,
    ],
  ]

  static func sends(_ version: ProxyVersion, _ setup: Setup) -> Setup {
    var setup = setup
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.proxyHeaders = [version]
    }
    return setup
  }

  /// Says the header's line back.
  static func line() throws -> Backend {
    try Backend { wire, _ in
      let line = try wire.line()
      try wire.send(line + "\r\n")
    }
  }

  @Test("a PROXY header names the client, and is required; ours names it on", arguments: [1, 2])
  func passes(_ version: Int) async throws {
    let seen = try Self.line()
    let header = try #require(Self.header[version])
    try await withProxy(to: [seen.port], Self.sends(.v1, TCPTests.setup(proxied: true))) { server, port in
      let wire = try Wire(port: port)
      for byte in header { try wire.send([byte]) }
      #expect(try wire.line() == "PROXY TCP4 203.0.113.7 198.51.100.1 4711 80")
      wire.finishSending()
      try await eventually("the log") {
        await server.reports()[0].access.contains { $0.client == "203.0.113.7" }
      }
      let without = try Wire(port: port)
      try without.send("hello\r\n")
      #expect(try without.ends())
      #expect(await TCPTests.ended(.badRequest, server) == 1)
      // A half of one, and no more.
      let half = try Wire(port: port)
      try half.send(Array(header[..<9]))
      half.finishSending()
      #expect(try half.ends())
    }
  }

  @Test("a proxy's own connection is its own", arguments: ["PROXY UNKNOWN\r\n"])
  func local(_ header: String) async throws {
    let seen = try Self.line()
    try await withProxy(to: [seen.port], Self.sends(.v1, TCPTests.setup(proxied: true))) { _, port in
      let wire = try Wire(port: port)
      try wire.send(header)
      #expect(try wire.line().hasPrefix("PROXY TCP4 127.0.0.1 127.0.0.1 "))
    }
  }

  @Test("who is not trusted may send no PROXY header")
  func untrusted() async throws {
    let backend = try TCPTests.echo()
    var setup = TCPTests.setup(proxied: true)
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.trusted = []
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let wire = try Wire(port: port)
      try? wire.send("PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n")
      #expect(try wire.ends())
      #expect(await TCPTests.ended(.notAllowed, server) == 1)
    }
  }

  @Test("a header that does not come is not waited for without end")
  func slow() async throws {
    let backend = try TCPTests.echo()
    var setup = TCPTests.setup(proxied: true)
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.limits.headTime = .milliseconds(200)
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let wire = try Wire(port: port)
      try wire.send("PROXY ")
      #expect(try wire.ends())
      #expect(await TCPTests.ended(.senderTooSlow, server) == 1)
    }
  }

  @Test("HTTP behind a PROXY header: the client's address counts", arguments: [1, 2])
  func http(_ version: Int) async throws {
    let backend = try Backend(answering: { head, _, _ in Backend.ok(head) })
    let header = try #require(Self.header[version])
    var setup = Setup()
    setup.configure = {
      $0.listeners[0].isProxied = true
      if let local = AddressRange("127.0.0.0/8") { $0.trusted = [local] }
    }
    try await withProxy(to: [backend.port], setup) { _, port in
      let wire = try Wire(port: port)
      try wire.send(header + Array("GET /a HTTP/1.1\r\nHost: test.example\r\n\r\n".utf8))
      let answer = try wire.answer()
      #expect(field("x-forwarded-for", of: answer.text) == "203.0.113.7")
      #expect(try wire.get("/b").status == 200)
    }
  }

  @Test("the limit of connections is the client's, not the proxy's")
  func limit() async throws {
    let backend = try TCPTests.echo(greeting: "go\r\n")
    var setup = TCPTests.setup(proxied: true)
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.addressLimit.perAddress = 1
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let one = try Wire(port: port)
      try one.send("PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n")
      #expect(try one.line() == "go")
      let other = try Wire(port: port)
      try other.send("PROXY TCP4 203.0.113.8 127.0.0.1 4711 80\r\n")
      #expect(try other.line() == "go")
      let again = try Wire(port: port)
      try again.send("PROXY TCP4 203.0.113.7 127.0.0.1 4712 80\r\n")
      #expect(try again.ends())
      #expect(await TCPTests.ended(.tooManyConnections, server) == 1)
      one.finishSending()
      #expect(try one.ends())
      try await eventually("its place is free") {
        let next = try Wire(port: port)
        try next.send("PROXY TCP4 203.0.113.7 127.0.0.1 4713 80\r\n")
        return (try? next.line()) == "go"
      }
    }
  }

  @Test("an instance of HTTP that is told its client gets a connection for each request, and a header in it")
  func upstream() async throws {
    let backend = try Backend { wire, backend in
      let line = try wire.line()
      while let head = try wire.head() {
        _ = try wire.body(of: head, isAnswer: false)
        try wire.send(Backend.ok(line))
      }
      _ = backend
    }
    try await withProxy(to: [backend.port], Self.sends(.v1, Setup())) { _, port in
      let wire = try Wire(port: port)
      for _ in 0..<3 { #expect(try wire.get("/").text.hasPrefix("PROXY TCP4 127.0.0.1 127.0.0.1 ")) }
      #expect(backend.connections.load(ordering: .relaxed) == 3)
    }
  }

  @Test("health checks say that they are ours; a connection may be enough", arguments: [true, false])
  func health(_ isConnect: Bool) async throws {
    let backend = try Backend { wire, backend in
      guard try wire.line() == "PROXY UNKNOWN" else { return }
      backend.requests.add(1, ordering: .relaxed)
      while try wire.head() != nil { try wire.send(Backend.ok()) }
    }
    var setup = Self.sends(.v1, Setup())
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.plan.services[0].startsReady = false
      $0.plan.services[0].hasHealthCheck = true
      var check = ProxyConfiguration.HealthCheck(ready: "/ready")
      check.isConnect = isConnect
      $0.health = [check]
    }
    try await withProxy(to: [backend.port], setup) { server, _ in
      try await eventually("it serves") { server.withNode { $0.view(0).serving.count == 1 } }
      try await eventually("it was told") { backend.count > 0 }
    }
  }

  @Test("where nothing listens a connection as a health check fails")
  func unhealthy() async throws {
    // Port 1 is nobody's here; one that was given back could be another test's server by now.
    let closed = 1
    let backend = try TCPTests.echo()
    var setup = TCPTests.setup()
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.plan.services[0].startsReady = false
      $0.plan.services[0].hasHealthCheck = true
      var check = ProxyConfiguration.HealthCheck(ready: "/")
      check.isConnect = true
      $0.health = [check]
    }
    try await withProxy(to: [backend.port, closed], setup) { server, _ in
      try await eventually("one serves") { server.withNode { $0.view(0).serving.count == 1 } }
      #expect(server.withNode { $0.view(0).serving.contains(0) })
    }
  }
}
