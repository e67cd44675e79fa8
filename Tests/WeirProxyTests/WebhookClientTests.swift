// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Testing
import WeirBase
import WeirCertificates
import WeirMessaging
import WeirProxy

/// Webhooks that go out: to addresses that were judged, once, within their time.
@Suite struct WebhookClientTests {
  static let inside: OutgoingGuard.Settings = {
    var settings = OutgoingGuard.Settings()
    settings.allow = [AddressNetwork("127.0.0.0/8")].compactMap { $0 }
    settings.isOpenInside = true
    return settings
  }()

  static func send(
    _ client: WebhookClient, _ url: String, within timeout: TimeAmount = .seconds(60), body: String = "hello"
  ) async throws -> WebhookClient.Outcome {
    let request = WebhookClient.Request(
      url: url, fields: "webhook-id: msg_1\r\nContent-Type: text/plain\r\n", body: Array(body.utf8), timeout: timeout)
    return try await client.send(request, on: MultiThreadedEventLoopGroup.singleton.next()).get()
  }

  /// Runs `body` with a server that answers with this, and whose requests are counted.
  static func server(_ answer: String) throws -> Backend {
    try Backend(answering: { _, _, _ in answer })
  }

  @Test("an answer's status and wait are told; a redirect is an answer, and nobody goes there")
  func answers() async throws {
    let client = try WebhookClient(Self.inside)
    let elsewhere = try Self.server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    let cases: [(String, WebhookClient.Outcome)] = [
      ("HTTP/1.1 204 No Content\r\n\r\n", .answered(204, retryAfter: nil)),
      ("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", .answered(429, retryAfter: 7_000_000_000)),
      (
        "HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:\(elsewhere.port)/\r\nContent-Length: 0\r\n\r\n",
        .answered(302, retryAfter: nil)
      ), ("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", .answered(200, retryAfter: nil)),
      ("nonsense\r\n\r\n", .failed("the answer is no HTTP")),
    ]
    for (answer, outcome) in cases {
      let heads = Mutex<[String]>([])
      let backend = try Backend(answering: { head, body, _ in
        heads.withLock { $0.append(head + String(decoding: body, as: UTF8.self)) }
        return answer
      })
      #expect(try await Self.send(client, "http://127.0.0.1:\(backend.port)/hook?a=b") == outcome, "\(answer)")
      let head = try #require(heads.withLock { $0.first })
      #expect(head.hasPrefix("POST /hook?a=b HTTP/1.1\r\nHost: 127.0.0.1:\(backend.port)\r\n"))
      #expect(head.contains("webhook-id: msg_1\r\n") && head.hasSuffix("Connection: close\r\n\r\nhello"))
    }
    #expect(elsewhere.count == 0)
  }

  @Test("a name that means something else a moment later gains nothing: what was judged is what is connected to")
  func rebinding() async throws {
    let inside = try Self.server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    let asked = Mutex(0)
    // An address that may be connected to for whoever looks first, ours for whoever looks again; nothing is at the first.
    var settings = OutgoingGuard.Settings()
    settings.allow = [AddressNetwork("192.0.2.0/24")].compactMap { $0 }
    settings.isOpenInside = true
    let client = try WebhookClient(settings) { _ in
      asked.withLock { asked in
        asked += 1
        return asked % 2 == 1 ? ["192.0.2.1"] : ["127.0.0.1"]
      }
    }
    for _ in 0..<4 {
      let outcome = try await Self.send(client, "http://partner.example.com:\(inside.port)/", within: .seconds(1))
      guard case .failed = outcome else {
        Issue.record("\(outcome)")
        continue
      }
    }
    #expect(asked.withLock { $0 } == 4 && inside.count == 0)
    // Both at once: those that may not be are left out, and the rest is none.
    let mixed = try WebhookClient(OutgoingGuard.Settings()) { _ in ["127.0.0.1", "10.0.0.1", "::1", "not-an-address"] }
    #expect(
      try await Self.send(mixed, "https://partner.example.com/") == .failed("partner.example.com is a loopback address")
    )
  }

  @Test(
    "every way of writing an address of our own is refused before anything is asked",
    arguments: [
      "http://127.0.0.1/", "https://127.0.0.1/", "https://127.1/", "https://0x7f000001/", "https://017700000001/",
      "https://2130706433/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
      "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://localhost/", "https://localhost./",
      "https://a.internal/", "https://10.0.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/",
      "https://0.0.0.0/", "https://[::]/", "https://[fe80::1]/", "https://[fd00:ec2::254]/", "https://a@127.0.0.1/",
      "https://example.com:6379/", "https://127.0.0.1\\@example.com/", "https://127。0。0。1/", "ftp://example.com/",
      "https://%31%32%37.0.0.1/", "//127.0.0.1/", "https://example.com/\r\nHost: a",
    ])
  func spellings(_ url: String) async throws {
    let asked = Mutex(false)
    let client = try WebhookClient(OutgoingGuard.Settings()) { _ in
      asked.withLock { $0 = true }
      return ["127.0.0.1"]
    }
    guard case .failed = try await Self.send(client, url) else {
      Issue.record("\(url) was sent to")
      return
    }
    #expect(!asked.withLock { $0 })
  }

  @Test("name servers that do not answer hold up nobody else: attempts for one name share a look-up")
  func lookups() async throws {
    let gate = Gate()
    defer { gate.open() }
    let asked = Mutex<[String]>([])
    let backend = try Self.server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    let client = try WebhookClient(Self.inside) { host in
      asked.withLock { $0.append(host) }
      if host == "slow.example.com" { gate.wait() }
      return ["127.0.0.1"]
    }
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    func send(_ host: String) -> EventLoopFuture<WebhookClient.Outcome> {
      client.send(
        WebhookClient.Request(
          url: "http://\(host):\(backend.port)/", fields: "", body: [], timeout: .seconds(120)), on: loop)
    }
    let stuck = (0..<64).map { _ in send("slow.example.com") }
    #expect(try await send("quick.example.com").get() == .answered(200, retryAfter: nil))
    gate.open()
    for one in stuck { #expect(try await one.get() == .answered(200, retryAfter: nil)) }
    #expect(asked.withLock { $0.sorted() } == ["quick.example.com", "slow.example.com"])
  }

  @Test("who says nothing, or never ends, costs its time and no more")
  func slow() async throws {
    let client = try WebhookClient(Self.inside)
    let gate = Gate()
    let silent = try Backend(answering: { _, _, _ in
      gate.wait()
      return ""
    })
    #expect(
      try await Self.send(client, "http://127.0.0.1:\(silent.port)/", within: .milliseconds(300))
        == .failed("no answer in time"))
    gate.open()
    let endless = try Self.server("HTTP/1.1 200 OK\r\nA: \(String(repeating: "a", count: 1 << 20))")
    guard case .failed = try await Self.send(client, "http://127.0.0.1:\(endless.port)/", within: .seconds(60)) else {
      Issue.record("a head without end was taken")
      return
    }
    // An answer whose body never comes is an answer.
    let bodiless = try Self.server("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    #expect(
      try await Self.send(client, "http://127.0.0.1:\(bodiless.port)/") == .answered(200, retryAfter: nil))
    struct Stuck: Error {}
    let nameless = try WebhookClient(Self.inside) { _ in throw Stuck() }
    #expect(try await Self.send(nameless, "https://gone.example.com/") == .failed("gone.example.com is not found"))
  }

  @Test("TLS is held against the name of the endpoint, not against the address that it has")
  func secured() async throws {
    let authority = try TestAuthority()
    let plain = try Self.server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    let relay = try await TLSRelay(.server(authority.server(authority.leaf("partner.example.com"))), to: plain.port)
    let roots = authority.authority.certificate
    let client = try WebhookClient(Self.inside, roots: roots) { _ in ["127.0.0.1"] }
    #expect(
      try await Self.send(client, "https://partner.example.com:\(relay.port)/") == .answered(200, retryAfter: nil))
    // Another name at the same address, the address itself, and an authority that nobody knows.
    for url in ["https://other.example.com:\(relay.port)/", "https://127.0.0.1:\(relay.port)/"] {
      #expect(try await Self.send(client, url) == .failed("TLS failed"))
    }
    let stranger = try WebhookClient(Self.inside) { _ in ["127.0.0.1"] }
    #expect(
      try await Self.send(stranger, "https://partner.example.com:\(relay.port)/") == .failed("TLS failed"))
    #expect(plain.count == 1)
    relay.stop()
  }
}
