// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirCertificates
import WeirFlows
import WeirPatterns
import WeirProxy

// gRPC-Web, by hand and with a stock client, to gRPC's stock server, through the proxy on real sockets; the cases are in
// Tests/HTTP2/web.py, the server in rpc.py.
@Suite(.enabled(if: Script.has("grpc", "h2"))) struct GRPCWebTests {
  static func play(_ name: String, _ port: Int, _ words: String...) throws {
    let failure = try Script(["HTTP2/web.py", "\(port)", name] + words).failure()
    #expect(failure == nil)
  }

  static func setup(_ change: @escaping @Sendable (inout ProxyConfiguration) -> Void = { _ in }) -> Setup {
    var setup = Setup()
    setup.configure = {
      $0.http2Services = [0]
      $0.grpcWebRoutes = [0]
      change(&$0)
    }
    return setup
  }

  @Test(
    "one server",
    arguments: ["kinds", "metadata", "statuses", "pieces", "streams", "deadline", "plain", "refused", "breaks"])
  func one(_ name: String) async throws {
    let server = try Script("HTTP2/rpc.py", "serve", "one")
    defer { server.end() }
    let port = try #require(Int(server.line()))
    try await withProxy(to: [port], Self.setup()) { _, port in try Self.play(name, port) }
  }

  @Test("a stock client", .enabled(if: Script.has("sonora"))) func stock() async throws {
    let server = try Script("HTTP2/rpc.py", "serve", "one")
    defer { server.end() }
    let port = try #require(Int(server.line()))
    try await withProxy(to: [port], Self.setup()) { _, port in try Self.play("sonora", port) }
  }

  @Test("over TLS") func secured() async throws {
    let server = try Script("HTTP2/rpc.py", "serve", "one")
    defer { server.end() }
    let port = try #require(Int(server.line()))
    let (authority, pems) = (try TestAuthority(), try ProtocolsOverTLSTests.Pems())
    let file = try pems.keep(authority.authority.certificate, "authority.pem")
    let security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    try await withProxy(to: [port], Self.setup { $0.listeners[0].security = security }) { _, port in
      try Self.play("over_tls", port, file)
    }
    withExtendedLifetime(pems) {}
  }

  // A page must be able to read why: the refusal has the lines of CORS, too.
  @Test("nobody listens: UNAVAILABLE, in the words of gRPC-Web") func refusesConnections() async throws {
    var settings = CORSRule.Settings()
    settings.origins = ["https://shop.example"]
    let policy = EdgePolicy(cors: CORSPolicy(try CORSRule(settings)))
    try await withProxy(to: [1], Self.setup { $0.edgePolicies = [policy] }) { server, port in
      try Self.play("unavailable", port)
      // What the log says is what gRPC's own clients would have been told in HTTP.
      try await eventually("the records") {
        await server.reports().flatMap(\.records).filter { $0.status == 502 && $0.reason == .connectFailed }.count == 2
      }
    }
  }

  @Test("a route that leaves it alone") func untranslated() async throws {
    let server = try Script("HTTP2/rpc.py", "serve", "one")
    defer { server.end() }
    let port = try #require(Int(server.line()))
    try await withProxy(to: [port], Self.setup { $0.grpcWebRoutes = [] }) { _, port in
      try Self.play("untranslated", port)
    }
  }
}
