// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

import WeirProxy

// gRPC with its stock server and client, through the proxy on real sockets; the cases are in Tests/HTTP2/rpc.py.
@Suite(.enabled(if: Script.has("grpc"))) struct GRPCTests {
  static func play(_ name: String, _ port: Int, _ words: String...) throws {
    let failure = try Script(["HTTP2/rpc.py", "\(port)", name] + words).failure()
    #expect(failure == nil)
  }

  static func setup() -> Setup {
    // Two hundred calls at once wait for a server in Python.
    var setup = Setup()
    setup.configure = { $0.http2Services = [0] }
    return setup
  }

  @Test(
    "one server",
    arguments: ["kinds", "large", "metadata", "statuses", "deadline", "together", "refused"])
  func one(_ name: String) async throws {
    let server = try Script("HTTP2/rpc.py", "serve", "one")
    defer { server.end() }
    let port = try #require(Int(server.line()))
    try await withProxy(to: [port], Self.setup()) { _, port in try Self.play(name, port) }
  }

  // One connection of a client would pin all its calls to one instance if connections were balanced.
  @Test("each call finds its own instance") func spreads() async throws {
    let servers = try ["a", "b", "c"].map { try Script("HTTP2/rpc.py", "serve", $0) }
    defer { servers.forEach { $0.end() } }
    let ports = try servers.map { try #require(Int($0.line())) }
    try await withProxy(to: ports, Self.setup()) { _, port in try Self.play("spread", port) }
  }

  @Test("nobody listens: UNAVAILABLE, in gRPC's words") func refusesConnections() async throws {
    let port = 1
    try await withProxy(to: [port], Self.setup()) { _, port in try Self.play("unavailable", port) }
  }

  // What answers in HTTP/1.1 is no instance for HTTP/2: said at once, and nothing was sent to it.
  @Test("an instance of HTTP/1.1 is a bad answer") func refusesHTTP1() async throws {
    let backend = try Backend { wire, _ in
      _ = try wire.readMore()
      try wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      try Self.play("unavailable", port)
      try await eventually("the record of a bad answer") {
        await server.reports().contains { $0.records.contains { $0.reason == .badAnswer } }
      }
    }
  }

  @Test("grpc-status opens the breaker") func breaks() async throws {
    let server = try Script("HTTP2/rpc.py", "serve", "one")
    defer { server.end() }
    let port = try #require(Int(server.line()))
    try await withProxy(to: [port], Self.setup()) { _, port in try Self.play("breaks", port) }
  }

  /// An instance's own word, by gRPC's health checking protocol: no call reaches one that does not say SERVING.
  @Test("health checking: NOT_SERVING takes an instance out, SERVING brings it back", arguments: [1, 4])
  func health(_ loops: Int) async throws {
    let servers = try ["a", "b"].map { try Script("HTTP2/rpc.py", "serve", $0) }
    defer { servers.forEach { $0.end() } }
    let ports = try servers.map { try #require(Int($0.line())) }
    try await withProxy(to: ports, Self.checked("test.Echo", loops)) { server, port in
      func comes(_ kind: Event.Kind, _ instances: Set<UInt16>) async throws {
        var seen: Set<UInt16> = []
        try await eventually("\(kind) of \(instances)") {
          for event in server.nodeEvents().events where event.kind == kind { seen.insert(event.instance) }
          return seen.isSuperset(of: instances)
        }
      }
      try await comes(.instanceReady, [0, 1])
      // What is no SERVING, and a check that fails.
      for word in ["NOT_SERVING", "UNKNOWN", "UNAVAILABLE"] {
        try Self.play("tell", ports[0], word)
        try await comes(.instanceUnready, [0])
        try Self.play("only", port, "b")
        try Self.play("tell", ports[0], "SERVING")
        try await comes(.instanceReady, [0])
      }
      try Self.play("tell", ports[1], "NOT_SERVING")
      try await comes(.instanceUnready, [1])
      try Self.play("only", port, "a")
    }
  }

  @Test("health checking: a service that the server does not know is not ready") func healthOfAnother() async throws {
    let server = try Script("HTTP2/rpc.py", "serve", "a")
    defer { server.end() }
    let port = try #require(Int(server.line()))
    try await withProxy(to: [port], Self.checked("test.Other", 1)) { _, port in try Self.play("unavailable", port) }
  }

  static func checked(_ service: String, _ loops: Int) -> Setup {
    var setup = setup()
    setup.loops = loops
    setup.configure = {
      $0.http2Services = [0]
      $0.plan.services[0].startsReady = false
      $0.plan.services[0].hasHealthCheck = true
      var settings = HealthMonitor.Settings()
      settings.every = .milliseconds(100)
      settings.doubtEvery = .milliseconds(100)
      // A server in Python, on a machine that does other things.
      settings.timeout = .seconds(20)
      var check = ProxyConfiguration.HealthCheck(ready: "/", settings: settings)
      check.grpc = service
      $0.health = [check]
    }
    return setup
  }
}
