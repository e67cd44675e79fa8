// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows

import WeirProxy

// gRPC with its stock server and client, through the proxy on real sockets; the cases are in Tests/HTTP2/rpc.py.
@Suite(.enabled(if: Script.has("grpc"))) struct GRPCTests {
  static func play(_ name: String, _ port: Int) throws {
    let failure = try Script("HTTP2/rpc.py", "\(port)", name).failure()
    #expect(failure == nil)
  }

  static func setup() -> Setup {
    var setup = Setup()
    setup.call.timeout = .seconds(20)
    // Two hundred calls at once wait for a server in Python, on a machine that does other things.
    setup.call.connect = .seconds(20)
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
}
