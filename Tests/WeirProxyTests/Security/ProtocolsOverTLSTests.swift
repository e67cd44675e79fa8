// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import WeirCertificates
import WeirPlatform
import WeirProxy

/// HTTP/2 and WebSockets where they are used most: behind a handshake that has agreed on them.
@Suite struct ProtocolsOverTLSTests {
  /// Files that clients of other languages read, gone with their owner.
  final class Pems {
    private let folder: URL
    init() throws {
      folder = FileManager.default.temporaryDirectory.appendingPathComponent("weir-pems-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }
    func keep(_ text: String, _ name: String) throws -> String {
      let file = folder.appendingPathComponent(name)
      try text.write(to: file, atomically: false, encoding: .utf8)
      return file.path
    }
    deinit { try? FileManager.default.removeItem(at: folder) }
  }

  static func setup(_ authority: TestAuthority, loops: Int = 1) throws -> Setup {
    var setup = Setup()
    setup.loops = loops
    let security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    setup.configure = { $0.listeners[0].security = security }
    return setup
  }

  @Test(
    "HTTP/2, agreed on in the handshake: a stock client, and frames by hand",
    .enabled(if: Script.has("h2")),
    arguments: ["alpn", "get", "post", "stream", "many", "large", "malformed", "downgrade", "floods", "broken"])
  func http2(_ name: String) async throws {
    let (authority, pems) = (try TestAuthority(), try Pems())
    let file = try pems.keep(authority.authority.certificate, "authority.pem")
    let backend = try HTTP2Tests.mirror()
    try await withProxy(to: [backend.port], Self.setup(authority)) { _, port in
      let failure = try Script("HTTP2/client.py", "\(port)", name, file).failure()
      #expect(failure == nil)
    }
    withExtendedLifetime(pems) {}
  }

  // wss:// outside and inside: both ends of the tunnel write through TLS.
  @Test("WebSockets: messages of all sizes, the close handshake, and the end of a service", arguments: [1, 4])
  func webSocket(_ loops: Int) async throws {
    let authority = try TestAuthority()
    let seen = WebSocketProxyTests.Seen()
    let backend = try WebSocketProxyTests.echo(seen, greeting: WebSocketProxyTests.frame(1, [104, 105], masked: false))
    let inner = try await TLSRelay(.server(authority.server(authority.leaf("live.internal"))), to: backend.port)
    var setup = WebSocketProxyTests.setup()
    setup.loops = loops
    let security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    setup.configure = {
      $0.listeners[0].security = security
      var upstream = UpstreamSecurity()
      upstream.verification = .authorities(authority.authority.certificate)
      upstream.name = "live.internal"
      $0.upstreamSecurity = [upstream]
    }
    try await withProxy(to: [inner.port], setup) { server, port in
      let outer = try await TLSRelay(.client(authority.client(), name: "test.example"), to: port)
      let wire = try WebSocketProxyTests.open(outer.port)
      #expect(try WebSocketProxyTests.read(wire).payload == [104, 105])
      for size in [0, 1, 125, 126, 16_384, 65_536, 1_000_000] {
        let payload = (0..<size).map { UInt8($0 & 255) }
        try wire.send(WebSocketProxyTests.frame(2, payload, masked: true))
        let (opcode, back, _) = try WebSocketProxyTests.read(wire)
        #expect(opcode == 2 && back == payload)
      }
      try wire.send(WebSocketProxyTests.frame(9, [7], masked: true))
      #expect(try WebSocketProxyTests.read(wire).opcode == 10)
      try wire.send(WebSocketProxyTests.close(1000, masked: true))
      let (opcode, payload, _) = try WebSocketProxyTests.read(wire)
      #expect(opcode == 8 && WebSocketProxyTests.code(payload) == 1000)
      #expect(try wire.ends())
      try await eventually("the service hears of it") { seen.codes.withLock { $0 } == [1000] }
      let head = try #require(seen.heads.withLock { $0.first })
      #expect(field("x-forwarded-proto", of: head) == "https")

      // A client that breaks the protocol is told so, also here.
      let rude = try WebSocketProxyTests.open(outer.port)
      #expect(try WebSocketProxyTests.read(rude).payload == [104, 105])
      try rude.send(WebSocketProxyTests.frame(1, [65], masked: false))
      let told = try WebSocketProxyTests.read(rude)
      #expect(told.opcode == 8 && WebSocketProxyTests.code(told.payload) == 1002)
      #expect(try rude.ends())
      // Whoever goes without a word ends the other side.
      do {
        let gone = try WebSocketProxyTests.open(outer.port)
        #expect(try WebSocketProxyTests.read(gone).payload == [104, 105])
        gone.finishSending()
        #expect(try gone.ends())
      }
      try await eventually("all tunnels are over") {
        await server.reports().allSatisfy { $0.tunnels.allSatisfy { $0.open == 0 } }
      }
      outer.stop()
    }
    inner.stop()
  }

  @Test(
    "sslyze finds nothing: Mozilla's intermediate profile by default, its modern one from TLS 1.3 on",
    .enabled(if: Script.has("sslyze")), arguments: ["intermediate", "modern", "client"])
  func scan(_ what: String) async throws {
    let (authority, pems) = (try TestAuthority(), try Pems())
    var security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    var words = [what == "modern" ? "modern" : "intermediate"]
    if what == "modern" { security.minimum = .tls13 }
    if what == "client" {
      security.client = .required
      security.clientAuthorities = authority.authority.certificate
      let own = try authority.clientLeaf("client.example")
      words += [try pems.keep(own.chain, "client.pem"), try pems.keep(own.key, "client.key")]
    }
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    let (asked, secured) = (words, security)
    try await withProxy(to: [backend.port], SecurityTests.secured(secured)) { _, port in
      let failure = try Script(["TLS/scan.py", "\(port)"] + asked).failure()
      #expect(failure == nil)
    }
    withExtendedLifetime(pems) {}
  }
}
