// SPDX-License-Identifier: Apache-2.0
import NIOSSL
import Synchronization
import Testing
import WeirCertificates
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// TLS on both sides of the proxy, on real sockets.
@Suite struct SecurityTests {
  static func secured(_ security: ListenerSecurity, loops: Int = 1) -> Setup {
    var setup = Setup()
    setup.loops = loops
    setup.configure = { $0.listeners[0].security = security }
    return setup
  }

  @Test("a secured listener serves what a plain one does, and says https to the instance", arguments: [1, 4])
  func termination(_ loops: Int) async throws {
    let authority = try TestAuthority()
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        let (body, _) = try wire.body(of: head, isAnswer: false)
        try wire.send(Backend.ok(head + String(repeating: "x", count: body.count)))
      }
    }
    let security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    try await withProxy(to: [backend.port], Self.secured(security, loops: loops)) { server, port in
      let relay = try await TLSRelay(.client(authority.client(), name: "test.example"), to: port)
      let client = try Wire(port: relay.port)
      let answer = try client.get("/a")
      #expect(answer.status == 200)
      #expect(field("x-forwarded-proto", of: answer.text) == "https")
      #expect(field("x-forwarded-for", of: answer.text) == "127.0.0.1")
      // Kept alive, with bodies larger than a record and than a buffer, both ways.
      for size in [1, 20_000, 300_000] {
        let body = String(repeating: "b", count: size)
        let echo = try client.ask(
          "POST /b HTTP/1.1\r\nHost: test.example\r\nContent-Length: \(size)\r\n\r\n\(body)")
        #expect(echo.status == 200 && echo.body.count > size)
      }
      // Pipelined.
      try client.send("GET /1 HTTP/1.1\r\nHost: test.example\r\n\r\nGET /2 HTTP/1.1\r\nHost: test.example\r\n\r\n")
      #expect(try client.answer().text.hasPrefix("GET /1 "))
      #expect(try client.answer().text.hasPrefix("GET /2 "))
      let tally = await server.reports().map(\.handshakes).reduce(HandshakeTally(), +)
      #expect(tally.tls13 == 1 && tally.failed == 0)
      relay.stop()
    }
  }

  @Test("the name that is asked for chooses the certificate: exactly, by wildcard, or else the first")
  func names() async throws {
    let authority = try TestAuthority()
    let security = ListenerSecurity(certificates: [
      try authority.leaf("first.example"), try authority.leaf("*.shop.example"), try authority.leaf("pay.shop.example"),
    ])
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    try await withProxy(to: [backend.port], Self.secured(security)) { _, port in
      for (name, index) in [
        ("first.example", 0), ("a.shop.example", 1), ("pay.shop.example", 2), ("PAY.shop.example", 2),
        ("other.example", 0),
      ] {
        let context = try authority.client { $0.certificateVerification = .noHostnameVerification }
        let relay = try await TLSRelay(.client(context, name: name), to: port)
        #expect(try Wire(port: relay.port).get().status == 200)
        let shown = try relay.shown.withLock { $0 }.map { try CertificateFacts(der: $0) }
        #expect(shown.first == security.certificates[index].facts, "\(name)")
        relay.stop()
      }
    }
  }

  @Test("a version below the listener's, and a client that does not trust it, end in the handshake")
  func refusals() async throws {
    let authority = try TestAuthority()
    var security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    security.minimum = .tls13
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    try await withProxy(to: [backend.port], Self.secured(security)) { server, port in
      let old = try authority.client { $0.maximumTLSVersion = .tlsv12 }
      let stranger = try authority.client(trusting: TestAuthority())
      for context in [old, stranger] {
        let relay = try await TLSRelay(.client(context, name: "test.example"), to: port)
        let client = try Wire(port: relay.port)
        try? client.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n")
        #expect(try client.ends())
        relay.stop()
      }
      // Plain HTTP to a secured port is no handshake either.
      let plain = try Wire(port: port)
      try plain.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n")
      #expect(try !String(decoding: plain.takeAll(), as: UTF8.self).contains("HTTP/"))
      try await eventually("three failed handshakes are counted") {
        await server.reports()[0].handshakes.failed == 3
      }
    }
  }

  @Test("a secured connection over its address's limit is closed before any handshake, and counted with its reason")
  func addressLimit() async throws {
    let authority = try TestAuthority()
    let security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.configure = {
      $0.listeners[0].security = security
      $0.addressLimit.perAddress = 1
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let relay = try await TLSRelay(.client(authority.client(), name: "test.example"), to: port)
      let first = try Wire(port: relay.port)
      #expect(try first.get().status == 200)
      #expect(try Wire(port: port).ends())
      try await eventually("the reason is counted") {
        await server.reports().contains { $0.records.contains { $0.reason == .tooManyConnections } }
      }
      #expect(try first.get().status == 200)
      relay.stop()
    }
  }

  @Test("clients' certificates: required, or taken when shown")
  func clientCertificates() async throws {
    let authority = try TestAuthority()
    let strangers = try TestAuthority()
    var security = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    security.clientAuthorities = authority.authority.certificate
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    for mode in [ListenerSecurity.ClientCertificate.required, .optional] {
      security.client = mode
      try await withProxy(to: [backend.port], Self.secured(security)) { _, port in
        func answers(_ own: CertificateChain?) async throws -> Bool {
          let relay = try await TLSRelay(.client(authority.client(showing: own), name: "test.example"), to: port)
          defer { relay.stop() }
          let client = try Wire(port: relay.port)
          try? client.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n")
          return (try? client.answer().status) == 200
        }
        let known = try await answers(authority.clientLeaf("client.example"))
        let none = try await answers(nil)
        // One that does not verify is worse than none.
        let strange = try await answers(strangers.clientLeaf("client.example"))
        #expect(known && none == (mode == .optional) && !strange)
      }
    }
  }

  @Test(
    "certificates are replaced under way: open connections stay, later ones get the new one, a broken one changes nothing"
  )
  func replacement() async throws {
    let authority = try TestAuthority()
    let first = ListenerSecurity(certificates: [try authority.leaf("test.example")])
    let second = ListenerSecurity(certificates: [try authority.leaf("test.example", "new.example")])
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    try await withProxy(to: [backend.port], Self.secured(first)) { server, port in
      let relay = try await TLSRelay(.client(authority.client(), name: "test.example"), to: port)
      let before = try Wire(port: relay.port)
      #expect(try before.get().status == 200)
      try server.replaceSecurity(second, ofListener: 0)
      var broken = second
      broken.certificates[0].key = "no key"
      #expect(throws: CertificateMistake.self) { try server.replaceSecurity(broken, ofListener: 0) }
      #expect(try before.get().status == 200)
      #expect(try Wire(port: relay.port).get().status == 200)
      let shown = try relay.shown.withLock { $0 }.map { try CertificateFacts(der: $0).names }
      #expect(shown.first == ["test.example"] && shown.last == ["test.example", "new.example"])
      relay.stop()
    }
  }

  @Test("instances behind TLS: verified by name and authority, tried elsewhere when not, and the reason said")
  func upstreams() async throws {
    let authority = try TestAuthority()
    let strangers = try TestAuthority()
    let backend = try Backend(answering: { head, _, _ in Backend.ok(head) })
    let good = try await TLSRelay(.server(authority.server(authority.leaf("api.internal"))), to: backend.port)
    let bad = try await TLSRelay(.server(strangers.server(strangers.leaf("api.internal"))), to: backend.port)
    let misnamed = try await TLSRelay(.server(authority.server(authority.leaf("other.internal"))), to: backend.port)
    func setup() -> Setup {
      var setup = Setup()
      setup.configure = { configuration in
        var security = UpstreamSecurity()
        security.verification = .authorities(authority.authority.certificate)
        security.name = "api.internal"
        configuration.upstreamSecurity = [security]
      }
      return setup
    }
    try await withProxy(to: [good.port], setup()) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<20 { #expect(try client.get().status == 200) }
    }
    for port in [bad.port, misnamed.port] {
      try await withProxy(to: [port], setup()) { _, port in
        let answer = try Wire(port: port).get()
        #expect(answer.status == 502)
        #expect(answer.reason == "tls-failed")
      }
    }
    // Nothing was sent, so any method goes to the other instance.
    try await withProxy(to: [bad.port, good.port], setup()) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<20 {
        #expect(
          try client.ask("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 1\r\n\r\nx").status == 200)
      }
    }
  }

  @Test("a listener that redirects sends every caller to the same address with TLS")
  func redirects() async throws {
    var setup = Setup()
    setup.configure = { $0.listeners[0].kind = .redirect(port: 8443) }
    try await withProxy(to: [1], setup) { _, port in
      let client = try Wire(port: port)
      let answer = try client.get("/a/b?c=d%20e")
      #expect(answer.status == 308)
      #expect(answer["location"] == "https://test.example:8443/a/b?c=d%20e")
      let withPort = try client.ask("HEAD / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", toHead: true)
      #expect(withPort["location"] == "https://[::1]:8443/")
      // The body is read past, and the connection stays.
      let posted = try client.ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
      #expect(posted.status == 308 && posted["location"] == "https://a:8443/x")
      #expect(try client.get().status == 308)
    }
  }
}
