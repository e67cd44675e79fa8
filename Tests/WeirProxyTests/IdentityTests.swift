// SPDX-License-Identifier: Apache-2.0
import Crypto
import Foundation
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirIdentity
import WeirPatterns
import WeirProxy

/// Identities on real sockets: who gets in, who does not and why, and what the callee sees.
@Suite struct IdentityTests {
  static let key = P256.Signing.PrivateKey()

  static func token(_ payload: String, key: P256.Signing.PrivateKey = key, id: String = "k") throws -> String {
    let head = Base64Text.encode(#"{"alg":"ES256","kid":"\#(id)"}"#.utf8, forURL: true)
    let signed = "\(head).\(Base64Text.encode(payload.utf8, forURL: true))"
    let signature = try key.signature(for: Data(signed.utf8)).rawRepresentation
    return "\(signed).\(Base64Text.encode(signature, forURL: true))"
  }

  static func set(_ key: P256.Signing.PrivateKey = key, id: String = "k") -> [UInt8] {
    let raw = key.publicKey.rawRepresentation
    let x = Base64Text.encode(raw.prefix(32), forURL: true)
    let y = Base64Text.encode(raw.suffix(32), forURL: true)
    return Array(#"{"keys":[{"kty":"EC","crv":"P-256","kid":"\#(id)","x":"\#(x)","y":"\#(y)"}]}"#.utf8)
  }

  static func identity(_ name: String, _ kind: IdentitySettings.Kind, forwards: Bool = false) -> IdentitySettings {
    var settings = IdentitySettings(name: name, kind: kind)
    settings.forwards = forwards
    settings.fields = [.init(claim: "sub", name: "x-user")]
    return settings
  }

  static func tokens(_ store: KeyStore = KeyStore { IdentityTests.set() }) -> IdentitySettings.Kind {
    var rules = TokenRules()
    rules.issuer = "me"
    return .token(rules, store, field: nil)
  }

  /// A proxy whose route asks any of these; needs are the role `buyer` when it is said.
  static func setup(
    _ identities: [IdentitySettings], buyer: Bool = false, addresses: [String] = [],
    tenants: TenantRules? = nil, _ more: @escaping @Sendable (inout ProxyConfiguration) -> Void = { _ in }
  ) throws -> Setup {
    var setup = Setup()
    let gate = IdentityGate(
      identities, accesses: [AccessRule(conditions: [.role("buyer")])], tenants: tenants,
      hash: KeyedHash(secret: 1, 2), now: { 1000 })
    let access = try AccessConfiguration(
      gate: gate, addresses: [addresses.compactMap { AddressRange($0) }],
      identitiesOfAccesses: [Array(identities.indices)], realm: "shop")
    setup.route.access = 0
    setup.configure = { configuration in
      configuration.access = access
      let mask = (UInt64(1) << UInt64(identities.count)) - 1
      configuration.plan.accesses = [FlowPlan.Access(identities: mask, needs: buyer ? [1] : [])]
      more(&configuration)
    }
    return setup
  }

  /// Answers with the head that it saw.
  static func echo() throws -> Backend { try Backend(answering: { head, _, _ in Backend.ok(head) }) }

  @Test("a good token gets in with its claims as fields and without itself; what the caller says of itself does not")
  func goodToken() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port], Self.setup([Self.identity("users", Self.tokens())])) { server, port in
      let client = try Wire(port: port)
      let token = try Self.token(#"{"iss":"me","sub":"alice","exp":2000}"#)
      for _ in 0..<3 {
        let answer = try client.get("/", "Authorization: Bearer \(token)\r\nX-User: root\r\nx-user: admin\r\nA: b\r\n")
        #expect(answer.status == 200)
        #expect(answer.text.contains("x-user: alice\r\n") && answer.text.contains("A: b\r\n"))
        #expect(!answer.text.contains("root") && !answer.text.contains("admin"))
        #expect(!answer.text.lowercased().contains("authorization"))
      }
      // With a body that comes before, with, and after the answer of the identity.
      let other = try Self.token(#"{"iss":"me","sub":"bob","exp":2001}"#)
      let answer = try client.ask(
        "POST / HTTP/1.1\r\nHost: test.example\r\nAuthorization: bearer \(other)\r\nContent-Length: 5\r\n\r\nhello")
      #expect(answer.status == 200 && answer.text.contains("x-user: bob\r\n"))
      #expect(try client.get("/", "Authorization: Bearer \(token)\r\n").status == 200)
      #expect(backend.count == 5)
    }
  }

  @Test("a token goes on when its identity forwards it")
  func forwards() async throws {
    let backend = try Self.echo()
    let setup = try Self.setup([Self.identity("users", Self.tokens(), forwards: true)])
    try await withProxy(to: [backend.port], setup) { _, port in
      let token = try Self.token(#"{"iss":"me","sub":"alice","exp":2000}"#)
      let answer = try Wire(port: port).get("/", "Authorization: Bearer \(token)\r\n")
      #expect(answer.text.contains("Authorization: Bearer \(token)\r\n"))
    }
  }

  @Test(
    "every refusal says its reason, asks for what is missing, and reaches no callee",
    arguments: [
      ("", 401, "identity-missing"), ("Authorization: Basic YTpi\r\n", 401, "identity-missing"),
      ("Authorization: Bearer a.b.c\r\n", 401, "identity-invalid"),
      ("Authorization: Bearer\r\n", 401, "identity-invalid"),
      ("Authorization: Bearer a b\r\n", 401, "identity-invalid"),
      ("Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n", 401, "identity-invalid"),
      ("Authorization: Bearer $good\r\nAuthorization: Bearer $good\r\n", 401, "identity-invalid"),
      ("Authorization: Bearer $expired\r\n", 401, "identity-invalid"),
      ("Authorization: Bearer $seller\r\n", 403, "not-allowed"), ("Authorization: Bearer $good\r\n", 200, ""),
    ] as [(String, Int, String)])
  func refusals(_ fields: String, _ status: Int, _ reason: String) async throws {
    let backend = try Self.echo()
    let good = try Self.token(#"{"iss":"me","sub":"a","exp":2000,"roles":["buyer"]}"#)
    let expired = try Self.token(#"{"iss":"me","sub":"a","exp":900,"roles":["buyer"]}"#)
    let seller = try Self.token(#"{"iss":"me","sub":"a","exp":2000,"roles":["seller"]}"#)
    let setup = try Self.setup([Self.identity("users", Self.tokens())], buyer: true)
    try await withProxy(to: [backend.port], setup) { server, port in
      let client = try Wire(port: port)
      let sent = fields.replacing("$good", with: good).replacing("$expired", with: expired)
        .replacing("$seller", with: seller)
      let answer = try client.get("/", sent)
      #expect(answer.status == status)
      if status == 200 { return }
      #expect(answer.reason == reason && answer.text.contains("\"reason\":\"\(reason)\""))
      #expect(answer["www-authenticate"] == (status == 401 ? "Bearer realm=\"shop\"" : nil))
      #expect(answer["cache-control"] == "no-store" && backend.count == 0)
      // The connection stays, and the next request stands on its own.
      #expect(try client.get("/", "Authorization: Bearer \(good)\r\n").status == 200)
      let report = try #require(await server.reports().first)
      #expect(report.records.first.map { "\($0.reason.name)" } == reason)
    }
  }

  @Test("any of several identities will do, and what cannot be asked says so")
  func several() async throws {
    struct Down: Error {}
    let backend = try Self.echo()
    let identities = [
      Self.identity("users", Self.tokens(KeyStore { throw Down() })),
      Self.identity("partners", .apiKey(try APIKeys("acme \(APIKeys.proof(of: "k1"))"), field: "x-api-key")),
    ]
    try await withProxy(to: [backend.port], Self.setup(identities)) { _, port in
      let client = try Wire(port: port)
      let answer = try client.get("/", "X-Api-Key: k1\r\n")
      #expect(answer.status == 200 && answer.text.contains("x-user: acme") && !answer.text.contains("k1"))
      let token = try Self.token(#"{"iss":"me","sub":"a","exp":2000}"#)
      let closed = try client.get("/", "Authorization: Bearer \(token)\r\n")
      #expect(closed.status == 503 && closed.reason == "identity-unavailable")
      #expect(try client.get("/", "Authorization: Bearer \(token)\r\nX-Api-Key: k1\r\n").status == 200)
      #expect(try client.get("/", "X-Api-Key: k1\r\nX-Api-Key: k1\r\n").reason == "identity-invalid")
      #expect(try client.get("/").reason == "identity-missing")
    }
  }

  @Test("keys are rotated while requests run: none fails that has a good token")
  func rotation() async throws {
    let backend = try Self.echo()
    let next = P256.Signing.PrivateKey()
    let now = Mutex(Self.set())
    let store = KeyStore { now.withLock { $0 } }
    let tokens = Self.tokens(store)
    try await withProxy(to: [backend.port], Self.setup([Self.identity("users", tokens)])) { _, port in
      let client = try Wire(port: port)
      let old = try Self.token(#"{"iss":"me","sub":"old","exp":2000}"#)
      let new = try Self.token(#"{"iss":"me","sub":"new","exp":2000}"#, key: next, id: "next")
      #expect(try client.get("/", "Authorization: Bearer \(old)\r\n").status == 200)
      now.withLock { $0 = Self.set(next, id: "next") }
      try await onThreads(8) { _ in
        let client = try Wire(port: port)
        for _ in 0..<5 { #expect(try client.get("/", "Authorization: Bearer \(new)\r\n").status == 200) }
      }
      #expect(store.standing.fetches == 2)
      // The old key is gone, and what was remembered of it.
      #expect(try client.get("/", "Authorization: Bearer \(old)\r\n").reason == "identity-invalid")
    }
  }

  @Test("a caller that goes away while it is asked for leaves nothing behind; one that waits gets its answer")
  func slowIdentity() async throws {
    let backend = try Self.echo()
    let gate = Gate()
    let forward = ForwardAuth(shows: ["cookie"], copies: ["x-role"], subject: "x-name", roles: nil) { question in
      if question.target == "/slow" {
        await withCheckedContinuation { done in
          Thread.detachNewThread {
            gate.wait()
            done.resume()
          }
        }
      }
      let isKnown = question.fields == [.init(name: "cookie", value: "s=1")]
      return ForwardAuth.Reply(
        status: isKnown ? 200 : 401,
        fields: [.init(name: "X-Role", value: "boss"), .init(name: "X-Name", value: "ann")])
    }
    try await withProxy(to: [backend.port], Self.setup([Self.identity("session", .forward(forward))])) { server, port in
      let gone = try Wire(port: port)
      try gone.send("GET /slow HTTP/1.1\r\nHost: test.example\r\nCookie: s=1\r\n\r\n")
      let waiting = try Wire(port: port)
      // Two in one go: the second is not looked at before the first is answered.
      let second = "POST /b HTTP/1.1\r\nHost: test.example\r\nCookie: s=1\r\nContent-Length: 2\r\n\r\nhi"
      try waiting.send("GET /slow HTTP/1.1\r\nHost: test.example\r\nCookie: s=1\r\nX-Role: me\r\n\r\n\(second)")
      #expect(try Wire(port: port).get("/", "Cookie: s=2\r\n").reason == "identity-invalid")
      gone.reset()
      gate.open()
      let first = try waiting.answer()
      #expect(first.status == 200 && first.text.hasPrefix("GET /slow"))
      #expect(first.text.contains("X-Role: boss") && !first.text.contains("X-Role: me"))
      #expect(try waiting.answer().text.hasPrefix("POST /b"))
      try await eventually("nothing is left") { (await server.reports().first?.clients ?? 9) <= 1 }
    }
  }

  @Test("an address guesses ten times, then it is told to wait; another one is not")
  func brake() async throws {
    let backend = try Self.echo()
    let setup = try Self.setup([
      Self.identity("partners", .apiKey(try APIKeys("acme \(APIKeys.proof(of: "k1"))"), field: "x-api-key"))
    ]) { configuration in
      configuration.trusted = [AddressRange("127.0.0.0/8")].compactMap { $0 }
    }
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      for index in 0..<10 {
        #expect(try client.get("/", "X-Forwarded-For: 192.0.2.1\r\nX-Api-Key: guess\(index)\r\n").status == 401)
      }
      let answer = try client.get("/", "X-Forwarded-For: 192.0.2.1\r\nX-Api-Key: k1\r\n")
      #expect(answer.status == 429 && answer.reason == "too-many-failures")
      #expect((answer["retry-after"].flatMap(Int.init) ?? 0) > 0)
      #expect(try client.get("/", "X-Forwarded-For: 192.0.2.2\r\nX-Api-Key: k1\r\n").status == 200)
    }
  }

  @Test("a route reached from some networks only needs no identity for it")
  func addresses() async throws {
    let backend = try Self.echo()
    for (network, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 403), ("::1", 403)] {
      try await withProxy(to: [backend.port], Self.setup([], addresses: [network])) { _, port in
        let answer = try Wire(port: port).get("/", "X-Forwarded-For: 10.0.0.1\r\n")
        #expect(answer.status == status)
        if status == 403 { #expect(answer.reason == "not-allowed") }
      }
    }
    // Behind a trusted proxy the address that counts is the one that it saw.
    let setup = try Self.setup([], addresses: ["10.0.0.0/8"]) { configuration in
      configuration.trusted = [AddressRange("127.0.0.0/8")].compactMap { $0 }
    }
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      #expect(try client.get("/", "X-Forwarded-For: 10.0.0.1\r\n").status == 200)
      #expect(try client.get("/", "X-Forwarded-For: 10.0.0.1, 192.0.2.1\r\n").status == 403)
      #expect(try client.get("/", "X-Forwarded-For: unknown\r\n").status == 403)
      #expect(try client.get("/").status == 403)
    }
  }

  @Test("tenants of a plan have their limit each, whatever address they come from")
  func tenants() async throws {
    let backend = try Self.echo()
    var tenants = TenantRules(claim: "tenant")
    tenants.otherwise = 0
    let keys = ["k1", "k2", "k3"].enumerated().map { index, key in
      "c\(index) \(APIKeys.proof(of: key)) tenant=\(index == 2 ? "other" : "acme")"
    }
    let identities = [
      Self.identity("partners", .apiKey(try APIKeys(keys.joined(separator: "\n")), field: "x-api-key"))
    ]
    let setup = try Self.setup(identities, tenants: tenants) { configuration in
      configuration.plan.limits = [FlowPlan.Limit(rate: Rate(perSecond: 0.001), burst: 2)]
      configuration.plan.tenantPlans = [FlowPlan.TenantPlan(limit: 0)]
    }
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      #expect(try client.get("/", "X-Api-Key: k1\r\n").status == 200)
      #expect(try client.get("/", "X-Api-Key: k2\r\n").status == 200)
      #expect(try client.get("/", "X-Api-Key: k1\r\n").reason == "limit-reached")
      #expect(try client.get("/", "X-Api-Key: k3\r\n").status == 200)
    }
  }

  @Test("passwords and signed requests")
  func passwordsAndSignatures() async throws {
    let backend = try Self.echo()
    let proof = try #require(Passwords.proof(of: "se:cret", rounds: 100_000))
    let secret = [UInt8](repeating: 7, count: 32)
    let identities = [
      Self.identity("users", .basic(try Passwords("alice \(proof)"))),
      Self.identity("machines", .signature(try SignedRequests("acme \(Base64Text.encode(secret))"))),
    ]
    try await withProxy(to: [backend.port], Self.setup(identities)) { _, port in
      let client = try Wire(port: port)
      let good = Base64Text.encode("alice:se:cret".utf8)
      for _ in 0..<2 {
        let answer = try client.get("/", "Authorization: Basic \(good)\r\n")
        #expect(answer.status == 200 && answer.text.contains("x-user: alice") && !answer.text.contains(good))
      }
      let wrong = try client.get("/", "Authorization: Basic \(Base64Text.encode("alice:no".utf8))\r\n")
      #expect(wrong.status == 401 && wrong["www-authenticate"] == "Basic realm=\"shop\", charset=\"UTF-8\"")
      let request = SignedRequests.Request(
        method: "GET", target: "/x?y=1", host: "test.example", digest: "", hasBody: false)
      let field = SignedRequests.sign(request, key: "acme", secret: secret, time: 1000, nonce: "n")
      #expect(try client.get("/x?y=1", "Authorization: \(field)\r\n").text.contains("x-user: acme"))
      #expect(try client.get("/x?y=1", "Authorization: \(field)\r\n").reason == "replayed")
      #expect(try client.get("/x?y=2", "Authorization: \(field)\r\n").reason == "identity-invalid")
    }
  }
}
