// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import WeirFlows
import WeirIdentity
import WeirPatterns

@Suite struct CredentialTests {
  @Test("base64 has one text for one value")
  func base64() {
    #expect(
      Base64Text.url("".utf8) == [] && Base64Text.url("AQ".utf8) == [1] && Base64Text.url("-_8".utf8) == [251, 255])
    for text in ["A", "AR", "AQ==", "AQ=", "+/8", "A Q", "AQB\n"] {
      #expect(Base64Text.url(text.utf8) == nil, "\(text)")
    }
    #expect(Base64Text.usual("AQ==") == [1] && Base64Text.usual("+/8=") == [251, 255] && Base64Text.usual("") == [])
    for text in ["AQ", "AQ=", "AR==", "-_8=", "====", "A===", "AQ==AQ=="] {
      #expect(Base64Text.usual(text) == nil, "\(text)")
    }
    for count in 0..<70 {
      let bytes = (0..<count).map { UInt8(($0 * 37 + count) & 255) }
      #expect(Base64Text.usual(Base64Text.encode(bytes)) == bytes)
      #expect(Base64Text.url(Base64Text.encode(bytes, forURL: true).utf8) == bytes)
    }
  }

  @Test(
    "JSON is read strictly",
    arguments: [
      ("{}", true), (#" {"a" : [1, -2.5e3, true, null, "x\u00e9\ud83d\ude00"]} "#, true), ("0", true), (#""\n""#, true),
      ("", false), ("{", false), ("01", false), ("1.", false), (".5", false), ("+1", false), ("1e", false),
      ("{}{}", false), (#"{"a":1,}"#, false), ("[1,]", false), (#"{"a":1,"a":1}"#, false),
      (#"{"a":1,"\u0061":2}"#, false),
      (#""\ud800""#, false), (#""\x""#, false), ("\"\n\"", false), ("tru", false), ("nan", false), ("1e999", false),
      (String(repeating: "[", count: 17) + String(repeating: "]", count: 17), true),
      (String(repeating: "[", count: 18) + String(repeating: "]", count: 18), false),
      (String(repeating: "[", count: 100_000), false),
    ] as [(String, Bool)])
  func json(_ text: String, _ isGood: Bool) {
    #expect((JSON(Array(text.utf8)) != nil) == isGood)
  }

  @Test("a list of keys says what is wrong with it, by line, and not what stands there")
  func lists() throws {
    let key = APIKeys.make()
    #expect(key.hasPrefix("wk_") && key.utf8.count == 46)
    let keys = try APIKeys("# ours\n\nacme \(APIKeys.proof(of: key)) roles=partner,buyer scopes=a tenant=acme\n")
    #expect(keys.count == 1)
    for (text, line, word) in [
      ("acme", 1, "no proof"), ("\nacme secret", 2, "sha256"), ("a sha256:00", 1, "sha256"),
      ("a \(APIKeys.proof(of: key))\na \(APIKeys.proof(of: "x"))", 2, "twice"),
      ("a \(APIKeys.proof(of: key))\nb \(APIKeys.proof(of: key))", 2, "same key"),
      ("a \(APIKeys.proof(of: key)) admin", 1, "claims"),
    ] {
      #expect {
        try APIKeys(text)
      } throws: { error in
        guard let mistake = error as? CredentialLines.Mistake else { return false }
        return mistake.line == line && mistake.what.contains(word) && !mistake.what.contains("secret")
      }
    }
  }

  // PBKDF2 with SHA-256: vector of RFC 7914 §11 cannot be used, for its rounds are too few here; one's own, then.
  @Test("a password is known by its slow hash, and fewer rounds are refused")
  func passwords() throws {
    let proof = try #require(Passwords.proof(of: "correct horse", rounds: 100_000))
    #expect(try Passwords("alice \(proof)").count == 1)
    #expect(throws: CredentialLines.Mistake.self) {
      try Passwords("alice \(Passwords.proof(of: "x", rounds: 99_999) ?? "")")
    }
    #expect(throws: CredentialLines.Mistake.self) { try Passwords("alice $2y$10$abc") }
  }
}

/// The gate as the proxy asks it, on a clock of the test.
@Suite struct IdentityGateTests {
  final class Clock: Sendable {
    let now = Mutex<Int64>(1000)
    func set(_ value: Int64) { now.withLock { $0 = value } }
  }

  static func gate(
    _ kind: IdentitySettings.Kind, _ clock: Clock = Clock(), rules: [AccessRule] = [], tenants: TenantRules? = nil,
    fields: [IdentitySettings.ClaimField] = []
  ) -> IdentityGate {
    var settings = IdentitySettings(name: "test", kind: kind)
    settings.fields = fields
    return IdentityGate(
      [settings], accesses: rules, tenants: tenants, hash: KeyedHash(secret: 1, 2), now: { clock.now.withLock { $0 } })
  }

  static func word(_ verdict: IdentityVerdict) -> String {
    switch verdict {
    case .missing: "missing"
    case .known(let principal): "known \(principal.subject)"
    case .invalid: "invalid"
    case .replayed: "replayed"
    case .notAllowed: "notAllowed"
    case .unavailable: "unavailable"
    }
  }

  /// The verdict, and whether it needed work.
  static func ask(_ reply: IdentityReply) async -> (String, worked: Bool) {
    switch reply {
    case .now(let verdict): (word(verdict), false)
    case .later(let work): (word(await work()), true)
    }
  }

  static func ask(_ gate: IdentityGate, _ secret: String) async -> (String, worked: Bool) {
    let bytes = Array(secret.utf8)
    let reply = gate.ask(0, secret: bytes.span)
    return await ask(reply)
  }

  @Test("a hot token costs no signature check, until it expires or the keys change")
  func hotTokens() async throws {
    let first = try Issuer()
    let second = try Issuer()
    let issuer = Mutex(first)
    let clock = Clock()
    let store = KeyStore { Array(issuer.withLock { $0.set }.utf8) }
    let gate = Self.gate(.token(TokenTests.rules, store, field: nil), clock)
    let token = try first.token()
    #expect(await Self.ask(gate, token) == ("known alice", true))
    #expect(await Self.ask(gate, token) == ("known alice", false))
    #expect(gate.tally[0].remembered == 1)
    clock.set(2030)
    #expect(await Self.ask(gate, token) == ("invalid", true))
    clock.set(1000)
    #expect(await Self.ask(gate, token) == ("known alice", false))
    issuer.withLock { $0 = second }
    await store.refresh(now: 1000)
    #expect(await Self.ask(gate, token) == ("invalid", true))
  }

  @Test("a new key is fetched once, however many ask; the last good set is kept when the issuer is down")
  func rotation() async throws {
    let first = try Issuer(name: "a")
    let second = try Issuer(name: "b")
    let third = try Issuer(name: "c")
    let answer = Mutex<[UInt8]?>(Array(first.set.utf8))
    let fetches = Atomic<Int>(0)
    struct Down: Error {}
    let clock = Clock()
    let store = KeyStore {
      fetches.add(1, ordering: .relaxed)
      guard let bytes = answer.withLock({ $0 }) else { throw Down() }
      return bytes
    }
    let gate = Self.gate(.token(TokenTests.rules, store, field: nil), clock)
    #expect(await Self.ask(gate, try first.token()).0 == "known alice")
    #expect(fetches.load(ordering: .relaxed) == 1)
    answer.withLock { $0 = Array(second.set.utf8) }
    let token = try second.token()
    let verdicts = await withTaskGroup(of: String.self) { group in
      for _ in 0..<20 { group.addTask { await Self.ask(gate, token).0 } }
      return await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(verdicts == ["known alice"])
    #expect(fetches.load(ordering: .relaxed) == 2)
    // Keys that nobody has: one fetch in ten seconds, whoever sends how many.
    for _ in 0..<20 { #expect(await Self.ask(gate, try third.token()).0 == "invalid") }
    #expect(fetches.load(ordering: .relaxed) == 2)
    clock.set(1010)
    for _ in 0..<20 { #expect(await Self.ask(gate, try third.token()).0 == "invalid") }
    #expect(fetches.load(ordering: .relaxed) == 3)
    // Down, or answering nonsense: what was good stays good.
    for broken in [nil, Array("<html>".utf8)] as [[UInt8]?] {
      answer.withLock { $0 = broken }
      await store.refresh(now: 1020)
      #expect(await Self.ask(gate, token).0 == "known alice")
      #expect(store.standing.fault != nil && store.standing.keys == 5)
    }
    #expect(store.standing.failures == 2)
  }

  @Test("without any keys nobody is let in, and nobody is refused for good")
  func neverLoaded() async throws {
    struct Down: Error {}
    let gate = Self.gate(.token(TokenTests.rules, KeyStore { throw Down() }, field: nil))
    #expect(await Self.ask(gate, try Issuer().token()).0 == "unavailable")
  }

  @Test("a failed fetch is tried again after 1, 2, 4 … seconds")
  func retries() async {
    struct Down: Error {}
    let store = KeyStore { throw Down() }
    var now: Int64 = 100
    for wait: Int64 in [1, 2, 4, 8] {
      #expect(store.isDue(now: now))
      await store.refresh(now: now)
      #expect(!store.isDue(now: now + wait - 1))
      now += wait
    }
  }

  @Test("API keys, their claims as grants, tenant and fields; a wrong one is invalid")
  func keys() async throws {
    var tenants = TenantRules(claim: "tenant")
    tenants.known = [.init(name: "acme", plan: 1)]
    tenants.otherwise = 0
    let list = "a \(APIKeys.proof(of: "first")) roles=partner tenant=acme\nb \(APIKeys.proof(of: "second")) tenant=x"
    let gate = Self.gate(
      .apiKey(try APIKeys(list), field: "x-api-key"),
      rules: [AccessRule(conditions: [.role("buyer"), .role("partner"), .claim("tenant", "acme"), .scope("s")])],
      tenants: tenants, fields: [.init(claim: "sub", name: "x-user"), .init(claim: "none", name: "x-none")])
    func principal(_ key: String) -> Principal? {
      let bytes = Array(key.utf8)
      guard case .now(.known(let principal)) = gate.ask(0, secret: bytes.span) else { return nil }
      return principal
    }
    let first = try #require(principal("first"))
    #expect(first.facts(access: 0).grants == 0b0110 && first.facts(access: 0).plan == 1 && first.series == 0)
    #expect(String(decoding: first.fields, as: UTF8.self) == "x-user: a\r\n")
    let second = try #require(principal("second"))
    #expect(second.facts(access: 0).grants == 0 && second.facts(access: 0).plan == 0 && second.series == -1)
    #expect(first.facts(access: 0).client != second.facts(access: 0).client)
    #expect(first.facts(access: 0).tenant != second.facts(access: 0).tenant)
    #expect(principal("third") == nil && principal("") == nil)
  }

  // An issuer that lets users choose a claim must not let them write fields.
  @Test("a claim with a line end goes nowhere")
  func injection() async throws {
    let issuer = try Issuer()
    let store = KeyStore { Array(issuer.set.utf8) }
    let gate = Self.gate(
      .token(TokenTests.rules, store, field: nil), fields: [.init(claim: "sub", name: "x-user")])
    let token = try issuer.token(
      payload: #"{"iss":"me","aud":"shop","exp":2000,"sub":"a\r\nx-admin: yes"}"#)
    let bytes = Array(token.utf8)
    guard case .later(let work) = gate.ask(0, secret: bytes.span), case .known(let principal) = await work() else {
      Issue.record("not known")
      return
    }
    #expect(principal.fields.isEmpty)
  }

  @Test("a password is checked once, then known; a wrong one and a user who does not exist are the same")
  func basic() async throws {
    let proof = try #require(Passwords.proof(of: "secret", rounds: 100_000))
    let gate = Self.gate(.basic(try Passwords("alice \(proof) roles=a")))
    func ask(_ user: String, _ password: String) async -> (String, worked: Bool) {
      let (user, password) = (Array(user.utf8), Array(password.utf8))
      let reply = gate.ask(0, user: user.span, password: password.span)
      return await Self.ask(reply)
    }
    #expect(await ask("alice", "wrong") == ("invalid", true))
    #expect(await ask("bob", "secret") == ("invalid", true))
    #expect(await ask("alice", "secret") == ("known alice", true))
    #expect(await ask("alice", "secret") == ("known alice", false))
    #expect(await ask("alice", "secret2") == ("invalid", true))
  }

  @Test("a signed request is taken once, within its window, and only as it was signed")
  func signatures() async throws {
    let clock = Clock()
    let secret = [UInt8](repeating: 9, count: 32)
    let signed = try SignedRequests("acme \(Base64Text.encode(secret))")
    let gate = Self.gate(.signature(signed), clock)
    let request = SignedRequests.Request(
      method: "POST", target: "/a?b=1", host: "shop", digest: "sha-256=:x:", hasBody: true)
    func ask(_ field: String, _ request: SignedRequests.Request) async -> String {
      await Self.ask(gate.ask(0, signature: String(field.dropFirst(SignedRequests.scheme.count + 1)), request)).0
    }
    func sign(_ nonce: String, time: Int64 = 1000, key: String = "acme", secret: [UInt8]? = nil) -> String {
      SignedRequests.sign(
        request, key: key, secret: secret ?? [UInt8](repeating: 9, count: 32), time: time, nonce: nonce)
    }
    #expect(await ask(sign("1"), request) == "known acme")
    #expect(await ask(sign("1"), request) == "replayed")
    #expect(await ask(sign("2"), request) == "known acme")
    for (time, word) in [(Int64(700), "replayed"), (701, "known acme"), (1299, "known acme"), (1300, "replayed")] {
      #expect(await ask(sign("t\(time)", time: time), request) == word)
    }
    for change in [
      { $0.method = "PUT" }, { $0.target = "/a?b=2" }, { $0.host = "x" }, { $0.digest = "sha-256=:y:" },
      { $0.digest = "" },
    ] as [(inout SignedRequests.Request) -> Void] {
      var other = request
      change(&other)
      #expect(await ask(sign("3"), other) == "invalid")
    }
    #expect(await ask(sign("4", key: "nobody"), request) == "invalid")
    #expect(await ask(sign("4", key: "nobody", secret: [UInt8](repeating: 0, count: 32)), request) == "invalid")
    #expect(await ask(sign("4", secret: [1]), request) == "invalid")
    #expect(await ask(sign("4") + ", key=acme", request) == "invalid")
    // Remembered as long as its time would let it in, however the clock goes on.
    let late = sign("late", time: 1299)
    #expect(await ask(late, request) == "known acme")
    for now: Int64 in [1300, 1500, 1598] {
      clock.set(now)
      #expect(await ask(late, request) == "replayed")
    }
  }

  @Test("when too many signatures are remembered, none is taken twice, and new ones wait")
  func signaturesFull() async throws {
    var settings = SignedRequests.Settings()
    settings.rememberedMax = 3
    let secret = [UInt8](repeating: 9, count: 16)
    let gate = Self.gate(.signature(try SignedRequests("a \(Base64Text.encode(secret))", settings)))
    let request = SignedRequests.Request(method: "GET", target: "/", host: "h", digest: "", hasBody: false)
    func ask(_ nonce: Int) async -> String {
      let field = SignedRequests.sign(request, key: "a", secret: secret, time: 1000, nonce: "\(nonce)")
      return await Self.ask(gate.ask(0, signature: String(field.dropFirst(SignedRequests.scheme.count + 1)), request)).0
    }
    for nonce in 0..<3 { #expect(await ask(nonce) == "known a") }
    #expect(await ask(3) == "unavailable")
    #expect(await ask(0) == "replayed")
  }

  @Test("a verified certificate is known by name, wildcard of one label, subject or fingerprint, and by nothing else")
  func certificates() async {
    let gate = Self.gate(
      .certificate(
        ClientCertificates(members: [
          .init(name: "*.partner.example", roles: ["partner"]), .init(name: "CN=Bob", roles: ["bob"]),
          .init(name: "aabb", roles: []),
        ])))
    func ask(_ names: [String], _ subject: String, _ fingerprint: String) async -> String {
      await Self.ask(gate.ask(0, certificate: .init(names: names, subject: subject, fingerprint: fingerprint))).0
    }
    #expect(await ask(["x.example", "a.partner.example"], "CN=A", "01") == "known a.partner.example")
    #expect(await ask([], "CN=Bob", "02") == "known CN=Bob")
    #expect(await ask([], "CN=C", "aabb") == "known aabb")
    for (index, names) in [["a.b.partner.example"], ["partner.example"], [".partner.example"], []].enumerated() {
      #expect(await ask(names, "CN=Eve", "e\(index)") == "invalid")
    }
  }

  @Test("a service that is asked: yes, no, not allowed, no answer")
  func forward() async {
    struct Down: Error {}
    let gate = Self.gate(
      .forward(
        ForwardAuth(shows: [], copies: ["x-user"], subject: "x-user", roles: "x-roles") { question in
          guard let status = Int(question.target) else { throw Down() }
          return ForwardAuth.Reply(
            status: status, fields: [.init(name: "X-User", value: "ann"), .init(name: "X-Roles", value: "a, b")])
        }))
    func ask(_ target: String) async -> IdentityReply {
      gate.ask(0, ForwardAuth.Question(method: "GET", target: target, host: "h", client: "1.2.3.4", fields: []))
    }
    for (target, word) in [
      ("200", "known ann"), ("204", "known ann"), ("401", "invalid"), ("403", "notAllowed"), ("302", "unavailable"),
      ("500", "unavailable"), ("x", "unavailable"),
    ] {
      #expect(await Self.ask(ask(target)).0 == word)
    }
    if case .later(let work) = await ask("200"), case .known(let principal) = await work() {
      #expect(principal.claims.roles == ["a", "b"])
      #expect(String(decoding: principal.fields, as: UTF8.self) == "X-User: ann\r\n")
    }
  }
}
