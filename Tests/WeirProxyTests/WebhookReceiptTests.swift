// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing
import WeirBase
import WeirFlows
import WeirIdentity
import WeirMessaging
import WeirPatterns
import WeirProxy
import WeirStorage

/// Webhooks of others at a route of the gateway: only what is signed, whole and of now reaches the callee.
@Suite struct WebhookReceiptTests {
  static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
  static let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

  static func identity(_ secrets: [String] = [secret], bodyMax: Int = 1 << 20) throws -> IdentitySettings {
    let secrets = try secrets.map { try WebhookSecret($0) }
    let webhooks = ReceivedWebhooks(bodyMax: bodyMax) { evidence, seconds in
      let received = WebhookSignature.Received(
        id: evidence.id, timestamp: evidence.timestamp, signature: evidence.signature)
      let now = WallTime(milliseconds: seconds * 1000)
      switch WebhookSignature.verify(received, body: evidence.body, with: secrets, now: now) {
      case .genuine: return .genuine
      case .refused(.time): return .outOfTime
      case .refused: return .invalid
      }
    }
    return IdentityTests.identity("partner", .webhook(webhooks))
  }

  static func fields(_ body: String, id: String = "msg_1", at seconds: Int64 = 1000, by secret: String = secret) throws
    -> String
  {
    let signed = WebhookSignature.sign(
      id: id, at: WallTime(milliseconds: seconds * 1000), body: Array(body.utf8), with: [try WebhookSecret(secret)])
    return "webhook-id: \(id)\r\nwebhook-timestamp: \(seconds)\r\nwebhook-signature: \(signed ?? "")\r\n"
  }

  static func post(_ fields: String, _ body: String, _ more: String = "") -> String {
    "POST /hook HTTP/1.1\r\nHost: test.example\r\n\(fields)\(more)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  /// Answers with head and body.
  static func echo() throws -> Backend {
    try Backend(answering: { head, body, _ in Backend.ok(head + String(decoding: body, as: UTF8.self)) })
  }

  @Test("a signed webhook goes on whole, in whatever pieces it comes, without its signature")
  func genuine() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port], IdentityTests.setup([Self.identity()])) { _, port in
      let client = try Wire(port: port)
      let answer = try client.ask(Self.post(Self.fields("{\"a\": 1}"), "{\"a\": 1}"))
      #expect(
        answer.status == 200 && answer.text.hasSuffix("{\"a\": 1}") && answer.text.contains("webhook-id: msg_1\r\n"))
      #expect(answer.text.contains("x-user: partner\r\n") && !answer.text.contains("webhook-signature"))

      // Byte by byte, in chunks, and with the next request behind it.
      let pieces = Self.post(try Self.fields("hello"), "hello")
      for byte in pieces.utf8 { try client.send([byte]) }
      #expect(try client.answer().text.hasSuffix("hello"))
      let head = "POST /hook HTTP/1.1\r\nHost: test.example\r\n\(try Self.fields("hello"))"
      let second = Self.post(try Self.fields("next", id: "msg_2"), "next")
      try client.send(head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" + second)
      #expect(try client.answer().text.contains("\r\nhello"))
      #expect(try client.answer().text.hasSuffix("next"))

      // Who waits for `100 Continue` is told to go on, for the body is wanted before anybody is asked.
      try client.send(head + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
      #expect(try client.head()?.hasPrefix("HTTP/1.1 100 ") == true)
      try client.send("hello")
      #expect(try client.answer().status == 200)

      // Verified on another thread.
      let long = String(repeating: "0123456789", count: 30_000)
      let large = try client.ask(Self.post(Self.fields(long), long))
      #expect(large.status == 200 && large.text.hasSuffix(long))
      // Without a body the signature is over none.
      #expect(try client.get("/hook", Self.fields("")).status == 200)
      #expect(backend.count == 7)
    }
  }

  @Test("what is not signed, not whole, or not of now reaches nobody, and the connection goes on")
  func refusals() async throws {
    let backend = try Self.echo()
    let good = try Self.fields("hello")
    let twice = good + "webhook-signature: v1,AAAA\r\n"
    let cases: [(fields: String, body: String, reason: String)] = [
      ("", "hello", "identity-missing"), (good, "hellO", "identity-invalid"), (good, "", "identity-invalid"),
      (good.replacing("msg_1", with: "msg_2"), "hello", "identity-invalid"),
      (good.replacing("timestamp: 1000", with: "timestamp: 1001"), "hello", "identity-invalid"),
      (good.replacing("webhook-id: msg_1\r\n", with: ""), "hello", "identity-invalid"),
      (try Self.fields("hello", by: Self.other), "hello", "identity-invalid"), (twice, "hello", "identity-invalid"),
      (try Self.fields("hello", at: 699), "hello", "replayed"),
      (try Self.fields("hello", at: 1301), "hello", "replayed"),
    ]
    try await withProxy(to: [backend.port], IdentityTests.setup([Self.identity()])) { _, port in
      let client = try Wire(port: port)
      for (fields, body, reason) in cases {
        let answer = try client.ask(Self.post(fields, body))
        #expect(answer.status == 401 && answer.reason == reason, "\(fields)")
        #expect(answer["www-authenticate"] == "Standard-Webhooks realm=\"shop\"")
      }
      #expect(backend.count == 0)
      #expect(try client.ask(Self.post(Self.fields("hello", at: 700), "hello")).status == 200)
      #expect(try client.ask(Self.post(Self.fields("hello", at: 1300), "hello")).status == 200)
    }
  }

  @Test("a body beyond the limit is refused before or while it comes; one that never ends leaves nothing behind")
  func tooLarge() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port], IdentityTests.setup([Self.identity(bodyMax: 8)])) { server, port in
      #expect(try Wire(port: port).ask(Self.post(Self.fields("12345678"), "12345678")).status == 200)
      let long = try Wire(port: port).ask(Self.post(Self.fields("123456789"), "123456789"))
      #expect(long.status == 413 && long.reason == "body-too-large")
      let head = "POST /hook HTTP/1.1\r\nHost: test.example\r\n\(try Self.fields("hello"))"
      let chunked = try Wire(port: port)
      try chunked.send(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\n")
      #expect(try chunked.answer().reason == "body-too-large")
      let broken = try Wire(port: port)
      try broken.send(head + "Transfer-Encoding: chunked\r\n\r\nnone\r\n")
      #expect(try broken.answer().status == 400)
      let gone = try Wire(port: port)
      try gone.send(head + "Content-Length: 5\r\n\r\nhel")
      gone.finishSending()
      #expect(try gone.ends())
      #expect(backend.count == 1)
    }
  }

  @Test("while a secret is rotated both hold; afterwards the new one alone")
  func rotation() async throws {
    let backend = try Self.echo()
    let both = try Self.identity([Self.other, Self.secret])
    try await withProxy(to: [backend.port], IdentityTests.setup([both])) { _, port in
      let client = try Wire(port: port)
      for secret in [Self.secret, Self.other] {
        #expect(try client.ask(Self.post(Self.fields("hello", by: secret), "hello")).status == 200)
      }
    }
    try await withProxy(to: [backend.port], IdentityTests.setup([Self.identity([Self.other])])) { _, port in
      let client = try Wire(port: port)
      #expect(try client.ask(Self.post(Self.fields("hello", by: Self.secret), "hello")).status == 401)
      #expect(try client.ask(Self.post(Self.fields("hello", by: Self.other), "hello")).status == 200)
    }
  }

  @Test("a webhook that comes again is done once, where the route's key is its id")
  func replays() async throws {
    let state = try KeyedTests.State()
    let backend = try KeyedTests.orders()
    let path = StateProcess.socketPath(state.folder)
    var setup = try IdentityTests.setup([Self.identity()]) { configuration in
      configuration.keyed = [KeyedRoute(name: "hook", header: "webhook-id")]
      configuration.statePath = path
    }
    setup.route.idempotency = IdempotencyRecord.Settings()
    setup.route.timeout = .seconds(60)
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      // The sender's attempts have one id, and a time and a signature of their own.
      for second in Int64(0)..<3 {
        let answer = try client.ask(Self.post(Self.fields("paid", at: 1000 + second), "paid"))
        #expect(answer.status == 201 && answer.text == "order 1 of paid")
        #expect(answer["idempotency-replayed"] == (second == 0 ? nil : "true"))
      }
      #expect(try client.ask(Self.post(Self.fields("paid", id: "msg_2"), "paid")).text == "order 2 of paid")
      // Another body under an id that was taken: signed or not, it is another webhook.
      #expect(try client.ask(Self.post(Self.fields("more"), "more")).status == 422)
      #expect(try client.ask(Self.post(Self.fields("paid"), "more")).status == 401)
      #expect(backend.count == 2)
    }
  }

  @Test(
    "the reference library's webhooks are taken (standardwebhooks)",
    .enabled(if: ProcessInfo.processInfo.environment["CI"] != nil || hasLibrary))
  func reference() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port], IdentityTests.setup([Self.identity()])) { _, port in
      for (secret, status) in [(Self.secret, "200"), (Self.other, "401")] {
        let sender = try TestProgram(
          "python3", [Self.program, "send", "\(port)", "/hook", secret, "msg_1", "1000", "{\"täglich\": 1}"])
        #expect(sender.wait() == 0, "\(sender.err)")
        #expect(String(decoding: sender.outBytes, as: UTF8.self) == status + "\n")
      }
      #expect(backend.count == 1)
    }
  }

  static let program = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Messaging/webhooks.py").path
  static var hasLibrary: Bool { (try? TestProgram("python3", ["-c", "import standardwebhooks"]))?.wait() == 0 }
}
